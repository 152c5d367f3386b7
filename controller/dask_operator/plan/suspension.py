"""Suspension: a cluster whose `spec.suspend` is true has no Pods. Its Service, its groups and its status stay.

The status says that it is suspended before anything is deleted, and until nothing is left (`report/suspended`). So a
controller that is killed in between goes on, and a cluster that is resumed early starts when all of its Pods are gone.
Results go with the scheduler, so no worker drains.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from dask_operator.actions import Action, Delete
from dask_operator.model import ObjectRef
from dask_operator.plan.group import delete_workers
from dask_operator.plan.report.suspended import is_said_suspended
from dask_operator.plan.view import View, Workers, unless_blocked
from dask_operator.resources import DEPLOYMENT

_BECAUSE = "the cluster is suspended"
_GRACE = 30
"""Seconds in which a worker has to end: its own grace period is for a drain."""


def at_rest(view: View) -> View:
    """Return a suspended cluster: its groups want no workers, and what its scheduler has said counts no longer."""
    observed = replace(view.observed, survey=None, demand=None, idleness=None, progress=None)
    return replace(view, observed=observed, workers={name: _resting(each) for name, each in view.workers.items()})


def plan_suspension(view: View, now: float) -> Iterator[Action]:
    """Delete the scheduler's Deployment and all workers, once the status says that the cluster is suspended."""
    if not is_said_suspended(view):
        return
    deployment = view.deployment
    if deployment and not deployment.deleting:
        delete = Delete(deployment.name, deployment.uid, ObjectRef(DEPLOYMENT.kind, deployment.name), _BECAUSE)
        yield unless_blocked(delete, view.observed, now)
    for workers in (*view.workers.values(), *view.removed.values()):
        pods = [pod for pod in workers.pods if not pod.deleting]
        yield from delete_workers(view, workers, pods, now, _BECAUSE, grace=_GRACE)


def _resting(workers: Workers) -> Workers:
    group = replace(workers.group, replicas=0)
    # What a group that is not read has noted is not known, and no worker of it can be made.
    return replace(workers, group=replace(group, last_ordinal=workers.highest) if group.unread else group)
