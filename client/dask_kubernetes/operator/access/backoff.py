"""Pauses between attempts."""

from __future__ import annotations

from collections.abc import Iterator


def doubling(first: float, longest: float) -> Iterator[float]:
    """Yield pauses in seconds: `first`, then each twice as long as the one before, up to `longest`."""
    pause = first
    while True:
        yield pause
        pause = min(2 * pause, longest)
