"""What the running test has waited for, and for how long: see tests/timing.py."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

WAITS: defaultdict[str, float] = defaultdict(float)


@contextmanager
def recorded(what: str) -> Iterator[None]:
    """Adds the seconds that its body takes to what is waited for."""
    start = time.monotonic()
    try:
        yield
    finally:
        WAITS[what] += time.monotonic() - start
