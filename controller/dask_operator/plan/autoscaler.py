"""DaskAutoscalers: each scales one group of a cluster as the cluster's scheduler asks.

Several autoscalers of one cluster share the scheduler's target, so that they do not fight. The bounds hold at all
times, also while no scheduler answers; then nothing else changes.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any

from dask_operator import manifests
from dask_operator.actions import TARGET, Action, Ask, Patch, RecordEvent, RequeueAt, SetStatus
from dask_operator.model import Autoscaler, Group, Need, ObjectRef, Observed, Problem, Sample
from dask_operator.parse import rfc3339, timestamp
from dask_operator.plan.report.conditions import Condition, by_type, rendered, write
from dask_operator.plan.report.ready import plan_stall, readiness
from dask_operator.plan.report.unread import too_large, write_conditions
from dask_operator.plan.view import View, owned, status, unless_blocked
from dask_operator.plan.workers import scaling
from dask_operator.plan.workers.scaling import Decision
from dask_operator.resources import AUTOSCALER, GROUP

INTERVAL = 2.0
"""Seconds between two questions to a scheduler."""
_STATUS_INTERVAL = 30.0
_ANSWER_LASTS = 10.0
_LONGEST = 1024
_FEW = 3
ACTIVE, LIMITED = "ScalingActive", "ScalingLimited"
_IDLE = ("ClusterNotFound", "GroupNotFound", "AnotherAutoscaler", "ObjectTooLarge")
"""Reasons for which an autoscaler is not in force. With any other one it is as soon as its scheduler answers."""
_USUAL = ("SchedulerNotReady", "NotAsked")
"""Reasons not to scale that every cluster has while it starts."""


def plan_autoscalers(view: View, now: float) -> Iterator[Action]:
    """Scale the groups that have an autoscaler, and ask the scheduler how many workers it wants."""
    chosen = _chosen(view)
    # An autoscaler that is not read scales nothing, and no other one takes its place.
    active = [each for each in chosen if not each.unread and not view.workers[each.group].group.unread]
    wished = _wished(view, active)
    for autoscaler in _own(view):
        if autoscaler in active:
            yield from _scale(view, autoscaler, active, wished, now)
        else:
            yield from _report(view, autoscaler, now, problem=_out_of_work(view, autoscaler, chosen))
    if active:
        yield from _ask(view, active, now)


def plan_waiting_autoscalers(view: View, now: float, problem: Problem | None) -> Iterator[Action]:
    """Say in the status of the cluster's autoscalers why none of them scales."""
    for autoscaler in _own(view):
        yield from _report(view, autoscaler, now, problem=problem)


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


def _wished(view: View, active: Sequence[Autoscaler]) -> list[Mapping[str, int]]:
    """Return how many Pods each group with an autoscaler should have by each of the scheduler's answers."""
    offers = {group.name: group.offer for group in view.groups}
    wished: list[Mapping[str, int]] = []
    before: Sample | None = None
    for sample in view.observed.demand.samples if view.observed.demand and active else ():
        same = before is not None and sample[1:] == before[1:]
        wished.append(wished[-1] if same else scaling.wished(sample, active, offers))
        before = sample
    return wished


def _scale(
    view: View,
    autoscaler: Autoscaler,
    active: Sequence[Autoscaler],
    wished: Sequence[Mapping[str, int]],
    now: float,
) -> Iterator[Action]:
    group = view.workers[autoscaler.group].group
    demand, problem = view.observed.demand, _silence(view, now)
    (desired, limit), because = _decision(view, autoscaler, wished, problem)
    ref = ObjectRef(GROUP.kind, group.name)
    # The number that the group has is written down first (`plan_replicas`): of two writes at once either may come last.
    if desired != group.replicas and not group.replicas_unset:
        decision = f"{group.replicas} → {desired}: {because}"
        body = manifests.scaled_group_patch(autoscaler, desired, rfc3339(now), decision)
        yield unless_blocked(Patch(ref, body, f"{decision} ({autoscaler.name})"), view.observed, now)
    failure = view.observed.failures.get(ref)
    held_back = None
    if demand and demand.samples and not problem:
        held_back = _not_offered(view, demand.samples[-1]) or _limited(view, autoscaler, active, limit)
    problem = failure.problem if failure else problem
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
    view: View, autoscaler: Autoscaler, wished: Sequence[Mapping[str, int]], problem: Problem | None
) -> tuple[Decision, str]:
    """Return how many workers the autoscaler's group should have, and why."""
    group, demand = view.workers[autoscaler.group].group, view.observed.demand
    current = scaling.bounded(autoscaler, group.replicas)
    if current != group.replicas:
        return Decision(current), f"minimum {autoscaler.minimum}, maximum {_maximum(autoscaler)}"
    if problem or not demand:
        return Decision(current), ""
    wishes = [(sample.at, wish[autoscaler.group]) for sample, wish in zip(demand.samples, wished, strict=True)]
    return scaling.decide(autoscaler, current, wishes, demand.samples), _because(view, group, demand.samples[-1])


def _because(view: View, group: Group, sample: Sample) -> str:
    """Return what the scheduler asks for, as far as it is for this group."""
    served = [need for need in sample.needs if scaling.slots(group.offer, need)]
    if served:
        pods = scaling.needed(served, {group.name: group.offer}, {group.name: math.inf})[group.name]
        others = f", and other tasks want {sample.target} workers" if sample.target else ""
        return f"tasks that need {_in_words(served)} want {pods} Pod{'s' if pods != 1 else ''}{others}"
    if sample.needs:
        return f"the scheduler asks for {sample.target} workers for tasks that need no resources"
    have = _others({each.name: each.replicas for each in view.groups}, {group.name})
    share = f", and other groups have {have}" if have else ""
    return f"the scheduler asks for {sample.target} workers{share}"


def _in_words(needs: Sequence[Need]) -> str:
    """Return what tasks need, as the option `--resources` has it."""
    each = [",".join(f"{name}={number:g}" for name, number in need.resources) for need in sorted(needs)]
    return " or ".join([*each[:_FEW], *(["more"] if len(each) > _FEW else [])])


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
        said = status(autoscaler, AUTOSCALER.kind, observed)
        conditions = [Condition(type_, False, *large) for type_ in (ACTIVE, LIMITED)]
        conditions += readiness(autoscaler, said, large, large, now)
        yield from write_conditions(AUTOSCALER.kind, autoscaler, conditions, observed, now)
        return
    old, ref = status(autoscaler, AUTOSCALER.kind, observed), ObjectRef(AUTOSCALER.kind, autoscaler.name)
    if problem and problem.reason == "NotAsked" and ACTIVE in by_type(old):
        return  # A controller that has just started knows less than the status says. It asks at once.
    idle = problem if problem and problem.reason in _IDLE else None
    conditions = [*readiness(autoscaler, old, idle, idle, now), *_conditions(autoscaler, problem, limited)]
    # The group has the last decision that the API server accepted.
    when, decision = _last_scaled(autoscaler, group)
    wanted: dict[str, Any] = {
        "observedGeneration": autoscaler.generation,
        "currentReplicas": current,
        "desiredReplicas": desired,
        "lastDecision": decision or None,
        "lastScaleTime": when or None,
        "conditions": rendered(autoscaler, old, conditions, now),
    }
    # Two decisions may come within one second, the precision of the time.
    scaled = (when, decision) != (old.get("lastScaleTime") or "", old.get("lastDecision") or "")
    reason = by_type(wanted)[ACTIVE]["reason"]
    news = reason not in _USUAL and reason != by_type(old).get(ACTIVE, {}).get("reason")
    set_status = SetStatus(ref, wanted, because=decision or reason)
    written = tuple(write(set_status, autoscaler, observed, now, _STATUS_INTERVAL, awaited=scaled or news))
    yield from written
    yield from plan_stall(autoscaler, wanted, now)
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


def _not_offered(view: View, sample: Sample) -> Problem | None:
    """Return what tasks need that no group is known to offer, and no worker."""
    missing = [
        need for need in scaling.unserved(sample.needs, [each.offer for each in view.groups]) if not need.offered
    ]
    if not missing:
        return None
    message = f"tasks need {_in_words(missing)}, and no DaskWorkerGroup has workers that offer so much"
    fix = "add the option --resources to the arguments of a group's workers"
    return Problem("ResourcesNotOffered", f"{message}: {fix}")


def _limited(view: View, autoscaler: Autoscaler, active: Sequence[Autoscaler], limit: str) -> Problem | None:
    """Return what keeps the group from the number that the scheduler asks for: the behavior before the bounds."""
    if limit:
        return Problem(limit, _limit_in_words(autoscaler, limit))
    demand, offers = view.observed.demand, {group.name: group.offer for group in view.groups}
    if not demand:
        return None
    free = [scaling.unbounded(each) if each is autoscaler else each for each in active]
    asked = scaling.wished(demand.samples[-1], free, offers)[autoscaler.group]
    if autoscaler.maximum is not None and asked > autoscaler.maximum:
        return Problem(
            "TooManyReplicas", f"the scheduler asks for more than the maximum of {autoscaler.maximum} workers"
        )
    if asked < autoscaler.minimum:
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
