"""idleTimeout: a cluster whose scheduler has had nothing to do for that long is deleted.

A scheduler says since when it is idle, and says another time after the shortest piece of work. It counts as idle for as
long as it has been giving the same answer, by the controller's clock; so a busy one is never taken for idle, nor one
that cannot be reached.
"""

from __future__ import annotations

from collections.abc import Iterator

from dask_operator import build
from dask_operator.actions import IDLE, Action, Ask, Delete, RecordEvent, RequeueAt
from dask_operator.model import Cluster, ObjectRef, Observed
from dask_operator.plan.view import scheduler_pod, unless_blocked
from dask_operator.resources import CLUSTER

_SHARE = 4.0
_INTERVAL = (0.5, 30.0)
_CERTAIN = 2.0


def plan_idle(cluster: Cluster, observed: Observed, now: float) -> Iterator[Action]:
    # A job's cluster goes with the job, whose program may do other things for a while.
    if not cluster.idle_timeout or cluster.job or IDLE in observed.asking:
        return
    scheduler = scheduler_pod(observed)
    if not scheduler or scheduler.phase != "Running":
        return
    interval = min(max(cluster.idle_timeout / _SHARE, _INTERVAL[0]), _INTERVAL[1])
    answer = observed.idleness
    if not answer or answer.at > now:
        yield Ask(IDLE, build.scheduler_endpoint(cluster, observed.service, scheduler), because="idleTimeout")
        return
    idle_for = answer.at - answer.since if answer.token is not None else 0.0
    if idle_for >= cluster.idle_timeout and now < answer.at + _CERTAIN:
        yield from _delete(cluster, observed, now, idle_for)
        return
    due = answer.at + interval
    if answer.token is not None:
        due = min(due, max(answer.since + cluster.idle_timeout, answer.at + _INTERVAL[0]))
    if now >= due:
        yield Ask(IDLE, build.scheduler_endpoint(cluster, observed.service, scheduler), because="idleTimeout")
    else:
        yield RequeueAt(due, because="idleTimeout")


def _delete(cluster: Cluster, observed: Observed, now: float, idle_for: float) -> Iterator[Action]:
    because = f"idle for {idle_for:.0f} s, and idleTimeout is {cluster.idle_timeout:.0f} s"
    subject = ObjectRef(CLUSTER.kind, cluster.name)
    delete = Delete(cluster.name, cluster.uid, subject, because, cluster.resource_version)
    action = unless_blocked(delete, observed, now)
    yield action
    if action is delete:
        yield RecordEvent(subject, cluster.uid, "Normal", "IdleTimeout", f"deleted: {because}")
