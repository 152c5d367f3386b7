from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from tests.support.builders import NOON, an_autoscaler

from dask_operator.model import Autoscaler, Need, Offer, Sample, Scaling, ScalingPolicy
from dask_operator.plan.workers.scaling import bounded, decide, history, shares, slots, unserved, wished

GROUP = "simple-default"
NONE = Scaling()


def _pods(value: int, period: float = 60.0) -> ScalingPolicy:
    return ScalingPolicy(False, value, period)


def _percent(value: int, period: float = 60.0) -> ScalingPolicy:
    return ScalingPolicy(True, value, period)


def _replicas(
    autoscaler: Autoscaler, current: int, *asked: tuple[float, int], had: Mapping[float, int] | None = None
) -> int:
    """Return the decision at noon. `asked`: seconds ago and wish; `had`: number wanted then, if not `current`."""
    wishes = [(NOON - ago, wish) for ago, wish in asked]
    past = [Sample(NOON - ago, wish, {GROUP: (had or {}).get(ago, current)}) for ago, wish in asked]
    return decide(autoscaler, current, wishes, past).replicas


def _steady(current: int, wish: int, seconds: float) -> list[tuple[float, int]]:
    return [(seconds - 2.0 * n, wish) for n in range(int(seconds / 2.0) + 1)]


# Bounds


@pytest.mark.parametrize(
    ("minimum", "maximum", "number", "expected"),
    [(0, None, 0, 0), (0, None, 999, 999), (2, 5, 0, 2), (2, 5, 3, 3), (2, 5, 9, 5), (4, 4, 0, 4), (0, 0, 7, 0)],
)
def test_bounds(minimum: int, maximum: int | None, number: int, expected: int) -> None:
    assert bounded(an_autoscaler(minimum=minimum, maximum=maximum), number) == expected


def test_a_minimum_beyond_the_maximum_does_not_exceed_it() -> None:
    # Only an older definition can have stored it. More workers cost more than fewer.
    autoscaler = an_autoscaler(minimum=8, maximum=3)
    assert bounded(autoscaler, 0) == 3
    assert shares(20, [autoscaler], 0) == {GROUP: 3}


# Shares


def _of(group: str, minimum: int, maximum: int | None) -> Autoscaler:
    return an_autoscaler(group, group=group, minimum=minimum, maximum=maximum)


@pytest.mark.parametrize(
    ("target", "others", "bounds", "expected"),
    [
        (7, 0, [(1, 10)], [7]),
        (7, 3, [(1, 10)], [4]),
        (7, 9, [(1, 10)], [1]),
        (99, 0, [(1, 10)], [10]),
        (99, 0, [(1, None)], [99]),
        (0, 0, [(0, None)], [0]),
        (7, 0, [(1, 5), (1, 5)], [5, 2]),
        (99, 0, [(1, 5), (1, 5)], [5, 5]),
        (0, 0, [(1, 5), (2, 5)], [1, 2]),
        (3, 0, [(1, 5), (2, 5)], [1, 2]),
        (4, 0, [(1, 5), (2, 5)], [2, 2]),
        (20, 0, [(0, None), (0, None)], [20, 0]),
    ],
)
def test_each_has_its_minimum_and_the_first_the_rest(
    target: int, others: int, bounds: Sequence[tuple[int, int | None]], expected: list[int]
) -> None:
    autoscalers = [_of(f"g{n}", *each) for n, each in enumerate(bounds)]
    assert list(shares(target, autoscalers, others).values()) == expected


@pytest.mark.parametrize("seed", range(50))
def test_shares_are_within_bounds_and_together_what_is_asked_for(seed: int) -> None:
    chance = random.Random(seed)
    autoscalers = []
    for n in range(chance.randint(1, 4)):
        minimum = chance.randint(0, 5)
        autoscalers.append(_of(f"g{n}", minimum, chance.choice([None, minimum + chance.randint(0, 9)])))
    target, others = chance.randint(0, 40), chance.randint(0, 10)
    parts = shares(target, autoscalers, others)
    for autoscaler in autoscalers:
        assert bounded(autoscaler, parts[autoscaler.group]) == parts[autoscaler.group]
    least = sum(each.minimum for each in autoscalers)
    most = sum(float("inf") if each.maximum is None else each.maximum for each in autoscalers)
    assert sum(parts.values()) == min(max(target - others, least), most)


# Windows


def test_up_at_once_without_a_window() -> None:
    assert _replicas(an_autoscaler(), 2, (0.0, 7)) == 7
    assert _replicas(an_autoscaler(), 2, (2.0, 1), (0.0, 99)) == 10


def test_up_by_the_least_wish_of_the_window() -> None:
    autoscaler = an_autoscaler(up=Scaling(window=10.0))
    assert _replicas(autoscaler, 2, (12.0, 2), *_steady(2, 8, 8.0)) == 8
    assert _replicas(autoscaler, 2, (12.0, 2), (8.0, 5), (6.0, 8), (4.0, 3), (0.0, 9)) == 3
    assert _replicas(autoscaler, 2, (12.0, 2), (8.0, 1), (0.0, 9)) == 2


def test_nobody_comes_before_the_window_is_known() -> None:
    # Nor after a restart of the controller, as with a HorizontalPodAutoscaler.
    assert _replicas(an_autoscaler(up=Scaling(window=60.0)), 2, (4.0, 9), (2.0, 9), (0.0, 9)) == 2


def test_down_by_the_greatest_wish_of_the_window() -> None:
    autoscaler = an_autoscaler(down=Scaling(window=10.0))
    assert _replicas(autoscaler, 9, *_steady(9, 3, 12.0)) == 3
    assert _replicas(autoscaler, 9, (12.0, 3), (8.0, 3), (4.0, 6), (0.0, 2)) == 6
    assert _replicas(autoscaler, 9, (12.0, 3), (8.0, 12), (4.0, 6), (0.0, 2)) == 9


def test_nobody_goes_before_the_window_is_known() -> None:
    assert _replicas(an_autoscaler(down=Scaling(window=10.0)), 9, (8.0, 1), (0.0, 1)) == 9


def test_down_at_once_without_a_window() -> None:
    assert _replicas(an_autoscaler(down=NONE), 9, (0.0, 3)) == 3


@pytest.mark.parametrize("current", [0, 25])
def test_bounds_hold_whatever_the_windows_say(current: int) -> None:
    autoscaler = an_autoscaler(minimum=2, up=Scaling(60.0), down=Scaling(60.0))
    assert 2 <= _replicas(autoscaler, current, (0.0, 5)) <= 10


# Policies, as the documentation of HorizontalPodAutoscalers has them


def test_the_documentations_example_of_going_down() -> None:
    """Delete 4 Pods or 10 percent a minute, whichever is more: of 80 go 8, then 8 (7.2), …; below 40 they are 4."""
    autoscaler = an_autoscaler(minimum=10, maximum=80, down=Scaling(0.0, (_pods(4), _percent(10))))
    assert _replicas(autoscaler, 80, (0.0, 10)) == 72
    assert _replicas(autoscaler, 72, (0.0, 10)) == 64
    assert _replicas(autoscaler, 40, (0.0, 10)) == 36
    assert _replicas(autoscaler, 36, (0.0, 10)) == 32
    assert _replicas(autoscaler, 12, (0.0, 10)) == 10


def test_no_more_go_within_the_period() -> None:
    autoscaler = an_autoscaler(maximum=None, down=Scaling(0.0, (_percent(10),)))
    had = {58.0: 80, 20.0: 72, 0.0: 72}
    assert _replicas(autoscaler, 72, (58.0, 10), (20.0, 10), (0.0, 10), had=had) == 72
    had = {62.0: 80, 58.0: 72, 0.0: 72}
    assert _replicas(autoscaler, 72, (62.0, 10), (58.0, 10), (0.0, 10), had=had) == 64


def test_the_default_of_going_up_at_a_horizontalpodautoscaler() -> None:
    """Add 4 Pods or 100 percent in 15 s, whichever is more."""
    autoscaler = an_autoscaler(maximum=None, up=Scaling(0.0, (_pods(4, 15.0), _percent(100, 15.0))))
    assert _replicas(autoscaler, 1, (0.0, 99)) == 5
    assert _replicas(autoscaler, 5, (0.0, 99)) == 10
    assert _replicas(autoscaler, 0, (0.0, 99)) == 4
    assert _replicas(autoscaler, 5, (14.0, 99), (0.0, 99), had={14.0: 1}) == 5
    assert _replicas(autoscaler, 5, (0.0, 6)) == 6


@pytest.mark.parametrize(("select", "up", "down"), [("Max", 30, 10), ("Min", 24, 16), ("Disabled", 20, 20)])
def test_which_of_several_policies_counts(select: str, up: int, down: int) -> None:
    policies = (_pods(4), _percent(50))
    autoscaler = an_autoscaler(
        minimum=0, maximum=None, up=Scaling(0.0, policies, select), down=Scaling(0.0, policies, select)
    )
    assert _replicas(autoscaler, 20, (0.0, 99)) == up
    assert _replicas(autoscaler, 20, (0.0, 0)) == down


def test_a_direction_that_is_disabled_keeps_the_bounds() -> None:
    disabled = Scaling(0.0, (), "Disabled")
    autoscaler = an_autoscaler(minimum=2, maximum=10, up=disabled, down=disabled)
    assert _replicas(autoscaler, 5, (0.0, 9)) == 5
    assert _replicas(autoscaler, 5, (0.0, 2)) == 5
    assert _replicas(autoscaler, 1, (0.0, 9)) == 2
    assert _replicas(autoscaler, 15, (0.0, 2)) == 10


@pytest.mark.parametrize(("current", "percent", "expected"), [(10, 10, 11), (10, 30, 13), (100, 7, 107), (3, 50, 5)])
def test_percent_upwards_are_rounded_up_and_no_further(current: int, percent: int, expected: int) -> None:
    autoscaler = an_autoscaler(maximum=None, up=Scaling(0.0, (_percent(percent),)))
    assert _replicas(autoscaler, current, (0.0, 999)) == expected


@pytest.mark.parametrize(("current", "percent", "expected"), [(10, 90, 1), (10, 10, 9), (100, 7, 93), (3, 50, 1)])
def test_percent_downwards_round_the_change_up_and_no_further(current: int, percent: int, expected: int) -> None:
    autoscaler = an_autoscaler(minimum=0, maximum=None, down=Scaling(0.0, (_percent(percent),)))
    assert _replicas(autoscaler, current, (0.0, 0)) == expected


@pytest.mark.parametrize("percent", [1, 50, 100, 900])
def test_a_percentage_of_no_workers_is_one(percent: int) -> None:
    autoscaler = an_autoscaler(minimum=0, up=Scaling(0.0, (_percent(percent),)))
    assert _replicas(autoscaler, 0, (0.0, 7)) == 1


def test_one_percent_of_few_is_one() -> None:
    autoscaler = an_autoscaler(minimum=0, up=Scaling(0.0, (_percent(1),)), down=Scaling(0.0, (_percent(1),)))
    assert _replicas(autoscaler, 3, (0.0, 9)) == 4
    assert _replicas(autoscaler, 3, (0.0, 0)) == 2


def test_for_how_long_it_matters_what_was_asked_for() -> None:
    assert history(an_autoscaler(up=Scaling(5.0), down=Scaling(15.0))) == 15.0
    assert history(an_autoscaler(up=Scaling(0.0, (_pods(1, 90.0),)), down=Scaling(15.0))) == 90.0
    assert history(an_autoscaler()) == 0.0


@pytest.mark.parametrize("seed", range(100))
def test_whatever_is_asked_for_the_promises_hold(seed: int) -> None:
    """Check the bounds, that no move goes past the wish, and that none is faster than each of the policies allows."""
    chance = random.Random(seed)
    minimum = chance.randint(0, 4)
    maximum = chance.choice([None, minimum + chance.randint(0, 20)])
    up, down = (_random_scaling(chance) for _ in range(2))
    autoscaler = an_autoscaler(minimum=minimum, maximum=maximum, up=up, down=down)
    now, current, past, trace = NOON, bounded(autoscaler, chance.randint(0, 20)), [], []
    wish = chance.randint(0, 25)
    for _ in range(200):
        if chance.random() < 0.2:
            wish = chance.randint(0, 25)
        past.append(Sample(now, wish, {GROUP: current}))
        wishes = [(sample.at, bounded(autoscaler, sample.target)) for sample in past]
        decided = decide(autoscaler, current, wishes, past).replicas
        assert decided == bounded(autoscaler, decided)
        least, most = sorted((current, bounded(autoscaler, wish)))
        assert least <= decided <= most, "towards the wish and not past it"
        trace.append((now, current, decided))
        current = decided
        now += 2.0
    for scaling, sign in ((up, 1), (down, -1)):
        _kept(scaling, sign, trace)


def _random_scaling(chance: random.Random) -> Scaling:
    policy = ScalingPolicy(chance.random() < 0.5, chance.randint(1, 60), chance.choice([10.0, 30.0, 60.0]))
    return Scaling(chance.choice([0.0, 10.0, 30.0]), (policy,) if chance.random() < 0.7 else (), "Max")


def _kept(scaling: Scaling, sign: int, trace: Sequence[tuple[float, int, int]]) -> None:
    """Check that within any period no more came, or went, than its policy allows of the number at its beginning.

    Skip periods with moves in both directions: deleted ones may come back, as with a HorizontalPodAutoscaler.
    """
    for policy in scaling.policies:
        for began, before, _ in trace:
            percentage = -(-before * policy.value // 100) or (sign > 0)  # from none to one
            allowed = percentage if policy.percent else policy.value
            around = [each for each in trace if began - policy.period <= each[0] < began + policy.period - 2.0]
            if any(sign * (after - start) < 0 for _, start, after in around):
                continue
            for at, _, after in around:
                assert at < began or sign * (after - before) <= allowed, (policy, began, at)


# Tasks that need resources


def _need(threads: int, **resources: float) -> Need:
    return Need(tuple(sorted(resources.items())), threads)


def _offers(**resources: float) -> Offer:
    return Offer(tuple(sorted(resources.items())))


@pytest.mark.parametrize(
    ("offer", "need", "expected"),
    [
        (Offer((("GPU", 1.0),)), _need(9, GPU=1), 1),
        (Offer((("GPU", 4.0),)), _need(9, GPU=1), 4),
        (Offer((("GPU", 4.0),), threads=2), _need(9, GPU=1), 2),
        (Offer((("GPU", 4.0),), threads=8, workers=3), _need(9, GPU=2), 6),
        (Offer((("GPU", 1.0),)), _need(9, GPU=2), 0),
        (Offer((("GPU", 1.0),)), _need(9, MEM=1), 0),
        (Offer((("GPU", 4.0), ("MEM", 2.0))), _need(9, GPU=1, MEM=1), 2),
        (Offer((("GPU", 1.0),)), _need(9, GPU=0), 1),
        (Offer((("GPU", 1.0),), threads=4), _need(9, GPU=0), 4),
        (Offer(threads=4), _need(9, GPU=0), 0),
        (Offer((("MEM", 1e300),)), _need(9, MEM=1e-300), 2**31),
    ],
)
def test_how_many_tasks_a_pod_runs_at_once(offer: Offer, need: Need, expected: int) -> None:
    assert slots(offer, need) == expected


def _wished(
    target: int, *needs: Need, offers: Mapping[str, Offer], fixed: Mapping[str, int] | None = None, **bounds: Any
) -> dict[str, int]:
    autoscalers = [_of(group, *each) for group, each in bounds.items()]
    return wished(Sample(NOON, target, fixed or {}, needs), autoscalers, offers)


def test_a_group_with_gpus_grows_from_zero_and_no_other_grows_for_it() -> None:
    offers = {"gpu": _offers(GPU=1)}
    for threads, expected in ((1, 1), (2, 2), (10, 2)):
        wish = _wished(0, _need(threads, GPU=1), offers=offers, cpu=(1, 20), gpu=(0, 2))
        assert wish == {"cpu": 1, "gpu": expected}
    assert _wished(0, offers=offers, cpu=(1, 20), gpu=(0, 2)) == {"cpu": 1, "gpu": 0}


def test_other_work_goes_to_groups_without_resources_first() -> None:
    offers = {"gpu": _offers(GPU=1)}
    assert _wished(7, offers=offers, gpu=(0, 9), cpu=(1, 5)) == {"gpu": 2, "cpu": 5}
    assert _wished(5, _need(3, GPU=1), offers=offers, gpu=(0, 9), cpu=(0, 5)) == {"gpu": 3, "cpu": 5}
    assert _wished(7, _need(3, GPU=1), offers=offers, gpu=(0, 9), cpu=(0, 5)) == {"gpu": 5, "cpu": 5}


def test_a_minimum_beyond_what_tasks_need_is_there_for_other_work() -> None:
    offers = {"gpu": _offers(GPU=1)}
    assert _wished(3, _need(1, GPU=1), offers=offers, gpu=(3, 9), cpu=(0, 5)) == {"gpu": 3, "cpu": 1}


def test_groups_without_an_autoscaler_take_tasks_first() -> None:
    offers = {"gpu": _offers(GPU=1), "fixed": _offers(GPU=2), "plain": Offer()}
    fixed = {"fixed": 2, "plain": 1}
    assert _wished(0, _need(6, GPU=1), offers=offers, fixed=fixed, gpu=(0, 9)) == {"gpu": 2}
    assert _wished(3, _need(2, GPU=1), offers=offers, fixed=fixed, gpu=(0, 9)) == {"gpu": 1}


def test_several_workers_of_a_pod_count() -> None:
    offers = {"cpu": Offer((), 4, workers=4), "gpu": Offer((("GPU", 1.0),), 1, workers=2)}
    assert _wished(9, _need(3, GPU=1), offers=offers, cpu=(0, None), gpu=(0, None)) == {"cpu": 3, "gpu": 2}


def test_tasks_that_few_groups_can_run_come_first() -> None:
    offers = {"big": _offers(GPU=1, MEM=1), "gpu": _offers(GPU=1)}
    for needs in ((_need(4, GPU=1), _need(2, GPU=1, MEM=1)), (_need(2, GPU=1, MEM=1), _need(4, GPU=1))):
        assert _wished(0, *needs, offers=offers, big=(0, 3), gpu=(0, 9)) == {"big": 3, "gpu": 3}


def test_kinds_of_tasks_share_pods() -> None:
    needs = (_need(3, GPU=1), _need(4, GPU=0.25), _need(1, MEM=1))
    assert _wished(0, *needs, offers={"gpu": _offers(GPU=4)}, gpu=(0, None)) == {"gpu": 1}


def test_what_nobody_offers_buys_nothing() -> None:
    offers = {"gpu": _offers(GPU=1)}
    needs = (_need(9, MEM=1), _need(9, GPU=2))
    assert _wished(0, *needs, offers=offers, cpu=(0, 9), gpu=(0, 9)) == {"cpu": 0, "gpu": 0}
    assert unserved(needs, offers.values()) == list(needs)
    assert unserved([_need(1, GPU=1)], offers.values()) == []


def test_what_workers_offer_of_whom_the_template_says_nothing_counts_as_before() -> None:
    need = Need((("GPU", 1.0),), 5, offered=True)
    assert _wished(2, need, offers={"cpu": Offer()}, cpu=(0, 20)) == {"cpu": 7}


@pytest.mark.parametrize("seed", range(50))
def test_whatever_tasks_need_the_bounds_hold_and_all_is_served_that_can_be(seed: int) -> None:
    chance = random.Random(seed)
    names = [f"g{n}" for n in range(chance.randint(1, 4))]
    offers = {name: Offer((("GPU", float(chance.randint(0, 4))),), None, chance.randint(1, 3)) for name in names}
    bounds = {name: (chance.randint(0, 2), chance.choice([None, chance.randint(2, 9)])) for name in names}
    needs = [_need(chance.randint(1, 30), GPU=chance.choice([0.5, 1, 2, 4])) for _ in range(chance.randint(1, 3))]
    autoscalers = [_of(name, *each) for name, each in bounds.items()]
    wish = wished(Sample(NOON, chance.randint(0, 9), {}, tuple(needs)), autoscalers, offers)
    for name, (minimum, maximum) in bounds.items():
        assert minimum <= wish[name] <= (math.inf if maximum is None else maximum)
    if len(needs) == 1:
        run = sum(slots(offers[name], needs[0]) * number for name, number in wish.items())
        full = all(wish[name] == bounds[name][1] or not slots(offers[name], needs[0]) for name in names)
        assert run >= needs[0].threads or full
