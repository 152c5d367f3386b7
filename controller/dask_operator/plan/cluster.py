"""A DaskCluster: its scheduler Deployment and Service, its default group, and that every group is its own."""

from __future__ import annotations

from collections.abc import Iterator

from dask_operator import build, names
from dask_operator.actions import DEPLOYMENT, GROUP, SERVICE, Action, Create, Patch, Wake
from dask_operator.model import Cluster, Group, Object, Observed, Subject
from dask_operator.plan.view import blocked, default_group, owned


def plan_cluster(cluster: Cluster, observed: Observed, now: float) -> Iterator[Action]:
    group = default_group(cluster, observed)
    scheduler, workers = names.scheduler(cluster.name), names.default_group(cluster.name)
    children: tuple[tuple[Subject, Object | None], ...] = (
        (Subject(SERVICE.kind, scheduler), observed.service),
        (Subject(DEPLOYMENT.kind, scheduler), observed.deployment),
        (Subject(GROUP.kind, workers), group),
    )
    for subject, child in children:
        if not owned(child, cluster):
            yield _unless_blocked(_create(cluster, subject), observed, now)
    for each in observed.groups:
        if not each.owners and not each.deleting:
            yield _unless_blocked(_adopt(cluster, each), observed, now)
    if group and group.copied_replicas != cluster.replicas:
        yield _unless_blocked(_copy_replicas(cluster, group), observed, now)


def _unless_blocked(action: Create | Patch, observed: Observed, now: float) -> Action:
    if failure := blocked(action.subject, observed, now):
        return Wake(failure.until, because=f"{action.subject.kind} {action.subject.name}: {failure.problem.message}")
    return action


def _create(cluster: Cluster, subject: Subject) -> Create:
    manifest = {
        SERVICE.kind: build.scheduler_service,
        DEPLOYMENT.kind: build.scheduler_deployment,
        GROUP.kind: build.default_group,
    }[subject.kind](cluster)
    return Create(manifest, subject, because="the cluster has none")


def _adopt(cluster: Cluster, group: Group) -> Patch:
    return Patch(Subject(GROUP.kind, group.name), build.group_owner(cluster), because="goes with its cluster")


def _copy_replicas(cluster: Cluster, group: Group) -> Patch:
    # Once per change of the cluster's replicas: what `kubectl scale daskworkergroup` set in between stays.
    because = f"the cluster's replicas went from {group.copied_replicas} to {cluster.replicas}"
    return Patch(Subject(GROUP.kind, group.name), build.group_replicas(cluster), because)
