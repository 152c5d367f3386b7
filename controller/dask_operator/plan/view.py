"""Questions that several plans ask of what was observed."""

from __future__ import annotations

from collections.abc import Sequence

from dask_operator import names
from dask_operator.actions import Action, Create, Delete, Patch, RequeueAt
from dask_operator.model import Cluster, Declared, Failure, Group, Json, Object, ObjectRef, Observed, Pod, Problem
from dask_operator.resources import CLUSTER

ENDED = ("Failed", "Succeeded")
RECOVERED_AFTER = 60.0
"""Seconds for which a container that kept crashing must run until it is taken for sound."""


def owned(child: Object | None, owner: Object) -> bool:
    """Whether a child is this owner's: made for it, or nobody's. One of a deleted namesake is about to vanish."""
    if isinstance(child, Declared):
        # What a user has declared may have owners of other kinds, such as a workflow's.
        return child.cluster_uid in ("", owner.uid)
    return child is not None and (not child.owners or owner.uid in child.owners)


def status(about: Declared, kind: str, observed: Observed) -> Json:
    """An object's status, completed by what this process wrote last: older definitions keep none or a part of it."""
    written = observed.written.get(ObjectRef(kind, about.name))
    return {**written.status, **about.status} if written and written.uid == about.uid else about.status


def cluster_status(cluster: Cluster, observed: Observed) -> Json:
    return status(cluster, CLUSTER.kind, observed)


def workers(group: Group, observed: Observed) -> list[Pod]:
    """A group's worker Pods in any state, but for those of a deleted namesake."""
    # As `owned`, in one expression: there may be ten thousand, and every plan asks several times.
    name, uid = group.name, group.uid
    return [pod for pod in observed.pods if pod.group == name and (uid in pod.owners or not pod.owners)]


def removed_groups(cluster: Cluster, observed: Observed) -> dict[str, list[Pod]]:
    """By group, the workers of the cluster whose group is there no more, or is going."""
    groups = {group.name: group for group in observed.groups if not group.deleting and owned(group, cluster)}
    found: dict[str, list[Pod]] = {}
    for pod in observed.pods:
        if cluster.uid not in pod.owners or pod.component != names.WORKER:
            continue
        group = groups.get(pod.group)
        if not (group and owned(pod, group)):
            found.setdefault(pod.group, []).append(pod)
    return found


def live(pods: Sequence[Pod]) -> list[Pod]:
    """The Pods that run or may yet run."""
    return [pod for pod in pods if not pod.deleting and pod.phase not in ENDED]


def leaving(pod: Pod, observed: Observed) -> bool:
    return pod.uid in observed.retired or pod.uid in observed.retiring


def scheduler_pod(observed: Observed) -> Pod | None:
    """The scheduler's Pod, the newest where one is being replaced."""
    pods = [pod for pod in live(observed.pods) if pod.component == names.SCHEDULER]
    return max(pods, key=lambda pod: pod.created, default=None)


def problem(pod: Pod, now: float) -> Problem | None:
    """What is wrong with a Pod; between two crashes too."""
    if pod.deleting or pod.phase == "Succeeded":
        return None
    sound = now >= pod.restarted + RECOVERED_AFTER if pod.restarted else pod.ready
    return None if sound else pod.problem


def default_group(cluster: Cluster, observed: Observed) -> Group | None:
    name = names.default_group(cluster.name)
    return next((g for g in observed.groups if g.name == name and not g.deleting and owned(g, cluster)), None)


def blocked(subject: ObjectRef, observed: Observed, now: float) -> Failure | None:
    """The failure that says to wait before this is tried again."""
    failure = observed.failures.get(subject)
    return failure if failure and now < failure.until else None


def unless_blocked(action: Create | Patch | Delete, observed: Observed, now: float) -> Action:
    """The action, or the time at which it may be tried again."""
    if failure := blocked(action.subject, observed, now):
        because = f"{action.subject.kind} {action.subject.name}: {failure.problem.message}"
        return RequeueAt(failure.until, because, holds=action.subject)
    return action
