"""Waiting until a cluster's scheduler answers, and saying why it does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from dask_kubernetes.exceptions import (
    CrashLoopBackOffError,
    DaskKubernetesError,
    OperatorNotRespondingError,
    SchedulerStartupError,
)
from dask_kubernetes.operator.daskcluster import DaskCluster
from dask_kubernetes.operator.status import NOT_TAKEN_UP, Snapshot, Startup, service_ready, startup

Report = Callable[[Startup], None]
_SHORTEST_PAUSE = 0.1
_LONGEST_PAUSE = 1.0


def pause(waited: float) -> float:
    """Seconds until one looks again who has waited so long: what comes is seen with a tenth of that delay at most.

    Many may wait for long, as for an image, and each look costs the API server some requests.
    """
    return min(max(waited / 10, _SHORTEST_PAUSE), _LONGEST_PAUSE)


async def scheduler_is_up(cluster: DaskCluster, timeout: float, report: Report) -> Snapshot:
    """What there is once the scheduler is ready and its Service has an address. `report` is told how far it is.

    Raises
    ------
    OperatorNotRespondingError
        After `timeout` seconds in which nothing has happened to the DaskCluster.
    SchedulerStartupError, CrashLoopBackOffError
        After `timeout` seconds, or at once if waiting cannot help; with the Pod's own reason.
    ClusterNotFoundError
        If somebody deletes the DaskCluster meanwhile.
    """
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while True:
        snapshot = await cluster.snapshot()
        now = startup(snapshot, registered=0)
        report(now)
        if now.scheduler_ready and service_ready(snapshot.service):
            return snapshot
        hopeless = now.problem is not None and now.problem.fatal
        waited = loop.time() - begun
        if hopeless or waited > timeout:
            raise await _failure(cluster, snapshot, now, timeout)
        await asyncio.sleep(pause(waited))


async def _failure(cluster: DaskCluster, snapshot: Snapshot, now: Startup, timeout: float) -> DaskKubernetesError:
    problem = now.problem
    if problem is None:
        return SchedulerStartupError(f"{_late(cluster, timeout)}: {_furthest(now)}. {_PATIENCE}")
    if problem.reason == NOT_TAKEN_UP:
        return OperatorNotRespondingError(f"{problem.message} (waited {timeout:g} s)")
    text = f"{_never(cluster) if problem.fatal else _late(cluster, timeout)}. {problem.message}"
    if problem.pod is None:
        return SchedulerStartupError(text)
    log = await cluster.last_lines(problem.pod, problem.container, snapshot)
    return CrashLoopBackOffError(f"{text} Its log ends with:\n{log}" if log else text)


_PATIENCE = "Where images take longer to pull, resource_timeout=… waits longer."


def _never(cluster: DaskCluster) -> str:
    return f"the scheduler of {cluster.name} cannot start"


def _late(cluster: DaskCluster, timeout: float) -> str:
    return f"the scheduler of {cluster.name} has not started within {timeout:g} s"


def _furthest(now: Startup) -> str:
    return ", ".join(f"{row.label} {row.status}" for row in now.rows[:3])
