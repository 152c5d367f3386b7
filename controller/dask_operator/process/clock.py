"""The clock by which plans are made: that of this machine, which somebody or a time server may set."""

from __future__ import annotations

import logging
from collections.abc import Callable

_LEAST_STEP = 1.0
"""Seconds between two readings, besides those that have passed, from which on the clock counts as set."""
logger = logging.getLogger(__name__)


class Clock:
    """A clock that returns the seconds since the epoch, by `wall`, and notices when it is set, by `steady`.

    `stepped` gets the seconds by which it was set, before anybody gets the new time. So what is remembered by the old
    time can be moved: otherwise pauses would last as much longer, and answers of a future time would never be old.
    """

    def __init__(
        self, wall: Callable[[], float], steady: Callable[[], float], stepped: Callable[[float], None]
    ) -> None:
        self._wall = wall
        self._steady = steady
        self._stepped = stepped
        self._ahead = wall() - steady()

    def __call__(self) -> float:
        now = self._wall()
        before, self._ahead = self._ahead, now - self._steady()
        step = self._ahead - before
        if abs(step) >= _LEAST_STEP:
            logger.warning(
                "the clock of this machine was set %s by %.0f s", "forward" if step > 0 else "back", abs(step)
            )
            self._stepped(step)
        return now
