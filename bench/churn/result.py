"""The events and samples of a run, and whether the lasting controller leaks."""

from __future__ import annotations

import csv
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

LASTING = "second"
"""The name of the controller that never restarts."""
MOST_MEMORY = 5.0
"""Allowed growth of memory in MiB. All workers of half an hour of churn take about 18, at 4 KiB each."""
MOST_FILES = 5
"""Allowed growth in open files, and in threads."""
_REST = 12.0
"""The last seconds of a calm, in which nothing changes."""


@dataclass(frozen=True)
class Sample:
    """A controller at one moment. `at`: seconds since the beginning; `memory`: resident MiB.

    The other values are None if the controller does not answer. `leads`: whether it reports that it leads.
    """

    at: float
    replica: str
    pid: int
    memory: float
    files: int
    threads: int
    leads: bool | None = None
    queue_depth: int | None = None
    queue_age: float | None = None
    watch_lag: float | None = None
    watch_restarts: int | None = None
    errors: int | None = None
    writes: int | None = None


class Event(NamedTuple):
    """A deed or a trouble: its time, its name and its object."""

    at: float
    what: str
    about: str


@dataclass
class Result:
    """Times in seconds since the beginning. `calms`: the end of each, and its duration until no difference was left."""

    began: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    samples: list[Sample] = field(default_factory=list)
    deeds: list[Event] = field(default_factory=list)
    troubles: list[Event] = field(default_factory=list)
    calms: list[tuple[float, float]] = field(default_factory=list)
    workers: int = 0
    most_pods: int = 0

    def now(self) -> float:
        return time.monotonic() - self.began

    def deed(self, what: str, about: str) -> None:
        self.deeds.append(Event(self.now(), what, about))

    def trouble(self, what: str, about: str) -> None:
        self.troubles.append(Event(self.now(), what, about))

    def write_events(self, file: Path) -> None:
        with file.open("w", newline="") as opened:
            csv.writer(opened).writerows(sorted(self.deeds + self.troubles))

    def leaks(self) -> list[str]:
        """Return, in sentences, the resources that the lasting controller leaks."""
        bounds = {"memory": MOST_MEMORY, "files": MOST_FILES, "threads": MOST_FILES}
        found = {what: self.growth(what) for what in bounds}
        return [f"{what} has grown by {found[what]:.1f}" for what, most in bounds.items() if found[what] > most]

    def growth(self, what: str) -> float:
        """Return the difference between the last and the second quarter of the calms, for the lasting controller."""
        rests = [
            statistics.median(value for at, value in self._lasting(what) if calm - _REST < at < calm)
            for calm, _ in self.calms
        ]
        quarter = max(len(rests) // 4, 1)
        second, last = rests[quarter : 2 * quarter] or rests, rests[-quarter:]
        return statistics.mean(last) - statistics.mean(second)

    def slope(self) -> float:
        """Return the lasting controller's memory growth in MiB per hour: a linear fit without the first quarter."""
        points = [(at / 3600, value) for at, value in self._lasting("memory") if 4 * at >= self.seconds]
        return statistics.linear_regression(*zip(*points, strict=True)).slope

    def _lasting(self, what: str) -> list[tuple[float, float]]:
        return [(row.at, getattr(row, what)) for row in self.samples if row.replica == LASTING]
