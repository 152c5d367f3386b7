"""The wait for a cluster's scheduler, and the error that says why it does not start."""

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
from dask_kubernetes.operator.diagnosis.facts import Snapshot, suspended
from dask_kubernetes.operator.diagnosis.problems import NOT_TAKEN_UP
from dask_kubernetes.operator.diagnosis.status import Startup, service_ready, startup

Report = Callable[[Startup], None]
_SHORTEST_PAUSE = 0.1
_LONGEST_PAUSE = 1.0


def poll_interval(waited: float) -> float:
    """Return the poll interval in seconds: a tenth of the time waited, but 0.1 to 1 s.

    Many users may wait long, as for an image, and each poll costs the API server several requests.
    """
    return min(max(waited / 10, _SHORTEST_PAUSE), _LONGEST_PAUSE)


async def scheduler_is_up(cluster: DaskCluster, timeout: float, report: Report) -> Snapshot:
    """Wait until the scheduler is ready and its Service has an address, and return the cluster's objects.

    `report` is called with the state at each poll.

    Raises
    ------
    OperatorNotRespondingError
        If no operator acts on the DaskCluster within `timeout` seconds.
    SchedulerStartupError, CrashLoopBackOffError
        After `timeout` seconds, or at once if waiting cannot help; with the Pod's own reason.
    ClusterNotFoundError
        If the DaskCluster is deleted meanwhile.
    """
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while True:
        snapshot = await cluster.snapshot()
        now = startup(snapshot, registered=0)
        report(now)
        if now.scheduler_ready and service_ready(snapshot.service) and not suspended(snapshot.cluster or {}):
            return snapshot
        hopeless = now.problem is not None and now.problem.fatal
        waited = loop.time() - begun
        if hopeless or waited > timeout:
            raise await _failure(cluster, snapshot, now, timeout)
        await asyncio.sleep(poll_interval(waited))


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


_PATIENCE = "If images take longer to pull, increase resource_timeout."


def _never(cluster: DaskCluster) -> str:
    return f"the scheduler of {cluster.name} cannot start"


def _late(cluster: DaskCluster, timeout: float) -> str:
    return f"the scheduler of {cluster.name} has not started within {timeout:g} s"


def _furthest(now: Startup) -> str:
    return ", ".join(f"{row.label} {row.status}" for row in now.rows[:3])
