"""What belongs to a cluster goes with it.

Groups and autoscalers go with the one that they name, and no longer with one that they named before. What was made for
a cluster and has lost its owner, as by `kubectl delete --cascade=orphan`, gets it back.
"""

from __future__ import annotations

from collections.abc import Iterator

from dask_operator import build
from dask_operator.actions import Action, Patch
from dask_operator.model import Autoscaler, Cluster, Deployment, Group, ObjectRef, Observed, Service
from dask_operator.plan.view import owned, unless_blocked
from dask_operator.resources import AUTOSCALER, DEPLOYMENT, GROUP, POD, SERVICE


def plan_owners(cluster: Cluster | None, observed: Observed, now: float) -> Iterator[Action]:
    """`cluster`: the one that they name; None if there is none such, or not yet."""
    patches = [*_of_declared(cluster, observed)]
    if cluster:
        patches += [*_of_made(cluster, observed), *_of_workers(cluster, observed)]
    for patch in patches:
        yield unless_blocked(patch, observed, now)


def _of_declared(cluster: Cluster | None, observed: Observed) -> Iterator[Patch]:
    children: list[tuple[str, Group | Autoscaler]] = [(GROUP.kind, group) for group in observed.groups]
    children += [(AUTOSCALER.kind, autoscaler) for autoscaler in observed.autoscalers]
    for kind, child in children:
        if child.deleting or child.unread or not (child.moved or (cluster and not child.owners)):
            continue
        because = "names another cluster now" if child.moved else "goes with its cluster"
        yield Patch(ObjectRef(kind, child.name), build.owned_by(cluster, child.other_owners), because)


def _of_made(cluster: Cluster, observed: Observed) -> Iterator[Patch]:
    """The scheduler's Deployment and Service."""
    made: tuple[tuple[str, Deployment | Service | None], ...] = (
        (DEPLOYMENT.kind, observed.deployment),
        (SERVICE.kind, observed.service),
    )
    for kind, child in made:
        if child and not child.owners and not child.deleting:
            yield Patch(ObjectRef(kind, child.name), build.owned_by(cluster), because="goes with its cluster")


def _of_workers(cluster: Cluster, observed: Observed) -> Iterator[Patch]:
    """A worker is its group's and its cluster's."""
    groups = {group.name: group for group in observed.groups if not group.deleting and owned(group, cluster)}
    for pod in observed.pods:
        # First what tells of nearly all, as there may be ten thousand.
        if cluster.uid in pod.owners or not (group := groups.get(pod.group)):
            continue
        if pod.deleting or group.unread or not set(pod.owners) <= {group.uid}:
            continue
        if pod.deployment and pod.owners:
            continue  # by another operator, which gives it one owner
        subject = ObjectRef(DEPLOYMENT.kind, pod.deployment) if pod.deployment else ObjectRef(POD.kind, pod.name)
        yield Patch(subject, build.owned_by_group(cluster, group), because="goes with its group")
