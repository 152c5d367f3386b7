"""DaskAutoscalers: each scales one group of a cluster as its scheduler asks for.

They share what the scheduler asks for, so that several on one cluster do not fight. The bounds hold at all times, also
while no scheduler answers; then nothing else changes.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any

from dask_operator import build
from dask_operator.actions import TARGET, Action, Ask, Patch, RecordEvent, RequeueAt, SetStatus
from dask_operator.model import Autoscaler, Cluster, Group, ObjectRef, Observed, Problem
from dask_operator.parse import rfc3339
from dask_operator.plan.report.conditions import Condition, by_type, rendered, write
from dask_operator.plan.report.unread import say, too_large
from dask_operator.plan.view import live, owned, scheduler_pod, status, unless_blocked, workers
from dask_operator.plan.workers import scaling
from dask_operator.resources import AUTOSCALER, CLUSTER, GROUP

INTERVAL = 2.0
"""Seconds between two questions to a scheduler."""
_STATUS_INTERVAL = 30.0
_ANSWER_LASTS = 10.0
ACTIVE, LIMITED = "ScalingActive", "ScalingLimited"
_USUAL = ("SchedulerNotReady", "NotAsked")
"""Reasons not to scale that every cluster has while it starts."""


def plan_autoscalers(cluster: Cluster, observed: Observed, now: float) -> Iterator[Action]:
    groups = {group.name: group for group in observed.groups if not group.deleting and owned(group, cluster)}
    chosen = _chosen(cluster, groups, observed)
    # Who is not read scales nothing, and nobody else does in its place.
    active = [each for each in chosen if not each.unread and not groups[each.group].unread]
    for autoscaler in observed.autoscalers:
        if autoscaler.deleting or not owned(autoscaler, cluster):
            continue
        if autoscaler in active:
            yield from _scale(autoscaler, groups, active, observed, now)
        else:
            problem = _out_of_work(autoscaler, cluster, groups, chosen)
            yield from _report(autoscaler, groups.get(autoscaler.group), observed, now, problem=problem)
    if active:
        yield from _ask(cluster, active, groups, observed, now)


def plan_idle_autoscalers(cluster: Cluster, observed: Observed, now: float) -> Iterator[Action]:
    """Autoscalers of a cluster that is too large to be read say so, and wait."""
    groups = {group.name: group for group in observed.groups}
    for autoscaler in observed.autoscalers:
        if not autoscaler.deleting and owned(autoscaler, cluster):
            problem = too_large(CLUSTER.kind, cluster)
            yield from _report(autoscaler, groups.get(autoscaler.group), observed, now, problem=problem)


def plan_without_cluster(autoscaler: Autoscaler, observed: Observed, now: float) -> Iterator[Action]:
    """An autoscaler whose cluster does not exist says so, and waits."""
    if not autoscaler.deleting and not autoscaler.cluster_uid:
        message = f'there is no DaskCluster "{autoscaler.cluster}" in namespace {autoscaler.namespace}'
        yield from _report(autoscaler, None, observed, now, problem=Problem("ClusterNotFound", message))


def _chosen(cluster: Cluster, groups: dict[str, Group], observed: Observed) -> list[Autoscaler]:
    """The autoscalers that count, the oldest first: one for each group."""
    chosen: dict[str, Autoscaler] = {}
    for autoscaler in sorted(observed.autoscalers, key=lambda each: (each.created, each.name)):
        if autoscaler.group in groups and not autoscaler.deleting and owned(autoscaler, cluster):
            chosen.setdefault(autoscaler.group, autoscaler)
    return list(chosen.values())


def _out_of_work(
    autoscaler: Autoscaler, cluster: Cluster, groups: dict[str, Group], chosen: Sequence[Autoscaler]
) -> Problem:
    if large := too_large(GROUP.kind, groups.get(autoscaler.group)):
        return large
    if autoscaler.group not in groups:
        message = f'DaskCluster {cluster.name} has no DaskWorkerGroup "{autoscaler.group}"'
        return Problem("GroupNotFound", f"{message}; it has: {', '.join(sorted(groups)) or 'none'}")
    other = next(each.name for each in chosen if each.group == autoscaler.group)
    message = f"DaskAutoscaler {other} scales DaskWorkerGroup {autoscaler.group} already: delete one of them"
    return Problem("AnotherAutoscaler", message)


def _ask(
    cluster: Cluster, active: Sequence[Autoscaler], groups: dict[str, Group], observed: Observed, now: float
) -> Iterator[Action]:
    scheduler = scheduler_pod(observed)
    if not scheduler or not scheduler.ready or TARGET in observed.asking:
        return
    # A clock that was set back must not end the asking.
    due = observed.demand.at + INTERVAL if observed.demand and observed.demand.at <= now else now
    if now < due:
        yield RequeueAt(due, because="autoscaling")
        return
    keep = max(map(scaling.history, active)) + 2 * INTERVAL
    wanted = {group.name: group.replicas for group in groups.values()}
    yield Ask(TARGET, build.scheduler_endpoint(cluster, observed.service, scheduler), "autoscaling", keep, wanted)


def _scale(
    autoscaler: Autoscaler, groups: dict[str, Group], active: Sequence[Autoscaler], observed: Observed, now: float
) -> Iterator[Action]:
    group = groups[autoscaler.group]
    current, demand, problem = group.replicas, observed.demand, _silence(observed, now)
    desired, because = _decision(autoscaler, group, groups, active, observed, problem)
    subject = ObjectRef(GROUP.kind, group.name)
    # What it has is written down first (`plan/replicas`): of two writes at once either may come last.
    if desired != current and not group.unsaid:
        decision = f"{current} → {desired}: {because}"
        patch = Patch(
            subject, build.scaled_group(autoscaler, desired, rfc3339(now), decision), f"{decision} ({autoscaler.name})"
        )
        yield unless_blocked(patch, observed, now)
    failure = observed.failures.get(subject)
    asked = demand.samples[-1].target if demand and demand.samples and not problem else None
    problem = failure.problem if failure else problem
    yield from _report(autoscaler, group, observed, now, problem=problem, desired=desired, asked=asked)


def _silence(observed: Observed, now: float) -> Problem | None:
    """Why it is not known how many workers are wanted."""
    scheduler, demand = scheduler_pod(observed), observed.demand
    if not scheduler or not scheduler.ready:
        return Problem("SchedulerNotReady", "the scheduler is not ready; the number of workers stays as it is")
    if demand and demand.samples and now < demand.samples[-1].at + _ANSWER_LASTS:
        return None
    return (demand and demand.problem) or Problem("NotAsked", "the scheduler has not been asked yet")


def _decision(
    autoscaler: Autoscaler,
    group: Group,
    groups: dict[str, Group],
    active: Sequence[Autoscaler],
    observed: Observed,
    problem: Problem | None,
) -> tuple[int, str]:
    """How many workers the group is to have, and why."""
    current = scaling.bounded(autoscaler, group.replicas)
    if current != group.replicas:
        return current, f"minimum {autoscaler.minimum}, maximum {_maximum(autoscaler)}"
    if problem or not observed.demand:
        return current, ""
    samples, scaled = observed.demand.samples, {each.group for each in active}
    wishes = [
        (sample.at, scaling.shares(sample.target, active, _others(sample.replicas, scaled))[autoscaler.group])
        for sample in samples
    ]
    others = _others({each.name: each.replicas for each in groups.values()}, {autoscaler.group})
    share = f", and other groups have {others}" if others else ""
    because = f"the scheduler asks for {samples[-1].target} workers{share}"
    return scaling.replicas(autoscaler, current, wishes, samples), because


def _others(replicas: Mapping[str, int], scaled: Container[str]) -> int:
    return sum(number for group, number in replicas.items() if group not in scaled)


def _report(
    autoscaler: Autoscaler,
    group: Group | None,
    observed: Observed,
    now: float,
    *,
    problem: Problem | None,
    desired: int = 0,
    asked: int | None = None,
) -> Iterator[Action]:
    if large := too_large(AUTOSCALER.kind, autoscaler):
        yield from say(
            AUTOSCALER.kind, autoscaler, [Condition(type_, False, *large) for type_ in (ACTIVE, LIMITED)], observed, now
        )
        return
    old, subject = status(autoscaler, AUTOSCALER.kind, observed), ObjectRef(AUTOSCALER.kind, autoscaler.name)
    # What was done is read from the group: a decision that was refused was none.
    when, decision = _last_scaled(autoscaler, group)
    wanted: dict[str, Any] = {
        "observedGeneration": autoscaler.generation,
        "currentReplicas": len(live(workers(group, observed))) if group else 0,
        "desiredReplicas": desired,
        "lastDecision": decision or None,
        "lastScaleTime": when or None,
        "conditions": rendered(autoscaler, old, _conditions(autoscaler, problem, asked), now),
    }
    # Two decisions may come within the second that the time tells.
    scaled = (when, decision) != (old.get("lastScaleTime") or "", old.get("lastDecision") or "")
    reason = by_type(wanted)[ACTIVE]["reason"]
    news = reason not in _USUAL and reason != by_type(old).get(ACTIVE, {}).get("reason")
    set_status = SetStatus(subject, wanted, because=decision or reason)
    written = tuple(write(set_status, autoscaler, observed, now, _STATUS_INTERVAL, awaited=scaled or news))
    yield from written
    if scaled and decision and set_status in written:
        yield RecordEvent(subject, autoscaler.uid, "Normal", "Scaled", decision)


def _last_scaled(autoscaler: Autoscaler, group: Group | None) -> tuple[str, str]:
    """When it scaled its group the last time, and why."""
    when, _, rest = (group.scaled if group else "").partition(" ")
    name, _, decision = rest.partition(" ")
    return (when, decision) if name == autoscaler.name else ("", "")


def _conditions(autoscaler: Autoscaler, problem: Problem | None, asked: int | None) -> Iterator[Condition]:
    follows = Problem("FollowsScheduler", f"DaskWorkerGroup {autoscaler.group} has the workers its scheduler asks for")
    yield Condition(ACTIVE, not problem, *(problem or follows))
    if asked is not None and autoscaler.maximum is not None and asked > autoscaler.maximum:
        yield Condition(
            LIMITED, True, "TooManyReplicas", f"more workers are asked for than maximum {autoscaler.maximum}"
        )
    elif asked is not None and asked < autoscaler.minimum:
        yield Condition(
            LIMITED, True, "TooFewReplicas", f"fewer workers are asked for than minimum {autoscaler.minimum}"
        )
    else:
        yield Condition(LIMITED, False, "WithinBounds", "what is asked for is between minimum and maximum")


def _maximum(autoscaler: Autoscaler) -> str:
    return "none" if autoscaler.maximum is None else str(autoscaler.maximum)
