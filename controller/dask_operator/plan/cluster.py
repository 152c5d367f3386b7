"""A DaskCluster: its scheduler Deployment and Service and its default group, as its user wants them now."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from dask_operator import build, names
from dask_operator.actions import Action, Create, Patch
from dask_operator.model import Cluster, Deployment, Group, Json, ObjectRef, Observed, Service
from dask_operator.plan.view import default_group, owned, unless_blocked
from dask_operator.resources import DEPLOYMENT, GROUP, SERVICE


class _Child(NamedTuple):
    """One object of a cluster: what there is of it, how it is made and edited, and from what (`model.Template`)."""

    kind: str
    name: str
    seen: Deployment | Service | Group | None
    make: Callable[[Cluster], Json]
    edit: Callable[[Cluster, Any], list[dict[str, object]]]
    template: str


def plan_cluster(cluster: Cluster, observed: Observed, now: float) -> Iterator[Action]:
    for child in _children(cluster, observed):
        if action := _wanted(cluster, child):
            yield unless_blocked(action, observed, now)
    group = default_group(cluster, observed)
    if group and group.copied not in ("", build.replicas_note(cluster)):
        yield unless_blocked(_copy_replicas(cluster, group), observed, now)


def _children(cluster: Cluster, observed: Observed) -> tuple[_Child, ...]:
    scheduler, workers = names.scheduler(cluster.name), names.default_group(cluster.name)
    return (
        _Child(
            SERVICE.kind,
            scheduler,
            observed.service,
            build.scheduler_service,
            build.edited_service,
            build.service_template(cluster),
        ),
        _Child(
            DEPLOYMENT.kind,
            scheduler,
            observed.deployment,
            build.scheduler_deployment,
            build.edited_scheduler,
            build.scheduler_template(cluster),
        ),
        _Child(
            GROUP.kind,
            workers,
            default_group(cluster, observed),
            build.default_group,
            build.edited_group,
            build.group_template(cluster),
        ),
    )


def _wanted(cluster: Cluster, child: _Child) -> Create | Patch | None:
    subject = ObjectRef(child.kind, child.name)
    if not child.seen or not owned(child.seen, cluster):
        return Create(child.make(cluster), subject, because="the cluster has none")
    # What another operator made has no template until it is adopted.
    if child.seen.template in ("", child.template) or child.seen.deleting:
        return None
    # A scheduler is stopped before its successor is made, and forgets all results: so not for one that is refused.
    pod = build.scheduler_pod(cluster) if child.kind == DEPLOYMENT.kind else None
    return Patch(subject, child.edit(cluster, child.seen), "its template was edited", pod)


def _copy_replicas(cluster: Cluster, group: Group) -> Patch:
    # Once per change of the cluster's replicas: what `kubectl scale daskworkergroup` set in between stays.
    because = f"the cluster's replicas went from {group.copied} to {build.replicas_note(cluster)}"
    return Patch(ObjectRef(GROUP.kind, group.name), build.group_replicas(cluster), because)
