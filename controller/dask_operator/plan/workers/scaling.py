"""Arithmetic of autoscaling: the number of Pods of a group, by the demand of its scheduler.

What tasks need goes to groups that offer it (`wished`), and the other work to all.

The behaviour is that of a HorizontalPodAutoscaler (autoscaling/v2). A stabilization window in each direction counts the
most cautious demand of its time. Policies limit how many workers come or go within a period.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

from dask_operator.model import Autoscaler, Need, Offer, Sample, Scaling, ScalingPolicy

_MOST_SLOTS = 2**31
_ROUNDING = 1e-6
"""Parts of a Pod that come of the sums of fractions."""


class Decision(NamedTuple):
    """The number of workers that a group should have now. `limit`: what keeps it from the demand, empty if nothing."""

    replicas: int
    limit: str = ""


UP_STABILIZED, DOWN_STABILIZED = "ScaleUpStabilized", "ScaleDownStabilized"
UP_LIMIT, DOWN_LIMIT = "ScaleUpLimit", "ScaleDownLimit"
"""Names of limits, as a HorizontalPodAutoscaler has them: a stabilization window, or a policy."""


def history(autoscaler: Autoscaler) -> float:
    """Return for how many seconds past demand matters."""
    both = (autoscaler.up, autoscaler.down)
    return max(max([scaling.window, *(policy.period for policy in scaling.policies)]) for scaling in both)


def unbounded(autoscaler: Autoscaler) -> Autoscaler:
    """Return an autoscaler without bounds, whose share is what its group would have without them."""
    return replace(autoscaler, minimum=0, maximum=None)


def bounded(autoscaler: Autoscaler, number: int) -> int:
    """Return a number within the bounds. The maximum wins where an older definition allowed a greater minimum."""
    least = max(number, autoscaler.minimum)
    return least if autoscaler.maximum is None else min(least, autoscaler.maximum)


def slots(offer: Offer, need: Need) -> int:
    """Return how many tasks of a need a Pod with this offer runs at once, 0 if it cannot run any."""
    offered = dict(offer.resources)
    if any(offered.get(name, -1.0) < number for name, number in need.resources):
        return 0
    most = [int(min(offered[name] / number, _MOST_SLOTS)) for name, number in need.resources if number > 0.0]
    if offer.threads:
        most.append(offer.threads)
    return offer.workers * min(most, default=1)


def unserved(needs: Iterable[Need], offers: Iterable[Offer]) -> list[Need]:
    """Return the needs that none of the offers can serve."""
    known = list(offers)
    return [need for need in needs if not any(slots(offer, need) for offer in known)]


def needed(needs: Sequence[Need], offers: Mapping[str, Offer], most: Mapping[str, float]) -> dict[str, int]:
    """Return how many Pods of each group the tasks take that need resources.

    `most`: how many Pods each group may have, in the order in which groups get tasks. Needs that few groups can serve
    come first.
    """
    used = dict.fromkeys(most, 0.0)
    able = {need: [group for group in most if slots(offers[group], need)] for need in needs}
    for need in sorted(needs, key=lambda need: (len(able[need]), need)):
        rest = float(need.threads)
        for group in able[need]:
            at_once = slots(offers[group], need)
            pods = min(rest / at_once, most[group] - used[group])
            used[group] += pods
            rest -= pods * at_once
    return {group: math.ceil(pods - _ROUNDING) for group, pods in used.items()}


def wished(sample: Sample, autoscalers: Sequence[Autoscaler], offers: Mapping[str, Offer]) -> dict[str, int]:
    """Return how many Pods each autoscaler's group should have by a sample.

    Tasks that need resources come first. They go to groups that offer these: those without an autoscaler, then the
    others in the order of the autoscalers.
    """
    scaled = {autoscaler.group for autoscaler in autoscalers}
    fixed = {group: number for group, number in sample.replicas.items() if group not in scaled}
    all_offers = {group: offers.get(group, Offer()) for group in (*fixed, *scaled)}
    most = {**fixed, **{each.group: math.inf if each.maximum is None else each.maximum for each in autoscalers}}
    pods = needed(sample.needs, all_offers, most)
    # Their scheduler has workers for these, and how many a Pod has room for is not known.
    hidden = sum(need.threads for need in unserved(sample.needs, offers.values()) if need.offered)
    others = sum((number - pods[group]) * all_offers[group].workers for group, number in fixed.items())
    return shares(sample.target + hidden, autoscalers, others, pods, all_offers)


def shares(
    target: int,
    autoscalers: Sequence[Autoscaler],
    others: int,
    pods: Mapping[str, int] = MappingProxyType({}),
    offers: Mapping[str, Offer] = MappingProxyType({}),
) -> dict[str, int]:
    """Return each autoscaler's share of a scheduler's target, by group, in Pods.

    `others`: the number of workers in groups without an autoscaler; `pods`: the Pods that are taken by tasks that need
    resources. Both are no part of the target. Every autoscaler gets its minimum; the rest goes to the first one up to
    its maximum, then to the next. Groups that offer resources come after all others::

        target 10, others 1, a: 1 to 4, b: 2 to 20   ->   a: 4, b: 5
        target  2, others 1, a: 1 to 4, b: 2 to 20   ->   a: 1, b: 2
    """
    parts = {autoscaler.group: bounded(autoscaler, pods.get(autoscaler.group, 0)) for autoscaler in autoscalers}
    per_pod = {group: offers.get(group, Offer()).workers for group in parts}
    rest = target - others - sum((part - pods.get(group, 0)) * per_pod[group] for group, part in parts.items())
    for autoscaler in sorted(autoscalers, key=lambda each: bool(offers.get(each.group, Offer()).resources)):
        group = autoscaler.group
        more = bounded(autoscaler, parts[group] + -(-max(rest, 0) // per_pod[group])) - parts[group]
        parts[group] += more
        rest -= more * per_pod[group]
    return parts


def decide(
    autoscaler: Autoscaler, current: int, wishes: Sequence[tuple[float, int]], past: Sequence[Sample]
) -> Decision:
    """Return how many workers the autoscaler's group should have now.

    `wishes`: the autoscaler's share of the demand with its time, the oldest first, the newest from now. `past`: the
    samples behind them, which tell how many workers the group had.

    With a scale-down window of 15 s, no policies, and 8 workers:

    ==========================  ======  =====================================
    wishes within the window    result  why
    ==========================  ======  =====================================
    8, 3, 3                     8       the window still has a wish for 8
    3, 3, 3                     3       the highest wish of the window
    3, 10                       10      scaling up has a window of 0 s
    ==========================  ======  =====================================
    """
    wish = wishes[-1][1]
    if wish > current:
        steady = max(current, min(_within(autoscaler.up, wishes, current)))
        number = min(steady, _most(autoscaler, current, steady, past))
        limit = UP_LIMIT if number < steady or autoscaler.up.select == "Disabled" else ""
        return Decision(bounded(autoscaler, number), limit or (UP_STABILIZED if steady < wish else ""))
    if wish < current:
        steady = min(current, max(_within(autoscaler.down, wishes, current)))
        number = max(steady, _fewest(autoscaler, current, past))
        limit = DOWN_LIMIT if number > steady or autoscaler.down.select == "Disabled" else ""
        return Decision(bounded(autoscaler, number), limit or (DOWN_STABILIZED if steady > wish else ""))
    return Decision(bounded(autoscaler, current))


def _within(scaling: Scaling, wishes: Sequence[tuple[float, int]], current: int) -> list[int]:
    """Return the wishes of a window. Before the first known wish, the current number counts as wished."""
    begin = wishes[-1][0] - scaling.window
    known = [number for at, number in wishes if at >= begin]
    return known if wishes[0][0] <= begin else [*known, current]


def _most(autoscaler: Autoscaler, current: int, wish: int, past: Sequence[Sample]) -> int:
    if autoscaler.up.select == "Disabled":
        return current
    limits = []
    for policy in autoscaler.up.policies:
        began = min(_in_period(policy, autoscaler.group, current, past))
        # A percentage of no workers would be none for ever.
        limits.append(max(-(-began * (100 + policy.value) // 100), 1) if policy.percent else began + policy.value)
    select = min if autoscaler.up.select == "Min" else max
    return max(current, select(limits, default=wish))


def _fewest(autoscaler: Autoscaler, current: int, past: Sequence[Sample]) -> int:
    if autoscaler.down.select == "Disabled":
        return current
    limits = []
    for policy in autoscaler.down.policies:
        began = max(_in_period(policy, autoscaler.group, current, past))
        limits.append(began * (100 - policy.value) // 100 if policy.percent else began - policy.value)
    select = max if autoscaler.down.select == "Min" else min
    return min(current, select(limits, default=0))


def _in_period(policy: ScalingPolicy, group: str, current: int, past: Sequence[Sample]) -> list[int]:
    """Return how many workers a group wanted within a policy's period."""
    begin = past[-1].at - policy.period
    return [current, *(sample.replicas.get(group, current) for sample in past if sample.at >= begin)]
