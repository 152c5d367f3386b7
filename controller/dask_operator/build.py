"""Manifests of the objects that the controller creates, and patches of those that it edits.

A child has its parent's labels and annotations, then those that the parent's spec sets on it, then the reserved ones;
later ones win. Names and labels are in `names`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from dask_operator import names
from dask_operator.model import (
    Autoscaler,
    Cluster,
    Declared,
    Deployment,
    Endpoint,
    Group,
    Job,
    Json,
    Metadata,
    Object,
    Pod,
    Service,
)
from dask_operator.resources import CLUSTER, DEPLOYMENT, EVENT, GROUP, JOB, POD, SERVICE, Resource

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
# Two schedulers at once would split the workers, and clients expect exactly one.
_STRATEGY = {"type": "Recreate"}
# A mesh's sidecar breaks Dask's own protocol, unless the user has configured it.
_ISTIO_OFF = Metadata(labels={names.ISTIO_LABEL: "false"})
_UNSAID = "unsaid"


def scheduler_template(cluster: Cluster) -> str:
    """Return the hash of the scheduler's template."""
    return cluster.scheduler.hash


def service_template(cluster: Cluster) -> str:
    """Return the hash of the Service's template."""
    return cluster.service.hash


def group_template(cluster: Cluster) -> str:
    """Return the hash of the default group's template, without replicas."""
    return cluster.worker.hash


def declared_keys(metadata: Metadata) -> str:
    """Return the keys of the labels and annotations that a user sets on a child, as the child notes them."""
    own = _own(metadata)
    return f"{' '.join(sorted(own.labels))};{' '.join(sorted(own.annotations))}" if own != Metadata() else ""


def worker_template(group: Group) -> str:
    """Return the hash of a group's worker template."""
    return group.worker.hash


def deployment_manifest(cluster: Cluster) -> Manifest:
    """Return the scheduler's Deployment."""
    metadata = _scheduler_metadata(cluster)
    selector = {names.CLUSTER_LABEL: cluster.name, names.COMPONENT_LABEL: names.SCHEDULER}
    return _manifest(
        DEPLOYMENT,
        _object_meta(
            names.scheduler(cluster.name),
            cluster,
            CLUSTER,
            metadata,
            _notes(scheduler_template(cluster), cluster.scheduler.metadata),
        ),
        {
            "replicas": 1,
            "strategy": _STRATEGY,
            "selector": {"matchLabels": selector},
            "template": _scheduler_pod(cluster),
        },
    )


def service_manifest(cluster: Cluster) -> Manifest:
    """Return the scheduler's Service."""
    metadata, notes = _scheduler_metadata(cluster), _notes(service_template(cluster), cluster.scheduler.metadata)
    return _manifest(
        SERVICE,
        _object_meta(names.scheduler(cluster.name), cluster, CLUSTER, metadata, notes),
        cluster.service.spec,
    )


def group_manifest(cluster: Cluster) -> Manifest:
    """Return the cluster's default group."""
    metadata, notes = _group_metadata(cluster), _notes(group_template(cluster), cluster.worker.metadata)
    notes = Metadata(annotations={names.REPLICAS_ANNOTATION: replicas_note(cluster), **notes.annotations})
    replicas = 1 if cluster.replicas is None else cluster.replicas
    return _manifest(
        GROUP,
        _object_meta(names.default_group(cluster.name), cluster, CLUSTER, metadata, notes),
        {"cluster": cluster.name, "worker": {"replicas": replicas, **_group_worker(cluster)}},
    )


def worker_manifests(cluster: Cluster, group: Group, ordinals: Iterable[int], attempt: int) -> list[Manifest]:
    """Return the worker Pods with these ordinals. They share their common parts, which nobody changes."""
    reserved = {
        names.CLUSTER_LABEL: cluster.name,
        names.COMPONENT_LABEL: names.WORKER,
        names.GROUP_LABEL: group.name,
    }
    metadata = _merged(_ISTIO_OFF, _inherited(group), group.worker.metadata, reserved)
    # A retired worker ends with success and must not start again.
    spec = _with_defaults(group.worker.spec)
    spec["restartPolicy"] = spec.get("restartPolicy") or "OnFailure"
    made_from = worker_template(group)
    return [_worker(cluster, group, metadata, spec, made_from, ordinal, attempt) for ordinal in ordinals]


def job_cluster_manifest(job: Job) -> Manifest:
    """Return the DaskCluster of a DaskJob."""
    metadata = _merged(_inherited(job), job.cluster.metadata, {names.CLUSTER_LABEL: job.name})
    return _manifest(CLUSTER, _object_meta(job.name, job, JOB, metadata), job.cluster.spec)


def runner_manifest(job: Job, cluster: Cluster, attempt: int) -> Manifest:
    """Return the Pod that runs a DaskJob's program. `attempt`: how many Pods before it have failed."""
    reserved = {names.CLUSTER_LABEL: job.name, names.COMPONENT_LABEL: names.JOB_RUNNER}
    metadata = _merged(_ISTIO_OFF, _inherited(job), job.runner.metadata, reserved)
    notes = Metadata(annotations={names.ATTEMPT_ANNOTATION: str(attempt)} if attempt else {})
    spec = _with_defaults(job.runner.spec)
    spec["restartPolicy"] = spec.get("restartPolicy") or "OnFailure"
    meta = _object_meta(names.runner(job.name), job, JOB, metadata, notes)
    return _manifest(POD, meta, _with_env(spec, {names.SCHEDULER_ADDRESS_ENV: scheduler_address(cluster)}))


def owners_patch(cluster: Cluster | None, others: Sequence[Json] = ()) -> Manifest:
    """Return the patch that makes the cluster, if there is one, and `others` the owners of an object."""
    controlled = any(other.get("controller") for other in others)
    own = [_owner_reference(cluster, CLUSTER) | {"controller": not controlled}] if cluster else []
    return {"metadata": {"ownerReferences": [*own, *others]}}


def worker_owners_patch(cluster: Cluster, group: Group) -> Manifest:
    """Return the patch that makes its group and its cluster the owners of a worker."""
    return {"metadata": {"ownerReferences": _worker_owners(cluster, group)}}


def replicas_note(cluster: Cluster) -> str:
    """Return the note on the default group that records the cluster's replicas."""
    return _UNSAID if cluster.replicas is None else str(cluster.replicas)


def copied_replicas_patch(cluster: Cluster) -> Manifest:
    """Return the patch that copies the cluster's replicas, if it sets any, to its default group."""
    note = _noted({names.REPLICAS_ANNOTATION: replicas_note(cluster)})
    return note | ({} if cluster.replicas is None else replicas_patch(cluster.replicas))


def replicas_patch(number: int) -> Manifest:
    """Return the patch that sets the number of workers of a group."""
    return {"spec": {"worker": {"replicas": number}}}


def scaled_group_patch(autoscaler: Autoscaler, replicas: int, at: str, because: str) -> Manifest:
    """Return the patch by which an autoscaler scales a group, with the time and the reason."""
    return _noted({names.SCALED_ANNOTATION: f"{at} {autoscaler.name} {because}"}) | replicas_patch(replicas)


def adopted_deployment_patch(cluster: Cluster) -> Manifest:
    """Return the patch that notes the current template on another operator's Deployment."""
    return _noted({names.TEMPLATE_ANNOTATION: scheduler_template(cluster)})


def adopted_service_patch(cluster: Cluster) -> Manifest:
    """Return the patch that notes the current template on another operator's Service."""
    return _noted({names.TEMPLATE_ANNOTATION: service_template(cluster)})


def adopted_group_patch(cluster: Cluster) -> Manifest:
    """Return the patch that notes the current template on another operator's default group and keeps its replicas."""
    replicas = {names.REPLICAS_ANNOTATION: replicas_note(cluster)}
    return _noted({names.TEMPLATE_ANNOTATION: group_template(cluster)} | replicas)


def adopted_workers_patch(group: Group) -> Manifest:
    """Return the patch that notes on a group the template of another operator's workers."""
    return _noted({names.ADOPTED_ANNOTATION: worker_template(group)})


def deployment_patch(cluster: Cluster, before: Deployment) -> list[Manifest]:
    """Return the patch that applies the user's edits to the scheduler's Deployment, which then replaces its Pod."""
    wanted = deployment_manifest(cluster)
    spec = (_put(f"/spec/{key}", wanted["spec"][key]) for key in ("strategy", "template"))
    return [*spec, *_put_metadata(wanted, cluster.scheduler.metadata, before.declared_keys)]


def scheduler_pod_manifest(cluster: Cluster) -> Manifest:
    """Return a Pod as the scheduler's Deployment makes it, for a dry run."""
    template = _scheduler_pod(cluster)
    meta = _object_meta(names.scheduler(cluster.name), cluster, CLUSTER, _scheduler_metadata(cluster))
    return _manifest(POD, meta, template["spec"])


def service_patch(cluster: Cluster, before: Service) -> list[Manifest]:
    """Return the patch that applies the user's edits to the Service. Its address and node ports stay."""
    wanted = service_manifest(cluster)
    spec = dict.fromkeys(_RESET_IN_SERVICES) | wanted["spec"]
    metadata = _put_metadata(wanted, cluster.scheduler.metadata, before.declared_keys)
    return [*(_put(f"/spec/{key}", value) for key, value in spec.items()), *metadata]


def group_patch(cluster: Cluster, before: Group) -> list[Manifest]:
    """Return the patch that applies the user's edits to the default group's workers, but for their number."""
    worker: Manifest = {"metadata": {}} | _group_worker(cluster)
    # A JSON Patch cannot add to labels that do not exist.
    labels = [] if before.metadata.labels else [_put("/metadata/labels", {})]
    metadata = _put_metadata(group_manifest(cluster), cluster.worker.metadata, before.declared_keys)
    return [*(_put(f"/spec/worker/{key}", value) for key, value in worker.items()), *labels, *metadata]


def event_manifest(regarding: Manifest, type_: str, reason: str, message: str, at: str) -> Manifest:
    """Return an Event. `regarding`: an object reference; `at` as in RFC 3339."""
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
    """Return the label selector of a group's workers, as scale subresources have it."""
    pairs = {names.CLUSTER_LABEL: cluster, names.COMPONENT_LABEL: names.WORKER, names.GROUP_LABEL: group}
    return ",".join(f"{key}={value}" for key, value in pairs.items())


def scheduler_address(cluster: Cluster) -> str:
    """Return the Dask address at which workers and clients find the scheduler."""
    return f"{_scheme(cluster)}://{scheduler_host(cluster)}:{cluster.comm_port}"


def scheduler_host(cluster: Cluster) -> str:
    """Return the scheduler Service's name in the cluster's DNS, without the cluster's domain."""
    return f"{names.scheduler(cluster.name)}.{cluster.namespace}.svc"


def scheduler_endpoint(cluster: Cluster, service: Service | None, pod: Pod) -> Endpoint:
    """Return the scheduler's addresses for the controller: the Service's, or its Pod's if the Service has none of its
    own.

    Never a name: whoever writes an ExternalName decides where it leads, and may not be allowed to get there himself.
    """
    has_address = service and service.cluster_ip not in ("", "None")
    host = service.cluster_ip if service and has_address else pod.ip
    host = f"[{host}]" if ":" in host else host
    ports = service.ports if service else {}
    return Endpoint(
        f"http://{host}:{ports.get(names.DASHBOARD_PORT, _DASHBOARD_PORT)}",
        f"{_scheme(cluster)}://{host}:{ports.get(names.COMM_PORT, _COMM_PORT)}",
    )


def _scheduler_pod(cluster: Cluster) -> Manifest:
    spec = _with_env(_with_defaults(cluster.scheduler.spec), {names.HTTP_ROUTES_ENV: repr(list(HTTP_ROUTES))})
    # A Deployment's Pods always restart; older workflow engines write Never, which the API server refuses.
    spec.pop("restartPolicy", None)
    return {"metadata": _rendered(_scheduler_metadata(cluster)), "spec": spec}


def _group_worker(cluster: Cluster) -> Manifest:
    metadata = cluster.worker.metadata
    named = {"metadata": _rendered(metadata)} if metadata != Metadata() else {}
    return {"spec": cluster.worker.spec, **named}


def _worker(
    cluster: Cluster, group: Group, metadata: Metadata, spec: Json, made_from: str, ordinal: int, attempt: int
) -> Manifest:
    name = names.worker(group.name, group.uid, ordinal)
    notes = {names.ORDINAL_ANNOTATION: str(ordinal), names.TEMPLATE_ANNOTATION: made_from}
    notes |= {names.ATTEMPT_ANNOTATION: str(attempt)} if attempt else {}
    env = {names.WORKER_NAME_ENV: name, names.SCHEDULER_ADDRESS_ENV: scheduler_address(cluster)}
    meta = _object_meta(name, group, GROUP, metadata, Metadata(annotations=notes))
    meta["ownerReferences"] = _worker_owners(cluster, group)
    return _manifest(POD, meta, _with_env(spec, env))


def _worker_owners(cluster: Cluster, group: Group) -> list[Manifest]:
    # The second owner keeps a worker of a removed group alive until its data has moved.
    return [_owner_reference(group, GROUP), _owner_reference(cluster, CLUSTER) | {"controller": False}]


def _scheduler_metadata(cluster: Cluster) -> Metadata:
    reserved = {names.CLUSTER_LABEL: cluster.name, names.COMPONENT_LABEL: names.SCHEDULER}
    return _merged(_ISTIO_OFF, _inherited(cluster), cluster.scheduler.metadata, reserved)


def _group_metadata(cluster: Cluster) -> Metadata:
    reserved = {names.CLUSTER_LABEL: cluster.name, names.COMPONENT_LABEL: names.WORKER_GROUP}
    return _merged(_inherited(cluster), cluster.worker.metadata, reserved)


def _own(metadata: Metadata) -> Metadata:
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


def _with_defaults(spec: Manifest) -> Manifest:
    """Return a Pod spec without Service variables, unless its user wants them.

    Kubernetes adds about seven for each Service of the namespace; thousands of clusters exceed the limit of the kernel.
    """
    return spec if spec.get("enableServiceLinks") is not None else {**spec, "enableServiceLinks": False}


def _with_env(spec: Json, env: Mapping[str, str]) -> Manifest:
    """Return a Pod spec whose every container has these variables besides its own, which win."""
    containers = spec.get("containers")
    if not isinstance(containers, list):
        return dict(spec)
    return {**spec, "containers": [_container_with_env(container, env) for container in containers]}


def _container_with_env(container: Any, env: Mapping[str, str]) -> Any:
    own = container.get("env") or [] if isinstance(container, dict) else None
    if not isinstance(own, list):
        return container  # the API server refuses it and says why
    taken = [variable.get("name") for variable in _mappings(own)]
    added = [{"name": name, "value": value} for name, value in env.items() if name not in taken]
    # Ours come first: a variable may refer to earlier ones, as in a user's $(DASK_WORKER_NAME).
    return {**container, "env": [*added, *own]}


def _scheme(cluster: Cluster) -> str:
    return "tls" if cluster.tls else "tcp"


def _mappings(value: object) -> Iterator[Mapping[str, Any]]:
    return (item for item in value if isinstance(item, Mapping)) if isinstance(value, list) else iter(())


def _noted(annotations: Mapping[str, str]) -> Manifest:
    return {"metadata": {"annotations": dict(annotations)}}


def _notes(made_from: str, named: Metadata) -> Metadata:
    """Return the notes on a child: the hash of its template, and the keys that its user declared."""
    keys = {names.DECLARED_ANNOTATION: declared_keys(named)} if declared_keys(named) else {}
    return Metadata(annotations={names.TEMPLATE_ANNOTATION: made_from, **keys})


def _put_metadata(wanted: Manifest, named: Metadata, declared_before: str) -> Iterator[Manifest]:
    """Yield the JSON Patch that sets the user's labels and annotations and removes those the user has dropped; others'
    stay.
    """
    own, (labels, _, annotations) = _own(named), declared_before.partition(";")
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
