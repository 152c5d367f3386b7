"""How long to wait before something is tried again that has failed some times in a row."""

from __future__ import annotations

_DOUBLINGS = 30  # more would soon be more than a float holds


def doubling(first: float, failures: int, longest: float) -> float:
    """Seconds to wait after that many failures, at least one: `first`, twice that, …, and never more than `longest`."""
    return min(first * 2.0 ** min(failures - 1, _DOUBLINGS), longest)
