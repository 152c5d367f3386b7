"""idleTimeout: deletes a cluster whose scheduler has had nothing to do for that long.

A scheduler reports when its idle period began; any work starts a new period. A cluster counts as idle for as long as
its scheduler has given the same answer, by the controller's clock. So a busy scheduler is never taken for idle, and
neither is one that cannot be reached.
"""

from __future__ import annotations

from collections.abc import Iterator

from dask_operator import manifests
from dask_operator.actions import IDLE, Action, Ask, Delete, RecordEvent, RequeueAt
from dask_operator.model import ObjectRef, Pod
from dask_operator.plan.view import View, unless_blocked
from dask_operator.resources import CLUSTER

_SHARE = 4.0
_INTERVAL = (0.5, 30.0)
_CERTAIN = 2.0


def plan_idle(view: View, now: float) -> Iterator[Action]:
    """Ask the scheduler whether it is idle, and delete a cluster that has been idle for long enough."""
    cluster, observed = view.cluster, view.observed
    # A job's cluster is deleted with the job, whose program may do other things for a while.
    if not cluster.idle_timeout or cluster.job or IDLE in observed.asking:
        return
    scheduler = view.scheduler
    if not scheduler or scheduler.phase != "Running":
        return
    interval = min(max(cluster.idle_timeout / _SHARE, _INTERVAL[0]), _INTERVAL[1])
    answer = observed.idleness
    if not answer or answer.at > now:
        yield _ask(view, scheduler)
        return
    idle_for = answer.at - answer.since if answer.token is not None else 0.0
    if idle_for >= cluster.idle_timeout and now < answer.at + _CERTAIN:
        yield from _delete(view, now, idle_for)
        return
    due = answer.at + interval
    if answer.token is not None:
        due = min(due, max(answer.since + cluster.idle_timeout, answer.at + _INTERVAL[0]))
    yield _ask(view, scheduler) if now >= due else RequeueAt(due, because="idleTimeout")


def _ask(view: View, scheduler: Pod) -> Ask:
    endpoint = manifests.scheduler_endpoint(view.cluster, view.observed.service, scheduler)
    return Ask(IDLE, endpoint, because="idleTimeout")


def _delete(view: View, now: float, idle_for: float) -> Iterator[Action]:
    cluster = view.cluster
    because = f"idle for {idle_for:.0f} s, and idleTimeout is {cluster.idle_timeout:.0f} s"
    ref = ObjectRef(CLUSTER.kind, cluster.name)
    delete = Delete(cluster.name, cluster.uid, ref, because, cluster.resource_version)
    action = unless_blocked(delete, view.observed, now)
    yield action
    if action is delete:
        yield RecordEvent(ref, cluster.uid, "Normal", "IdleTimeout", f"deleted: {because}")
