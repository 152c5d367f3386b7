"""The status of a DaskCluster and of a DaskWorkerGroup."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from dask_operator import manifests, names
from dask_operator.actions import Action, RecordEvent, RequeueAt, SetStatus
from dask_operator.model import Cluster, Group, Json, ObjectRef, Observed, Pod, Problem
from dask_operator.parse import rfc3339, timestamp
from dask_operator.plan.ownership import children
from dask_operator.plan.report.conditions import (
    DEGRADED,
    PROGRESSING,
    RETIRING,
    SCHEDULER_READY,
    SUSPENDED,
    WORKERS_READY,
    Condition,
    as_said,
    by_type,
    degraded,
    is_true,
    rendered,
    write,
)
from dask_operator.plan.report.problems import cluster_problem, group_problem
from dask_operator.plan.report.ready import READY, ROLLING_OUT, STALLED, plan_stall, readiness, was_ready
from dask_operator.plan.report.suspended import rests, resumed, suspended_conditions, suspended_group_conditions
from dask_operator.plan.report.unread import plan_unread
from dask_operator.plan.view import RECOVERED_AFTER, View, Workers, cluster_status, fewest, status
from dask_operator.resources import CLUSTER, GROUP

INTERVAL = 3.0
"""Seconds between two writes of a DaskCluster's status that nobody waits for."""
JOB_INTERVAL = 10.0
"""Seconds between two writes for a DaskJob and its cluster: about the time that a job takes to start."""
_GROUP_INTERVAL = 30.0
"""Seconds between two writes for a DaskWorkerGroup, whose counts its cluster's status has as well."""
_JOB_GROUP_INTERVAL = 300.0
"""Seconds between two writes for a DaskWorkerGroup of a DaskJob's cluster; most jobs end earlier."""

INVALID = ("Invalid", "BadRequest")
"""Reasons of refusals that only an edit ends."""
AGENT_MISSING = "AgentMissing"
_UPDATING = Problem("Updating", "an edit is carried out")
_NO_AGENT = (
    "the operator's agent does not run in the scheduler, so workers that leave do not end their tasks and shuffles "
    "first: their results move, and Dask computes the rest again; see the docs, How workers leave"
)


class _Count(NamedTuple):
    """Numbers of workers. `live`: they run or may yet run; `updated`: they have the current template; `gated`: they
    have a scheduling gate; `leaving`: their scheduler retires them; `held`: they do not exist, and wait for the
    scheduler; `displaced`: they have the current template, and are to leave their node. `needed`: as many must be ready
    for the group to be. `unadmitted`: they are wanted, and no queue has admitted them.
    """

    wanted: int
    live: int
    ready: int
    updated: int
    gated: int = 0
    leaving: int = 0
    held: int = 0
    displaced: int = 0
    needed: int = 0
    unadmitted: int = 0


def plan_status(view: View, now: float, *, edited: bool = False) -> Iterator[Action]:
    """Write the statuses of the cluster and its groups, and record the API server's warnings as Events.

    `edited`: this plan creates or edits the cluster's own objects.
    """
    cluster, observed = view.cluster, view.observed
    for workers in view.workers.values():
        if workers.group.unread:
            yield from plan_unread(GROUP.kind, workers.group, observed, now)
            continue
        yield from _plan_group_status(view, workers, now)
    wanted, ref = _cluster_status(view, now, edited=edited), ObjectRef(CLUSTER.kind, cluster.name)
    awaited = _awaited(cluster_status(cluster, observed), wanted)
    interval = JOB_INTERVAL if cluster.job else INTERVAL
    yield from write(SetStatus(ref, wanted, _summary(wanted)), cluster, observed, now, interval, awaited=awaited)
    yield from plan_stall(cluster, wanted, now)
    recovering = [pod.restarted + RECOVERED_AFTER for pod in view.restarted if now < pod.restarted + RECOVERED_AFTER]
    if recovering:
        yield RequeueAt(min(recovering), because="containers that have crashed and run again")
    if delayed := [pod.problem_from for pod in _suspects(view) if now < pod.problem_from]:
        yield RequeueAt(min(delayed), because="Pods that have not started yet")
    for text in observed.warnings:
        # Kubernetes ignores a field that it does not know, and no other field that it warns of.
        reason = "FieldIgnored" if 'unknown field "' in text else "KubernetesWarning"
        yield RecordEvent(ref, cluster.uid, "Warning", reason, text)


def plan_orphan(group: Group, observed: Observed, now: float) -> Iterator[Action]:
    """Say in a group's status that its cluster does not exist."""
    if group.unread:
        yield from plan_unread(GROUP.kind, group, observed, now)
        return
    if group.deleting or group.cluster_uid:
        return
    problem = Problem("ClusterNotFound", f'there is no DaskCluster "{group.cluster}" in namespace {group.namespace}')
    old = status(group, GROUP.kind, observed)
    conditions = [
        *readiness(group, old, problem, problem, now),
        Condition(PROGRESSING, False, *problem),
        degraded(problem),
    ]
    # The group may have belonged to another cluster before.
    counts = dict.fromkeys(("replicas", "readyReplicas", "updatedReplicas", "selector"))
    wanted = {**counts, "observedGeneration": group.generation, "conditions": rendered(group, old, conditions, now)}
    write_ = SetStatus(ObjectRef(GROUP.kind, group.name), wanted, problem.message)
    yield from write(write_, group, observed, now, _GROUP_INTERVAL, awaited=True)
    yield from plan_stall(group, wanted, now)


def scheduler_down_since(cluster: Cluster, observed: Observed, now: float) -> float:
    """Return since when the scheduler has not been ready by the cluster's status; `now` if the status has no time."""
    condition = by_type(cluster_status(cluster, observed)).get(SCHEDULER_READY, {})
    down = condition.get("status") == "False"
    return (down and timestamp(str(condition.get("lastTransitionTime")))) or now


def _plan_group_status(view: View, workers: Workers, now: float) -> Iterator[Action]:
    group, observed = workers.group, view.observed
    wanted = _group_status(view, workers, now)
    notes = {names.LAST_ORDINAL_ANNOTATION: str(wanted["lastOrdinal"])}
    write_ = SetStatus(ObjectRef(GROUP.kind, group.name), wanted, _summary(wanted), notes)
    note = _must_be_noted(workers) and wanted["lastOrdinal"] > group.last_ordinal
    # The status of a job's cluster says the same, where its definition keeps a status. Helm waits for other groups.
    last = observed.written.get(ObjectRef(CLUSTER.kind, view.cluster.name))
    own = group.name == names.default_group(view.cluster.name)
    told = view.cluster.job and own and not (last and last.inline)
    awaited = not told and _awaited(status(group, GROUP.kind, observed), wanted)
    interval = _JOB_GROUP_INTERVAL if told else _GROUP_INTERVAL
    yield from write(write_, group, observed, now, interval, awaited=note or awaited)
    yield from plan_stall(group, wanted, now)


def _cluster_status(view: View, now: float, *, edited: bool) -> dict[str, Any]:
    cluster, observed, scheduler = view.cluster, view.observed, view.scheduler
    counts = {name: _count(view, workers) for name, workers in view.workers.items()}
    default = names.default_group(cluster.name)
    count = counts.get(default, _Count(cluster.replicas or 0, 0, 0, 0, needed=1))
    removed = ((len(workers.old), len(workers.leaving)) for workers in view.removed.values())
    everyone = (*view.workers.values(), *view.removed.values())
    going = [_Count(0, old, 0, old, leaving=leaving) for old, leaving in removed]
    total = _Count(*map(sum, zip(*(counts.values() or [count]), *going, strict=True)))
    old = cluster_status(cluster, observed)
    problem = as_said(cluster_problem(view, now), old)
    progress = _progressing(
        total,
        scheduler_ready=bool(scheduler and scheduler.ready),
        refused=_refused(cluster, observed),
        slowest=_slowest(observed, [pod for workers in everyone for pod in workers.leaving]),
    )
    # Repairs of the cluster's objects do not matter: only an edit makes it another cluster than the one that is ready.
    rolls = bool(view.deployment and view.deployment.rolling) or (edited and not was_ready(cluster, old))
    ready = scheduler and scheduler.ready and not rolls and all(map(_is_ready, counts.values() or [count]))
    running = (
        *readiness(cluster, old, None if ready else _missing(progress), problem, now),
        _scheduler_ready(cluster, scheduler, now),
        _workers_ready(total),
        progress,
        *resumed(view),
    )
    conditions = [
        *(suspended_conditions(view) if rests(view) else running),
        degraded(problem),
        *_agent_missing(view),
    ]
    # The groups of a young job's cluster write no status of their own.
    ordinals = {name: _last_ordinal(workers, counts[name]) for name, workers in view.workers.items()}
    return {
        **({"lastOrdinals": ordinals} if cluster.job else {}),
        "phase": _phase(view),
        "observedGeneration": cluster.generation,
        "replicas": count.live,
        "readyReplicas": count.ready,
        "updatedReplicas": count.updated,
        "selector": manifests.worker_selector(cluster.name, default),
        "conditions": rendered(cluster, old, conditions, now),
    }


def _group_status(view: View, workers: Workers, now: float) -> dict[str, Any]:
    group, count, old = workers.group, _count(view, workers), status(workers.group, GROUP.kind, view.observed)
    problem = as_said(group_problem(view, workers, now), old)
    progress = _progressing(count, scheduler_ready=True, refused="", slowest=_slowest(view.observed, workers.leaving))
    ready = tuple(readiness(group, old, None if _is_ready(count) else _missing(progress), problem, now))
    # A job may end, and its groups with it, before all of its workers have started.
    may_end = view.cluster.job and not any(condition.type == STALLED for condition in ready)
    running = (
        *(readiness(group, old, None, None, now) if may_end else ready),
        _workers_ready(count),
        progress,
    )
    conditions = [
        *(suspended_group_conditions(workers) if rests(view) else running),
        degraded(problem),
    ]
    return {
        "observedGeneration": group.generation,
        "replicas": count.live,
        "readyReplicas": count.ready,
        "updatedReplicas": count.updated,
        "selector": manifests.worker_selector(view.cluster.name, group.name),
        "lastOrdinal": _last_ordinal(workers, count),
        "conditions": rendered(group, old, conditions, now),
    }


def _last_ordinal(workers: Workers, count: _Count) -> int:
    """Return the highest ordinal below which all have been given.

    A gap is passed over only when no worker will be created: a creation with an unknown outcome is tried again under
    its own ordinal.
    """
    group = workers.group
    none_wanted = not count.wanted and not group.unread
    if none_wanted or (count.live >= count.wanted and count.updated == count.live and not count.displaced):
        return max(workers.highest, group.last_ordinal)
    return next(n - 1 for n in itertools.count(group.last_ordinal + 1) if n not in workers.ordinals)


def _must_be_noted(workers: Workers) -> bool:
    """Return whether a worker leaves, or is about to, whose ordinal is not in the status."""
    surplus = len(workers.staying) > workers.group.replicas
    return (workers.highest if surplus else workers.highest_going) > workers.group.last_ordinal


def _count(view: View, workers: Workers) -> _Count:
    staying = len(workers.staying)
    if workers.group.unread:
        # Nobody knows how many would be enough.
        return _Count(staying, staying, workers.ready, staying, needed=sys.maxsize)
    wanted, leaving = workers.group.replicas, len(workers.leaving)
    held = 0 if view.scheduler else max(wanted - staying, 0)
    updated = len(workers.new) + workers.displaced
    # An autoscaler that adds workers takes nothing away from those who use the others.
    minimum = fewest(workers.group.name, view.cluster, view.observed)
    needed = wanted if minimum is None else min(wanted, minimum)
    admitted = workers.group.admitted
    unadmitted = 0 if admitted is None else max(wanted - admitted, 0)
    return _Count(
        wanted, staying, workers.ready, updated, workers.gated, leaving, held, workers.displaced, needed, unadmitted
    )


def _is_ready(count: _Count) -> bool:
    """Return whether a group has the workers that it needs, all of its current template."""
    return count.ready >= count.needed and count.updated >= count.live


def _missing(progress: Condition) -> Problem:
    """Return what a cluster or a group that is not ready waits for, by its condition `Progressing`."""
    return Problem(progress.reason, progress.message) if progress.true else _UPDATING


def _phase(view: View) -> str:
    scheduler = (ref for ref in children.refs(view.cluster) if ref.kind != GROUP.kind)
    refused = (view.observed.failures.get(ref) for ref in scheduler)
    if any(failure and failure.problem.reason in INVALID for failure in refused):
        return "Error"
    if rests(view):
        return SUSPENDED
    service = view.service
    if not service:
        return "Created"
    usable = service.ingress if service.type == "LoadBalancer" else bool(service.cluster_ip)
    return "Running" if usable else "Pending"


def _suspects(view: View) -> Iterator[Pod]:
    """Yield the Pods that may have a problem."""
    yield from (pod for workers in view.workers.values() for pod in workers.suspects if not pod.deleting)
    if view.scheduler:
        yield view.scheduler


def _scheduler_ready(cluster: Cluster, pod: Pod | None, now: float) -> Condition:
    if not pod:
        return Condition(SCHEDULER_READY, False, "SchedulerMissing", "the scheduler has no Pod yet")
    if pod.ready:
        return Condition(
            SCHEDULER_READY, True, "SchedulerReady", f"the scheduler listens at {manifests.scheduler_address(cluster)}"
        )
    if pod.gated:
        return Condition(
            SCHEDULER_READY, False, "SchedulingGated", f"Pod {pod.name} has scheduling gates, as in a queue"
        )
    starting = Problem("SchedulerStarting", f"Pod {pod.name} is {pod.phase or 'Pending'} and not ready yet")
    return Condition(SCHEDULER_READY, False, *(pod.problem_at(now) or starting))


def _workers_ready(count: _Count) -> Condition:
    enough = count.ready >= count.wanted
    reason = "WorkersReady" if enough else "WorkersMissing"
    return Condition(WORKERS_READY, enough, reason, f"{count.ready} of {count.wanted} workers are ready")


def _refused(cluster: Cluster, observed: Observed) -> str:
    """Return the cluster's child that the API server refused; empty if it refused none."""
    return next((f"{ref.kind} {ref.name}" for ref in children.refs(cluster) if ref in observed.failures), "")


def _progressing(count: _Count, *, scheduler_ready: bool, refused: str, slowest: str) -> Condition:
    if refused:
        return Condition(PROGRESSING, True, "Retrying", f"the API server rejected {refused}; the operator retries")
    if unsettled := _unsettled(count, slowest):
        return Condition(PROGRESSING, True, *unsettled)
    if not scheduler_ready:
        return Condition(PROGRESSING, True, "SchedulerStarting", "the scheduler is not ready yet")
    return Condition(PROGRESSING, False, "Settled", "the cluster matches its spec")


def _unsettled(count: _Count, slowest: str) -> tuple[str, str] | None:
    """Return why workers are to come or to go, with a reason. `slowest`: what the last of those that go still does."""
    queued = f"; {count.gated} have scheduling gates, as in a queue" if count.gated else ""
    if count.unadmitted:
        queued += f"; the queue has not admitted {count.unadmitted} of them yet"
    if count.updated < count.live:
        message = f"{count.updated} of {count.wanted} workers have the current template{queued}"
        return ROLLING_OUT, message
    if count.displaced:
        message = f"{count.displaced} workers are to leave nodes that are cordoned or tainted, and others come first"
        return "LeavingNodes", f"{message}{queued}"
    if count.live > count.wanted:
        return "ScalingDown", f"scaling down from {count.live} to {count.wanted} workers"
    if count.ready < count.wanted:
        held = "; the others wait for the scheduler's Pod" if count.held else ""
        return "ScalingUp", f"{count.live} of {count.wanted} workers exist{queued}{held}"
    if count.leaving:
        return RETIRING, f"{count.leaving} workers hand over their data before they are deleted{slowest}"
    return None


def _slowest(observed: Observed, pods: Sequence[Pod]) -> str:
    """Return what the worker still does that has been leaving for longest, empty if that is not known."""
    drains = [(observed.retiring[pod.uid], pod.name) for pod in pods if pod.uid in observed.retiring]
    known = [(departure.since, name, departure.waits_for) for departure, name in drains if departure.waits_for]
    if not known:
        return ""
    since, name, waits_for = min(known)
    return f"; {name} has {waits_for} left, since {rfc3339(since)}"


def _agent_missing(view: View) -> Iterator[Condition]:
    """Yield the condition that the scheduler has no agent, once it has been without."""
    survey, said = view.observed.survey, by_type(cluster_status(view.cluster, view.observed)).get(AGENT_MISSING)
    if survey and not survey.problem and not survey.agent:
        yield Condition(AGENT_MISSING, True, "NoAgent", _NO_AGENT)
    elif survey and not survey.problem and said:
        yield Condition(AGENT_MISSING, False, "AgentAnswers", "workers that leave end their tasks first")
    elif said:
        yield Condition(AGENT_MISSING, said.get("status") == "True", str(said["reason"]), str(said["message"]))


def _awaited(old: Json, new: Json) -> bool:
    before, after = by_type(old), by_type(new)
    settled = not is_true(after, PROGRESSING)
    # Somebody may wait for the scheduler alone, after the first seconds, in which all starts at once.
    came = [each for each in (READY, SCHEDULER_READY) if is_true(after, each) and not is_true(before, each)]
    ready = READY in came or (bool(came) and SCHEDULER_READY in before)
    return (
        settled
        or ready
        or any(is_true(before, each) != is_true(after, each) for each in (DEGRADED, STALLED, SUSPENDED))
    )


def _summary(of: Json) -> str:
    return str(by_type(of)[PROGRESSING]["message"])
