from __future__ import annotations

from typing import Any

import pytest
from tests.support.builders import ENDPOINT, NOON, a_cluster, a_runner_pod, a_scheduler_pod, raw_job, seen
from tests.support.world import World

from dask_operator.actions import PROGRESS, Action, Ask, RequeueAt
from dask_operator.model import Progress, Tasks
from dask_operator.plan.questions.progress import plan_progress
from dask_operator.plan.view import View

ASK = Ask(PROGRESS, ENDPOINT, "how far its job is")


def _planned(*, ran: float = 100.0, job: str = "simple", **others: Any) -> list[Action]:
    pods = [a_runner_pod(started=NOON - ran)]
    return list(plan_progress(View.of(a_cluster(job=job), seen(pods, **others)), NOON))


def _due(asked_ago: float, ran: float) -> float:
    (action,) = _planned(ran=ran, progress=Progress(NOON - asked_ago))
    assert isinstance(action, RequeueAt)
    return action.at - NOON


def test_a_scheduler_is_asked_while_the_program_runs() -> None:
    assert _planned() == [ASK]
    assert _planned(job="") == [], "nobody looks at the job of another cluster"
    assert _planned(asking=frozenset({PROGRESS})) == []
    assert _planned(scheduler=a_scheduler_pod(ready=False)) == []


@pytest.mark.parametrize("runner", [[], [a_runner_pod(phase="Pending")], [a_runner_pod(deleting=True)]])
def test_no_program_makes_no_progress(runner: list[Any]) -> None:
    assert list(plan_progress(View.of(a_cluster(job="simple"), seen(runner)), NOON)) == []


@pytest.mark.parametrize(("ran", "pause"), [(30.0, 10.0), (300.0, 30.0), (86400.0, 60.0)])
def test_the_longer_a_job_has_run_the_less_often_it_is_asked(ran: float, pause: float) -> None:
    assert _due(3.0, ran) == pytest.approx(pause - 3.0)
    assert _planned(ran=ran, progress=Progress(NOON - pause)) == [ASK]


def test_a_job_of_a_few_seconds_costs_no_question() -> None:
    assert _planned(ran=4.0) == [RequeueAt(NOON + 6.0, "how far its job is")]


def test_an_answer_from_the_future_does_not_count() -> None:
    assert _planned(progress=Progress(NOON + 3600.0)) == [ASK]


def test_a_job_shows_how_far_it_is_and_since_when() -> None:
    world = World(None)
    world.put(raw_job())
    world.settle()

    def told() -> dict[str, Any] | None:
        found: dict[str, Any] | None = world.status("DaskJob").get("progress")
        return found

    world.run(30.0)
    assert told() is None, "there are no tasks"
    world.tasks = Tasks(120, 280, 3)
    world.run(70.0)
    first = told() or {}
    assert {key: first[key] for key in ("tasksDone", "tasksTotal", "workers")} == {
        "tasksDone": 120,
        "tasksTotal": 400,
        "workers": 3,
    }
    world.tasks = Tasks(120, 300, 4)
    world.run(70.0)
    assert told() == {**first, "tasksTotal": 420, "workers": 4}, "no task has ended since"
    world.tasks = Tasks(420, 0, 4)
    world.run(70.0)
    last = told() or {}
    assert (last["tasksDone"], last["tasksTotal"]) == (420, 420)
    assert last["lastProgressTime"] > first["lastProgressTime"]
    world.end("simple-runner", "Succeeded")
    world.settle()
    assert told() == last, "it stays"


def test_a_scheduler_that_does_not_tell_takes_nothing_back() -> None:
    world = World(None)
    world.put(raw_job())
    world.settle()
    world.tasks = Tasks(1, 1, 1)
    world.run(70.0)
    said = world.status("DaskJob")["progress"]
    world.scheduler_answers = False
    world.run(200.0)
    assert world.status("DaskJob")["progress"] == said


def test_a_resumed_job_begins_anew() -> None:
    world = World(None)
    world.put(raw_job())
    world.settle()
    world.tasks = Tasks(1, 1, 1)
    world.run(70.0)
    world.edit("DaskJob", "simple", suspend=True)
    world.settle()
    assert world.status("DaskJob").get("progress") is None
    world.tasks, world.scheduler_answers = Tasks(0, 0, 0), False
    world.edit("DaskJob", "simple", suspend=False)
    world.settle()
    assert world.status("DaskJob").get("progress") is None, "what the earlier scheduler said is over"
