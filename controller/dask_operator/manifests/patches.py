"""JSON Patches and merge patches of objects that exist: edits by their users, owners, and notes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from dask_operator import names
from dask_operator.manifests.objects import (
    Manifest,
    declared_keys,
    deployment_manifest,
    group_manifest,
    group_worker,
    owner_reference,
    replicas_note,
    service_manifest,
    settable,
    worker_owners,
)
from dask_operator.model import Autoscaler, Cluster, Deployment, Group, Json, Metadata, Service
from dask_operator.resources import CLUSTER

# Fields of a Service that return to Kubernetes' default when the user removes them: all but those that Kubernetes
# allocates or that may not change.
_RESET_IN_SERVICES = (
    "allocateLoadBalancerNodePorts",
    "externalIPs",
    "externalName",
    "externalTrafficPolicy",
    "internalTrafficPolicy",
    "loadBalancerIP",
    "loadBalancerSourceRanges",
    "ports",
    "publishNotReadyAddresses",
    "selector",
    "sessionAffinity",
    "sessionAffinityConfig",
    "trafficDistribution",
    "type",
)


def owners_patch(cluster: Cluster | None, others: Sequence[Json] = ()) -> Manifest:
    """Return the patch that makes the cluster, if there is one, and `others` the owners of an object."""
    controlled = any(other.get("controller") for other in others)
    own = [owner_reference(cluster, CLUSTER) | {"controller": not controlled}] if cluster else []
    return {"metadata": {"ownerReferences": [*own, *others]}}


def worker_owners_patch(cluster: Cluster, group: Group) -> Manifest:
    """Return the patch that makes its group and its cluster the owners of a worker."""
    return {"metadata": {"ownerReferences": worker_owners(cluster, group)}}


def copied_replicas_patch(cluster: Cluster) -> Manifest:
    """Return the patch that copies the cluster's replicas, if it sets any, to its default group."""
    note = _noted({names.REPLICAS_ANNOTATION: replicas_note(cluster)})
    return note | ({} if cluster.replicas is None else replicas_patch(cluster.replicas))


def replicas_patch(number: int) -> Manifest:
    """Return the patch that sets the number of workers of a group."""
    return {"spec": {"worker": {"replicas": number}}}


def drain_timeout_patch(cluster: Cluster) -> Manifest:
    """Return the patch that gives the default group the cluster's drain timeout, or none if the cluster has none."""
    return {"spec": {"worker": {"drainTimeoutSeconds": cluster.drain_timeout}}}


def scaled_group_patch(autoscaler: Autoscaler, replicas: int, at: str, because: str) -> Manifest:
    """Return the patch by which an autoscaler scales a group, with the time and the reason."""
    return _noted({names.SCALED_ANNOTATION: f"{at} {autoscaler.name} {because}"}) | replicas_patch(replicas)


def adopted_deployment_patch(cluster: Cluster) -> Manifest:
    """Return the patch that notes the current template on another operator's Deployment."""
    return _noted({names.TEMPLATE_ANNOTATION: cluster.scheduler.hash})


def adopted_service_patch(cluster: Cluster) -> Manifest:
    """Return the patch that notes the current template on another operator's Service."""
    return _noted({names.TEMPLATE_ANNOTATION: cluster.service.hash})


def adopted_group_patch(cluster: Cluster) -> Manifest:
    """Return the patch that notes the current template on another operator's default group and keeps its replicas."""
    replicas = {names.REPLICAS_ANNOTATION: replicas_note(cluster)}
    return _noted({names.TEMPLATE_ANNOTATION: cluster.worker.hash} | replicas)


def adopted_workers_patch(group: Group) -> Manifest:
    """Return the patch that notes on a group the template of another operator's workers."""
    return _noted({names.ADOPTED_ANNOTATION: group.worker.hash})


def deployment_patch(cluster: Cluster, before: Deployment) -> list[Manifest]:
    """Return the patch that applies the user's edits to the scheduler's Deployment, which then replaces its Pod."""
    wanted = deployment_manifest(cluster)
    spec = (_put(f"/spec/{key}", wanted["spec"][key]) for key in ("strategy", "template"))
    return [*spec, *_put_metadata(wanted, cluster.scheduler.metadata, before.declared_keys)]


def service_patch(cluster: Cluster, before: Service) -> list[Manifest]:
    """Return the patch that applies the user's edits to the Service. Its address and node ports stay."""
    wanted = service_manifest(cluster)
    spec = dict.fromkeys(_RESET_IN_SERVICES) | wanted["spec"]
    metadata = _put_metadata(wanted, cluster.scheduler.metadata, before.declared_keys)
    return [*(_put(f"/spec/{key}", value) for key, value in spec.items()), *metadata]


def group_patch(cluster: Cluster, before: Group) -> list[Manifest]:
    """Return the patch that applies the user's edits to the default group's workers, but for their number."""
    worker: Manifest = {"metadata": {}} | group_worker(cluster)
    # A JSON Patch cannot add to labels that do not exist.
    labels = [] if before.metadata.labels else [_put("/metadata/labels", {})]
    metadata = _put_metadata(group_manifest(cluster), cluster.worker.metadata, before.declared_keys)
    return [*(_put(f"/spec/worker/{key}", value) for key, value in worker.items()), *labels, *metadata]


def _noted(annotations: Mapping[str, str]) -> Manifest:
    return {"metadata": {"annotations": dict(annotations)}}


def _put_metadata(wanted: Manifest, named: Metadata, declared_before: str) -> Iterator[Manifest]:
    """Yield the JSON Patch that sets the user's labels and annotations and removes those the user has dropped; others'
    stay.
    """
    own, (labels, _, annotations) = settable(named), declared_before.partition(";")
    declared = [names.DECLARED_ANNOTATION] if declared_before or declared_keys(named) else []
    notes = (names.TEMPLATE_ANNOTATION, *declared)
    fields = {"labels": (*own.labels, *labels.split()), "annotations": (*own.annotations, *annotations.split(), *notes)}
    for field, keys in fields.items():
        there = wanted["metadata"][field]
        for key in dict.fromkeys(keys):
            path = f"/metadata/{field}/{key.replace('~', '~0').replace('/', '~1')}"
            yield _put(path, there.get(key, ""))
            if key not in there:
                # Added first, because removing a missing key is an error.
                yield {"op": "remove", "path": path}


def _put(path: str, value: object) -> Manifest:
    return {"op": "add", "path": path, "value": value}
