"""What a DaskCluster and a DaskWorkerGroup say of themselves, and when that is worth a write.

A status is written at once when somebody may be waiting for it: all is as wanted, or something is wrong. What it says
on the way there is written every few seconds. Events come with a change for the worse and its end.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from dask_operator import build, names
from dask_operator.actions import CLUSTER, DEPLOYMENT, GROUP, SERVICE, Action, Emit, SetStatus, Wake
from dask_operator.model import Cluster, Group, Json, Object, Observed, Pod, Problem, Subject
from dask_operator.parse import timestamp
from dask_operator.plan.problems import cluster_problem, group_problem
from dask_operator.plan.view import (
    ENDED,
    RECOVERED_AFTER,
    blocked,
    default_group,
    leaving,
    live,
    owned,
    scheduler_pod,
    workers,
)

INTERVAL = 3.0
"""Seconds between two writes of a DaskCluster's status that nobody waits for."""
_GROUP_INTERVAL = 30.0
"""The same of a DaskWorkerGroup's, whose counts its cluster's status has as well."""

READY = "SchedulerReady"
WORKERS_READY = "WorkersReady"
PROGRESSING = "Progressing"
DEGRADED = "Degraded"


class _Condition(NamedTuple):
    type: str
    true: bool
    reason: str
    message: str


class _Count(NamedTuple):
    wanted: int
    live: int
    ready: int


def plan_status(cluster: Cluster, observed: Observed, now: float) -> Iterator[Action]:
    groups = [group for group in observed.groups if not group.deleting and owned(group, cluster)]
    for group in groups:
        status = _group_status(cluster, group, observed, now)
        hurry = _must_be_noted(group, observed) and status["lastOrdinal"] > group.last_ordinal
        write = SetStatus(Subject(GROUP.kind, group.name), status, _summary(status))
        yield from _write(write, group, group.status, observed, now, 0.0 if hurry else _GROUP_INTERVAL)
    status = _cluster_status(cluster, groups, observed, now)
    write = SetStatus(Subject(CLUSTER.kind, cluster.name), status, _summary(status))
    yield from _write(write, cluster, cluster.status, observed, now, INTERVAL)
    restarted = [pod.restarted + RECOVERED_AFTER for pod in observed.pods if now < pod.restarted + RECOVERED_AFTER]
    if restarted:
        yield Wake(min(restarted), because="containers that have crashed and run again")
    for text in observed.warnings:
        yield Emit(Subject(CLUSTER.kind, cluster.name), cluster.uid, "Warning", "FieldIgnored", text)


def plan_orphan(group: Group, observed: Observed, now: float) -> Iterator[Action]:
    """A group whose cluster does not exist says so."""
    if group.deleting or group.owners:
        return
    problem = Problem("ClusterNotFound", f'there is no DaskCluster "{group.cluster}" in namespace {group.namespace}')
    conditions = [_Condition(PROGRESSING, False, *problem), _Condition(DEGRADED, True, *problem)]
    status = {"observedGeneration": group.generation, "conditions": _conditions(group, group.status, conditions, now)}
    write = SetStatus(Subject(GROUP.kind, group.name), status, _summary(status))
    yield from _write(write, group, group.status, observed, now, _GROUP_INTERVAL)


def scheduler_down_since(cluster: Cluster, now: float) -> float:
    """Since when the scheduler has not been ready, as the status has it; `now` if it does not say."""
    condition = _by_type(cluster.status).get(READY, {})
    down = condition.get("status") == "False"
    return (down and timestamp(str(condition.get("lastTransitionTime")))) or now


def _cluster_status(cluster: Cluster, groups: Sequence[Group], observed: Observed, now: float) -> dict[str, Any]:
    counts = {group.name: _count(group, observed) for group in groups}
    main = default_group(cluster, observed)
    count = counts[main.name] if main else _Count(cluster.replicas, 0, 0)
    total = _Count(*map(sum, zip(*counts.values(), strict=True))) if counts else count
    scheduler, problem = scheduler_pod(observed), cluster_problem(cluster, groups, observed, now)
    conditions = [
        _scheduler_ready(cluster, scheduler),
        _workers_ready(total),
        _progressing(total, scheduler_ready=bool(scheduler and scheduler.ready)),
        _degraded(problem),
    ]
    return {
        "phase": _phase(cluster, observed),
        "observedGeneration": cluster.generation,
        "replicas": count.live,
        "readyReplicas": count.ready,
        "selector": build.worker_selector(cluster.name, names.default_group(cluster.name)),
        "conditions": _conditions(cluster, cluster.status, conditions, now),
    }


def _group_status(cluster: Cluster, group: Group, observed: Observed, now: float) -> dict[str, Any]:
    count = _count(group, observed)
    conditions = [
        _workers_ready(count),
        _progressing(count, scheduler_ready=True),
        _degraded(group_problem(group, observed, now)),
    ]
    return {
        "observedGeneration": group.generation,
        "replicas": count.live,
        "readyReplicas": count.ready,
        "selector": build.worker_selector(cluster.name, group.name),
        "lastOrdinal": _last_ordinal(group, observed, settled=count.live >= count.wanted),
        "conditions": _conditions(group, group.status, conditions, now),
    }


def _last_ordinal(group: Group, observed: Observed, *, settled: bool) -> int:
    """The highest ordinal up to which all were given. Beyond a gap they count only when no worker is to be created:

    one whose creation is unsettled must be tried again under its own ordinal.
    """
    used = {pod.ordinal for pod in workers(group, observed)}
    if settled:
        return max(used | {group.last_ordinal})
    return next(ordinal - 1 for ordinal in itertools.count(group.last_ordinal + 1) if ordinal not in used)


def _must_be_noted(group: Group, observed: Observed) -> bool:
    """Whether a worker goes, or is about to, whose ordinal is not in the status."""
    pods = workers(group, observed)
    surplus = _count(group, observed).live > group.replicas
    going = (pod for pod in pods if surplus or pod.deleting or pod.phase in ENDED or leaving(pod, observed))
    return any(pod.ordinal > group.last_ordinal for pod in going)


def _count(group: Group, observed: Observed) -> _Count:
    pods = [pod for pod in live(workers(group, observed)) if not leaving(pod, observed)]
    return _Count(group.replicas, len(pods), sum(pod.ready for pod in pods))


def _phase(cluster: Cluster, observed: Observed) -> str:
    refused = (
        observed.failures.get(Subject(kind, names.scheduler(cluster.name))) for kind in (DEPLOYMENT.kind, SERVICE.kind)
    )
    if any(failure and failure.problem.reason == "Invalid" for failure in refused):
        return "Error"
    service = observed.service
    if not service or not owned(service, cluster):
        return "Created"
    usable = service.ingress if service.type == "LoadBalancer" else bool(service.cluster_ip)
    return "Running" if usable else "Pending"


def _scheduler_ready(cluster: Cluster, pod: Pod | None) -> _Condition:
    if not pod:
        return _Condition(READY, False, "SchedulerMissing", "the scheduler has no Pod yet")
    if pod.ready:
        return _Condition(READY, True, "SchedulerReady", f"the scheduler listens at {build.scheduler_address(cluster)}")
    problem = pod.problem or Problem(
        "SchedulerStarting", f"Pod {pod.name} is {pod.phase or 'Pending'} and not ready yet"
    )
    return _Condition(READY, False, *problem)


def _workers_ready(count: _Count) -> _Condition:
    enough = count.ready >= count.wanted
    reason = "WorkersReady" if enough else "WorkersMissing"
    return _Condition(WORKERS_READY, enough, reason, f"{count.ready} of {count.wanted} workers are ready")


def _progressing(count: _Count, *, scheduler_ready: bool) -> _Condition:
    if count.live > count.wanted:
        return _Condition(PROGRESSING, True, "ScalingDown", f"{count.live} workers on the way to {count.wanted}")
    if count.ready < count.wanted:
        return _Condition(PROGRESSING, True, "ScalingUp", f"{count.live} of {count.wanted} workers exist")
    if not scheduler_ready:
        return _Condition(PROGRESSING, True, "SchedulerStarting", "the scheduler is not ready yet")
    return _Condition(PROGRESSING, False, "Settled", "everything is as the spec wants it")


def _degraded(problem: Problem | None) -> _Condition:
    return _Condition(DEGRADED, bool(problem), *(problem or Problem("AsExpected", "nothing is known to be wrong")))


def _conditions(about: Cluster | Group, old: Json, wanted: Iterable[_Condition], now: float) -> list[dict[str, Any]]:
    before = _by_type(old)
    return [_condition(condition, before.get(condition.type, {}), about.generation, now) for condition in wanted]


def _condition(new: _Condition, old: Mapping[str, Any], generation: int, now: float) -> dict[str, Any]:
    status = "True" if new.true else "False"
    same = old.get("status") == status
    # What is wrong is reported in words that vary from moment to moment; the first are as good as the next.
    kept = new.type == DEGRADED and same and old.get("reason") == new.reason
    return {
        "type": new.type,
        "status": status,
        "reason": new.reason,
        "message": old.get("message") if kept else new.message,
        "lastTransitionTime": (same and old.get("lastTransitionTime")) or rfc3339(now),
        "observedGeneration": generation,
    }


def _write(
    write: SetStatus, about: Object, old: Json, observed: Observed, now: float, interval: float
) -> Iterator[Action]:
    subject, new = write.subject, write.status
    if all(old.get(key) == value for key, value in new.items()):
        return
    if failure := blocked(subject, observed, now):
        yield Wake(failure.until, because=failure.problem.message)
        return
    due = observed.status_written.get(subject, about.created) + interval
    if now < due and not _awaited(old, new):
        yield Wake(due, because=f"the status of {subject.kind} {subject.name}")
        return
    yield write
    yield from _events(subject, about, _by_type(old).get(DEGRADED, {}), _by_type(new)[DEGRADED])


def _awaited(old: Json, new: Json) -> bool:
    before, after = _by_type(old), _by_type(new)
    settled = not _is(after, PROGRESSING)
    # Between the first seconds, when all starts at once, and the end somebody may wait for the scheduler alone.
    ready = READY in before and _is(after, READY) and not _is(before, READY)
    return settled or ready or _is(before, DEGRADED) != _is(after, DEGRADED)


def _summary(status: Json) -> str:
    return str(_by_type(status)[PROGRESSING]["message"])


def _events(subject: Subject, about: Object, old: Json, new: Json) -> Iterator[Action]:
    if new["status"] == "True" and new["reason"] != old.get("reason"):
        yield Emit(subject, about.uid, "Warning", new["reason"], new["message"])
    if new["status"] == "False" and old.get("status") == "True":
        yield Emit(subject, about.uid, "Normal", "Recovered", f"no longer: {old.get('reason')}: {old.get('message')}")


def _is(conditions: Mapping[str, Json], type_: str) -> bool:
    return bool(conditions.get(type_, {}).get("status") == "True")


def _by_type(status: Json) -> dict[str, Json]:
    conditions = status.get("conditions")
    known = conditions if isinstance(conditions, list) else []
    return {
        condition["type"]: condition
        for condition in known
        if isinstance(condition, Mapping) and isinstance(condition.get("type"), str)
    }


def rfc3339(at: float) -> str:
    """A time in seconds since the epoch as Kubernetes writes it."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
