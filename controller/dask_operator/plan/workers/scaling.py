"""How many workers a group is to have, by what its scheduler has asked for: arithmetic alone.

The behaviour is that of a HorizontalPodAutoscaler (autoscaling/v2): a window of time in each direction in which the
most cautious wish counts, and policies that limit how many workers come or go within a time.
"""

from __future__ import annotations

from collections.abc import Sequence

from dask_operator.model import Autoscaler, Sample, Scaling, ScalingPolicy


def history(autoscaler: Autoscaler) -> float:
    """For how many seconds it matters what was asked for."""
    both = (autoscaler.up, autoscaler.down)
    return max(max([scaling.window, *(policy.period for policy in scaling.policies)]) for scaling in both)


def bounded(autoscaler: Autoscaler, number: int) -> int:
    """Never above the maximum, also where an older definition let the minimum be greater."""
    least = max(number, autoscaler.minimum)
    return least if autoscaler.maximum is None else min(least, autoscaler.maximum)


def shares(target: int, autoscalers: Sequence[Autoscaler], others: int) -> dict[str, int]:
    """Each autoscaler's part of what a scheduler asks for, by group. `others`: workers of groups without one.

    Each has its minimum; the rest goes to the first up to its maximum, then to the next.
    """
    parts = {autoscaler.group: bounded(autoscaler, 0) for autoscaler in autoscalers}
    rest = target - others - sum(parts.values())
    for autoscaler in autoscalers:
        more = bounded(autoscaler, parts[autoscaler.group] + max(rest, 0)) - parts[autoscaler.group]
        parts[autoscaler.group] += more
        rest -= more
    return parts


def replicas(autoscaler: Autoscaler, current: int, wishes: Sequence[tuple[float, int]], past: Sequence[Sample]) -> int:
    """How many workers its group is to have now.

    `wishes`: the times and the autoscaler's parts of what was asked for, the oldest first, the last of now; `past`: the
    samples they were made of, for how many workers there were then.
    """
    wish = wishes[-1][1]
    if wish > current:
        wish = max(current, min(_within(autoscaler.up, wishes, current)))
        return bounded(autoscaler, min(wish, _most(autoscaler, current, wish, past)))
    if wish < current:
        wish = min(current, max(_within(autoscaler.down, wishes, current)))
        return bounded(autoscaler, max(wish, _fewest(autoscaler, current, past)))
    return bounded(autoscaler, current)


def _within(scaling: Scaling, wishes: Sequence[tuple[float, int]], current: int) -> list[int]:
    """The wishes of a window. Before the first that is known there was none for another number than there is."""
    begin = wishes[-1][0] - scaling.window
    known = [number for at, number in wishes if at >= begin]
    return known if wishes[0][0] <= begin else [*known, current]


def _most(autoscaler: Autoscaler, current: int, wish: int, past: Sequence[Sample]) -> int:
    if autoscaler.up.select == "Disabled":
        return current
    limits = []
    for policy in autoscaler.up.policies:
        began = min(_in_period(policy, autoscaler.group, current, past))
        limits.append(-(-began * (100 + policy.value) // 100) if policy.percent else began + policy.value)
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
    """How many workers a group has wanted within a policy's period."""
    begin = past[-1].at - policy.period
    return [current, *(sample.replicas.get(group, current) for sample in past if sample.at >= begin)]
