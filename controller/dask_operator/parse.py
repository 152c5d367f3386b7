"""Kubernetes JSON and scheduler JSON to the model. Nulls, missing keys and wrong types end here.

What a schema would refuse today may still be stored from an older one, so no object makes a parser fail: what cannot be
read is taken as absent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from dask_operator import names
from dask_operator.model import (
    Cluster,
    Deployment,
    Group,
    Json,
    Metadata,
    Object,
    Pod,
    Problem,
    Registration,
    Service,
)

_LONGEST_NUMBER = 18
# Why a container waits that will not get better by itself, and what it is called here. The image reasons alternate.
_STUCK = {
    "ErrImagePull": "ImagePullBackOff",
    "ImagePullBackOff": "ImagePullBackOff",
    "ErrImageNeverPull": "ImagePullBackOff",
    "InvalidImageName": "InvalidImageName",
    "CreateContainerConfigError": "CreateContainerConfigError",
    "CreateContainerError": "CreateContainerError",
    "RunContainerError": "RunContainerError",
    "CrashLoopBackOff": "CrashLoopBackOff",
}


def cluster(raw: Json) -> Cluster:
    spec = _mapping(raw.get("spec"))
    worker, scheduler = _mapping(spec.get("worker")), _mapping(spec.get("scheduler"))
    return Cluster(
        **_object(raw),
        generation=_integer(_meta(raw).get("generation")),
        metadata=_metadata(_meta(raw)),
        replicas=_integer(worker.get("replicas"), 1),
        worker_metadata=_metadata(_mapping(worker.get("metadata"))),
        worker_spec=_mapping(worker.get("spec")),
        scheduler_metadata=_metadata(_mapping(scheduler.get("metadata"))),
        scheduler_spec=_mapping(scheduler.get("spec")),
        service_spec=_mapping(scheduler.get("service")),
        status=_mapping(raw.get("status")),
    )


def group(raw: Json) -> Group:
    spec = _mapping(raw.get("spec"))
    worker, status = _mapping(spec.get("worker")), _mapping(raw.get("status"))
    metadata = _metadata(_meta(raw))
    return Group(
        **_object(raw),
        cluster=_text(spec.get("cluster")),
        generation=_integer(_meta(raw).get("generation")),
        metadata=metadata,
        replicas=_integer(worker.get("replicas"), 1),
        copied_replicas=_number(metadata.annotations.get(names.REPLICAS_ANNOTATION)),
        worker_metadata=_metadata(_mapping(worker.get("metadata"))),
        worker_spec=_mapping(worker.get("spec")),
        last_ordinal=_integer(status.get("lastOrdinal"), -1),
        status=status,
    )


def pod(raw: Json) -> Pod:
    meta, status = _metadata(_meta(raw)), _mapping(raw.get("status"))
    conditions = {_text(c.get("type")): c for c in _mappings(status.get("conditions"))}
    containers = _mappings(status.get("containerStatuses"))
    return Pod(
        **_object(raw),
        cluster=meta.labels.get(names.CLUSTER_LABEL, ""),
        component=meta.labels.get(names.COMPONENT_LABEL, ""),
        group=meta.labels.get(names.GROUP_LABEL, ""),
        phase=_text(status.get("phase")),
        ready=_mapping(conditions.get("Ready")).get("status") == "True",
        ip=_text(status.get("podIP")),
        started=_seconds(status.get("startTime")),
        finished=max((_finished(c) for c in containers), default=0.0),
        ordinal=_integer(_number(meta.annotations.get(names.ORDINAL_ANNOTATION)), -1),
        attempt=_integer(_number(meta.annotations.get(names.ATTEMPT_ANNOTATION))),
        restarted=max((_running_since(c) for c in containers if _crashed_again(c)), default=0.0),
        problem=_pod_problem(status, conditions, containers),
    )


def deployment(raw: Json) -> Deployment:
    conditions = _mappings(_mapping(raw.get("status")).get("conditions"))
    failed = [c for c in conditions if c.get("type") == "ReplicaFailure" and c.get("status") == "True"]
    return Deployment(
        **_object(raw),
        cluster=_labels(raw).get(names.CLUSTER_LABEL, ""),
        problem=Problem(_text(failed[0].get("reason")), _text(failed[0].get("message"))) if failed else None,
    )


def service(raw: Json) -> Service:
    spec = _mapping(raw.get("spec"))
    balancer = _mapping(_mapping(raw.get("status")).get("loadBalancer"))
    return Service(
        **_object(raw),
        cluster=_labels(raw).get(names.CLUSTER_LABEL, ""),
        type=_text(spec.get("type")) or "ClusterIP",
        cluster_ip=_text(spec.get("clusterIP")),
        ports={_text(p.get("name")): _integer(p.get("port")) for p in _mappings(spec.get("ports"))},
        ingress=bool(_mappings(balancer.get("ingress"))),
    )


PARSERS: Mapping[str, Callable[[Json], Object]] = {
    "DaskCluster": cluster,
    "DaskWorkerGroup": group,
    "Pod": pod,
    "Deployment": deployment,
    "Service": service,
}
"""By kind."""


def registrations(identity: Json) -> tuple[Registration, ...]:
    """The workers in a scheduler's identity, as `/json/identity.json` gives it (distributed.http.scheduler.json)."""
    return tuple(
        _registration(address, _mapping(worker)) for address, worker in _mapping(identity.get("workers")).items()
    )


def listed_workers(reply: Json) -> tuple[Registration, ...]:
    """The workers in the reply to `/api/v1/get_workers` (distributed.http.scheduler.api), without what they hold."""
    return tuple(
        Registration(str(worker.get("name", "")), _text(worker.get("address")))
        for worker in _mappings(reply.get("workers"))
    )


def retired(reply: Json) -> frozenset[str]:
    """The addresses of the workers in the reply to `/api/v1/retire_workers` (distributed.http.scheduler.api)."""
    return frozenset(str(address) for address in reply)


def timestamp(value: str) -> float:
    """Seconds since the epoch of a time as Kubernetes writes it (RFC 3339), 0.0 if it is none."""
    try:
        return datetime.fromisoformat(value).timestamp()
    except ValueError:
        return 0.0


def _registration(address: str, worker: Json) -> Registration:
    metrics = _mapping(worker.get("metrics"))
    states = _mapping(metrics.get("task_counts"))
    running = ("executing", "ready", "constrained", "long-running", "flight", "fetch", "waiting")
    return Registration(
        name=str(worker.get("name", "")),
        address=str(address),
        nbytes=_integer(metrics.get("managed_bytes")) + _integer(_mapping(metrics.get("spilled_bytes")).get("memory")),
        tasks=sum(_integer(states.get(state)) for state in running),
    )


def _pod_problem(status: Json, conditions: Mapping[str, Json], containers: Iterable[Json]) -> Problem | None:
    if status.get("phase") == "Failed" and status.get("reason"):
        return Problem(_text(status.get("reason")), _text(status.get("message")))
    scheduled = _mapping(conditions.get("PodScheduled"))
    if scheduled.get("status") == "False":
        return Problem(_text(scheduled.get("reason")), _text(scheduled.get("message")))
    every = (*_mappings(status.get("initContainerStatuses")), *containers)
    failed = status.get("phase") == "Failed"
    return next(filter(None, (_container_problem(container, failed) for container in every)), None)


def _container_problem(container: Json, failed: bool) -> Problem | None:
    """What is wrong with a container. One that ended is about to be restarted, unless its Pod has `failed`."""
    state = _mapping(container.get("state"))
    waiting, ended = _mapping(state.get("waiting")), _mapping(state.get("terminated"))
    name, last = container.get("name"), _mapping(_mapping(container.get("lastState")).get("terminated"))
    reason = _STUCK.get(_text(waiting.get("reason")))
    if reason == "CrashLoopBackOff" or _crashed_again(container):
        return Problem("CrashLoopBackOff", f'container "{name}" keeps ending: {_ending(last)}')
    if reason:
        image = f', image "{container.get("image")}"' if container.get("image") else ""
        return Problem(reason, f'container "{name}"{image}: {_text(waiting.get("message"))}')
    if failed and ended.get("exitCode"):
        return Problem(_text(ended.get("reason")) or "Error", f'container "{name}" ended: {_ending(ended)}')
    return None


def _crashed_again(container: Json) -> bool:
    """Whether a container runs after more than one failure, and so may end again."""
    last = _mapping(_mapping(container.get("lastState")).get("terminated"))
    running = _mapping(container.get("state")).get("running")
    return bool(running and last.get("exitCode") and _integer(container.get("restartCount")) > 1)


def _running_since(container: Json) -> float:
    return _seconds(_mapping(_mapping(container.get("state")).get("running")).get("startedAt"))


def _ending(terminated: Json) -> str:
    message = _text(terminated.get("message")).strip()
    return f"exit code {terminated.get('exitCode')}, {terminated.get('reason')}" + (f", {message}" if message else "")


def _finished(container: Json) -> float:
    return _seconds(_mapping(_mapping(container.get("state")).get("terminated")).get("finishedAt"))


def _object(raw: Json) -> dict[str, Any]:
    meta = _meta(raw)
    return {
        "namespace": _text(meta.get("namespace")),
        "name": _text(meta.get("name")),
        "uid": _text(meta.get("uid")),
        "resource_version": resource_version(raw),
        "created": _seconds(meta.get("creationTimestamp")),
        "deleting": bool(meta.get("deletionTimestamp")),
        "owners": tuple(_text(owner.get("uid")) for owner in _mappings(meta.get("ownerReferences"))),
    }


def resource_version(raw: Json) -> int:
    """An object's or a list's resource version; they grow, so that the newer of two states of an object is known."""
    return _integer(_number(_text(_meta(raw).get("resourceVersion"))))


def _meta(raw: Json) -> Json:
    return _mapping(raw.get("metadata"))


def _metadata(raw: Json) -> Metadata:
    return Metadata(_texts(raw.get("labels")), _texts(raw.get("annotations")))


def _labels(raw: Json) -> Mapping[str, str]:
    return _texts(_meta(raw).get("labels"))


def _texts(value: object) -> Mapping[str, str]:
    return {key: text for key, text in _mapping(value).items() if isinstance(text, str)}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _mappings(value: object) -> list[Mapping[str, Any]]:
    return list(_only_mappings(value)) if isinstance(value, list) else []


def _only_mappings(values: Iterable[object]) -> Iterator[Mapping[str, Any]]:
    return (value for value in values if isinstance(value, dict))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(text: str | None) -> int | None:
    """A whole number that fits into 64 bits; Python refuses to read very long ones."""
    return int(text) if text and len(text) <= _LONGEST_NUMBER and text.isdecimal() else None


def _integer(value: object, default: int = 0) -> int:
    return value if isinstance(value, int) else default


def _seconds(value: object) -> float:
    return timestamp(value) if isinstance(value, str) else 0.0
