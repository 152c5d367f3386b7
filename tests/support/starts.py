"""Numbers of starts of tasks on the workers of this process."""

from __future__ import annotations

from collections import Counter
from typing import Any

from distributed import WorkerPlugin

STARTS: Counter[Any] = Counter()
"""The starts of each task by its key."""


def counted(start: str, finish: str) -> int:
    """Return for how many starts a transition counts. A task that asks to be scheduled again has not started."""
    if finish == "executing" and start not in ("executing", "resumed", "cancelled", "long-running"):
        return 1
    return -1 if finish == "rescheduled" else 0


class Starts(WorkerPlugin):
    """A plugin of workers that counts the starts of tasks."""

    name = "starts"

    def transition(self, key: Any, start: str, finish: str, **_: Any) -> None:
        """Count a start."""
        STARTS[key] += counted(start, finish)
