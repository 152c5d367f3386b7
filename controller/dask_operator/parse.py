"""Parsers from the JSON of Kubernetes and of schedulers to the model. Nulls, missing keys and wrong types end here.

Objects that today's schema refuses may still be stored from an older one. So no object makes a parser fail: a field
that cannot be read counts as absent.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from dask_operator import names
from dask_operator.model import (
    Autoscaler,
    Cluster,
    Cut,
    Declared,
    Deployment,
    Group,
    Job,
    JobStatus,
    Json,
    Metadata,
    Object,
    PackedMetadata,
    Pod,
    Problem,
    Registration,
    Scaling,
    ScalingPolicy,
    Service,
    Template,
    TooLargeError,
)

_D = TypeVar("_D", bound=Declared)
_LONGEST_NUMBER = 18
_LARGEST_ORDINAL = 10**12  # the ordinals after it must be readable too
_FEW = 100
_MOST_ENTRIES = 1000
_MOST_POLICIES = 100
_MOST_CONTAINERS = 100
_MOST_OWNERS = 100
_COMM_PORT = 8786
_TLS_OPTIONS = ("--tls-ca-file", "--tls-cert", "--tls-key")
# The metadata that is read of an object that is too large.
_OUTLINE = ("name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp")
_SCALE_DOWN_WINDOW = 15.0  # long enough for a pause between two computations
_OUR_ENV = (names.SCHEDULER_ADDRESS_ENV, names.HTTP_ROUTES_ENV)
_OVER = ("Succeeded", "Failed")
# Waiting reasons that do not pass by themselves, and the reason that a condition has. The image reasons alternate.
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


def _or_cut(parse: Callable[[Json], _D]) -> Callable[[Json], _D]:
    """Return a parser that treats an object with too many or too deep parts like one that is too large."""

    @functools.wraps(parse)
    def parsed(raw: Json) -> _D:
        try:
            return parse(raw)
        except TooLargeError as error:
            return parse(Cut(_outline(raw), str(error)))

    return parsed


@_or_cut
def cluster(raw: Json) -> Cluster:
    """Return a DaskCluster."""
    spec = _mapping(raw.get("spec"))
    worker, scheduler = _mapping(spec.get("worker")), _mapping(spec.get("scheduler"))
    jobs = (owner for owner in _mappings(_meta(raw).get("ownerReferences")) if owner.get("kind") == "DaskJob")
    return Cluster(
        **_declared(raw),
        replicas=_replicas(worker),
        idle_timeout=_positive(spec.get("idleTimeout")) or 0.0,
        job=next((_text(job.get("name")) for job in jobs), ""),
        worker=_template(worker),
        scheduler=_template(scheduler),
        service=_template(scheduler, "service"),
        tls=speaks_tls(_mapping(scheduler.get("spec"))),
        comm_port=comm_port(_mapping(scheduler.get("service"))),
    )


@_or_cut
def group(raw: Json) -> Group:
    """Return a DaskWorkerGroup."""
    spec, declared = _mapping(raw.get("spec")), _declared(raw)
    worker, notes = _mapping(spec.get("worker")), _metadata(_meta(raw)).annotations
    replicas = _replicas(worker)
    return Group(
        **declared,
        cluster=_text(spec.get("cluster")),
        replicas=1 if replicas is None else replicas,
        replicas_unset=replicas is None,
        copied=notes.get(names.REPLICAS_ANNOTATION, ""),
        worker=_template(worker),
        last_ordinal=max(
            ordinal(declared["status"].get("lastOrdinal")), ordinal(_number(notes.get(names.LAST_ORDINAL_ANNOTATION)))
        ),
        template=notes.get(names.TEMPLATE_ANNOTATION, ""),
        declared_keys=notes.get(names.DECLARED_ANNOTATION, ""),
        adopted_template=notes.get(names.ADOPTED_ANNOTATION, ""),
        scaled=notes.get(names.SCALED_ANNOTATION, ""),
    )


@_or_cut
def job(raw: Json) -> Job:
    """Return a DaskJob."""
    spec = _mapping(raw.get("spec"))
    runner, made = _mapping(spec.get("job")), _mapping(spec.get("cluster"))
    limit = spec.get("backoffLimit")
    return Job(
        **_declared(raw),
        cluster=_template(made),
        runner=_template(runner),
        restart_policy=_text(_mapping(runner.get("spec")).get("restartPolicy")),
        backoff_limit=max(_integer(limit), 0) if _is_number(limit) else None,
        deadline=_positive(spec.get("activeDeadlineSeconds")),
        ttl=_positive(spec.get("ttlSecondsAfterFinished")),
    )


@_or_cut
def autoscaler(raw: Json) -> Autoscaler:
    """Return a DaskAutoscaler."""
    spec = _mapping(raw.get("spec"))
    behavior, maximum, of = _mapping(spec.get("behavior")), spec.get("maximum"), _text(spec.get("cluster"))
    return Autoscaler(
        **_declared(raw),
        cluster=of,
        group=_text(spec.get("workerGroup")) or names.default_group(of),
        minimum=max(_integer(spec.get("minimum")), 0),
        maximum=max(_integer(maximum), 0) if _is_number(maximum) else None,
        up=_scaling(_mapping(behavior.get("scaleUp")), 0.0),
        down=_scaling(_mapping(behavior.get("scaleDown")), _SCALE_DOWN_WINDOW),
    )


def pod(raw: Json) -> Pod:
    """Return a Pod."""
    meta, spec, status = _metadata(_meta(raw)), _mapping(raw.get("spec")), _mapping(raw.get("status"))
    conditions = {_text(c.get("type")): c for c in _mappings(status.get("conditions"))}
    component, containers = meta.labels.get(names.COMPONENT_LABEL, ""), _mappings(status.get("containerStatuses"))
    program = _program(spec)
    own = _status_of(program, containers)
    seen_phase = _text(status.get("phase"))
    ended = _ending_phase(program, own, spec, component)
    # Once no container runs, the Pod is about to get this phase too. An eviction or a rejection concerns the whole Pod.
    waits = seen_phase not in _OVER and not _goes_on(spec, containers)
    phase = seen_phase if waits or status.get("reason") else ended or seen_phase
    counted = (own, *_initial(spec, status))
    return Pod(
        **_object(raw),
        cluster=meta.labels.get(names.CLUSTER_LABEL, ""),
        component=component,
        group=meta.labels.get(names.GROUP_LABEL, ""),
        phase=phase,
        lingering=phase != seen_phase and seen_phase not in _OVER,
        ready=_mapping(conditions.get("Ready")).get("status") == "True",
        ip=_text(status.get("podIP")),
        started=_started(own) or _seconds(status.get("startTime")),
        finished=_finished(own),
        ordinal=_integer(_number(meta.annotations.get(names.ORDINAL_ANNOTATION)), -1),
        attempt=_integer(_number(meta.annotations.get(names.ATTEMPT_ANNOTATION))),
        failures=_failures(counted),
        ending=_last_ending(counted) if component == names.JOB_RUNNER else "",
        deployment=_deployment(raw),
        template=meta.annotations.get(names.TEMPLATE_ANNOTATION, ""),
        restarted=max((_started(c) for c in containers if _crashed_again(c)), default=0.0),
        problem=_pod_problem(status, conditions, own, failed=phase == "Failed"),
    )


def deployment(raw: Json) -> Deployment:
    """Return a Deployment."""
    meta = _metadata(_meta(raw))
    conditions = _mappings(_mapping(raw.get("status")).get("conditions"))
    failed = [c for c in conditions if c.get("type") == "ReplicaFailure" and c.get("status") == "True"]
    return Deployment(
        **_object(raw),
        cluster=meta.labels.get(names.CLUSTER_LABEL, ""),
        component=meta.labels.get(names.COMPONENT_LABEL, ""),
        group=meta.labels.get(names.GROUP_LABEL, ""),
        template=meta.annotations.get(names.TEMPLATE_ANNOTATION, ""),
        declared_keys=meta.annotations.get(names.DECLARED_ANNOTATION, ""),
        problem=Problem(_text(failed[0].get("reason")), _text(failed[0].get("message"))) if failed else None,
    )


def service(raw: Json) -> Service:
    """Return a Service."""
    spec, meta = _mapping(raw.get("spec")), _metadata(_meta(raw))
    balancer = _mapping(_mapping(raw.get("status")).get("loadBalancer"))
    return Service(
        **_object(raw),
        cluster=meta.labels.get(names.CLUSTER_LABEL, ""),
        type=_text(spec.get("type")) or "ClusterIP",
        cluster_ip=_text(spec.get("clusterIP")),
        ports={_text(p.get("name")): _integer(p.get("port")) for p in _mappings(spec.get("ports"))},
        ingress=bool(_mappings(balancer.get("ingress"))),
        template=meta.annotations.get(names.TEMPLATE_ANNOTATION, ""),
        declared_keys=meta.annotations.get(names.DECLARED_ANNOTATION, ""),
    )


PARSERS: Mapping[str, Callable[[Json], Object]] = {
    "DaskCluster": cluster,
    "DaskWorkerGroup": group,
    "DaskJob": job,
    "DaskAutoscaler": autoscaler,
    "Pod": pod,
    "Deployment": deployment,
    "Service": service,
}
"""The parser of each kind."""


def registrations(identity: Json) -> tuple[Registration, ...]:
    """Return the workers in the reply to `/json/identity.json` (distributed.http.scheduler.json)."""
    return tuple(
        _registration(address, _mapping(worker)) for address, worker in _mapping(identity.get("workers")).items()
    )


def listed_workers(reply: Json) -> tuple[Registration, ...]:
    """Return the workers in the reply to `/api/v1/get_workers` (distributed.http.scheduler.api), without their data."""
    return tuple(
        Registration(str(worker.get("name", "")), _text(worker.get("address")))
        for worker in _mappings(reply.get("workers"))
    )


def retired(reply: Json) -> frozenset[str]:
    """Return the addresses in the reply to `/api/v1/retire_workers` (distributed.http.scheduler.api)."""
    return frozenset(str(address) for address in reply)


def speaks_tls(spec: Json) -> bool:
    """Return whether a scheduler is started with TLS: by `--protocol tls` or by its certificates."""
    for container in _mappings(spec.get("containers"))[:_MOST_CONTAINERS]:
        parts = (container.get("command"), container.get("args"))
        words = (word for part in parts if isinstance(part, list) for word in part if isinstance(word, str))
        text = " ".join(words).replace("=", " ")
        if "--protocol tls" in text or any(option in text for option in _TLS_OPTIONS):
            return True
    return False


def comm_port(service: Json) -> int:
    """Return the port for Dask's own protocol of a Service as its user writes it."""
    ports = [port for port in _mappings(service.get("ports")) if port.get("name") == names.COMM_PORT]
    return next(filter(None, (_integer(port.get("port")) for port in ports)), _COMM_PORT)


def timestamp(value: str) -> float:
    """Return the seconds since the epoch of a time as Kubernetes writes it (RFC 3339), 0.0 if it is none."""
    try:
        return datetime.fromisoformat(value).timestamp()
    except ValueError:
        return 0.0


def rfc3339(at: float) -> str:
    """Return a time in seconds since the epoch as Kubernetes writes it."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def job_status(status: Json) -> JobStatus:
    """Return the status of a DaskJob."""
    return JobStatus(
        phase=_text(status.get("jobStatus")),
        cluster=_text(status.get("clusterName")),
        runner=_text(status.get("jobRunnerPodName")),
        start_time=_text(status.get("startTime")),
        end_time=_text(status.get("endTime")),
        failed=_integer(status.get("failed")),
        last_failure_time=_text(status.get("lastFailureTime")),
        raw=status,
    )


def last_ordinals(status: Json) -> dict[str, int]:
    """Return the last ordinals of a cluster's groups that its status notes, by group."""
    return {group: ordinal(noted) for group, noted in _mapping(status.get("lastOrdinals")).items()}


def ordinal(noted: object) -> int:
    """Return the last ordinal that a group has given, -1 for none. A number that no group reaches counts as none."""
    return noted if _is_number(noted) and isinstance(noted, int) and 0 <= noted <= _LARGEST_ORDINAL else -1


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


def _program(spec: Json) -> Json:
    """Return the container of a Pod that is the worker, the scheduler or the job's program.

    It is the first container that the user wrote. Those have a variable of ours; containers that webhooks insert do
    not.
    """
    containers = _mappings(spec.get("containers"))
    return next(filter(_has_our_env, containers), containers[0] if containers else {})


def _has_our_env(container: Json) -> bool:
    return any(variable.get("name") in _OUR_ENV for variable in _mappings(container.get("env")))


def _status_of(container: Json, statuses: Sequence[Json]) -> Json:
    """Return a container's status. Statuses have an order of their own."""
    first = statuses[0] if statuses else {}
    return next((status for status in statuses if status.get("name") == container.get("name")), first)


def _ending_phase(program: Json, own: Json, spec: Json, component: str) -> str:
    """Return `Succeeded` or `Failed` once a Pod's program has ended for good, whatever runs beside it; else nothing."""
    if program.get("restartPolicyRules"):
        return ""  # the kubelet decides which exit codes restart it
    policy = program.get("restartPolicy") or spec.get("restartPolicy")
    states = (_mapping(own.get("state")), _mapping(own.get("lastState")))
    now, last = (_mapping(state.get("terminated")).get("exitCode") for state in states)
    if policy == "Always":
        # It restarts whenever it ends, and a program that has ended has nothing left to do.
        return "Succeeded" if component == names.JOB_RUNNER and 0 in (now, last) else ""
    if now == 0 and policy in ("OnFailure", "Never"):
        return "Succeeded"
    return "Failed" if now and policy == "Never" else ""


def _goes_on(spec: Json, statuses: Iterable[Json]) -> bool:
    """Return whether a container runs or will run again."""
    policies = {_text(c.get("name")): c.get("restartPolicy") for c in _mappings(spec.get("containers"))}
    return any(
        not _is_over(each, policies.get(_text(each.get("name"))) or spec.get("restartPolicy")) for each in statuses
    )


def _is_over(status: Json, policy: object) -> bool:
    code = _mapping(_mapping(status.get("state")).get("terminated")).get("exitCode")
    return policy != "Always" and code is not None and (policy == "Never" or code == 0)


def _initial(spec: Json, status: Json) -> Iterator[Json]:
    """Yield the statuses of the init containers that run before the others, and not beside them."""
    beside = {_text(c.get("name")) for c in _mappings(spec.get("initContainers")) if c.get("restartPolicy") == "Always"}
    return (c for c in _mappings(status.get("initContainerStatuses")) if _text(c.get("name")) not in beside)


def _pod_problem(status: Json, conditions: Mapping[str, Json], own: Json, *, failed: bool) -> Problem | None:
    """Return what is wrong with a Pod: with its program first, else with an init container or another one."""
    if status.get("phase") == "Failed" and status.get("reason"):
        return Problem(_text(status.get("reason")), _text(status.get("message")))
    scheduled = _mapping(conditions.get("PodScheduled"))
    if scheduled.get("status") == "False":
        return Problem(_text(scheduled.get("reason")), _text(scheduled.get("message")))
    others = (status.get("initContainerStatuses"), status.get("containerStatuses"))
    every = (own, *(container for listed in others for container in _mappings(listed)))
    return next(filter(None, (_container_problem(container, failed) for container in every)), None)


def _container_problem(container: Json, failed: bool) -> Problem | None:
    """Return what is wrong with a container. A container that has ended restarts, unless its Pod has `failed`."""
    state = _mapping(container.get("state"))
    waiting, ended = _mapping(state.get("waiting")), _mapping(state.get("terminated"))
    name, last = container.get("name"), _mapping(_mapping(container.get("lastState")).get("terminated"))
    reason = _STUCK.get(_text(waiting.get("reason")))
    if reason == "CrashLoopBackOff" or _crashed_again(container) or (not failed and _has_failed_again(container)):
        return Problem("CrashLoopBackOff", f'container "{name}" keeps ending: {_ending(last or ended)}')
    if reason:
        image = f', image "{container.get("image")}"' if container.get("image") else ""
        return Problem(reason, f'container "{name}"{image}: {_text(waiting.get("message"))}')
    if failed and ended.get("exitCode"):
        return Problem(_text(ended.get("reason")) or "Error", f'container "{name}" ended: {_ending(ended)}')
    return None


def _crashed_again(container: Json) -> bool:
    """Return whether a container runs after more than one failure, and so may end again."""
    last = _mapping(_mapping(container.get("lastState")).get("terminated"))
    running = _mapping(container.get("state")).get("running")
    return bool(running and last.get("exitCode") and _integer(container.get("restartCount")) > 1)


def _has_failed_again(container: Json) -> bool:
    """Return whether a container has just failed after several restarts, before the kubelet reports its back-off."""
    ended = _mapping(_mapping(container.get("state")).get("terminated"))
    return bool(ended.get("exitCode")) and _integer(container.get("restartCount")) > 1


def _started(container: Json) -> float:
    """Return when a container was last started, whether it still runs or not."""
    state = _mapping(container.get("state"))
    return _seconds((_mapping(state.get("running")) or _mapping(state.get("terminated"))).get("startedAt"))


def _ending(terminated: Json) -> str:
    message = _text(terminated.get("message")).strip()
    return f"exit code {terminated.get('exitCode')}, {terminated.get('reason')}" + (f", {message}" if message else "")


def _finished(container: Json) -> float:
    return _seconds(_mapping(_mapping(container.get("state")).get("terminated")).get("finishedAt"))


def _failures(containers: Iterable[Json]) -> int:
    """Return how often containers have ended with an error, including those that are about to restart."""
    return sum(_failed_restarts(container) + _has_just_failed(container) for container in containers)


def _last_ending(containers: Iterable[Json]) -> str:
    """Return how a container last ended with an error; empty if none did."""
    for container in containers:
        for state in (_mapping(container.get("state")), _mapping(container.get("lastState"))):
            ended = _mapping(state.get("terminated"))
            if ended.get("exitCode"):
                return f'container "{container.get("name")}" ended: {_ending(ended)}'
    return ""


def _failed_restarts(container: Json) -> int:
    # A container that always restarts may have ended without an error each time.
    last = _mapping(_mapping(container.get("lastState")).get("terminated"))
    return 0 if last and not last.get("exitCode") else _integer(container.get("restartCount"))


def _has_just_failed(container: Json) -> bool:
    state = _mapping(container.get("state"))
    if state.get("running"):
        return False
    ended = _mapping(state.get("terminated")) or _mapping(_mapping(container.get("lastState")).get("terminated"))
    return bool(ended.get("exitCode"))


def _deployment(raw: Json) -> str:
    """Return the name of the Deployment whose ReplicaSet made a Pod: the ReplicaSet's name without its hash."""
    owners = _mappings(_meta(raw).get("ownerReferences"))
    sets = (_text(owner.get("name")) for owner in owners if owner.get("kind") == "ReplicaSet")
    return next(sets, "").rpartition("-")[0]


def _scaling(raw: Json, window: float) -> Scaling:
    given = raw.get("stabilizationWindowSeconds")
    policies = _mappings(raw.get("policies"))
    if len(policies) > _MOST_POLICIES:
        raise TooLargeError(f"has {len(policies)} scaling policies, and at most {_MOST_POLICIES} are read")
    return Scaling(
        window=max(float(_integer(given)), 0.0) if _is_number(given) else window,
        policies=tuple(
            ScalingPolicy(p.get("type") == "Percent", _integer(p.get("value")), float(_integer(p.get("periodSeconds"))))
            for p in policies
        ),
        select=_text(raw.get("selectPolicy")) or "Max",
    )


def _template(part: Json, key: str = "spec") -> Template:
    return Template.of(_mapping(part.get(key)), _metadata(_mapping(part.get("metadata"))))


def _outline(raw: Json) -> Json:
    meta, spec, status = _meta(raw), _mapping(raw.get("spec")), _mapping(raw.get("status"))
    owners = _mappings(meta.get("ownerReferences"))
    return {
        "kind": raw.get("kind"),
        "metadata": {key: meta.get(key) for key in _OUTLINE} | {"ownerReferences": owners[:_MOST_OWNERS]},
        "spec": {key: spec.get(key) for key in ("cluster", "workerGroup")},
        "status": {"conditions": status.get("conditions")},
    }


def _require_few(meta: Json, key: str) -> None:
    """Raise TooLargeError if there are many: each is a few bytes of text and hundreds in memory."""
    entries = meta.get(key)
    if isinstance(entries, list) and len(entries) > _MOST_ENTRIES:
        raise TooLargeError(f"has {len(entries)} {key}, and at most {_MOST_ENTRIES} are read")


def _declared(raw: Json) -> dict[str, Any]:
    _require_few(_meta(raw), "finalizers")
    _require_few(_meta(raw), "ownerReferences")
    finalizers = _meta(raw).get("finalizers")
    owners = _mappings(_meta(raw).get("ownerReferences"))
    clusters = [owner for owner in owners if owner.get("kind") == "DaskCluster"]
    named = [owner for owner in clusters if owner.get("name") == _mapping(raw.get("spec")).get("cluster")]
    return {
        **_object(raw),
        "unread": raw.why if isinstance(raw, Cut) else "",
        "cluster_uid": next((_text(owner.get("uid")) for owner in named), ""),
        "moved": len(clusters) > len(named),
        "other_owners": tuple(owner for owner in owners if owner.get("kind") != "DaskCluster"),
        "generation": _integer(_meta(raw).get("generation")),
        "metadata": _packed(_metadata(_meta(raw))),
        "finalizers": tuple(map(_text, finalizers)) if isinstance(finalizers, list) else (),
        "status": _mapping(raw.get("status")),
    }


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
    """Return the resource version of an object or a list. It grows, so that it tells which of two states is newer."""
    return version_number(_text(_meta(raw).get("resourceVersion")))


def version_number(version: str) -> int:
    """Return a resource version as a number."""
    return _integer(_number(version))


def _meta(raw: Json) -> Json:
    return _mapping(raw.get("metadata"))


def _metadata(raw: Json) -> Metadata:
    return Metadata(_texts(raw.get("labels")), _texts(raw.get("annotations")))


def _packed(metadata: Metadata) -> Metadata:
    few = len(metadata.labels) + len(metadata.annotations) <= _FEW
    return metadata if few else PackedMetadata(metadata)


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


def _replicas(worker: Mapping[str, Any]) -> int | None:
    number = worker.get("replicas")
    return max(_integer(number), 0) if _is_number(number) else None


def _number(text: str | None) -> int | None:
    """Return a whole number that fits into 64 bits, None for any other text."""
    return int(text) if text and len(text) <= _LONGEST_NUMBER and text.isdecimal() else None


def _integer(value: object, default: int = 0) -> int:
    return value if isinstance(value, int) else default


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _positive(value: object) -> float | None:
    """Return a number of at least 0, None if it is none."""
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else -1
    return float(number) if 0 <= number < float("inf") else None


def _seconds(value: object) -> float:
    return timestamp(value) if isinstance(value, str) else 0.0
