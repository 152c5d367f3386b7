"""Objects that older operators left, taken over as they are: nothing restarts and no result is lost.

The older operators' scheduler Deployments, Services and groups have the names that ours have. Each of their workers is
a Deployment; it counts as one worker, and leaves as workers leave. Notes on the objects record what they were made from
when they were taken over, so that only later edits are rolled out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from dask_operator import manifests, names
from dask_operator.actions import Action, Patch
from dask_operator.model import (
    Cluster,
    Declared,
    Deployment,
    Group,
    ObjectRef,
    Observed,
    Pod,
)
from dask_operator.plan.ownership.children import children
from dask_operator.plan.view import ENDED, View, unless_blocked
from dask_operator.resources import AUTOSCALER, CLUSTER, GROUP, JOB


def folded(observed: Observed) -> Observed:
    """Return the same facts with each worker Deployment as one Pod, which has the Deployment's name and uid."""
    if not observed.worker_deployments:
        return observed
    made = {deployment.name for deployment in observed.worker_deployments}
    pods = [pod for pod in observed.pods if pod.deployment not in made]
    pods += [_worker(deployment, observed) for deployment in observed.worker_deployments]
    return replace(observed, pods=tuple(pods))


def plan_adoption(view: View, now: float) -> Iterator[Action]:
    """Note on objects of other operators what they were made from."""
    for patch in _notes(view):
        yield unless_blocked(patch, view.observed, now)


def plan_finalizers(cluster: Cluster | None, observed: Observed, now: float) -> Iterator[Action]:
    """Remove older operators' finalizers, which would make every deletion wait for an operator that is gone."""
    declared: list[tuple[str, Declared | None]] = [(CLUSTER.kind, cluster), (JOB.kind, observed.job)]
    declared += [(GROUP.kind, group) for group in observed.groups]
    declared += [(AUTOSCALER.kind, autoscaler) for autoscaler in observed.autoscalers]
    for kind, each in declared:
        # Once: a finalizer that comes back is in use, for instance by a user's own kopf program.
        if each and names.KOPF_FINALIZER in each.finalizers and names.FREED_ANNOTATION not in each.metadata.annotations:
            yield unless_blocked(_without_finalizer(kind, each), observed, now)


def _worker(deployment: Deployment, observed: Observed) -> Pod:
    pods = [p for p in observed.pods if p.deployment == deployment.name and not p.deleting and p.phase not in ENDED]
    # There is none while the Deployment replaces it.
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


def _notes(view: View) -> Iterator[Patch]:
    because = "made by another operator: it stays as it is until it is edited"
    for child in children(view):
        unread = isinstance(child.seen, Group) and child.seen.unread
        if child.seen and not unread and not child.seen.deleting and not child.seen.template:
            yield Patch(child.ref, child.adopt(view.cluster), because)
    with_deployments = {deployment.group for deployment in view.observed.worker_deployments}
    for each in view.observed.groups:
        if each.name in with_deployments and not each.adopted_template and not (each.deleting or each.unread):
            note = manifests.adopted_workers_patch(each)
            yield Patch(ObjectRef(GROUP.kind, each.name), note, because="its workers were made by another operator")


def _without_finalizer(kind: str, declared: Declared) -> Patch:
    others = [finalizer for finalizer in declared.finalizers if finalizer != names.KOPF_FINALIZER]
    note = {names.FREED_ANNOTATION: names.KOPF_FINALIZER}
    body = {"metadata": {"finalizers": others, "annotations": note, "resourceVersion": str(declared.resource_version)}}
    return Patch(ObjectRef(kind, declared.name), body, because="the operator that added this finalizer is gone")
