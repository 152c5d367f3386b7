"""A DaskCluster: its scheduler's Service and Deployment and its default group, as its user wants them now."""

from __future__ import annotations

from collections.abc import Iterator

from dask_operator import manifests
from dask_operator.actions import Action, Create, Patch
from dask_operator.model import Cluster, Group, ObjectRef
from dask_operator.plan.ownership.children import Child, children
from dask_operator.plan.report.suspended import is_suspended
from dask_operator.plan.view import View, unless_blocked
from dask_operator.resources import DEPLOYMENT, GROUP


def plan_cluster(view: View, now: float) -> Iterator[Action]:
    """Create missing children, patch edited ones, and copy edited numbers to the default group."""
    rests = is_suspended(view)
    for child in children(view):
        if rests and child.ref.kind == DEPLOYMENT.kind:
            continue
        if action := _wanted(view.cluster, child):
            yield unless_blocked(action, view.observed, now)
    group = view.default_group
    if group and group.copied not in ("", manifests.replicas_note(view.cluster)):
        yield unless_blocked(_copy_replicas(view.cluster, group), view.observed, now)
    if group and not group.unread and _drain_timeout(group) != view.cluster.drain_timeout:
        yield unless_blocked(_set_drain_timeout(view.cluster, group), view.observed, now)


def _wanted(cluster: Cluster, child: Child) -> Create | Patch | None:
    if not child.seen:
        return Create(child.make(cluster), child.ref, because="the cluster has none")
    # An object that another operator made has no template until it is taken over.
    if child.seen.template in ("", child.template) or child.seen.deleting:
        return None
    # Recreate stops the scheduler, and with it all results, before the new Pod is created. A dry run of the new Pod
    # keeps the old one if the API server refuses the new one.
    pod = manifests.scheduler_pod_manifest(cluster) if child.ref.kind == DEPLOYMENT.kind else None
    return Patch(child.ref, child.edit(cluster, child.seen), "its template was edited", pod)


def _copy_replicas(cluster: Cluster, group: Group) -> Patch:
    # Once per change of the cluster's replicas, so that a later `kubectl scale daskworkergroup` keeps its effect.
    because = f"the cluster's replicas went from {group.copied} to {manifests.replicas_note(cluster)}"
    return Patch(ObjectRef(GROUP.kind, group.name), manifests.copied_replicas_patch(cluster), because)


def _drain_timeout(group: Group) -> float | None:
    return None if group.drain_timeout_unset else group.drain_timeout


def _set_drain_timeout(cluster: Cluster, group: Group) -> Patch:
    seconds = "none" if cluster.drain_timeout is None else f"{cluster.drain_timeout} s"
    because = f"the drain timeout of the cluster's workers is {seconds}"
    return Patch(ObjectRef(GROUP.kind, group.name), manifests.drain_timeout_patch(cluster), because)
