"""Workloads, the objects by which something waits in a queue of Kueue: what they say, and what they are told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dask_operator import names
from dask_operator.actions import Action, SetStatus
from dask_operator.model import Cluster, Job, Json, ObjectRef, Observed, Placement, Workload
from dask_operator.parse import rfc3339
from dask_operator.plan.view import ENDED, unless_blocked
from dask_operator.resources import CLUSTER, JOB, WORKLOAD, Resource

RESERVED, ADMITTED, EVICTED, FINISHED = "QuotaReserved", "Admitted", "Evicted", "Finished"
PODS_READY, REQUEUED = "PodsReady", "Requeued"
"""Conditions of a Workload."""
_AT_ONCE = ("Preempted", "NodeFailures")
"""The evictions after which Kueue lets a Workload wait again without a pause."""


def kind_of(about: Cluster | Job) -> Resource:
    """Return the kind of an object that waits in a queue."""
    return JOB if isinstance(about, Job) else CLUSTER


def reference(about: Cluster | Job) -> ObjectRef:
    """Return the reference to an object's Workload."""
    return ObjectRef(WORKLOAD.kind, names.workload(kind_of(about).kind, about.name, about.uid))


def holds(known: Workload) -> bool:
    """Return whether what a Workload asks for is admitted, and has not been evicted or ended since."""
    gone = known.deleting or known.is_true(EVICTED) or known.is_true(FINISHED)
    return known.is_true(ADMITTED) and not gone


def workload_of(about: Cluster | Job, observed: Observed) -> Workload | None:
    """Return an object's Workload. Anybody may make one that has its uid among the owners."""
    name = reference(about).name
    return next((each for each in observed.workloads if each.name == name and about.uid in each.owners), None)


def pods_left(observed: Observed) -> bool:
    """Return whether Pods may still use the quota. A Pod that only has the cluster's labels is somebody else's."""
    return any(pod.owners and pod.phase not in ENDED for pod in observed.pods)


def placement_of(known: Workload, pod_set: str, observed: Observed) -> Placement:
    """Return the nodes that are chosen for the Pods of a set, any if none are or their flavors are not known."""
    assignment, flavors = known.assignments.get(pod_set), observed.queues.flavors if observed.queues else {}
    placements = [flavors[name].placement for name in (assignment.flavors if assignment else ()) if name in flavors]
    tolerations: list[Json] = []
    for each in placements:
        tolerations += [toleration for toleration in each.tolerations if toleration not in tolerations]
    return Placement(tuple(label for each in placements for label in each.node_selector), tuple(tolerations))


def give_back(known: Workload, observed: Observed, now: float) -> Action:
    """Return the write by which an evicted Workload gives its quota back and waits again."""
    evicted = known.conditions[EVICTED]
    reason, message = str(evicted.get("reason")), str(evicted.get("message"))
    changes = {
        RESERVED: ("False", "Pending", message),
        ADMITTED: ("False", "NoReservation", "the workload has no reservation"),
        PODS_READY: ("False", "WaitForStart", "it has no Pods"),
        REQUEUED: ("True" if reason in _AT_ONCE else "False", reason, message),
    }
    return say(known, changes, observed, now, {"admission": None})


def say(
    known: Workload,
    changes: Mapping[str, tuple[str, str, str]],
    observed: Observed,
    now: float,
    others: Mapping[str, Any] = {},
) -> Action:
    """Return the write of conditions of a Workload. They are one list, so it is for the state that was seen."""
    conditions = {
        **known.conditions,
        **{type_: _condition(known, type_, *change, now) for type_, change in changes.items()},
    }
    subject = ObjectRef(WORKLOAD.kind, known.name)
    body = {**others, "conditions": list(conditions.values())}
    because = ", ".join(f"{type_}: {status_}" for type_, (status_, *_) in changes.items())
    write = SetStatus(subject, body, because, resource_version=known.resource_version)
    return unless_blocked(write, observed, now)


def _condition(known: Workload, type_: str, status_: str, reason: str, message: str, now: float) -> Json:
    before = known.conditions.get(type_, {})
    since = before.get("lastTransitionTime") if before.get("status") == status_ else None
    return {
        "type": type_,
        "status": status_,
        "reason": reason,
        "message": message,
        "lastTransitionTime": since or rfc3339(now),
    }
