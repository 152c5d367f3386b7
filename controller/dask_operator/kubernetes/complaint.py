"""A problem of something that is tried again and again, said once and not at every attempt."""

from __future__ import annotations

import logging


class Complaint:
    """The current problem of a watch or of the election.

    It is logged when it begins and when its text changes. `text` is empty while all is well. `since` is when the
    problem began, in seconds of the event loop's clock. A `lasting` problem needs a person to solve it.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self.text = ""
        self.since = 0.0
        self.lasting = False

    def __bool__(self) -> bool:
        return bool(self.text)

    def make(self, text: str, now: float, level: int = logging.ERROR, *, lasting: bool = False) -> None:
        """Record a problem, which may be the current one again."""
        if text != self.text:
            self._logger.log(level, "%s", text)
        self.since = self.since if self.text else now
        self.text, self.lasting = text, lasting

    def settle(self) -> None:
        """Record that all is well again."""
        self.text, self.lasting = "", False
