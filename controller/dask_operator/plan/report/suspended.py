"""Conditions of a suspended cluster and of its groups.

The Pods of a suspended cluster go before new ones come: the workers of one scheduler must not find another. So the
status says that it is suspended until nothing is left, and nothing is created before it says that it is not. The
cluster of a DaskJob is suspended with its job, whatever its own spec says, so that a program and its scheduler go
together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dask_operator import names
from dask_operator.model import Cluster, Job, Pod, Problem
from dask_operator.plan.report import ready
from dask_operator.plan.report.conditions import (
    PROGRESSING,
    SCHEDULER_READY,
    SUSPENDED,
    WORKERS_READY,
    Condition,
    by_type,
    is_true,
)
from dask_operator.plan.view import ENDED, View, Workers, cluster_status

CLUSTER_SUSPENDED = Problem("ClusterSuspended", "the cluster is suspended, and the number of workers stays as it is")
"""The reason for which an autoscaler scales nothing."""
QUEUED = "Queued"
"""The reason for which something is suspended that waits in a queue. Python knows it as well."""
_NAMED = 3
"""The number of Pods that a message names."""


def is_suspended(view: View) -> bool:
    """Return whether a cluster is to have no Pods, or its status has not said yet that it was resumed."""
    return _decides(view).suspended or is_said_suspended(view)


def rests(view: View) -> bool:
    """Return whether a cluster is to have no Pods, or has some that are from before it was resumed."""
    return _decides(view).suspended or (is_said_suspended(view) and bool(_pods(view)))


def is_said_suspended(view: View) -> bool:
    """Return whether the cluster's status says that it is suspended."""
    return is_true(by_type(cluster_status(view.cluster, view.observed)), SUSPENDED)


def suspended_conditions(view: View) -> Iterator[Condition]:
    """Yield the conditions of a suspended cluster that a running one has too, and `Suspended`."""
    pods, decides = _pods(view), _decides(view)
    yield ready.suspended(_why(view, pods))
    yield Condition(SCHEDULER_READY, False, SUSPENDED, "the cluster is suspended")
    yield Condition(WORKERS_READY, False, SUSPENDED, "the cluster is suspended")
    yield _progressing(len(pods))
    yield Condition(SUSPENDED, True, reason_of(decides) if decides.suspended else "Resuming", _why(view, pods))


def suspended_group_conditions(workers: Workers) -> Iterator[Condition]:
    """Yield the conditions of a group of a suspended cluster."""
    yield ready.suspended("the cluster is suspended")
    yield Condition(WORKERS_READY, False, SUSPENDED, "the cluster is suspended")
    yield _progressing(len(workers.pods))


def resumed(view: View) -> Iterator[Condition]:
    """Yield the condition that the cluster is not suspended, once it has been."""
    if SUSPENDED in by_type(cluster_status(view.cluster, view.observed)):
        yield Condition(SUSPENDED, False, "Resumed", "spec.suspend is not true, and the cluster runs as a new one")


def reason_of(about: Cluster | Job) -> str:
    """Return the reason of the condition that a cluster or a job is suspended."""
    return QUEUED if about.waits else SUSPENDED


def set_true(who: str) -> str:
    """Return a sentence that `spec.suspend` is true, and who has set it, as far as that is known."""
    return f"spec.suspend is true{who and f', set by {who}'}"


def _decides(view: View) -> Cluster | Job:
    """Return the object whose user decides whether the cluster is suspended."""
    job = view.observed.job
    return job if job and job.uid in view.cluster.owners else view.cluster


def _progressing(ending: int) -> Condition:
    if ending:
        return Condition(PROGRESSING, True, "Suspending", f"{ending} Pods end")
    return Condition(PROGRESSING, False, SUSPENDED, "the cluster is suspended and has no Pods")


def _why(view: View, pods: Sequence[Pod]) -> str:
    if not _decides(view).suspended:
        left = ", ".join(pod.name for pod in pods[:_NAMED]) + (", …" if len(pods) > _NAMED else "")
        fix = "if the node of one is dead, delete it with --force"
        return f"the cluster was resumed, and starts as a new one when the Pods from before are gone: {left}; {fix}"
    waits = _decides(view).waits
    why = waits or set_true(_decides(view).suspended_by)
    if waits and not pods:
        return waits
    if not pods:
        return f"{why}: the cluster has no Pods; set it to false to start the cluster as a new one"
    workers = sum(pod.component == names.WORKER for pod in pods)
    return f"{why}: the scheduler and {workers} workers end, with the results that they hold"


def _pods(view: View) -> Sequence[Pod]:
    """Return the cluster's Pods but for a job's runner. A Pod that only has its labels is somebody else's."""
    everyone = (*view.workers.values(), *view.removed.values())
    of_scheduler = (pod for pod in view.observed.pods if pod.component == names.SCHEDULER and pod.phase not in ENDED)
    return [*(pod for pod in of_scheduler if pod.owners), *(pod for workers in everyone for pod in workers.pods)]
