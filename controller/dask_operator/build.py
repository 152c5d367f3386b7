"""The model to the manifests of everything the controller creates.

A child's labels and annotations are its parent's, then those the parent names for it, then the reserved ones, the later
winning. Names and labels are in `names`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from dask_operator import names
from dask_operator.actions import CLUSTER, DEPLOYMENT, EVENT, GROUP, POD, SERVICE, Resource
from dask_operator.model import Cluster, Group, Json, Metadata, Object

Manifest = dict[str, Any]

# distributed's default routes and its HTTP API, by which workers are retired. A test compares them with distributed.
HTTP_ROUTES = (
    "distributed.http.scheduler.prometheus",
    "distributed.http.scheduler.info",
    "distributed.http.scheduler.json",
    "distributed.http.health",
    "distributed.http.proxy",
    "distributed.http.statics",
    "distributed.http.scheduler.api",
)
_COMM_PORT = 8786
_DASHBOARD_PORT = 8787


def scheduler_deployment(cluster: Cluster) -> Manifest:
    metadata = _scheduler_metadata(cluster)
    spec = _with_env(cluster.scheduler_spec, {names.HTTP_ROUTES_ENV: repr(list(HTTP_ROUTES))})
    selector = {names.CLUSTER_LABEL: cluster.name, names.COMPONENT_LABEL: names.SCHEDULER}
    return _manifest(
        DEPLOYMENT,
        _object_meta(names.scheduler(cluster.name), cluster, CLUSTER, metadata),
        {
            "replicas": 1,
            # Two schedulers at once would split the workers, and clients look for exactly one.
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": selector},
            "template": {"metadata": _rendered(metadata), "spec": spec},
        },
    )


def scheduler_service(cluster: Cluster) -> Manifest:
    metadata = _scheduler_metadata(cluster)
    return _manifest(
        SERVICE,
        _object_meta(names.scheduler(cluster.name), cluster, CLUSTER, metadata),
        copy.deepcopy(dict(cluster.service_spec)),
    )


def default_group(cluster: Cluster) -> Manifest:
    reserved = {names.CLUSTER_LABEL: cluster.name, names.COMPONENT_LABEL: names.WORKER_GROUP}
    metadata = _merged(cluster.metadata, cluster.worker_metadata, reserved)
    note = Metadata(annotations={names.REPLICAS_ANNOTATION: str(cluster.replicas)})
    return _manifest(
        GROUP,
        _object_meta(names.default_group(cluster.name), cluster, CLUSTER, metadata, note),
        {"cluster": cluster.name, "worker": {"replicas": cluster.replicas, "spec": dict(cluster.worker_spec)}},
    )


def workers(cluster: Cluster, group: Group, ordinals: Iterable[int], attempt: int) -> list[Manifest]:
    """The worker Pods with these ordinals. What they have in common is built once and shared, as nothing changes it."""
    reserved = {
        names.CLUSTER_LABEL: cluster.name,
        names.COMPONENT_LABEL: names.WORKER,
        names.GROUP_LABEL: group.name,
    }
    metadata = _merged(group.metadata, group.worker_metadata, reserved)
    # A worker that has been retired ends with success, and must then not come back.
    spec = {**group.worker_spec, "restartPolicy": group.worker_spec.get("restartPolicy") or "OnFailure"}
    return [_worker(cluster, group, metadata, spec, ordinal, attempt) for ordinal in ordinals]


def group_owner(cluster: Cluster) -> Manifest:
    """The patch by which a DaskWorkerGroup goes with its cluster."""
    return {"metadata": {"ownerReferences": [_owner_reference(cluster, CLUSTER)]}}


def group_replicas(cluster: Cluster) -> Manifest:
    """The patch that copies the cluster's replicas to its default group, and notes that they were."""
    return {
        "metadata": {"annotations": {names.REPLICAS_ANNOTATION: str(cluster.replicas)}},
        "spec": {"worker": {"replicas": cluster.replicas}},
    }


def event(regarding: Manifest, type_: str, reason: str, message: str, at: str) -> Manifest:
    """An Event. `regarding`: an object reference; `at` as RFC 3339."""
    name = names.event(regarding["uid"], reason, message)
    return {
        "apiVersion": EVENT.api_version,
        "kind": EVENT.kind,
        "metadata": {"name": f"{regarding['name']}.{name}", "namespace": regarding["namespace"]},
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
    """The label selector of a group's workers, as scale subresources give it."""
    pairs = {names.CLUSTER_LABEL: cluster, names.COMPONENT_LABEL: names.WORKER, names.GROUP_LABEL: group}
    return ",".join(f"{key}={value}" for key, value in pairs.items())


def scheduler_address(cluster: Cluster) -> str:
    return f"tcp://{scheduler_host(cluster)}:{_service_port(cluster, names.COMM_PORT, _COMM_PORT)}"


def scheduler_host(cluster: Cluster) -> str:
    """The scheduler Service's name in the cluster's DNS, whatever its domain."""
    return f"{names.scheduler(cluster.name)}.{cluster.namespace}.svc"


def _worker(cluster: Cluster, group: Group, metadata: Metadata, spec: Json, ordinal: int, attempt: int) -> Manifest:
    name = names.worker(group.name, group.uid, ordinal)
    notes = {names.ORDINAL_ANNOTATION: str(ordinal)} | ({names.ATTEMPT_ANNOTATION: str(attempt)} if attempt else {})
    env = {names.WORKER_NAME_ENV: name, names.SCHEDULER_ADDRESS_ENV: scheduler_address(cluster)}
    meta = _object_meta(name, group, GROUP, metadata, Metadata(annotations=notes))
    return _manifest(POD, meta, _with_env(spec, env))


def _scheduler_metadata(cluster: Cluster) -> Metadata:
    reserved = {names.CLUSTER_LABEL: cluster.name, names.COMPONENT_LABEL: names.SCHEDULER}
    # A sidecar would break the scheduler's own protocol, unless the user has made it fit.
    istio_off = Metadata(labels={names.ISTIO_LABEL: "false"})
    return _merged(istio_off, cluster.metadata, cluster.scheduler_metadata, reserved)


def _merged(*parts: Metadata | Mapping[str, str]) -> Metadata:
    """Later parts win. A plain mapping is labels."""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    for part in parts:
        metadata = part if isinstance(part, Metadata) else Metadata(labels=part)
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
        "ownerReferences": [_owner_reference(owner, kind)],
    }


def _owner_reference(owner: Object, kind: Resource) -> Manifest:
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


def _with_env(spec: Json, env: Mapping[str, str]) -> Manifest:
    """A pod spec whose every container has these variables besides its own, which win."""
    containers = [_container_with_env(container, env) for container in spec.get("containers") or ()]
    return {**spec, "containers": containers}


def _container_with_env(container: Json, env: Mapping[str, str]) -> Manifest:
    own = container.get("env") or []
    taken = {variable.get("name") for variable in own}
    added = [{"name": name, "value": value} for name, value in env.items() if name not in taken]
    # Ours first: a variable may refer to those before it, as in a user's $(DASK_WORKER_NAME).
    return {**container, "env": [*added, *own]}


def _service_port(cluster: Cluster, name: str, default: int) -> int:
    ports = cluster.service_spec.get("ports") or ()
    return next((port["port"] for port in ports if port.get("name") == name and port.get("port")), default)


def dashboard_port(ports: Mapping[str, int]) -> int:
    """The port of the scheduler's HTTP server among a Service's ports, by name."""
    return ports.get(names.DASHBOARD_PORT, _DASHBOARD_PORT)
