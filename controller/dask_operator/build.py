"""The model to the manifests of everything the controller creates.

A child's labels and annotations are its parent's, then those the parent names for it, then the reserved ones, the later
winning. Names and labels are in `names`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from dask_operator import names
from dask_operator.model import (
    Autoscaler,
    Cluster,
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
# What falls back to Kubernetes' default in a Service when it is no longer in its user's spec: all but what Kubernetes
# allots, and what may not change.
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
# Two schedulers at once would split the workers, and clients look for exactly one.
_STRATEGY = {"type": "Recreate"}
# A mesh's sidecar would break Dask's own protocol, unless the user has made it fit.
_ISTIO_OFF = Metadata(labels={names.ISTIO_LABEL: "false"})
_UNSAID = "unsaid"


def scheduler_template(cluster: Cluster) -> str:
    return cluster.scheduler.hash


def service_template(cluster: Cluster) -> str:
    return cluster.service.hash


def group_template(cluster: Cluster) -> str:
    """Of what a cluster's default group is made from, but for its replicas."""
    return cluster.worker.hash


def given(metadata: Metadata) -> str:
    """Of which labels and annotations a child notes that its owner's user named them for it; empty for none."""
    own = _own(metadata)
    return f"{' '.join(sorted(own.labels))};{' '.join(sorted(own.annotations))}" if own != Metadata() else ""


def worker_template(group: Group) -> str:
    return group.worker.hash


def deployment_manifest(cluster: Cluster) -> Manifest:
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
    metadata, notes = _scheduler_metadata(cluster), _notes(service_template(cluster), cluster.scheduler.metadata)
    return _manifest(
        SERVICE,
        _object_meta(names.scheduler(cluster.name), cluster, CLUSTER, metadata, notes),
        cluster.service.spec,
    )


def group_manifest(cluster: Cluster) -> Manifest:
    metadata, notes = _group_metadata(cluster), _notes(group_template(cluster), cluster.worker.metadata)
    notes = Metadata(annotations={names.REPLICAS_ANNOTATION: replicas_note(cluster), **notes.annotations})
    replicas = 1 if cluster.replicas is None else cluster.replicas
    return _manifest(
        GROUP,
        _object_meta(names.default_group(cluster.name), cluster, CLUSTER, metadata, notes),
        {"cluster": cluster.name, "worker": {"replicas": replicas, **_group_worker(cluster)}},
    )


def worker_manifests(cluster: Cluster, group: Group, ordinals: Iterable[int], attempt: int) -> list[Manifest]:
    """The worker Pods with these ordinals. What they have in common is built once and shared, as nothing changes it."""
    reserved = {
        names.CLUSTER_LABEL: cluster.name,
        names.COMPONENT_LABEL: names.WORKER,
        names.GROUP_LABEL: group.name,
    }
    metadata = _merged(_ISTIO_OFF, group.metadata, group.worker.metadata, reserved)
    # A worker that has been retired ends with success, and must then not come back.
    spec = group.worker.spec
    spec["restartPolicy"] = spec.get("restartPolicy") or "OnFailure"
    made_from = worker_template(group)
    return [_worker(cluster, group, metadata, spec, made_from, ordinal, attempt) for ordinal in ordinals]


def job_cluster_manifest(job: Job) -> Manifest:
    """The DaskCluster of a DaskJob."""
    metadata = _merged(job.metadata, job.cluster.metadata, {names.CLUSTER_LABEL: job.name})
    return _manifest(CLUSTER, _object_meta(job.name, job, JOB, metadata), job.cluster.spec)


def runner_manifest(job: Job, cluster: Cluster, attempt: int) -> Manifest:
    """The Pod that runs a DaskJob's program. `attempt`: how many before it have failed."""
    reserved = {names.CLUSTER_LABEL: job.name, names.COMPONENT_LABEL: names.JOB_RUNNER}
    metadata = _merged(_ISTIO_OFF, job.metadata, job.runner.metadata, reserved)
    notes = Metadata(annotations={names.ATTEMPT_ANNOTATION: str(attempt)} if attempt else {})
    spec = job.runner.spec
    spec["restartPolicy"] = spec.get("restartPolicy") or "OnFailure"
    meta = _object_meta(names.runner(job.name), job, JOB, metadata, notes)
    return _manifest(POD, meta, _with_env(spec, {names.SCHEDULER_ADDRESS_ENV: scheduler_address(cluster)}))


def owners_patch(cluster: Cluster | None, others: Sequence[Json] = ()) -> Manifest:
    """The patch by which something goes with its cluster, if there is one, and with these `others`."""
    controlled = any(other.get("controller") for other in others)
    own = [_owner_reference(cluster, CLUSTER) | {"controller": not controlled}] if cluster else []
    return {"metadata": {"ownerReferences": [*own, *others]}}


def worker_owners_patch(cluster: Cluster, group: Group) -> Manifest:
    """The patch by which a worker goes with its group, and with its cluster should that be removed later."""
    return {"metadata": {"ownerReferences": _worker_owners(cluster, group)}}


def replicas_note(cluster: Cluster) -> str:
    """What the default group notes of the replicas that its cluster says."""
    return _UNSAID if cluster.replicas is None else str(cluster.replicas)


def copied_replicas_patch(cluster: Cluster) -> Manifest:
    """The patch that copies the cluster's replicas, if it says any, to its default group, and notes what it says."""
    note = _noted({names.REPLICAS_ANNOTATION: replicas_note(cluster)})
    return note | ({} if cluster.replicas is None else replicas_patch(cluster.replicas))


def replicas_patch(number: int) -> Manifest:
    """The patch that says how many workers a group has."""
    return {"spec": {"worker": {"replicas": number}}}


def scaled_group_patch(autoscaler: Autoscaler, replicas: int, at: str, because: str) -> Manifest:
    """The patch by which an autoscaler scales a group, and says when and why."""
    return _noted({names.SCALED_ANNOTATION: f"{at} {autoscaler.name} {because}"}) | replicas_patch(replicas)


def adopted_deployment_patch(cluster: Cluster) -> Manifest:
    """The patch that notes on a Deployment another operator made what it is taken to be made from."""
    return _noted({names.TEMPLATE_ANNOTATION: scheduler_template(cluster)})


def adopted_service_patch(cluster: Cluster) -> Manifest:
    """The same for a Service."""
    return _noted({names.TEMPLATE_ANNOTATION: service_template(cluster)})


def adopted_group_patch(cluster: Cluster) -> Manifest:
    """The same for a default group, whose replicas stay as they are."""
    replicas = {names.REPLICAS_ANNOTATION: replicas_note(cluster)}
    return _noted({names.TEMPLATE_ANNOTATION: group_template(cluster)} | replicas)


def adopted_workers_patch(group: Group) -> Manifest:
    """The same for the workers of a group."""
    return _noted({names.ADOPTED_ANNOTATION: worker_template(group)})


def deployment_patch(cluster: Cluster, before: Deployment) -> list[Manifest]:
    """The patch that makes the scheduler's Deployment what its user wants now; its Pod is made anew by it."""
    wanted = deployment_manifest(cluster)
    spec = (_put(f"/spec/{key}", wanted["spec"][key]) for key in ("strategy", "template"))
    return [*spec, *_put_metadata(wanted, cluster.scheduler.metadata, before.given)]


def scheduler_pod_manifest(cluster: Cluster) -> Manifest:
    """A Pod as the scheduler's Deployment makes it, for the API server to say whether it would have it."""
    template = _scheduler_pod(cluster)
    meta = _object_meta(names.scheduler(cluster.name), cluster, CLUSTER, _scheduler_metadata(cluster))
    return _manifest(POD, meta, template["spec"])


def service_patch(cluster: Cluster, before: Service) -> list[Manifest]:
    """The patch that makes the Service what its user wants now. Its address and node ports stay."""
    wanted = service_manifest(cluster)
    spec = dict.fromkeys(_RESET_IN_SERVICES) | wanted["spec"]
    metadata = _put_metadata(wanted, cluster.scheduler.metadata, before.given)
    return [*(_put(f"/spec/{key}", value) for key, value in spec.items()), *metadata]


def group_patch(cluster: Cluster, before: Group) -> list[Manifest]:
    """The patch that makes the default group's workers what the cluster's user wants now, however many there are."""
    worker: Manifest = {"metadata": {}} | _group_worker(cluster)
    # Somebody may have taken all labels off it, and then there is nothing to add to.
    labels = [] if before.metadata.labels else [_put("/metadata/labels", {})]
    metadata = _put_metadata(group_manifest(cluster), cluster.worker.metadata, before.given)
    return [*(_put(f"/spec/worker/{key}", value) for key, value in worker.items()), *labels, *metadata]


def event_manifest(regarding: Manifest, type_: str, reason: str, message: str, at: str) -> Manifest:
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
    """Where workers and clients find the scheduler. Whether by TLS is read from how the scheduler is started."""
    return f"{_scheme(cluster)}://{scheduler_host(cluster)}:{cluster.comm_port}"


def scheduler_host(cluster: Cluster) -> str:
    """The scheduler Service's name in the cluster's DNS, whatever its domain."""
    return f"{names.scheduler(cluster.name)}.{cluster.namespace}.svc"


def scheduler_endpoint(cluster: Cluster, service: Service | None, pod: Pod) -> Endpoint:
    """Where the controller finds the scheduler: the Service's address, or its Pod's where it has none of its own.

    Never its name: with an ExternalName its user would say where that leads, and might not get there himself.
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
    spec = _with_env(cluster.scheduler.spec, {names.HTTP_ROUTES_ENV: repr(list(HTTP_ROUTES))})
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
    # So that a worker outlives a group that is removed for as long as it takes to move its data.
    return [_owner_reference(group, GROUP), _owner_reference(cluster, CLUSTER) | {"controller": False}]


def _scheduler_metadata(cluster: Cluster) -> Metadata:
    reserved = {names.CLUSTER_LABEL: cluster.name, names.COMPONENT_LABEL: names.SCHEDULER}
    return _merged(_ISTIO_OFF, cluster.metadata, cluster.scheduler.metadata, reserved)


def _group_metadata(cluster: Cluster) -> Metadata:
    reserved = {names.CLUSTER_LABEL: cluster.name, names.COMPONENT_LABEL: names.WORKER_GROUP}
    return _merged(cluster.metadata, cluster.worker.metadata, reserved)


def _own(metadata: Metadata) -> Metadata:
    """What of its metadata a user may name for a child."""
    own = _merged(metadata)
    return Metadata({k: v for k, v in own.labels.items() if k not in names.RESERVED_LABELS}, own.annotations)


def _merged(*parts: Metadata | Mapping[str, str]) -> Metadata:
    """Later parts win. A plain mapping is labels."""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    for part in parts:
        if isinstance(part, Metadata):
            metadata = part
        else:
            # A component has the reserved labels that it is given, and no others.
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


def _with_env(spec: Json, env: Mapping[str, str]) -> Manifest:
    """A pod spec whose every container has these variables besides its own, which win."""
    containers = spec.get("containers")
    if not isinstance(containers, list):
        return dict(spec)
    return {**spec, "containers": [_container_with_env(container, env) for container in containers]}


def _container_with_env(container: Any, env: Mapping[str, str]) -> Any:
    own = container.get("env") or [] if isinstance(container, dict) else None
    if not isinstance(own, list):
        return container  # for the API server to refuse, which says what is wrong with it
    taken = [variable.get("name") for variable in _mappings(own)]
    added = [{"name": name, "value": value} for name, value in env.items() if name not in taken]
    # Ours first: a variable may refer to those before it, as in a user's $(DASK_WORKER_NAME).
    return {**container, "env": [*added, *own]}


def _scheme(cluster: Cluster) -> str:
    return "tls" if cluster.tls else "tcp"


def _mappings(value: object) -> Iterator[Mapping[str, Any]]:
    return (item for item in value if isinstance(item, Mapping)) if isinstance(value, list) else iter(())


def _noted(annotations: Mapping[str, str]) -> Manifest:
    return {"metadata": {"annotations": dict(annotations)}}


def _notes(made_from: str, named: Metadata) -> Metadata:
    """What a child notes: the template that it is made from, and which labels and annotations its user named for it."""
    keys = {names.GIVEN_ANNOTATION: given(named)} if given(named) else {}
    return Metadata(annotations={names.TEMPLATE_ANNOTATION: made_from, **keys})


def _put_metadata(wanted: Manifest, named: Metadata, given_before: str) -> Iterator[Manifest]:
    """What its user names for a child now, and no longer what they had named; what others have put there stays."""
    own, (labels, _, annotations) = _own(named), given_before.partition(";")
    notes = (names.TEMPLATE_ANNOTATION, *([names.GIVEN_ANNOTATION] if given_before or given(named) else ()))
    fields = {"labels": (*own.labels, *labels.split()), "annotations": (*own.annotations, *annotations.split(), *notes)}
    for field, keys in fields.items():
        there = wanted["metadata"][field]
        for key in dict.fromkeys(keys):
            path = f"/metadata/{field}/{key.replace('~', '~0').replace('/', '~1')}"
            yield _put(path, there.get(key, ""))
            if key not in there:
                # Put there first, since it is an error to take away what is not there.
                yield {"op": "remove", "path": path}


def _put(path: str, value: object) -> Manifest:
    return {"op": "add", "path": path, "value": value}
