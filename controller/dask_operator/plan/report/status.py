"""What a DaskCluster and a DaskWorkerGroup say of themselves."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from dask_operator import build, names
from dask_operator.actions import Action, RecordEvent, RequeueAt, SetStatus
from dask_operator.model import Cluster, Group, Json, ObjectRef, Observed, Pod, Problem
from dask_operator.parse import ordinal, timestamp
from dask_operator.plan.report.conditions import DEGRADED, Condition, by_type, degraded, is_true, rendered, write
from dask_operator.plan.report.problems import cluster_problem, group_problem
from dask_operator.plan.report.unread import plan_unread
from dask_operator.plan.view import (
    ENDED,
    RECOVERED_AFTER,
    cluster_status,
    default_group,
    leaving,
    live,
    owned,
    removed_groups,
    scheduler_pod,
    status,
    workers,
)
from dask_operator.plan.workers import rollout
from dask_operator.resources import CLUSTER, DEPLOYMENT, GROUP, SERVICE

INTERVAL = 3.0
"""Seconds between two writes of a DaskCluster's status that nobody waits for."""
JOB_INTERVAL = 10.0
"""The same for a DaskJob and its cluster: about as long as a job takes to start."""
_GROUP_INTERVAL = 30.0
"""The same of a DaskWorkerGroup's, whose counts its cluster's status has as well."""
_JOB_GROUP_INTERVAL = 300.0
"""The same in a DaskJob's cluster, which many do not outlive."""

READY = "SchedulerReady"
WORKERS_READY = "WorkersReady"
PROGRESSING = "Progressing"


class _Count(NamedTuple):
    """Workers. `updated`: those of the current template."""

    wanted: int
    live: int
    ready: int
    updated: int


def plan_status(cluster: Cluster, observed: Observed, now: float) -> Iterator[Action]:
    groups = [group for group in observed.groups if not group.deleting and owned(group, cluster)]
    for group in groups:
        if group.unread:
            yield from plan_unread(GROUP.kind, group, observed, now)
            continue
        yield from _plan_group_status(cluster, group, observed, now)
    wanted = _cluster_status(cluster, groups, observed, now)
    write_ = SetStatus(ObjectRef(CLUSTER.kind, cluster.name), wanted, _summary(wanted))
    awaited = _awaited(cluster_status(cluster, observed), wanted)
    yield from write(write_, cluster, observed, now, JOB_INTERVAL if cluster.job else INTERVAL, awaited=awaited)
    restarted = [pod.restarted + RECOVERED_AFTER for pod in observed.pods if now < pod.restarted + RECOVERED_AFTER]
    if restarted:
        yield RequeueAt(min(restarted), because="containers that have crashed and run again")
    for text in observed.warnings:
        yield RecordEvent(ObjectRef(CLUSTER.kind, cluster.name), cluster.uid, "Warning", "FieldIgnored", text)


def plan_orphan(group: Group, observed: Observed, now: float) -> Iterator[Action]:
    """A group whose cluster does not exist says so."""
    if group.unread:
        yield from plan_unread(GROUP.kind, group, observed, now)
        return
    if group.deleting or group.cluster_uid:
        return
    problem = Problem("ClusterNotFound", f'there is no DaskCluster "{group.cluster}" in namespace {group.namespace}')
    conditions = [Condition(PROGRESSING, False, *problem), degraded(problem)]
    old = status(group, GROUP.kind, observed)
    # It may have been of another cluster before.
    counts = dict.fromkeys(("replicas", "readyReplicas", "updatedReplicas", "selector"))
    wanted = {**counts, "observedGeneration": group.generation, "conditions": rendered(group, old, conditions, now)}
    write_ = SetStatus(ObjectRef(GROUP.kind, group.name), wanted, problem.message)
    yield from write(write_, group, observed, now, _GROUP_INTERVAL, awaited=True)


def with_ordinals(cluster: Cluster, observed: Observed) -> Observed:
    """The same world with the ordinals of its groups that are noted in their cluster's status."""
    noted = cluster.status.get("lastOrdinals")
    if not isinstance(noted, Mapping):
        return observed
    groups = (
        replace(group, last_ordinal=max(group.last_ordinal, ordinal(noted.get(group.name))))
        for group in observed.groups
    )
    return replace(observed, groups=tuple(groups))


def scheduler_down_since(cluster: Cluster, observed: Observed, now: float) -> float:
    """Since when the scheduler has not been ready, as the status has it; `now` if it does not say."""
    condition = by_type(cluster_status(cluster, observed)).get(READY, {})
    down = condition.get("status") == "False"
    return (down and timestamp(str(condition.get("lastTransitionTime")))) or now


def _plan_group_status(cluster: Cluster, group: Group, observed: Observed, now: float) -> Iterator[Action]:
    wanted = _group_status(cluster, group, observed, now)
    notes = {names.LAST_ORDINAL_ANNOTATION: str(wanted["lastOrdinal"])}
    write_ = SetStatus(ObjectRef(GROUP.kind, group.name), wanted, _summary(wanted), notes)
    note = _must_be_noted(group, observed) and wanted["lastOrdinal"] > group.last_ordinal
    # The status of a job's cluster says as much, where its definition keeps it.
    last = observed.written.get(ObjectRef(CLUSTER.kind, cluster.name))
    told = cluster.job and not (last and last.inline)
    awaited = not told and _awaited(status(group, GROUP.kind, observed), wanted)
    interval = _JOB_GROUP_INTERVAL if told else _GROUP_INTERVAL
    yield from write(write_, group, observed, now, interval, awaited=note or awaited)


def _cluster_status(cluster: Cluster, groups: Sequence[Group], observed: Observed, now: float) -> dict[str, Any]:
    counts = {group.name: _count(group, observed) for group in groups}
    main = default_group(cluster, observed)
    count = counts[main.name] if main else _Count(cluster.replicas or 0, 0, 0, 0)
    going = [_going(pods, observed) for pods in removed_groups(cluster, observed).values()]
    total = _Count(*map(sum, zip(*(counts.values() or [count]), *going, strict=True)))
    scheduler, problem = scheduler_pod(observed), cluster_problem(cluster, groups, observed, now)
    conditions = [
        _scheduler_ready(cluster, scheduler),
        _workers_ready(total),
        _progressing(total, scheduler_ready=bool(scheduler and scheduler.ready), refused=_refused(cluster, observed)),
        degraded(problem),
    ]
    # A job's groups write no status of their own while its cluster is young.
    ordinals = {group.name: _last_ordinal(group, observed, settled=_settled(counts[group.name])) for group in groups}
    return {
        **({"lastOrdinals": ordinals} if cluster.job else {}),
        "phase": _phase(cluster, observed),
        "observedGeneration": cluster.generation,
        "replicas": count.live,
        "readyReplicas": count.ready,
        "updatedReplicas": count.updated,
        "selector": build.worker_selector(cluster.name, names.default_group(cluster.name)),
        "conditions": rendered(cluster, cluster_status(cluster, observed), conditions, now),
    }


def _group_status(cluster: Cluster, group: Group, observed: Observed, now: float) -> dict[str, Any]:
    count = _count(group, observed)
    conditions = [
        _workers_ready(count),
        _progressing(count, scheduler_ready=True, refused=""),
        degraded(group_problem(group, observed, now)),
    ]
    return {
        "observedGeneration": group.generation,
        "replicas": count.live,
        "readyReplicas": count.ready,
        "updatedReplicas": count.updated,
        "selector": build.worker_selector(cluster.name, group.name),
        "lastOrdinal": _last_ordinal(group, observed, settled=_settled(count)),
        "conditions": rendered(group, status(group, GROUP.kind, observed), conditions, now),
    }


def _last_ordinal(group: Group, observed: Observed, *, settled: bool) -> int:
    """The highest ordinal up to which all were given. Beyond a gap they count only when no worker is to be created:

    one whose creation is unsettled must be tried again under its own ordinal.
    """
    used = {pod.ordinal for pod in workers(group, observed)}
    if settled:
        return max(used | {group.last_ordinal})
    return next(ordinal - 1 for ordinal in itertools.count(group.last_ordinal + 1) if ordinal not in used)


def _settled(count: _Count) -> bool:
    return count.live >= count.wanted and count.updated == count.live


def _must_be_noted(group: Group, observed: Observed) -> bool:
    """Whether a worker goes, or is about to, whose ordinal is not in the status."""
    pods = workers(group, observed)
    surplus = _count(group, observed).live > group.replicas
    going = (pod for pod in pods if surplus or pod.deleting or pod.phase in ENDED or leaving(pod, observed))
    return any(pod.ordinal > group.last_ordinal for pod in going)


def _count(group: Group, observed: Observed) -> _Count:
    pods = [pod for pod in live(workers(group, observed)) if not leaving(pod, observed)]
    if group.unread:
        return _Count(len(pods), len(pods), sum(pod.ready for pod in pods), len(pods))
    new, _ = rollout.split(group, pods)
    return _Count(group.replicas, len(pods), sum(pod.ready for pod in pods), len(new))


def _going(pods: Sequence[Pod], observed: Observed) -> _Count:
    """Of the workers of a group that was removed."""
    staying = [pod for pod in live(pods) if not leaving(pod, observed)]
    return _Count(0, len(staying), 0, len(staying))


def _phase(cluster: Cluster, observed: Observed) -> str:
    refused = (
        observed.failures.get(ObjectRef(kind, names.scheduler(cluster.name)))
        for kind in (DEPLOYMENT.kind, SERVICE.kind)
    )
    if any(failure and failure.problem.reason in ("Invalid", "BadRequest") for failure in refused):
        return "Error"
    service = observed.service
    if not service or not owned(service, cluster):
        return "Created"
    usable = service.ingress if service.type == "LoadBalancer" else bool(service.cluster_ip)
    return "Running" if usable else "Pending"


def _scheduler_ready(cluster: Cluster, pod: Pod | None) -> Condition:
    if not pod:
        return Condition(READY, False, "SchedulerMissing", "the scheduler has no Pod yet")
    if pod.ready:
        return Condition(READY, True, "SchedulerReady", f"the scheduler listens at {build.scheduler_address(cluster)}")
    problem = pod.problem or Problem(
        "SchedulerStarting", f"Pod {pod.name} is {pod.phase or 'Pending'} and not ready yet"
    )
    return Condition(READY, False, *problem)


def _workers_ready(count: _Count) -> Condition:
    enough = count.ready >= count.wanted
    reason = "WorkersReady" if enough else "WorkersMissing"
    return Condition(WORKERS_READY, enough, reason, f"{count.ready} of {count.wanted} workers are ready")


def _refused(cluster: Cluster, observed: Observed) -> str:
    """What of a cluster's own cannot be made or edited; empty if nothing."""
    scheduler = names.scheduler(cluster.name)
    own = (
        ObjectRef(SERVICE.kind, scheduler),
        ObjectRef(DEPLOYMENT.kind, scheduler),
        ObjectRef(GROUP.kind, names.default_group(cluster.name)),
    )
    return next((f"{subject.kind} {subject.name}" for subject in own if subject in observed.failures), "")


def _progressing(count: _Count, *, scheduler_ready: bool, refused: str) -> Condition:
    if refused:
        return Condition(PROGRESSING, True, "Retrying", f"{refused} was refused, and is tried again")
    if count.updated < count.live:
        message = f"{count.updated} of {count.wanted} workers are of the current template"
        return Condition(PROGRESSING, True, "RollingOut", message)
    if count.live > count.wanted:
        return Condition(PROGRESSING, True, "ScalingDown", f"{count.live} workers on the way to {count.wanted}")
    if count.ready < count.wanted:
        return Condition(PROGRESSING, True, "ScalingUp", f"{count.live} of {count.wanted} workers exist")
    if not scheduler_ready:
        return Condition(PROGRESSING, True, "SchedulerStarting", "the scheduler is not ready yet")
    return Condition(PROGRESSING, False, "Settled", "everything is as the spec wants it")


def _awaited(old: Json, new: Json) -> bool:
    before, after = by_type(old), by_type(new)
    settled = not is_true(after, PROGRESSING)
    # Between the first seconds, when all starts at once, and the end somebody may wait for the scheduler alone.
    ready = READY in before and is_true(after, READY) and not is_true(before, READY)
    return settled or ready or is_true(before, DEGRADED) != is_true(after, DEGRADED)


def _summary(of: Json) -> str:
    return str(by_type(of)[PROGRESSING]["message"])
