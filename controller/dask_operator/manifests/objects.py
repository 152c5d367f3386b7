"""Manifests of the objects that the controller creates.

A child has its parent's labels and annotations, then those that the parent's spec sets on it, then the reserved ones;
later ones win. Names and labels are in `names`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dask_operator import agent, names
from dask_operator.manifests.addresses import scheduler_address_from
from dask_operator.manifests.environment import with_env, with_preload
from dask_operator.manifests.grace import drain_seconds, with_grace_period
from dask_operator.manifests.ipv6 import listening_on_ipv6
from dask_operator.model import Cluster, Declared, Group, Job, Json, Metadata, Object, Placement, Service
from dask_operator.resources import CLUSTER, DEPLOYMENT, EVENT, GROUP, JOB, POD, SERVICE, Resource

Manifest = dict[str, Any]
# Two schedulers at once would split the workers, and clients expect exactly one.
_STRATEGY = {"type": "Recreate"}
# A mesh's sidecar breaks Dask's own protocol, unless the user has configured it.
_ISTIO_OFF = Metadata(labels={names.ISTIO_LABEL: "false"})
_UNSAID = "unsaid"
_LONGEST_NAME = 253


def declared_keys(metadata: Metadata) -> str:
    """Return the keys of the labels and annotations that a user sets on a child, as the child notes them."""
    own = settable(metadata)
    return f"{' '.join(sorted(own.labels))};{' '.join(sorted(own.annotations))}" if own != Metadata() else ""


def deployment_manifest(cluster: Cluster) -> Manifest:
    """Return the scheduler's Deployment."""
    metadata = _scheduler_metadata(cluster)
    return _manifest(
        DEPLOYMENT,
        _object_meta(
            names.scheduler(cluster.name),
            cluster,
            CLUSTER,
            metadata,
            _notes(cluster.scheduler.hash, cluster.scheduler.metadata),
        ),
        {
            "replicas": 1,
            "strategy": _STRATEGY,
            "selector": {"matchLabels": _scheduler_selector(cluster)},
            "template": _scheduler_pod(cluster),
        },
    )


def service_manifest(cluster: Cluster) -> Manifest:
    """Return the scheduler's Service."""
    metadata, notes = _scheduler_metadata(cluster), _notes(cluster.service.hash, cluster.scheduler.metadata)
    return _manifest(
        SERVICE,
        _object_meta(names.scheduler(cluster.name), cluster, CLUSTER, metadata, notes),
        # Without a selector nothing would reach the scheduler.
        {**cluster.service.spec, "selector": cluster.service.spec.get("selector") or _scheduler_selector(cluster)},
    )


def _scheduler_selector(cluster: Cluster) -> dict[str, str]:
    return {names.CLUSTER_LABEL: cluster.name, names.COMPONENT_LABEL: names.SCHEDULER}


def group_manifest(cluster: Cluster) -> Manifest:
    """Return the cluster's default group."""
    metadata, notes = _group_metadata(cluster), _notes(cluster.worker.hash, cluster.worker.metadata)
    notes = Metadata(annotations={names.REPLICAS_ANNOTATION: replicas_note(cluster), **notes.annotations})
    replicas = 1 if cluster.replicas is None else cluster.replicas
    drain_timeout = {} if cluster.drain_timeout is None else {"drainTimeoutSeconds": cluster.drain_timeout}
    return _manifest(
        GROUP,
        _object_meta(names.default_group(cluster.name), cluster, CLUSTER, metadata, notes),
        {"cluster": cluster.name, "worker": {"replicas": replicas, **drain_timeout, **group_worker(cluster)}},
    )


def worker_manifests(
    cluster: Cluster, group: Group, ordinals: Iterable[int], attempt: int, service: Service | None = None
) -> list[Manifest]:
    """Return the worker Pods with these ordinals. They share their common parts, which nobody changes.

    `service`: the scheduler's, if it has been seen.
    """
    reserved = {
        names.CLUSTER_LABEL: cluster.name,
        names.COMPONENT_LABEL: names.WORKER,
        names.GROUP_LABEL: group.name,
    }
    metadata = _merged(_ISTIO_OFF, _inherited(group), group.worker.metadata, reserved)
    # A retired worker ends with success and must not start again.
    spec = _with_defaults(listening_on_ipv6(group.worker.spec) if cluster.ipv6 else group.worker.spec)
    spec = placed(spec, group.placement)
    spec["restartPolicy"] = spec.get("restartPolicy") or "OnFailure"
    spec = spec if group.drain_timeout_unset else with_grace_period(spec, group.drain_timeout)
    notes = {names.TEMPLATE_ANNOTATION: group.worker.hash} | (
        {names.ATTEMPT_ANNOTATION: str(attempt)} if attempt else {}
    )
    address, owners = scheduler_address_from(cluster, service, spec), worker_owners(cluster, group)
    return [_worker(group, metadata, spec, address, notes, owners, ordinal) for ordinal in ordinals]


def job_cluster_manifest(job: Job) -> Manifest:
    """Return the DaskCluster of a DaskJob."""
    metadata = _merged(_inherited(job), job.cluster.metadata, {names.CLUSTER_LABEL: job.name})
    spec = {key: value for key, value in job.cluster.spec.items() if key != "suspend"}
    suspended = {"suspend": True} if job.suspended else {}
    return _manifest(CLUSTER, _object_meta(job.name, job, JOB, metadata), {**spec, **suspended})


def runner_manifest(job: Job, cluster: Cluster, attempt: int, service: Service | None = None) -> Manifest:
    """Return the Pod that runs a DaskJob's program. `attempt`: how many Pods before it have failed.

    `service`: the scheduler's, if it has been seen.
    """
    reserved = {names.CLUSTER_LABEL: job.name, names.COMPONENT_LABEL: names.JOB_RUNNER}
    metadata = _merged(_ISTIO_OFF, _inherited(job), job.runner.metadata, reserved)
    notes = Metadata(annotations={names.ATTEMPT_ANNOTATION: str(attempt)} if attempt else {})
    spec = placed(_with_defaults(job.runner.spec), job.placement)
    spec["restartPolicy"] = spec.get("restartPolicy") or "OnFailure"
    meta = _object_meta(names.runner(job.name), job, JOB, metadata, notes)
    address = scheduler_address_from(cluster, service, spec)
    return _manifest(POD, meta, with_env(spec, {names.SCHEDULER_ADDRESS_ENV: address}))


def replicas_note(cluster: Cluster) -> str:
    """Return the note on the default group that records the cluster's replicas."""
    return _UNSAID if cluster.replicas is None else str(cluster.replicas)


def scheduler_pod_manifest(cluster: Cluster) -> Manifest:
    """Return a Pod as the scheduler's Deployment makes it, for a dry run."""
    template = _scheduler_pod(cluster)
    meta = _object_meta(names.scheduler(cluster.name), cluster, CLUSTER, _scheduler_metadata(cluster))
    return _manifest(POD, meta, template["spec"])


def event_manifest(regarding: Manifest, type_: str, reason: str, message: str, at: str) -> Manifest:
    """Return an Event. `regarding`: an object reference; `at` as in RFC 3339."""
    suffix = names.event(regarding["uid"], reason, message)
    # Names of objects may be as long as those of Events.
    about = regarding["name"][: _LONGEST_NAME - len(suffix) - 1].rstrip("-.")
    return {
        "apiVersion": EVENT.api_version,
        "kind": EVENT.kind,
        "metadata": {"name": f"{about}.{suffix}", "namespace": regarding["namespace"]},
        "involvedObject": regarding,
        "type": type_,
        "reason": reason,
        "message": message[:1024],
        "source": {"component": "dask-kubernetes-operator"},
        "reportingComponent": "kubernetes.dask.org/operator",
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
    }


def worker_selector(cluster: str, group: str) -> str:
    """Return the label selector of a group's workers, as scale subresources have it."""
    pairs = {names.CLUSTER_LABEL: cluster, names.COMPONENT_LABEL: names.WORKER, names.GROUP_LABEL: group}
    return ",".join(f"{key}={value}" for key, value in pairs.items())


def _scheduler_pod(cluster: Cluster) -> Manifest:
    spec = cluster.scheduler.spec
    spec = placed(_with_defaults(listening_on_ipv6(spec) if cluster.ipv6 else spec), cluster.placement)
    spec = with_preload(with_env(spec, {names.AGENT_ENV: agent.TEXT, names.PRELOAD_ENV: repr([agent.PRELOAD])}))
    # A Deployment's Pods always restart; older workflow engines write Never, which the API server refuses.
    spec.pop("restartPolicy", None)
    return {"metadata": _rendered(_scheduler_metadata(cluster)), "spec": spec}


def group_worker(cluster: Cluster) -> Manifest:
    metadata = cluster.worker.metadata
    named = {"metadata": _rendered(metadata)} if metadata != Metadata() else {}
    return {"spec": cluster.worker.spec, **named}


def _worker(
    group: Group,
    metadata: Metadata,
    spec: Json,
    address: str,
    notes: Mapping[str, str],
    owners: list[Manifest],
    ordinal: int,
) -> Manifest:
    name = names.worker(group.name, group.uid, ordinal)
    own = Metadata(annotations={names.ORDINAL_ANNOTATION: str(ordinal), **notes})
    meta = _object_meta(name, group, GROUP, metadata, own) | {"ownerReferences": owners}
    env = {names.WORKER_NAME_ENV: name, names.SCHEDULER_ADDRESS_ENV: address, names.POD_ENV: name}
    return _manifest(POD, meta, with_env(spec, env | {names.DRAIN_SECONDS_ENV: drain_seconds(spec)}))


def worker_owners(cluster: Cluster, group: Group) -> list[Manifest]:
    # The second owner keeps a worker of a removed group alive until its data has moved.
    return [owner_reference(group, GROUP), owner_reference(cluster, CLUSTER) | {"controller": False}]


def _scheduler_metadata(cluster: Cluster) -> Metadata:
    reserved = {names.CLUSTER_LABEL: cluster.name, names.COMPONENT_LABEL: names.SCHEDULER}
    return _merged(_ISTIO_OFF, _inherited(cluster), cluster.scheduler.metadata, reserved)


def _group_metadata(cluster: Cluster) -> Metadata:
    reserved = {names.CLUSTER_LABEL: cluster.name, names.COMPONENT_LABEL: names.WORKER_GROUP}
    return _merged(_inherited(cluster), cluster.worker.metadata, reserved)


def settable(metadata: Metadata) -> Metadata:
    """Return the metadata without what users may not set on a child."""
    own = _merged(metadata)
    return Metadata({k: v for k, v in own.labels.items() if k not in names.RESERVED_LABELS}, own.annotations)


def _inherited(parent: Declared) -> Metadata:
    """Return the metadata that a parent passes on to its children: all but the marks of tools that own the parent."""
    labels, annotations = parent.metadata.labels, parent.metadata.annotations
    return Metadata(
        {key: value for key, value in labels.items() if not key.startswith(names.OWNERSHIP_PREFIXES)},
        {key: value for key, value in annotations.items() if not key.startswith(names.OWNERSHIP_PREFIXES)},
    )


def _merged(*parts: Metadata | Mapping[str, str]) -> Metadata:
    """Return all parts as one; later parts win. A plain mapping holds labels."""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    for part in parts:
        if isinstance(part, Metadata):
            metadata = part
        else:
            # A component has its own reserved labels only.
            metadata = Metadata(labels=part)
            labels = {key: value for key, value in labels.items() if key not in names.RESERVED_LABELS}
        labels |= metadata.labels
        annotations |= metadata.annotations
    inherited = {k: v for k, v in annotations.items() if not k.startswith(names.UNINHERITED_PREFIXES)}
    return Metadata(labels, inherited)


def _rendered(metadata: Metadata) -> Manifest:
    return {"labels": dict(metadata.labels), "annotations": dict(metadata.annotations)}


def _object_meta(name: str, owner: Object, kind: Resource, metadata: Metadata, note: Metadata = Metadata()) -> Manifest:
    return {
        "name": name,
        "namespace": owner.namespace,
        "labels": {**metadata.labels, **note.labels},
        "annotations": {**metadata.annotations, **note.annotations},
        "ownerReferences": [owner_reference(owner, kind)],
    }


def owner_reference(owner: Object, kind: Resource) -> Manifest:
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "name": owner.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _manifest(kind: Resource, metadata: Manifest, spec: Json) -> Manifest:
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, "spec": spec}


def _with_defaults(spec: Manifest) -> Manifest:
    """Return a Pod spec without Service variables, unless its user wants them.

    Kubernetes adds about seven for each Service of the namespace; thousands of clusters exceed the limit of the kernel.
    """
    return spec if spec.get("enableServiceLinks") is not None else {**spec, "enableServiceLinks": False}


def placed(spec: Manifest, placement: Placement) -> Manifest:
    """Return a Pod spec for the nodes that a queue has chosen."""
    added = {"nodeSelector": {**(spec.get("nodeSelector") or {}), **dict(placement.node_selector)}}
    tolerations = [*(spec.get("tolerations") or ()), *placement.tolerations]
    return spec if placement == Placement() else {**spec, **added, "tolerations": tolerations}


def _notes(made_from: str, named: Metadata) -> Metadata:
    """Return the notes on a child: the hash of its template, and the keys that its user declared."""
    keys = {names.DECLARED_ANNOTATION: declared_keys(named)} if declared_keys(named) else {}
    return Metadata(annotations={names.TEMPLATE_ANNOTATION: made_from, **keys})
