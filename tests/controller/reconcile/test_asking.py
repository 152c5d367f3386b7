from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from tests.controller.reconcile.bench import KEY, a_bench, at
from tests.support.builders import NOON, a_cluster, a_pod, raw_pod
from tests.support.server import Answer, serving
from tests.support.wait import until

from dask_operator import metrics
from dask_operator.actions import IDLE, PROGRESS, TARGET, WORKERS, Ask, Resume, Retire
from dask_operator.model import Drained, Endpoint, Need, Observed, Pod, Registration, Tasks
from dask_operator.reconcile.asking import Asker
from dask_operator.reconcile.store import Store
from dask_operator.reconcile.workqueue import WorkQueue

ENDPOINT = Endpoint("http://10.0.0.1:8787", "tcp://10.0.0.1:8786")


def ask_workers(url: str) -> Ask:
    return Ask(WORKERS, at(url), "scale down")


async def test_what_a_scheduler_asks_for_is_a_fact_with_what_there_was_then() -> None:
    async def answer(request: web.Request) -> web.Response:
        assert request.path.endswith("demand")
        return web.json_response({"target": 7, "needs": [{"resources": {"GPU": 2}, "threads": 5, "offered": False}]})

    async with a_bench() as bench, serving(answer) as url:
        ask = Ask(TARGET, at(url), "autoscaling", 30.0, {"simple-default": 3})
        assert (await bench.execute(ask)).asking == {TARGET}
        await until(lambda: not bench.observed().asking, "the answer")
        demand = bench.observed().demand
        assert demand
        assert [sample[1:] for sample in demand.samples] == [
            (7, {"simple-default": 3}, (Need((("GPU", 2.0),), 5),)),
        ]


@pytest.mark.parametrize("question", [TARGET, IDLE])
async def test_a_question_without_an_answer_is_a_fact_with_its_reason(question: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="x" * 100)

    async with a_bench() as bench, serving(answer) as url:
        await bench.execute(Ask(question, at(url), "x"))
        await until(lambda: not bench.observed().asking, "the answer")
        fact = bench.observed().demand if question == TARGET else bench.observed().idleness
        assert fact
        assert fact.problem
        assert (fact.problem.reason, fact.at >= NOON) == ("SchedulerAnswer", True)


@pytest.mark.parametrize(
    ("said", "tasks"),
    [({"done": 5, "left": 7, "workers": 2}, Tasks(5, 7, 2)), ({"done": -1}, None)],
    ids=["told", "wrong"],
)
async def test_how_far_a_scheduler_is_is_a_fact(said: dict[str, int], tasks: Tasks | None) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response(said)

    async with a_bench() as bench, serving(answer) as url:
        await bench.execute(Ask(PROGRESS, at(url), "x"))
        await until(lambda: not bench.observed().asking, "the answer")
        progress = bench.observed().progress
        assert progress
        assert (progress.tasks, progress.at >= NOON) == (tasks, True)


def _identity(*pods: Pod) -> Answer:
    async def answer(request: web.Request) -> web.Response:
        workers = {f"tcp://{pod.ip}:4000": {"name": pod.name, "metrics": {}} for pod in pods}
        listed = [{"name": pod.name, "address": f"tcp://{pod.ip}:4000"} for pod in pods]
        if request.path.endswith("get_workers"):
            return web.json_response({"num_workers": len(pods), "workers": listed})
        return web.json_response({"workers": workers})

    return answer


async def test_an_answer_is_a_fact_for_a_later_plan() -> None:
    async with a_bench(raw_pod(0)) as bench, serving(_identity(a_pod(0), a_pod(1))) as url:
        assert (await bench.execute(ask_workers(url))).asking
        await until(lambda: not bench.observed().asking, "the answer")
        survey = bench.observed().survey
        assert survey
        assert {worker.name for worker in survey.workers} == {a_pod(0).name, a_pod(1).name}
        assert await bench.woken() is not None


async def test_a_question_does_not_hold_up_the_plan() -> None:
    async def answer(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async with a_bench() as bench, serving(answer) as url:
        async with asyncio.timeout(1.0):
            assert (await bench.execute(ask_workers(url))).asking


async def test_no_answer_is_a_fact_as_well() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=503)

    async with a_bench() as bench, serving(answer) as url:
        await bench.execute(ask_workers(url))
        await until(lambda: not bench.observed().asking, "the answer")
        survey = bench.observed().survey
        assert survey
        assert survey.problem
        assert survey.problem.reason == "SchedulerUnreachable"
        assert survey.at >= NOON


def _retiring(*addresses: str) -> Answer:
    async def answer(request: web.Request) -> web.Response:
        if request.path.startswith("/kubernetes"):
            return web.Response(status=404)
        return web.json_response({address: {} for address in addresses})

    return answer


async def test_only_those_the_scheduler_names_are_retired() -> None:
    async with a_bench(raw_pod(0), raw_pod(1)) as bench, serving(_retiring("tcp://10.0.0.1:1")) as url:
        first, second = bench.pods()
        workers = ((first.uid, "tcp://10.0.0.1:1"), (second.uid, "tcp://10.0.0.2:1"))
        observed = await bench.execute(Retire(at(url), workers, "scale down"))
        assert observed.retiring.keys() == {first.uid, second.uid}
        await until(lambda: not bench.observed().retiring, "the end of the retirement")
        assert bench.observed().retired == {first.uid}
        assert list(bench.observed().refused) == [second.uid]
        assert await bench.woken() is not None


async def test_a_pod_of_several_dask_workers_is_retired_when_all_of_them_are() -> None:
    async with a_bench(raw_pod(0)) as bench, serving(_retiring("tcp://10.0.0.1:1")) as url:
        (pod,) = bench.pods()
        workers = ((pod.uid, "tcp://10.0.0.1:1"), (pod.uid, "tcp://10.0.0.1:2"))
        await bench.execute(Retire(at(url), workers, "scale down"))
        await until(lambda: not bench.observed().retiring, "the end of the retirement")
        assert bench.observed().retired == frozenset(), "one of its two still holds data"


class _Agent:
    """The agent's side of a drain: each request gets the next of these answers."""

    def __init__(self, *said: dict[str, Any]) -> None:
        self.said = list(said)
        self.asked: list[Any] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append((request.path.rpartition("/")[2], await request.json()))
        return web.json_response({"retired": [], "overdue": [], "kept": {}, "draining": {}} | self.said.pop(0))


FIRST, SECOND = "tcp://10.0.0.1:1", "tcp://10.0.0.2:1"


async def test_each_worker_that_drains_is_retired_in_its_own_time() -> None:
    agent = _Agent(
        {"retired": [FIRST], "draining": {SECOND: "tasks"}}, {"draining": {SECOND: "shuffle"}}, {"retired": [SECOND]}
    )
    async with a_bench(raw_pod(0), raw_pod(1)) as bench, serving(agent.answer) as url:
        first, second = bench.pods()
        await bench.execute(Retire(at(url), ((first.uid, FIRST), (second.uid, SECOND)), "x", seconds=60.0))
        await until(lambda: bench.observed().retired == {first.uid}, "the first is retired")
        assert bench.observed().retiring[second.uid].waits_for == "tasks"
        await until(lambda: not bench.observed().retiring, "the end of all drains")
        assert bench.observed().retired == {first.uid, second.uid}
    assert [asked["workers"] for _, asked in agent.asked] == [[FIRST, SECOND], [SECOND], [SECOND]]
    assert agent.asked[2][1]["seconds"] < agent.asked[0][1]["seconds"] == 60.0


async def test_a_worker_that_drains_is_kept_for_its_actors_or_retired_in_the_middle_of_its_work() -> None:
    agent = _Agent({"retired": [SECOND], "overdue": [SECOND], "kept": {FIRST: "actors"}})
    async with a_bench(raw_pod(0), raw_pod(1)) as bench, serving(agent.answer) as url:
        first, second = bench.pods()
        await bench.execute(Retire(at(url), ((first.uid, FIRST), (second.uid, SECOND)), "x", seconds=60.0))
        await until(lambda: not bench.observed().retiring, "the end of all drains")
        observed = bench.observed()
        assert (observed.retired, observed.overdue) == (frozenset({second.uid}), frozenset({second.uid}))
        assert (list(observed.refused), observed.actors) == ([first.uid], frozenset({first.uid}))


async def test_workers_are_taken_back_as_far_as_it_is_not_too_late() -> None:
    both = {FIRST: "tasks", SECOND: "data moves"}
    agent = _Agent({"draining": both}, {"resumed": [FIRST]}, {"retired": [SECOND]})
    async with a_bench(raw_pod(0), raw_pod(1)) as bench, serving(agent.answer) as url:
        first, second = bench.pods()
        workers = ((first.uid, FIRST), (second.uid, SECOND))
        await bench.execute(Retire(at(url), workers, "x", seconds=60.0))
        await until(lambda: bool(bench.observed().retiring[first.uid].waits_for), "both drain")
        observed = await bench.execute(Resume(at(url), workers, "x"))
        assert observed.resuming == {first.uid, second.uid}
        await until(lambda: not bench.observed().resuming, "the answer")
        assert bench.observed().retiring.keys() == {second.uid}
        assert bench.observed().retiring[second.uid].final
        await until(lambda: not bench.observed().retiring, "the end of the drain")
        assert bench.observed().retired == {second.uid}
    assert [about for about, _ in agent.asked] == ["drain", "resume", "drain"]


async def test_a_scheduler_that_ends_no_drain_is_not_asked_for_ever() -> None:
    schedulers = _Endless()
    async with _asking(schedulers) as (asker, observed, _):  # type: ignore[arg-type]
        asker.retire(KEY, Retire(ENDPOINT, (("uid", FIRST),), "x", seconds=60.0))
        async with asyncio.timeout(2000.0):
            while observed().retiring:  # noqa: ASYNC110
                await asyncio.sleep(1.0)
        survey = observed().survey
        assert survey
        assert survey.problem
        assert survey.problem.reason == "SchedulerAnswer"
    assert schedulers.asked <= 662, "at most once a second"


class _Endless:
    """Schedulers whose workers drain for ever, and that answer at once."""

    asked = 0

    async def drain(self, *_: object) -> Drained:
        self.asked += 1
        return Drained(draining={FIRST: "tasks"})


async def test_after_a_retirement_without_an_answer_nobody_is_retired() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=500)

    async with a_bench(raw_pod(0)) as bench, serving(answer) as url:
        (pod,) = bench.pods()
        await bench.execute(Retire(at(url), ((pod.uid, "tcp://10.0.0.1:1"),), "scale down"))
        await until(lambda: not bench.observed().retiring, "the end of the retirement")
        observed = bench.observed()
        assert (observed.retired, observed.refused) == (frozenset(), {})
        assert observed.survey
        assert observed.survey.problem


async def test_closing_ends_what_runs_beside() -> None:
    asked, ended = asyncio.Event(), asyncio.Event()

    async def answer(_: web.Request) -> web.Response:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError("unreachable")

    async with a_bench() as bench, serving(answer) as url:
        await bench.execute(ask_workers(url))
        await until(asked.is_set, "the question")
        await bench.executor.close()
        await until(ended.is_set, "the end of the question", 5.0)


@pytest.mark.parametrize("question", [WORKERS, TARGET, IDLE, PROGRESS])
async def test_what_a_scheduler_answers_is_not_quoted_in_the_log(
    caplog: pytest.LogCaptureFixture, question: str
) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="hunter2")

    with caplog.at_level(logging.DEBUG, "dask_operator"):
        async with a_bench() as bench, serving(answer) as url:
            await bench.execute(Ask(question, at(url), "x"))
            await until(lambda: not bench.observed().asking, "the answer")
    assert "hunter2" not in caplog.text


class _Wrong:
    """Schedulers that are asked by code with a bug, for as long as `wrong`."""

    def __init__(self) -> None:
        self.wrong = True
        self.asked: list[float] = []

    async def _ask(self, *_: object) -> Any:
        self.asked.append(asyncio.get_running_loop().time())
        if self.wrong:
            raise ZeroDivisionError("a mistake of ours")
        return frozenset()

    async def survey(self, *_: object) -> tuple[tuple[Registration, ...], bool]:
        await self._ask()
        return (), False

    demand = idle_since = progress = retire = drain = resume = _ask


@asynccontextmanager
async def _asking(schedulers: _Wrong) -> AsyncIterator[tuple[Asker, Callable[[], Observed], WorkQueue]]:
    def clock() -> float:
        return NOON + asyncio.get_running_loop().time()

    store, queue = Store(), WorkQueue(clock)
    store.observe("DaskCluster", a_cluster())
    asker = Asker(schedulers, store, queue, clock)  # type: ignore[arg-type]
    try:
        yield asker, lambda: store.snapshot(KEY)[1], queue
    finally:
        await asker.close()


def _errors() -> float:
    return metrics.REGISTRY.get_sample_value("dask_operator_reconcile_errors_total") or 0.0


async def _planned_again(queue: WorkQueue) -> None:
    async with asyncio.timeout(100.0):
        queue.done(await queue.get())


@pytest.mark.parametrize("question", [WORKERS, TARGET, IDLE, PROGRESS, "nonsense"])
async def test_an_error_of_our_own_is_logged_and_counted_and_the_question_pauses_longer_each_time(
    caplog: pytest.LogCaptureFixture, question: str
) -> None:
    schedulers, before, pauses = _Wrong(), _errors(), []
    async with _asking(schedulers) as (asker, observed, queue):
        for _ in range(4):
            began = asyncio.get_running_loop().time()
            asker.ask(KEY, Ask(question, ENDPOINT, "x"))
            await asyncio.sleep(0.1)
            assert observed().asking == {question}, "so it is not asked again at once"
            await _planned_again(queue)
            assert observed().asking == frozenset()
            pauses.append(asyncio.get_running_loop().time() - began)
    assert pauses == [pytest.approx(seconds, abs=0.1) for seconds in (0.5, 1.0, 2.0, 4.0)]
    assert _errors() == before + 4.0
    assert "default/simple: its scheduler is asked again in 0.5 s after an error" in caplog.text
    assert {record.levelno for record in caplog.records} == {logging.ERROR}


async def test_a_retirement_that_fails_by_our_own_error_is_over_after_the_pause() -> None:
    schedulers = _Wrong()
    async with _asking(schedulers) as (asker, observed, queue):
        asker.retire(KEY, Retire(ENDPOINT, (("uid", "tcp://10.0.0.2:1"),), "x"))
        await asyncio.sleep(0.1)
        assert observed().retiring.keys() == {"uid"}
        await _planned_again(queue)
        assert (observed().retiring, observed().retired, observed().refused) == ({}, frozenset(), {})
        survey = observed().survey
        assert survey
        assert survey.problem
        assert survey.problem.reason == "ControllerError"


async def test_a_success_ends_the_series_of_errors() -> None:
    schedulers = _Wrong()

    async def asked(asker: Asker, queue: WorkQueue) -> float:
        began = asyncio.get_running_loop().time()
        asker.ask(KEY, Ask(WORKERS, ENDPOINT, "x"))
        await _planned_again(queue)
        return asyncio.get_running_loop().time() - began

    async with _asking(schedulers) as (asker, _, queue):
        first = [await asked(asker, queue) for _ in range(2)]
        schedulers.wrong = False
        await asked(asker, queue)
        schedulers.wrong = True
        assert [*first, await asked(asker, queue)] == [pytest.approx(wanted, abs=0.1) for wanted in (0.5, 1.0, 0.5)]
