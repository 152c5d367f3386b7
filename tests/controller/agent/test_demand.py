"""The demand of a scheduler, as the agent tells it."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from tests.support.kube import eventually
from tests.support.processes import AGENT, Dask, a_dask

from dask_operator.agent.scheduler import LOOKED_AT, MOST_RESOURCES, Demand
from dask_operator.scheduler import answers

GPU = {"GPU": 1}


def _demand(made: Dask) -> dict[str, Any]:
    answer: dict[str, Any] = httpx.get(f"http://{made.http}/kubernetes/v1/demand", timeout=60).json()
    return answer


def _gpu(threads: int, *, offered: bool = False) -> dict[str, Any]:
    return {"resources": {"GPU": 1.0}, "threads": threads, "offered": offered}


def _until(made: Dask, answer: dict[str, Any]) -> None:
    eventually(lambda: _demand(made) == answer, f"the demand is {answer}", 60)


def test_tasks_that_need_a_gpu_want_no_workers_without() -> None:
    with a_dask() as made:
        made.worker("cpu")
        # Dask expects half a second of an unknown task, and five seconds of work for a thread.
        for tasks, threads in ((8, 1), (100, 10)):
            waiting = made.client.map(lambda n: n, range(tasks), resources=GPU, pure=False)
            _until(made, {"target": 0, "needs": [_gpu(threads)]})
            made.client.cancel(waiting)
            _until(made, {"target": 0, "needs": []})


def test_each_kind_of_task_is_counted_for_itself() -> None:
    # However long they have run when they are looked at, as many workers are wanted as there are tasks.
    with a_dask({**AGENT, "DASK_DISTRIBUTED__SCHEDULER__DEFAULT_TASK_DURATIONS": "{'sleep': '600s'}"}) as made:
        made.worker("cpu")
        others = made.client.map(time.sleep, [600.0] * 40, pure=False)
        both = made.client.map(lambda n: n, range(3), resources={"GPU": 1, "MEM": 2}, pure=False)
        pinned = made.client.submit(sum, [1], resources=GPU, workers="tcp://10.0.0.9:1", pure=False)
        needs = [{"resources": {"GPU": 1.0, "MEM": 2.0}, "threads": 1, "offered": False}]
        _until(made, {"target": 40, "needs": needs})
        loose = made.client.submit(
            sum, [1], resources={"FPGA": 1}, workers="tcp://10.0.0.9:1", allow_other_workers=True, pure=False
        )
        needs.append({"resources": {"FPGA": 1.0}, "threads": 1, "offered": False})
        _until(made, {"target": 40, "needs": needs})
        made.client.cancel([*others, *both, pinned, loose])


def test_tasks_that_run_keep_their_threads() -> None:
    with a_dask() as made:
        for name in ("a", "b", "c"):
            made.worker(name, "--resources", "GPU=1")
        running = made.client.map(time.sleep, [600.0] * 3, resources=GPU, pure=False)
        _until(made, {"target": 0, "needs": [_gpu(3, offered=True)]})
        made.client.cancel(running)


def test_without_needs_the_answer_is_that_of_dask_itself() -> None:
    with a_dask() as made:
        tasks = made.client.map(time.sleep, [600.0] * 30, pure=False)
        eventually(lambda: _demand(made)["target"] > 0, "the tasks are known", 60)
        dasks = httpx.get(f"http://{made.http}/api/v1/adaptive_target", timeout=60).json()["workers"]
        assert _demand(made) == {"target": dasks, "needs": []}
        made.client.cancel(tasks)


def test_a_scheduler_that_it_does_not_understand_says_what_dask_says() -> None:
    with a_dask() as made:
        made.client.run_on_scheduler(_without_restrictions)
        assert _demand(made) == {"target": 7, "needs": []}
        assert "are not told from others" in made.log


def _without_restrictions(dask_scheduler: Any) -> None:
    dask_scheduler.unrunnable = {"no task": None}
    dask_scheduler.adaptive_target = lambda: 7


class Scheduler:
    """A scheduler without workers, whose tasks wait."""

    UNKNOWN_TASK_DURATION = 0.5
    total_occupancy = 0.0

    def __init__(self, tasks: list[Any]) -> None:
        self.workers: dict[str, Any] = {}
        self.resources: dict[str, dict[str, float]] = {}
        self.unrunnable = tasks

    def workers_to_close(self) -> list[str]:
        return []


class Prefix:
    duration_average = max_exec_time = -1.0


PREFIX = Prefix()


def _task(**resources: Any) -> Any:
    return SimpleNamespace(
        resource_restrictions=resources or None,
        worker_restrictions=None,
        host_restrictions=None,
        loose_restrictions=False,
        prefix=PREFIX,
    )


def test_of_very_many_tasks_some_count_for_all() -> None:
    for number in (50_000, 60_000, 100_001):
        tasks = [_task(GPU=1) if n % 2 else _task() for n in range(number)]
        answer = Demand(Scheduler(tasks)).answer()
        (need,) = answer["needs"]
        assert need["threads"] == pytest.approx(number / 20, rel=0.01), "half of them, and ten for each thread"
        assert answer["target"] == pytest.approx(number / 20, rel=0.01)


def test_very_many_tasks_take_little_time() -> None:
    few, many = ([_task(GPU=1)] * number for number in (LOOKED_AT, 20 * LOOKED_AT))

    def seconds(tasks: list[Any]) -> float:
        began = time.process_time()
        Demand(Scheduler(tasks)).answer()
        return time.process_time() - began

    assert min(seconds(many) for _ in range(5)) < 5.0 * min(seconds(few) for _ in range(5)) + 0.02


def test_an_answer_has_few_names_and_no_odd_numbers() -> None:
    many = [_task(**{f"r{n}" + "x" * 100: 1}) for n in range(500)]
    odd = [_task(GPU=float("nan")), _task(GPU=float("inf")), _task(GPU=-1), _task(**{f"r{n}": 1 for n in range(200)})]
    needs = Demand(Scheduler(odd + many)).answer()["needs"]
    assert len(needs) == MOST_RESOURCES
    assert {"resources": {"GPU": 0.0}, "threads": 1, "offered": False} in needs
    answers.demand(httpx.Response(200, json={"target": 0, "needs": needs}).content, answers.JSON)
