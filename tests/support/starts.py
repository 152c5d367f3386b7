"""Numbers of starts of tasks on the workers of this process."""

from __future__ import annotations

from collections import Counter
from typing import Any

from distributed import WorkerPlugin

STARTS: Counter[Any] = Counter()
"""The starts of each task by its key."""


class Starts(WorkerPlugin):
    """A plugin of workers that counts the starts of tasks. A task that asks to be scheduled again has not started."""

    name = "starts"

    def transition(self, key: Any, start: str, finish: str, **_: Any) -> None:
        """Count a start."""
        if finish == "executing" and start not in ("executing", "resumed", "cancelled", "long-running"):
            STARTS[key] += 1
        elif finish == "rescheduled":
            STARTS[key] -= 1
