"""What older operators left: taken over as it is, so that nothing restarts and no result is lost.

Their scheduler Deployments, Services and groups have the names that ours have. Each of their workers is a Deployment;
it counts as a worker, and goes as workers go. Notes on the objects say what they were made from when they were taken
over, so that only what a user edits afterwards is rolled out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from dask_operator import build, names
from dask_operator.actions import Action, Patch
from dask_operator.model import (
    Cluster,
    Declared,
    Deployment,
    Group,
    Json,
    ObjectRef,
    Observed,
    Pod,
    Service,
)
from dask_operator.plan.view import ENDED, default_group, owned, unless_blocked
from dask_operator.resources import AUTOSCALER, CLUSTER, DEPLOYMENT, GROUP, JOB, SERVICE


def folded(observed: Observed) -> Observed:
    """The same world with each worker that is a Deployment as one Pod, which has the Deployment's name and uid."""
    if not observed.worker_deployments:
        return observed
    made = {deployment.name for deployment in observed.worker_deployments}
    pods = [pod for pod in observed.pods if pod.deployment not in made]
    pods += [_worker(deployment, observed) for deployment in observed.worker_deployments]
    return replace(observed, pods=tuple(pods))


def plan_adoption(cluster: Cluster, observed: Observed, now: float) -> Iterator[Action]:
    for patch in _notes(cluster, observed):
        yield unless_blocked(patch, observed, now)


def plan_finalizers(cluster: Cluster | None, observed: Observed, now: float) -> Iterator[Action]:
    """Nothing waits for an operator that is gone: neither what is being deleted nor what will be."""
    declared: list[tuple[str, Declared | None]] = [(CLUSTER.kind, cluster), (JOB.kind, observed.job)]
    declared += [(GROUP.kind, group) for group in observed.groups]
    declared += [(AUTOSCALER.kind, autoscaler) for autoscaler in observed.autoscalers]
    for kind, each in declared:
        # Once: who puts it back, such as a user's own program, has a use for it.
        if each and names.KOPF_FINALIZER in each.finalizers and names.FREED_ANNOTATION not in each.metadata.annotations:
            yield unless_blocked(_without_finalizer(kind, each), observed, now)


def _worker(deployment: Deployment, observed: Observed) -> Pod:
    pods = [p for p in observed.pods if p.deployment == deployment.name and not p.deleting and p.phase not in ENDED]
    # While its Pod is being made anew there is none.
    pod = max(pods, key=lambda pod: pod.created, default=Pod(deployment.namespace, "", "", 0, phase="Pending"))
    return replace(
        pod,
        name=deployment.name,
        uid=deployment.uid,
        resource_version=deployment.resource_version,
        created=deployment.created,
        deleting=deployment.deleting,
        owners=deployment.owners,
        cluster=deployment.cluster,
        component=names.WORKER,
        group=deployment.group,
        deployment=deployment.name,
    )


def _notes(cluster: Cluster, observed: Observed) -> Iterator[Patch]:
    scheduler, group = names.scheduler(cluster.name), default_group(cluster, observed)
    group = None if group and group.unread else group
    made: tuple[tuple[ObjectRef, Deployment | Service | Group | None, Callable[[Cluster], Json]], ...] = (
        (ObjectRef(DEPLOYMENT.kind, scheduler), observed.deployment, build.adopted_scheduler),
        (ObjectRef(SERVICE.kind, scheduler), observed.service, build.adopted_service),
        (ObjectRef(GROUP.kind, names.default_group(cluster.name)), group, build.adopted_group),
    )
    for subject, child, noted in made:
        if child and owned(child, cluster) and not child.deleting and not child.template:
            yield Patch(
                subject, noted(cluster), because="made by another operator: it stays as it is until it is edited"
            )
    with_deployments = {deployment.group for deployment in observed.worker_deployments}
    for each in observed.groups:
        if each.name in with_deployments and not each.adopted_template and not (each.deleting or each.unread):
            note = build.adopted_workers(each)
            yield Patch(ObjectRef(GROUP.kind, each.name), note, because="its workers were made by another operator")


def _without_finalizer(kind: str, declared: Declared) -> Patch:
    others = [finalizer for finalizer in declared.finalizers if finalizer != names.KOPF_FINALIZER]
    note = {names.FREED_ANNOTATION: names.KOPF_FINALIZER}
    body = {"metadata": {"finalizers": others, "annotations": note, "resourceVersion": str(declared.resource_version)}}
    return Patch(ObjectRef(kind, declared.name), body, because="the operator that put its finalizer there is gone")
