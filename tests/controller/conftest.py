"""What the controller's unit tests share."""

from __future__ import annotations

import pytest
from tests.support.clock import Run, run_in_virtual_time


@pytest.fixture
def run() -> Run:
    """Runs a coroutine to its end. Waiting takes no time: the clock jumps to whatever is due next."""
    return run_in_virtual_time
