"""What happened in a run, and whether the controller that lived through it takes more and more."""

from __future__ import annotations

import csv
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

LASTING = "second"
"""The name of the controller whose process is never ended."""
MOST_MEMORY = 5.0
"""MiB by which it may have grown. All workers of half an hour of churn take about 18, at 4 KiB each."""
MOST_FILES = 5
"""Open files by which it may have grown, and threads."""
_REST = 12.0
"""The last seconds of a calm, in which nothing happens any more."""


@dataclass(frozen=True)
class Sample:
    """One controller at one moment. `at`: seconds since the beginning; `memory`: resident MiB.

    The rest is None while it does not answer; `leads`: whether it says so.
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
    """What was done, or what befell, when, and to whom."""

    at: float
    what: str
    about: str


@dataclass
class Result:
    """Times are seconds since the beginning. `calms`: when one ended, and how long it took until nothing differed."""

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
        """What the lasting controller takes more and more of, in sentences."""
        bounds = {"memory": MOST_MEMORY, "files": MOST_FILES, "threads": MOST_FILES}
        found = {what: self.growth(what) for what in bounds}
        return [f"{what} has grown by {found[what]:.1f}" for what, most in bounds.items() if found[what] > most]

    def growth(self, what: str) -> float:
        """How much more the lasting controller has of it, in the last quarter of the calms than in the second."""
        rests = [
            statistics.median(value for at, value in self._lasting(what) if calm - _REST < at < calm)
            for calm, _ in self.calms
        ]
        quarter = max(len(rests) // 4, 1)
        second, last = rests[quarter : 2 * quarter] or rests, rests[-quarter:]
        return statistics.mean(last) - statistics.mean(second)

    def slope(self) -> float:
        """MiB of memory that an hour brings it, by the straight line through what came after the first quarter."""
        points = [(at / 3600, value) for at, value in self._lasting("memory") if 4 * at >= self.seconds]
        return statistics.linear_regression(*zip(*points, strict=True)).slope

    def _lasting(self, what: str) -> list[tuple[float, float]]:
        return [(row.at, getattr(row, what)) for row in self.samples if row.replica == LASTING]
