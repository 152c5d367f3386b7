"""DaskAutoscalers: each scales one group of a cluster as the cluster's scheduler asks.

Several autoscalers of one cluster share the scheduler's target, so that they do not fight. The bounds hold at all
times, also while no scheduler answers; then nothing else changes.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any

from dask_operator import manifests
from dask_operator.actions import TARGET, Action, Ask, Patch, RecordEvent, RequeueAt, SetStatus
from dask_operator.model import Autoscaler, Group, ObjectRef, Observed, Problem
from dask_operator.parse import rfc3339, timestamp
from dask_operator.plan.report.conditions import Condition, by_type, rendered, write
from dask_operator.plan.report.unread import too_large, write_conditions
from dask_operator.plan.view import View, owned, status, unless_blocked
from dask_operator.plan.workers import scaling
from dask_operator.plan.workers.scaling import Decision
from dask_operator.resources import AUTOSCALER, CLUSTER, GROUP

INTERVAL = 2.0
"""Seconds between two questions to a scheduler."""
_STATUS_INTERVAL = 30.0
_ANSWER_LASTS = 10.0
_LONGEST = 1024
ACTIVE, LIMITED = "ScalingActive", "ScalingLimited"
_USUAL = ("SchedulerNotReady", "NotAsked")
"""Reasons not to scale that every cluster has while it starts."""


def plan_autoscalers(view: View, now: float) -> Iterator[Action]:
    """Scale the groups that have an autoscaler, and ask the scheduler how many workers it wants."""
    chosen = _chosen(view)
    # An autoscaler that is not read scales nothing, and no other one takes its place.
    active = [each for each in chosen if not each.unread and not view.workers[each.group].group.unread]
    for autoscaler in _own(view):
        if autoscaler in active:
            yield from _scale(view, autoscaler, active, now)
        else:
            yield from _report(view, autoscaler, now, problem=_out_of_work(view, autoscaler, chosen))
    if active:
        yield from _ask(view, active, now)


def plan_waiting_autoscalers(view: View, now: float) -> Iterator[Action]:
    """Say in the status of its autoscalers that the cluster is too large to be read."""
    for autoscaler in _own(view):
        yield from _report(view, autoscaler, now, problem=too_large(CLUSTER.kind, view.cluster))


def plan_without_cluster(autoscaler: Autoscaler, observed: Observed, now: float) -> Iterator[Action]:
    """Say in an autoscaler's status that its cluster does not exist."""
    if not autoscaler.deleting and not autoscaler.cluster_uid:
        message = f'there is no DaskCluster "{autoscaler.cluster}" in namespace {autoscaler.namespace}'
        problem = Problem("ClusterNotFound", message)
        yield from _write_status(autoscaler, None, 0, observed, now, problem=problem)


def _own(view: View) -> list[Autoscaler]:
    return [each for each in view.observed.autoscalers if not each.deleting and owned(each, view.cluster)]


def _chosen(view: View) -> list[Autoscaler]:
    """Return the autoscalers that count: the oldest one of each group."""
    chosen: dict[str, Autoscaler] = {}
    for autoscaler in sorted(_own(view), key=lambda each: (each.created, each.name)):
        if autoscaler.group in view.workers:
            chosen.setdefault(autoscaler.group, autoscaler)
    return list(chosen.values())


def _out_of_work(view: View, autoscaler: Autoscaler, chosen: Sequence[Autoscaler]) -> Problem:
    """Return why an autoscaler scales nothing."""
    workers = view.workers.get(autoscaler.group)
    if not workers:
        message = f'DaskCluster {view.cluster.name} has no DaskWorkerGroup "{autoscaler.group}"'
        return Problem("GroupNotFound", f"{message}; it has: {', '.join(sorted(view.workers)) or 'none'}")
    if large := too_large(GROUP.kind, workers.group):
        return large
    other = next(each.name for each in chosen if each.group == autoscaler.group)
    message = f"DaskAutoscaler {other} scales DaskWorkerGroup {autoscaler.group} already: delete one of them"
    return Problem("AnotherAutoscaler", message)


def _ask(view: View, active: Sequence[Autoscaler], now: float) -> Iterator[Action]:
    scheduler, observed = view.scheduler, view.observed
    if not scheduler or not scheduler.ready or TARGET in observed.asking:
        return
    # A clock that is set back must not end the questions.
    due = observed.demand.at + INTERVAL if observed.demand and observed.demand.at <= now else now
    if now < due:
        yield RequeueAt(due, because="autoscaling")
        return
    keep = max(map(scaling.history, active)) + 2 * INTERVAL
    wanted = {group.name: group.replicas for group in view.groups}
    yield Ask(
        TARGET, manifests.scheduler_endpoint(view.cluster, observed.service, scheduler), "autoscaling", keep, wanted
    )


def _scale(view: View, autoscaler: Autoscaler, active: Sequence[Autoscaler], now: float) -> Iterator[Action]:
    group = view.workers[autoscaler.group].group
    demand, problem = view.observed.demand, _silence(view, now)
    (desired, limit), because = _decision(view, autoscaler, active, problem)
    ref = ObjectRef(GROUP.kind, group.name)
    # The number that the group has is written down first (`plan_replicas`): of two writes at once either may come last.
    if desired != group.replicas and not group.replicas_unset:
        decision = f"{group.replicas} → {desired}: {because}"
        body = manifests.scaled_group_patch(autoscaler, desired, rfc3339(now), decision)
        yield unless_blocked(Patch(ref, body, f"{decision} ({autoscaler.name})"), view.observed, now)
    failure = view.observed.failures.get(ref)
    asked = demand.samples[-1].target if demand and demand.samples and not problem else None
    problem = failure.problem if failure else problem
    held_back = _limited(autoscaler, asked, limit)
    yield from _report(view, autoscaler, now, problem=problem, desired=desired, limited=held_back)


def _silence(view: View, now: float) -> Problem | None:
    """Return why nobody knows how many workers the scheduler wants."""
    scheduler, demand = view.scheduler, view.observed.demand
    if not scheduler or not scheduler.ready:
        return Problem("SchedulerNotReady", "the scheduler is not ready; the number of workers stays as it is")
    if demand and demand.samples and now < demand.samples[-1].at + _ANSWER_LASTS:
        return None
    return (demand and demand.problem) or Problem("NotAsked", "the scheduler has not been asked yet")


def _decision(
    view: View, autoscaler: Autoscaler, active: Sequence[Autoscaler], problem: Problem | None
) -> tuple[Decision, str]:
    """Return how many workers the autoscaler's group should have, and why."""
    group, demand = view.workers[autoscaler.group].group, view.observed.demand
    current = scaling.bounded(autoscaler, group.replicas)
    if current != group.replicas:
        return Decision(current), f"minimum {autoscaler.minimum}, maximum {_maximum(autoscaler)}"
    if problem or not demand:
        return Decision(current), ""
    samples, scaled = demand.samples, {each.group for each in active}
    wishes = [
        (sample.at, scaling.shares(sample.target, active, _others(sample.replicas, scaled))[autoscaler.group])
        for sample in samples
    ]
    others = _others({each.name: each.replicas for each in view.groups}, {autoscaler.group})
    share = f", and other groups have {others}" if others else ""
    because = f"the scheduler asks for {samples[-1].target} workers{share}"
    return scaling.decide(autoscaler, current, wishes, samples), because


def _others(replicas: Mapping[str, int], scaled: Container[str]) -> int:
    return sum(number for group, number in replicas.items() if group not in scaled)


def _report(
    view: View,
    autoscaler: Autoscaler,
    now: float,
    *,
    problem: Problem | None,
    desired: int = 0,
    limited: Problem | None = None,
) -> Iterator[Action]:
    workers = view.workers.get(autoscaler.group)
    group, current = (workers.group, len(workers.staying) + len(workers.leaving)) if workers else (None, 0)
    yield from _write_status(
        autoscaler, group, current, view.observed, now, problem=problem, desired=desired, limited=limited
    )


def _write_status(
    autoscaler: Autoscaler,
    group: Group | None,
    current: int,
    observed: Observed,
    now: float,
    *,
    problem: Problem | None,
    desired: int = 0,
    limited: Problem | None = None,
) -> Iterator[Action]:
    if large := too_large(AUTOSCALER.kind, autoscaler):
        conditions = [Condition(type_, False, *large) for type_ in (ACTIVE, LIMITED)]
        yield from write_conditions(AUTOSCALER.kind, autoscaler, conditions, observed, now)
        return
    old, ref = status(autoscaler, AUTOSCALER.kind, observed), ObjectRef(AUTOSCALER.kind, autoscaler.name)
    if problem and problem.reason == "NotAsked" and ACTIVE in by_type(old):
        return  # A controller that has just started knows less than the status says. It asks at once.
    # The group has the last decision that the API server accepted.
    when, decision = _last_scaled(autoscaler, group)
    wanted: dict[str, Any] = {
        "observedGeneration": autoscaler.generation,
        "currentReplicas": current,
        "desiredReplicas": desired,
        "lastDecision": decision or None,
        "lastScaleTime": when or None,
        "conditions": rendered(autoscaler, old, _conditions(autoscaler, problem, limited), now),
    }
    # Two decisions may come within one second, the precision of the time.
    scaled = (when, decision) != (old.get("lastScaleTime") or "", old.get("lastDecision") or "")
    reason = by_type(wanted)[ACTIVE]["reason"]
    news = reason not in _USUAL and reason != by_type(old).get(ACTIVE, {}).get("reason")
    set_status = SetStatus(ref, wanted, because=decision or reason)
    written = tuple(write(set_status, autoscaler, observed, now, _STATUS_INTERVAL, awaited=scaled or news))
    yield from written
    if scaled and decision and set_status in written:
        yield RecordEvent(ref, autoscaler.uid, "Normal", "Scaled", decision)


def _last_scaled(autoscaler: Autoscaler, group: Group | None) -> tuple[str, str]:
    """Return when the autoscaler last scaled its group, and why. Somebody may have edited the note."""
    when, _, rest = (group.scaled if group else "").partition(" ")
    name, _, decision = rest.partition(" ")
    scaled_at = timestamp(when)
    # The text is an annotation of the group, which people may write, and a status takes a time only.
    return (rfc3339(scaled_at), decision[:_LONGEST]) if name == autoscaler.name and scaled_at > 0 else ("", "")


def _conditions(autoscaler: Autoscaler, problem: Problem | None, limited: Problem | None) -> Iterator[Condition]:
    follows = Problem(
        "FollowsScheduler", f"the number of workers of DaskWorkerGroup {autoscaler.group} follows its scheduler"
    )
    yield Condition(ACTIVE, not problem, *(problem or follows))
    free = Problem("WithinBounds", "nothing keeps the group from the number that the scheduler asks for")
    yield Condition(LIMITED, bool(limited), *(limited or free))


def _limited(autoscaler: Autoscaler, asked: int | None, limit: str) -> Problem | None:
    """Return what keeps the group from the number that the scheduler asks for: the behavior before the bounds."""
    if limit:
        return Problem(limit, _limit_in_words(autoscaler, limit))
    if asked is not None and autoscaler.maximum is not None and asked > autoscaler.maximum:
        return Problem(
            "TooManyReplicas", f"the scheduler asks for more than the maximum of {autoscaler.maximum} workers"
        )
    if asked is not None and asked < autoscaler.minimum:
        return Problem(
            "TooFewReplicas", f"the scheduler asks for fewer than the minimum of {autoscaler.minimum} workers"
        )
    return None


def _limit_in_words(autoscaler: Autoscaler, limit: str) -> str:
    up = limit in (scaling.UP_LIMIT, scaling.UP_STABILIZED)
    behavior, field = (autoscaler.up, "scaleUp") if up else (autoscaler.down, "scaleDown")
    wants = f"the scheduler asks for {'more' if up else 'fewer'} workers"
    if behavior.select == "Disabled":
        return f"{wants}, and {field}.selectPolicy is Disabled"
    if limit in (scaling.UP_LIMIT, scaling.DOWN_LIMIT):
        return f"{wants} than the policies of {field} allow at once"
    return f"{wants}, and {field} waits for its stabilization window of {behavior.window:.0f} s"


def _maximum(autoscaler: Autoscaler) -> str:
    return "none" if autoscaler.maximum is None else str(autoscaler.maximum)
