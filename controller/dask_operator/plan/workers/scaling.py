"""Arithmetic of autoscaling: the number of workers of a group, by the demand of its scheduler.

The behaviour is that of a HorizontalPodAutoscaler (autoscaling/v2). A stabilization window in each direction counts the
most cautious demand of its time. Policies limit how many workers come or go within a period.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from dask_operator.model import Autoscaler, Sample, Scaling, ScalingPolicy


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


def bounded(autoscaler: Autoscaler, number: int) -> int:
    """Return a number within the bounds. The maximum wins where an older definition allowed a greater minimum."""
    least = max(number, autoscaler.minimum)
    return least if autoscaler.maximum is None else min(least, autoscaler.maximum)


def shares(target: int, autoscalers: Sequence[Autoscaler], others: int) -> dict[str, int]:
    """Return each autoscaler's share of a scheduler's target, by group.

    `others`: the number of workers in groups without an autoscaler. Every autoscaler gets its minimum; the rest goes to
    the first one up to its maximum, then to the next::

        target 10, others 1, a: 1 to 4, b: 2 to 20   ->   a: 4, b: 5
        target  2, others 1, a: 1 to 4, b: 2 to 20   ->   a: 1, b: 2
    """
    parts = {autoscaler.group: bounded(autoscaler, 0) for autoscaler in autoscalers}
    rest = target - others - sum(parts.values())
    for autoscaler in autoscalers:
        more = bounded(autoscaler, parts[autoscaler.group] + max(rest, 0)) - parts[autoscaler.group]
        parts[autoscaler.group] += more
        rest -= more
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
