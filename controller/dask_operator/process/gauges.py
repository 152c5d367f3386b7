"""The controller's state for Prometheus, computed when it is scraped. `metrics` counts what happens in between."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Container, Iterable
from importlib.metadata import version

from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from dask_operator.kubernetes.watch import Watch
from dask_operator.metrics import PREFIX
from dask_operator.model import Pod
from dask_operator.names import WORKER
from dask_operator.plan.view import ENDED
from dask_operator.reconcile.store import Store

PHASES = ("Created", "Pending", "Running", "Suspended", "Error")
_OTHER = "other"
"""The phase of clusters whose status somebody else wrote: a label's values must not be anybody's to choose."""
WORKER_STATES = ("pending", "starting", "ready", "draining", "ending", "ended")


class Gauges(Collector):
    """All metrics that have a value at any moment.

    `waiting` returns how many clusters are due, and for how many seconds the first of them has been.
    """

    def __init__(
        self,
        store: Store,
        watches: Iterable[Watch],
        leading: Callable[[], bool],
        waiting: Callable[[], tuple[int, float]],
    ) -> None:
        self._store = store
        self._watches = watches
        self._leading = leading
        self._waiting = waiting

    def collect(self) -> Iterable[Metric]:
        depth, age = self._waiting()
        yield _gauge("leader", "1 if this process is the one that writes, 0 if it stands by.", float(self._leading()))
        yield _gauge("queue_depth", "Clusters that are due and not being worked on yet.", depth)
        yield _gauge("queue_oldest_seconds", "Seconds for which the first of these has been due.", age)
        yield self._lags()
        yield from self._population()
        yield InfoMetricFamily(
            f"{PREFIX}_build", "The version of the controller.", {"version": version("dask-operator")}
        )

    def _lags(self) -> Metric:
        text = "Seconds since the API server sent anything about this kind. A minute is normal where nothing changes."
        family = GaugeMetricFamily(f"{PREFIX}_watch_lag_seconds", text, labels=["kind"])
        now = asyncio.get_running_loop().time()
        lags: dict[str, float] = {}
        for watch in self._watches:
            kind = watch.resource.kind
            lags[kind] = max(lags.get(kind, 0.0), now - watch.last_message)
        for kind, lag in lags.items():
            family.add_metric([kind], lag)
        return family

    def _population(self) -> Iterable[Metric]:
        phases = Counter(dict.fromkeys(PHASES, 0))
        states = Counter(dict.fromkeys(WORKER_STATES, 0))
        for cluster, observed in map(self._store.snapshot, self._store.keys()):
            if cluster:
                phase = cluster.status.get("phase") or "Created"
                phases[phase if phase in PHASES else _OTHER] += 1
            states.update(_state(pod, observed.retiring) for pod in observed.pods if pod.component == WORKER)
        clusters = GaugeMetricFamily(
            f"{PREFIX}_clusters", "DaskClusters by the phase in their status.", labels=["phase"]
        )
        workers = GaugeMetricFamily(
            f"{PREFIX}_workers",
            "Worker Pods: pending (no node yet, or no container), starting, ready, draining (told to leave), ending "
            "(being deleted), ended.",
            labels=["state"],
        )
        for family, counted in ((clusters, phases), (workers, states)):
            for name, number in counted.items():
                family.add_metric([name], number)
            yield family


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{PREFIX}_{name}", text, value)


def _state(pod: Pod, retiring: Container[str]) -> str:
    if pod.deleting:
        return "ending"
    if pod.phase in ENDED:
        return "ended"
    if pod.uid in retiring:
        return "draining"
    if pod.ready:
        return "ready"
    return "starting" if pod.phase == "Running" else "pending"
