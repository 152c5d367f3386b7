from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.support.builders import (
    ENDPOINT,
    NOON,
    a_cluster,
    a_group,
    a_pod,
    a_scheduler_pod,
    a_survey,
    condition,
    seen,
)
from tests.support.world import World

from dask_operator.actions import WORKERS, Action, Ask, RequeueAt
from dask_operator.model import Departure, Observed, Pod, Problem, Survey
from dask_operator.parse import rfc3339
from dask_operator.plan.questions.survey import plan_survey
from dask_operator.plan.view import View

BECAUSE = "whether its new workers have registered"
ASK = Ask(WORKERS, ENDPOINT, BECAUSE, pods=1)
SILENT = Problem("SchedulerUnreachable", "timeout")


def _planned(observed: Observed, now: float = NOON) -> list[Action]:
    return list(plan_survey(View.of(a_cluster(), observed), now))


def _seen(*ages: float, status: dict[str, Any] | None = None, **others: Any) -> Observed:
    """Build a cluster with workers that have run for so many seconds at noon."""
    pods = [a_pod(number, started=NOON - age) for number, age in enumerate(ages)]
    group = a_group(workers=len(pods), status=status or {})
    return seen(others.pop("pods", pods), groups=others.pop("groups", [group]), **others)


def test_the_scheduler_is_asked_when_a_worker_has_run_for_some_time() -> None:
    assert _planned(_seen(45.0)) == [ASK]
    assert _planned(_seen(44.0)) == [RequeueAt(NOON + 1.0, BECAUSE)]
    assert _planned(_seen()) == []


def test_a_scheduler_that_knows_all_its_workers_is_left_alone() -> None:
    assert _planned(_seen(60.0, survey=a_survey([a_pod(0)], at=NOON - 1.0))) == []


def test_an_answer_from_before_a_worker_had_registered_does_not_count() -> None:
    assert _planned(_seen(60.0, survey=a_survey([a_pod(0)], at=NOON - 16.0))) == [ASK]
    assert _planned(_seen(46.0, survey=a_survey([a_pod(0)], at=NOON - 2.0))) == [RequeueAt(NOON + 13.0, BECAUSE)]


@pytest.mark.parametrize("answer", [{"workers": ()}, {"problem": SILENT}])
def test_the_pauses_grow_while_a_worker_is_missing(answer: dict[str, Any]) -> None:
    observed = _seen(9999.0, survey=Survey(NOON, **answer))
    assert _planned(observed) == [RequeueAt(NOON + 15.0, BECAUSE)]
    for reason in ("WorkerNotRegistered", "SchedulerUnreachable"):
        for lasts, pause in ((1.0, 15.0), (100.0, 100.0), (9999.0, 900.0)):
            since = {"status": "True", "reason": reason, "lastTransitionTime": rfc3339(NOON - lasts)}
            view = View.of(a_cluster(status={"conditions": [{"type": "Degraded", **since}]}), observed)
            assert list(plan_survey(view, NOON)) == [RequeueAt(NOON + pause, BECAUSE)]
            assert list(plan_survey(view, NOON + pause)) == [ASK]


def test_several_workers_that_start_one_after_another_are_asked_about_together() -> None:
    observed = _seen(46.0, 44.0, 1.0, survey=a_survey([a_pod(0)], at=NOON - 2.0))
    assert _planned(observed) == [RequeueAt(NOON + 1.0, BECAUSE)]
    assert _planned(observed, NOON + 1.0) == [RequeueAt(NOON + 13.0, BECAUSE)]
    assert _planned(observed, NOON + 13.0) == [replace(ASK, pods=3)]


def test_a_controller_that_has_just_started_asks_about_new_workers_and_about_reported_ones() -> None:
    said = {"conditions": [{"type": "Degraded", "status": "True", "reason": "WorkerNotRegistered"}]}
    assert _planned(_seen(344.0)) == [ASK]
    assert _planned(_seen(345.0)) == []
    assert _planned(_seen(345.0, status=said)) == [ASK]
    leaving = {"conditions": [{"type": "Progressing", "status": "True", "reason": "Retiring", "message": ""}]}
    assert list(plan_survey(View.of(a_cluster(status=leaving), _seen(345.0)), NOON)) == [ASK]
    silent = {"conditions": [{"type": "Degraded", "status": "True", "reason": "SchedulerUnreachable", "message": ""}]}
    view = View.of(a_cluster(status=silent), _seen(345.0))
    assert list(plan_survey(view, NOON)) == [ASK]


def test_an_answer_from_the_future_does_not_count() -> None:
    assert _planned(_seen(60.0, survey=a_survey([a_pod(0)], at=NOON + 1.0))) == [ASK]


@pytest.mark.parametrize(
    "observed",
    [
        _seen(60.0, scheduler=None),
        _seen(60.0, scheduler=a_scheduler_pod(ready=False)),
        _seen(60.0, asking=frozenset({WORKERS})),
        _seen(60.0, pods=[a_pod(0, started=NOON - 60.0, ready=False)]),
        _seen(60.0, groups=[a_group(workers=1, unread="is too large")]),
        _seen(60.0, groups=[a_group(workers=0)]),
        _seen(60.0, pods=[a_pod(0, started=NOON - 60.0, template="older")]),
        _seen(60.0, retiring=dict.fromkeys({a_pod(0).uid}, Departure(final=True))),
        _seen(60.0, pods=[a_pod(0, started=NOON - 60.0), a_pod(1, group="removed")]),
    ],
)
def test_nobody_asks_in_vain_or_twice(observed: Observed) -> None:
    assert _planned(observed) == []


# Stories


def _degraded(world: World) -> tuple[str, str]:
    told = condition(world.status(), "Degraded")
    return told["reason"], told["message"]


def test_a_worker_that_never_registers_is_told_within_a_minute_and_until_it_does() -> None:
    world = World(workers=2)
    lost: list[Pod] = []

    def registers(pod: Pod) -> bool:
        return pod.name not in [each.name for each in lost]

    world.registers = registers
    world.run(3.0)
    lost += world.pods()[:1]
    world.run(57.0)
    reason, message = _degraded(world)
    assert reason == "WorkerNotRegistered"
    assert lost[0].name in message
    world.restart_controller()
    world.run(1.0)
    assert _degraded(world) == (reason, message)
    lost.clear()
    world.run(60.0)
    assert _degraded(world)[0] == "AsExpected"
    world.settle()
    questions = sum(isinstance(action, Ask) for action in world.done)
    world.run(3600.0, 60.0)
    assert sum(isinstance(action, Ask) for action in world.done) == questions


def test_a_scheduler_that_does_not_answer_is_told_and_asked_less_and_less_often() -> None:
    world = World(workers=2)
    world.scheduler_answers = False
    world.run(120.0)
    assert _degraded(world)[0] == "SchedulerUnreachable"
    world.run(3600.0, 5.0)
    assert sum(isinstance(action, Ask) for action in world.done) < 20
    questions = sum(isinstance(action, Ask) for action in world.done)
    world.restart_controller()
    world.run(10.0)
    assert _degraded(world)[0] == "SchedulerUnreachable", "as the status says until there is an answer"
    assert sum(isinstance(action, Ask) for action in world.done) > questions
    world.scheduler_answers = True
    world.run(960.0, 5.0)
    assert _degraded(world)[0] == "AsExpected"
