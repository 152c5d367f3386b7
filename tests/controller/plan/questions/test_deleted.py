"""Workers whose Pods somebody deletes while they start."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.support.builders import CLUSTER_UID, NOON, a_cluster, a_group, a_pod, a_survey, registered, seen
from tests.support.world import World

from dask_operator.actions import WORKERS, Action, Ask, RequeueAt, Retire
from dask_operator.model import Departure, Observed, Pod, Survey
from dask_operator.plan.questions.deleted import plan_deleted
from dask_operator.plan.view import View


def _planned(observed: Observed, now: float = NOON) -> list[Action]:
    return list(plan_deleted(View.of(a_cluster(), observed), now))


def _deleted(number: int = 3, *, young: bool = True, ago: float = 6.0, **others: Any) -> Pod:
    """Return a worker that was told to end so many seconds ago, half a minute after its start or long after it."""
    started = NOON - ago - (30.0 if young else 600.0)
    return a_pod(number, deleting=True, deleted=NOON - ago, started=started, **others)


def _with(pod: Pod, **others: Any) -> Observed:
    return seen([*map(a_pod, range(3)), pod], **others)


def test_the_scheduler_is_asked_a_few_seconds_after_the_signal() -> None:
    (later,) = _planned(_with(_deleted(ago=2.0)))
    assert isinstance(later, RequeueAt)
    assert later.at == NOON + 3.0
    (ask,) = _planned(_with(_deleted()))
    assert isinstance(ask, Ask)
    assert ask.question == WORKERS
    assert _planned(_with(_deleted(), asking=frozenset([WORKERS]))) == []


@pytest.mark.parametrize("agent", [True, False])
def test_one_that_works_on_drains(agent: bool) -> None:
    pod = _deleted()
    survey = a_survey([*map(a_pod, range(3)), pod], agent=agent)
    group = a_group(drain_timeout=77.0)
    retire, again = sorted(
        _planned(_with(pod, survey=survey, groups=[group])), key=lambda each: isinstance(each, RequeueAt)
    )
    assert isinstance(retire, Retire)
    assert retire.workers == ((pod.uid, registered(pod).address),)
    assert retire.seconds == (77.0 if agent else None)
    assert isinstance(again, RequeueAt)
    assert again.at == NOON + 10.0


def test_one_of_a_removed_group_drains_beside_its_successor_of_the_same_name() -> None:
    gone, own = _deleted(3, owners=("uid-of-the-one-before", CLUSTER_UID)), _deleted(4)
    observed = seen([gone, own], survey=a_survey([gone, own]))
    retired = [each.workers for each in _planned(observed) if isinstance(each, Retire)]
    assert sorted(retired) == [((pod.uid, registered(pod).address),) for pod in (gone, own)]


def test_one_that_is_about_to_register_is_waited_for() -> None:
    pod = _deleted()
    (again,) = _planned(_with(pod, survey=a_survey([*map(a_pod, range(3))])))
    assert isinstance(again, RequeueAt)
    (ask,) = _planned(_with(pod, survey=a_survey([*map(a_pod, range(3))], at=NOON - 10.0)))
    assert isinstance(ask, Ask)


def test_one_that_was_refused_is_asked_for_again_after_a_while() -> None:
    pod = _deleted(ago=40.0)
    for ago, asked in ((20.0, 0), (30.0, 1)):
        observed = _with(pod, survey=a_survey([*map(a_pod, range(3)), pod]), refused={pod.uid: NOON - ago})
        assert len([each for each in _planned(observed) if isinstance(each, Retire)]) == asked


def test_one_that_leaves_already_is_left_alone() -> None:
    pod = _deleted()
    leaves = replace(registered(pod), draining=True, leaves=True)
    planned = _planned(_with(pod, survey=Survey(NOON, (leaves,), agent=True)))
    assert [type(each) for each in planned] == [RequeueAt]


@pytest.mark.parametrize(
    "observed",
    [
        _with(a_pod(3)),
        _with(_deleted(young=False)),
        _with(_deleted(phase="Pending")),
        _with(_deleted(), scheduler=None),
        _with(_deleted(), retiring={_deleted().uid: Departure(("tcp://10.0.0.4:1",), NOON)}),
        _with(_deleted(), retired=frozenset([_deleted().uid])),
    ],
    ids=["none", "grown up", "pending", "no scheduler", "drains", "drained"],
)
def test_nobody_else_is_asked_about(observed: Observed) -> None:
    assert _planned(observed) == []


def test_a_worker_that_missed_the_signal_hands_over_what_it_holds() -> None:
    world = World(3)
    world.settle()
    (missed, *_) = world.running()
    world.lingers = lambda pod: pod.name == missed
    world.held = {missed: 1000}
    world.now += 2.0
    world.delete("Pod", missed)
    world.run(60.0)
    assert world.held.get(missed, 0) == 0, "its results have moved"
    assert sum(world.held.values()) == 1000
    asked = len([each for each in world.done if isinstance(each, Ask)])
    world.run(600.0)
    assert len([each for each in world.done if isinstance(each, Ask)]) <= asked + 1
