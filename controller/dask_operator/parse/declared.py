"""Parsers of the Dask resources, as their users wrote them."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from dask_operator import names
from dask_operator.model import (
    DRAIN_TIMEOUT,
    Autoscaler,
    Cluster,
    Cut,
    Declared,
    Group,
    Job,
    JobStatus,
    Json,
    Metadata,
    PackedMetadata,
    Scaling,
    ScalingPolicy,
    Template,
    TooLargeError,
)
from dask_operator.parse.listening import listening, service_ports
from dask_operator.parse.metadata import meta_of, metadata_of, object_fields
from dask_operator.parse.offers import offer
from dask_operator.parse.values import integer, is_number, mapping, mappings, number, ordinal, positive, text

_D = TypeVar("_D", bound=Declared)
_FEW = 100
_MOST_ENTRIES = 1000
_MOST_POLICIES = 100
_MOST_OWNERS = 100
# The metadata that is read of an object that is too large.
_OUTLINE = ("name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp")
_LONGEST_MANAGER = 128
_LONGEST_DRAIN = 365 * 24 * 60 * 60  # as the definitions say
_SCALE_DOWN_WINDOW = 15.0  # long enough for a pause between two computations


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
    spec = mapping(raw.get("spec"))
    worker, scheduler = mapping(spec.get("worker")), mapping(spec.get("scheduler"))
    service = mapping(scheduler.get("service"))
    jobs = (owner for owner in mappings(meta_of(raw).get("ownerReferences")) if owner.get("kind") == "DaskJob")
    suspended = spec.get("suspend") is True
    return Cluster(
        **_declared(raw),
        suspended=suspended,
        suspended_by=_set_by(raw, ("f:spec", "f:suspend")) if suspended else "",
        replicas=_replicas(worker),
        drain_timeout=_drain_timeout(worker),
        idle_timeout=positive(spec.get("idleTimeout")) or 0.0,
        job=next((text(job.get("name")) for job in jobs), ""),
        worker=_template(worker),
        scheduler=_template(scheduler),
        service=_template(scheduler, "service"),
        listening=listening(mapping(scheduler.get("spec"))),
        ports=service_ports(service),
        headless=service.get("clusterIP") == "None",
        ipv6="IPv6" in families if isinstance(families := service.get("ipFamilies"), list) else False,
    )


@_or_cut
def group(raw: Json) -> Group:
    """Return a DaskWorkerGroup."""
    spec, declared = mapping(raw.get("spec")), _declared(raw)
    worker, notes = mapping(spec.get("worker")), metadata_of(meta_of(raw)).annotations
    replicas, drain_timeout = _replicas(worker), _drain_timeout(worker)
    return Group(
        **declared,
        cluster=text(spec.get("cluster")),
        replicas=1 if replicas is None else replicas,
        replicas_unset=replicas is None,
        drain_timeout=DRAIN_TIMEOUT if drain_timeout is None else float(drain_timeout),
        drain_timeout_unset=drain_timeout is None,
        copied=_copied(notes.get(names.REPLICAS_ANNOTATION, "")),
        worker=_template(worker),
        offer=offer(mapping(worker.get("spec"))),
        last_ordinal=max(
            ordinal(declared["status"].get("lastOrdinal")), ordinal(number(notes.get(names.LAST_ORDINAL_ANNOTATION)))
        ),
        template=notes.get(names.TEMPLATE_ANNOTATION, ""),
        declared_keys=notes.get(names.DECLARED_ANNOTATION, ""),
        adopted_template=notes.get(names.ADOPTED_ANNOTATION, ""),
        scaled=notes.get(names.SCALED_ANNOTATION, ""),
    )


def _copied(note: str) -> str:
    """Return the note of the replicas last copied. Somebody may have edited it, and the log tells of it."""
    return note if re.fullmatch(r"[0-9]{0,18}|unsaid", note) else "something else"


@_or_cut
def job(raw: Json) -> Job:
    """Return a DaskJob."""
    spec = mapping(raw.get("spec"))
    runner, made = mapping(spec.get("job")), mapping(spec.get("cluster"))
    limit = spec.get("backoffLimit")
    suspended = spec.get("suspend") is True
    # A job whose cluster has no Pods can do nothing.
    within = not suspended and mapping(made.get("spec")).get("suspend") is True
    field = ("f:spec", "f:cluster", "f:spec", "f:suspend") if within else ("f:spec", "f:suspend")
    return Job(
        **_declared(raw),
        suspended=suspended or within,
        suspended_by=_set_by(raw, field) if suspended or within else "",
        cluster=_template(made),
        runner=_template(runner),
        restart_policy=text(mapping(runner.get("spec")).get("restartPolicy")),
        backoff_limit=max(integer(limit), 0) if is_number(limit) else None,
        deadline=positive(spec.get("activeDeadlineSeconds")),
        ttl=positive(spec.get("ttlSecondsAfterFinished")),
        ended=metadata_of(meta_of(raw)).annotations.get(names.ENDED_ANNOTATION, ""),
    )


@_or_cut
def autoscaler(raw: Json) -> Autoscaler:
    """Return a DaskAutoscaler."""
    spec = mapping(raw.get("spec"))
    behavior, maximum, of = mapping(spec.get("behavior")), spec.get("maximum"), text(spec.get("cluster"))
    return Autoscaler(
        **_declared(raw),
        cluster=of,
        group=text(spec.get("workerGroup")) or names.default_group(of),
        minimum=max(integer(spec.get("minimum")), 0),
        maximum=max(integer(maximum), 0) if is_number(maximum) else None,
        up=_scaling(mapping(behavior.get("scaleUp")), 0.0),
        down=_scaling(mapping(behavior.get("scaleDown")), _SCALE_DOWN_WINDOW),
    )


def job_status(status: Json) -> JobStatus:
    """Return the status of a DaskJob."""
    return JobStatus(
        phase=text(status.get("jobStatus")),
        cluster=text(status.get("clusterName")),
        runner=text(status.get("jobRunnerPodName")),
        start_time=text(status.get("startTime")),
        end_time=text(status.get("endTime")),
        failed=integer(status.get("failed")),
        last_failure_time=text(status.get("lastFailureTime")),
        raw=status,
    )


def last_ordinals(status: Json) -> dict[str, int]:
    """Return the last ordinals of a cluster's groups that its status notes, by group."""
    return {group: ordinal(noted) for group, noted in mapping(status.get("lastOrdinals")).items()}


def _scaling(raw: Json, window: float) -> Scaling:
    given = raw.get("stabilizationWindowSeconds")
    policies = mappings(raw.get("policies"))
    if len(policies) > _MOST_POLICIES:
        raise TooLargeError(f"has {len(policies)} scaling policies, and at most {_MOST_POLICIES} are read")
    return Scaling(
        window=max(float(integer(given)), 0.0) if is_number(given) else window,
        policies=tuple(
            ScalingPolicy(p.get("type") == "Percent", integer(p.get("value")), float(integer(p.get("periodSeconds"))))
            for p in policies
        ),
        select=text(raw.get("selectPolicy")) or "Max",
    )


def _set_by(raw: Json, path: Sequence[str]) -> str:
    """Return the program that has set a field, by the notes of the API server; empty if they do not tell."""
    for entry in mappings(meta_of(raw).get("managedFields"))[:_FEW]:
        fields: object = entry.get("fieldsV1")
        for name in path:
            fields = fields.get(name) if isinstance(fields, Mapping) else None
        if fields is not None:
            return "".join(filter(str.isprintable, text(entry.get("manager"))))[:_LONGEST_MANAGER]
    return ""


def _template(part: Json, key: str = "spec") -> Template:
    return Template.of(mapping(part.get(key)), metadata_of(mapping(part.get("metadata"))))


def _outline(raw: Json) -> Json:
    meta, spec, status = meta_of(raw), mapping(raw.get("spec")), mapping(raw.get("status"))
    owners = mappings(meta.get("ownerReferences"))
    return {
        "kind": raw.get("kind"),
        "metadata": {key: meta.get(key) for key in _OUTLINE} | {"ownerReferences": owners[:_MOST_OWNERS]},
        "spec": {key: spec.get(key) for key in ("cluster", "workerGroup")},
        "status": {key: status[key] for key in ("conditions", "observedGeneration") if key in status},
    }


def _require_few(meta: Json, key: str) -> None:
    """Raise TooLargeError if there are many: each is a few bytes of text and hundreds in memory."""
    entries = meta.get(key)
    if isinstance(entries, list) and len(entries) > _MOST_ENTRIES:
        raise TooLargeError(f"has {len(entries)} {key}, and at most {_MOST_ENTRIES} are read")


def _declared(raw: Json) -> dict[str, Any]:
    _require_few(meta_of(raw), "finalizers")
    _require_few(meta_of(raw), "ownerReferences")
    finalizers = meta_of(raw).get("finalizers")
    owners = mappings(meta_of(raw).get("ownerReferences"))
    clusters = [owner for owner in owners if owner.get("kind") == "DaskCluster"]
    named = [owner for owner in clusters if owner.get("name") == mapping(raw.get("spec")).get("cluster")]
    return {
        **object_fields(raw),
        "unread": raw.why if isinstance(raw, Cut) else "",
        "cluster_uid": next((text(owner.get("uid")) for owner in named), ""),
        "moved": len(clusters) > len(named),
        "other_owners": tuple(owner for owner in owners if owner.get("kind") != "DaskCluster"),
        "generation": integer(meta_of(raw).get("generation")),
        "metadata": _packed(metadata_of(meta_of(raw))),
        "finalizers": tuple(map(text, finalizers)) if isinstance(finalizers, list) else (),
        "status": mapping(raw.get("status")),
    }


def _packed(metadata: Metadata) -> Metadata:
    few = len(metadata.labels) + len(metadata.annotations) <= _FEW
    return metadata if few else PackedMetadata(metadata)


def _replicas(worker: Mapping[str, Any]) -> int | None:
    number = worker.get("replicas")
    return max(integer(number), 0) if is_number(number) else None


def _drain_timeout(worker: Mapping[str, Any]) -> int | None:
    seconds = worker.get("drainTimeoutSeconds")
    return min(integer(seconds), _LONGEST_DRAIN) if is_number(seconds) and integer(seconds) >= 0 else None
