"""Pauses between attempts at something that keeps failing."""

from __future__ import annotations

from typing import NamedTuple

_DOUBLINGS = 30  # More would overflow a float.


class Backoff(NamedTuple):
    """Pauses that start at `first` seconds, double with each failure in a row and never exceed `longest`."""

    first: float
    longest: float

    def after(self, failures: int) -> float:
        """Return the seconds to wait after this many failures in a row, of which there is at least one."""
        return min(self.first * 2.0 ** min(failures - 1, _DOUBLINGS), self.longest)
