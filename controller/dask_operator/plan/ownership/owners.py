"""Owner references, by which Kubernetes' garbage collector deletes what belongs to a cluster together with it.

Groups and autoscalers belong to the cluster that they name, and no longer to one that they named before. Objects that
were made for a cluster and have lost their owner, as by `kubectl delete --cascade=orphan`, get it back.
"""

from __future__ import annotations

from collections.abc import Iterator

from dask_operator import manifests
from dask_operator.actions import Action, Patch
from dask_operator.model import Autoscaler, Cluster, Deployment, Group, ObjectRef, Observed, Service
from dask_operator.plan.view import View, Workers, unless_blocked
from dask_operator.resources import AUTOSCALER, DEPLOYMENT, GROUP, POD, SERVICE


def plan_owners(view: View, now: float) -> Iterator[Action]:
    """Give the cluster back what it has lost."""
    patches = [*_of_declared(view.cluster, view.observed), *_of_made(view)]
    for workers in view.workers.values():
        patches += _of_workers(view.cluster, workers)
    for patch in patches:
        yield unless_blocked(patch, view.observed, now)


def plan_owners_without_cluster(observed: Observed, now: float) -> Iterator[Action]:
    """Take the owner from groups and autoscalers that name another cluster now."""
    for patch in _of_declared(None, observed):
        yield unless_blocked(patch, observed, now)


def _of_declared(cluster: Cluster | None, observed: Observed) -> Iterator[Patch]:
    children: list[tuple[str, Group | Autoscaler]] = [(GROUP.kind, group) for group in observed.groups]
    children += [(AUTOSCALER.kind, autoscaler) for autoscaler in observed.autoscalers]
    for kind, child in children:
        if child.deleting or child.unread or not (child.moved or (cluster and not child.owners)):
            continue
        because = "it names another cluster now" if child.moved else "it belongs to its cluster"
        yield Patch(ObjectRef(kind, child.name), manifests.owners_patch(cluster, child.other_owners), because)


def _of_made(view: View) -> Iterator[Patch]:
    made: tuple[tuple[str, Deployment | Service | None], ...] = (
        (DEPLOYMENT.kind, view.deployment),
        (SERVICE.kind, view.service),
    )
    for kind, child in made:
        if child and not child.owners and not child.deleting:
            yield Patch(ObjectRef(kind, child.name), manifests.owners_patch(view.cluster), "it belongs to its cluster")


def _of_workers(cluster: Cluster, workers: Workers) -> Iterator[Patch]:
    group = workers.group
    if group.unread:
        return
    for pod in workers.disowned:
        if pod.deleting or not set(pod.owners) <= {group.uid}:
            continue
        if pod.deployment and pod.owners:
            continue  # another operator's, which gives it one owner
        ref = ObjectRef(DEPLOYMENT.kind, pod.deployment) if pod.deployment else ObjectRef(POD.kind, pod.name)
        yield Patch(ref, manifests.worker_owners_patch(cluster, group), "it belongs to its group")
