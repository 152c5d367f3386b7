"""Figures and their budgets. Pure, so that a report can be made of saved figures."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

RAW, REPLICASET, OURS, INCUMBENT = "raw", "ReplicaSet", "ours", "incumbent"

Figures = Mapping[str, Sequence[float]]
"""The values of one budget, one for each round, by who was measured."""


@dataclass(frozen=True)
class Sizes:
    """Sizes of the measurements. `idle`: seconds; `wait`: seconds after which a missing event counts as never."""

    rounds: int = 5
    workers: int = 300
    fewer: int = 20
    clusters: int = 50
    incumbent_rounds: int = 2
    failovers: int = 5
    changes: int = 200
    large: int = 5_000
    growth_workers: tuple[int, ...] = (100, 300, 1_000, 3_000, 10_000)
    growth_clusters: tuple[int, ...] = (10, 30, 100, 300, 1_000)
    idle: float = 60.0
    wait: float = 60.0

    @property
    def all_workers(self) -> int:
        return self.growth_workers[-1]

    @property
    def all_clusters(self) -> int:
        return self.growth_clusters[-1]


SMALL = Sizes(
    rounds=1,
    workers=30,
    fewer=5,
    clusters=5,
    incumbent_rounds=1,
    failovers=1,
    changes=20,
    large=100,
    growth_workers=(10, 30, 100),
    growth_clusters=(2, 5, 10),
    idle=10.0,
    wait=20.0,
)
"""A quick check that every measurement works."""


@dataclass(frozen=True)
class Measured:
    """A budget's values for RAW, REPLICASET, OURS or INCUMBENT; infinite if an event never came."""

    budget: str
    who: str
    values: tuple[float, ...]


@dataclass(frozen=True)
class Point:
    """The costs of creating `size` of a `kind`, until the last Pod exists: seconds, CPU, and MiB above idle."""

    kind: str
    size: int
    seconds: float
    cpu: float
    memory: float


@dataclass(frozen=True)
class Share:
    """The number of samples in a function while the controller made the largest number of a `kind`.

    `part`: the function's module or package.
    """

    kind: str
    part: str
    function: str
    samples: int


Fact = Measured | Point | Share


@dataclass(frozen=True)
class Budget:
    """A budget. `limit`: in words; `met`: whether the figures keep it."""

    key: str
    what: str
    unit: str
    limit: str = ""
    met: Callable[[Figures], bool] | None = None

    def title(self, sizes: Sizes) -> str:
        return self.what.format(sizes)


def at_most(limit: float) -> Callable[[Figures], bool]:
    return lambda figures: statistics.median(figures[OURS]) <= limit


def always_at_most(limit: float) -> Callable[[Figures], bool]:
    return lambda figures: max(figures[OURS]) <= limit


def at_least_of_raw(share: float) -> Callable[[Figures], bool]:
    return lambda figures: of_raw(figures) >= share


def at_most_of_raw(share: float) -> Callable[[Figures], bool]:
    return lambda figures: of_raw(figures) <= share


def within_of_raw(seconds: float) -> Callable[[Figures], bool]:
    return lambda figures: statistics.median(figures[OURS]) - statistics.median(figures[RAW]) <= seconds


def of_raw(figures: Figures, who: str = OURS) -> float:
    """Return the ratio to the raw figure: the median of each round's if measured in turns, else of the medians."""
    if len(figures[who]) == len(figures[RAW]):
        return statistics.median(a / b for a, b in zip(figures[who], figures[RAW], strict=True))
    return statistics.median(figures[who]) / statistics.median(figures[RAW])


BUDGETS = (
    Budget("create", "0 → {0.workers} workers of one cluster", "Pods/s", "≥ 0.9 of raw", at_least_of_raw(0.9)),
    Budget("many", "{0.clusters} clusters × 5 workers at once: all Pods are there", "s", "≤ 1.2", at_most(1.2)),
    Budget("running", "… all clusters are `Running`", "s"),
    Budget("stuck", "… clusters that are not after {0.wait:.0f} s", "", "0", always_at_most(0)),
    Budget("writes", "API writes for a cluster of 5 workers", "", "≤ 10", always_at_most(10)),
    Budget("job", "API writes for a job of 3 workers", "", "≤ 13", always_at_most(13)),
    Budget(
        "shrink",
        "{0.workers} → {0.fewer} workers, from the scheduler's answer until the last is deleted",
        "s",
        "≤ 0.5",
        at_most(0.5),
    ),
    Budget("cpu", "controller's CPU for a cluster of 5 workers", "ms", "≤ 10", at_most(10)),
    Budget("memory", "controller's memory, idle", "MiB", "≤ 60", at_most(60)),
    Budget("memory_workers", "… with {0.workers} workers", "MiB", "≤ 65", at_most(65)),
    Budget("memory_all", "… with {0.all_workers:,} workers", "MiB", "≤ 100", at_most(100)),
    Budget("registered", "DaskCluster created → 3 real workers registered", "s", "≤ raw + 0.3", within_of_raw(0.3)),
    Budget("delete", "a cluster of {0.workers} workers deleted → all gone", "s", "≤ 1.1 of raw", at_most_of_raw(1.1)),
    Budget("start", "start with {0.all_clusters:,} clusters of 9 workers → all seen", "s", "≤ 3", at_most(3)),
    Budget("start_writes", "… API writes", "", "0", always_at_most(0)),
    Budget("idle_cpu", "idle with these clusters: a core's share", "%", "≤ 0.5", at_most(0.5)),
    Budget("idle_requests", "… requests but watches and the Lease", "", "0", always_at_most(0)),
    Budget("change", "spec changed → first Pod is there, median", "ms"),
    Budget("change_p99", "… p99", "ms", "≤ 25", at_most(25)),
    Budget("busy", "… while another cluster scales to {0.large:,}, median", "ms"),
    Budget("busy_p99", "… p99", "ms", "≤ 100", at_most(100)),
    Budget("stopped", "fail-over, leader told to go", "s", "≤ 2", always_at_most(2)),
    Budget("killed", "… leader killed", "s", "≤ 5", always_at_most(5)),
)
