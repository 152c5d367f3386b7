"""The programs that the documentation tells users to run."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.tools import tool


@pytest.fixture(scope="session")
def helm() -> Path:
    return tool("helm")
