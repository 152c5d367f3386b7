"""Against a real scheduler, and against servers that answer as none should."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from aiohttp import web
from distributed import Client, LocalCluster
from tests.support.clock import Run
from tests.support.dask import HTTP_ROUTES, WITHOUT_API, a_dask_cluster, endpoint
from tests.support.kube import eventually
from tests.support.processes import AGENT, a_dask
from tests.support.server import Answer, serving

from dask_operator import names
from dask_operator.model import Drained, Endpoint, Need, Problem, Registration
from dask_operator.scheduler import http
from dask_operator.scheduler.failures import SchedulerError
from dask_operator.scheduler.questions import Schedulers

_RELEASED = threading.Event()
_T = TypeVar("_T")
NOBODY = "tcp://127.0.0.1:1"
Question = Callable[[Schedulers, Endpoint], Awaitable[object]]
QUESTIONS: dict[str, Question] = {
    "workers": Schedulers.workers,
    "demand": Schedulers.demand,
    "idle_since": Schedulers.idle_since,
    "progress": Schedulers.progress,
    "retire": lambda schedulers, at: schedulers.retire(at, ["tcp://10.0.0.1:1"]),
    "drain": lambda schedulers, at: schedulers.drain(at, ["tcp://10.0.0.1:1"], 60.0),
    "resume": lambda schedulers, at: schedulers.resume(at, ["tcp://10.0.0.1:1"]),
}
_IDLE_WORKER = {"nbytes": 0, "tasks": 0, "seconds": 0.0, "shuffles": False, "draining": False, "leaves": False}
ALL = pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
OF_AGENT = ("drain", "resume")
BUT_RETIRE = pytest.mark.parametrize("question", [QUESTIONS[name] for name in ("workers", "demand", "idle_since")])
BY_EITHER = pytest.mark.parametrize("routes", [HTTP_ROUTES, WITHOUT_API], ids=["http", "rpc"])


def _square_slowly(number: int) -> int:
    _RELEASED.wait(0.05)
    return number**2


def _addresses(cluster: LocalCluster) -> list[str]:
    return [worker.address for worker in cluster.workers.values()]


def _ask(cluster: LocalCluster, question: Callable[[Schedulers, Endpoint], Awaitable[_T]]) -> _T:
    return asyncio.run(_put(endpoint(cluster), question))


async def _put(at: Endpoint, question: Callable[[Schedulers, Endpoint], Awaitable[_T]]) -> _T:
    async with Schedulers() as schedulers:
        return await question(schedulers, at)


def _retire(cluster: LocalCluster, addresses: Sequence[str]) -> frozenset[str]:
    return _ask(cluster, lambda schedulers, at: schedulers.retire(at, addresses))


def _workers(cluster: LocalCluster) -> tuple[Registration, ...]:
    return _ask(cluster, Schedulers.workers)


@BY_EITHER
def test_the_workers_of_a_scheduler(routes: tuple[str, ...]) -> None:
    with a_dask_cluster(workers=2, routes=routes) as cluster:
        found = _workers(cluster)
        assert {worker.address for worker in found} == set(_addresses(cluster))
        assert {worker.name for worker in found} == {"0", "1"}


@BY_EITHER
def test_a_scheduler_whose_workers_compute_is_answered_for(routes: tuple[str, ...]) -> None:
    with a_dask_cluster(workers=2, routes=routes) as cluster, Client(cluster) as client:
        futures = client.map(_square_slowly, range(120), pure=False)
        burdens = set()
        for _ in range(20):
            found = _workers(cluster)
            assert {worker.address for worker in found} == set(_addresses(cluster))
            burdens |= {worker.nbytes > 0 and worker.tasks > 0 for worker in found}
            futures[0].result()
            _RELEASED.wait(0.1)
        assert True in burdens, "what they hold and do is known, so that the right ones can be chosen"
        client.cancel(futures)


@BY_EITHER
def test_what_a_scheduler_wants_follows_its_work(routes: tuple[str, ...]) -> None:
    with a_dask_cluster(workers=2, routes=routes) as cluster, Client(cluster) as client:
        assert _ask(cluster, Schedulers.demand) == (0, ())
        futures = client.map(_square_slowly, range(1000), pure=False)
        futures[0].result()
        assert _ask(cluster, Schedulers.demand)[0] > 2
        client.cancel(futures)


def test_a_scheduler_with_the_agent_tells_what_tasks_need() -> None:
    with a_dask() as made:
        made.worker("cpu")
        waiting = made.client.map(_square_slowly, range(8), resources={"GPU": 1}, pure=False)
        at = Endpoint(f"http://{made.http}", NOBODY)
        eventually(
            lambda: asyncio.run(_put(at, Schedulers.demand)) == (0, (Need((("GPU", 1.0),), 1),)), "what tasks need"
        )
        made.client.cancel(waiting)


@BY_EITHER
def test_a_busy_scheduler_is_never_idle_and_an_idle_one_says_since_when(routes: tuple[str, ...]) -> None:
    settings = {"routes": routes, "idle_timeout": "1h"}
    with a_dask_cluster(workers=2, **settings) as cluster, Client(cluster) as client:  # type: ignore[arg-type]
        futures = client.map(_square_slowly, range(40), pure=False)
        futures[0].result()
        for _ in range(30):
            since = _ask(cluster, Schedulers.idle_since)
            assert since is None or all(future.done() for future in futures)
        client.gather(futures)
        _ask(cluster, Schedulers.idle_since)
        first, second = _ask(cluster, Schedulers.idle_since), _ask(cluster, Schedulers.idle_since)
        assert first is not None
        assert cluster.scheduler
        assert first == second == cluster.scheduler.idle_since
        assert cluster.scheduler.idle_timeout == 3600
        assert cluster.scheduler.status.name == "running"


@BY_EITHER
def test_retiring_a_worker_moves_what_it_holds(routes: tuple[str, ...]) -> None:
    with a_dask_cluster(workers=3, routes=routes) as cluster, Client(cluster) as client:
        leaving = _addresses(cluster)[:2]
        futures = [client.submit(bytes, 10_000 + n, workers=[leaving[n % 2]], pure=False) for n in range(10)]
        client.gather(futures)
        assert _retire(cluster, leaving) == frozenset(leaving)
        assert [len(result) for result in client.gather(futures)] == [10_000 + n for n in range(10)]


@BY_EITHER
def test_only_those_named_are_retired(routes: tuple[str, ...]) -> None:
    with a_dask_cluster(workers=3, routes=routes) as cluster:
        first, *others = _addresses(cluster)
        assert _retire(cluster, [first]) == {first}
        assert {worker.address for worker in _workers(cluster)} == set(others)


@BY_EITHER
def test_the_last_holder_of_data_is_refused(routes: tuple[str, ...]) -> None:
    with a_dask_cluster(workers=1, routes=routes) as cluster, Client(cluster) as client:
        (last,) = _addresses(cluster)
        future = client.submit(bytes, 10_000)
        future.result()
        assert _retire(cluster, [last]) == frozenset()
        assert len(future.result()) == 10_000


@BY_EITHER
def test_a_worker_that_is_unknown_is_not_retired(routes: tuple[str, ...]) -> None:
    with a_dask_cluster(workers=1, routes=routes) as cluster:
        assert _retire(cluster, ["tcp://127.0.0.1:1"]) == frozenset()
        assert len(_workers(cluster)) == 1


def test_a_scheduler_with_the_agent_lets_a_workers_task_end(tmp_path: Path) -> None:
    with a_dask() as made:
        made.worker("kept")
        made.worker("leaving")
        address = made.addresses("leaving")
        at = Endpoint(f"http://{made.http}", made.client.scheduler.address)
        running = made.client.submit(_write_slowly, tmp_path / "log", workers=address, pure=False)
        eventually((tmp_path / "log").exists, "the task runs", 120)
        drained = asyncio.run(_put(at, lambda schedulers, at: schedulers.drain(at, address, 120.0)))
        assert drained == Drained(retired=frozenset(address))
        assert running.result(120) == "began\n", "once"


@pytest.mark.parametrize("routes", [[], ["distributed.http.health"], ["distributed.http.scheduler.api"]], ids=str)
def test_the_agent_tells_what_workers_hold_drains_them_and_takes_them_back(tmp_path: Path, routes: list[str]) -> None:
    chosen = {"DASK_DISTRIBUTED__SCHEDULER__HTTP__ROUTES": repr(routes)} if routes else {}
    with a_dask(AGENT | chosen) as made:
        made.worker("kept")
        made.worker("leaving", env={names.POD_ENV: "pod-of-leaving"})
        (leaving,), at = made.addresses("leaving"), Endpoint(f"http://{made.http}", made.client.scheduler.address)
        running = made.client.submit(_until_exists, tmp_path / "log", tmp_path / "end", workers=[leaving], pure=False)
        eventually((tmp_path / "log").exists, "the task runs", 120)

        async def all_three(schedulers: Schedulers, at: Endpoint) -> list[Any]:
            drain = asyncio.create_task(schedulers.drain(at, [leaving], 120.0))
            told = await schedulers.survey(at, 2)
            while not any(worker.draining for worker in told[0]):
                told = await schedulers.survey(at, 2)
            back = await schedulers.resume(at, [leaving])
            return [told, back, await drain]

        try:
            (workers, agent), back, drained = asyncio.run(asyncio.wait_for(_put(at, all_three), 60))
        finally:
            (tmp_path / "end").touch()
        (burden,) = [worker for worker in workers if worker.address == leaving]
        assert agent
        assert burden == replace(burden, name="leaving", pod="pod-of-leaving", tasks=1, draining=True, leaves=False)
        assert (back, drained) == ({leaving}, Drained())
        assert running.result(120) == "done"
        assert made.client.submit(sum, [1, 2], workers=[leaving]).result(120) == 3


@pytest.mark.parametrize("routes", [[], ["distributed.http.health"], ["distributed.http.scheduler.api"]], ids=str)
def test_the_agent_tells_what_tasks_need(routes: list[str]) -> None:
    chosen = {"DASK_DISTRIBUTED__SCHEDULER__HTTP__ROUTES": repr(routes)} if routes else {}
    with a_dask(AGENT | chosen) as made:
        at = Endpoint(f"http://{made.http}", made.client.scheduler.address)
        waiting = made.client.submit(sum, [1], resources={"GPU": 1}, pure=False)
        demand = (0, (Need((("GPU", 1.0),), 1),))
        eventually(lambda: asyncio.run(_put(at, Schedulers.demand)) == demand, f"the demand is {demand}", 60)
        assert asyncio.run(_put(at, Schedulers.progress)) == (0, 1, 0)
        made.client.cancel([waiting])


def _until_exists(log: Path, file: Path) -> str:
    log.touch()
    while not file.exists():
        time.sleep(0.1)
    return "done"


@BY_EITHER
def test_a_scheduler_without_the_agent_tells_its_workers_itself(routes: tuple[str, ...]) -> None:
    with a_dask_cluster(workers=2, routes=routes) as cluster:
        workers, agent = _ask(cluster, lambda schedulers, at: schedulers.survey(at, 2))
        assert sorted(worker.address for worker in workers) == sorted(_addresses(cluster))
        assert not agent


def test_a_scheduler_without_the_agent_that_answers_no_http_tells_its_workers_itself() -> None:
    with a_dask_cluster(workers=2) as cluster:
        at = endpoint(cluster)._replace(url="http://127.0.0.1:1")
        workers, agent = asyncio.run(_put(at, lambda schedulers, at: schedulers.survey(at, 2)))
        assert (len(workers), agent) == (2, False)


def _write_slowly(log: Path) -> str:
    with log.open("a") as file:
        file.write("began\n")
    time.sleep(2.0)
    return log.read_text()


def _answering(text: str, status: int = 200) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=text, status=status)

    return answer


def _by_path(texts: dict[str, str]) -> Answer:
    """Serve these routes, and no others of the API."""

    async def answer(request: web.Request) -> web.Response:
        text = ({"/api/v1": "API V1"} | texts).get(request.path)
        return web.Response(text=text or "", status=404 if text is None else 200)

    return answer


async def _asked(answer: Answer, question: Question, address: str = NOBODY) -> object:
    async with serving(answer) as url, Schedulers() as schedulers:
        return await question(schedulers, Endpoint(url, address))


async def _problem(answer: Answer, question: Question, address: str = NOBODY) -> Problem:
    with pytest.raises(SchedulerError) as caught:
        await _asked(answer, question, address)
    return caught.value.problem


@ALL
def test_if_neither_http_nor_rpc_answers_both_reasons_are_given(run: Run, question: Question) -> None:
    reason, message = run(_problem(_answering("", 404), question))
    assert reason == "SchedulerApiDisabled"
    assert "add distributed.http.scheduler.api to" in message
    assert f"; and {NOBODY}: " in message
    assert "Connect call failed" in message


@ALL
@pytest.mark.parametrize("code", [302, 400, 403, 500, 501])
def test_an_error_says_where_to_look(run: Run, question: Question, code: int) -> None:
    reason, message = run(_problem(_answering('{"Error": "Internal Server Error"}', code), question))
    assert reason == "SchedulerError"
    assert f"answered {code}" in message
    assert "the scheduler's log says why" in message


@BUT_RETIRE
@pytest.mark.parametrize(("text", "quoted"), [("<html>", "<html>"), ("[]", "[]"), ("null", "None"), ('"a"', "'a'")])
def test_garbage_is_quoted(run: Run, question: Question, text: str, quoted: str) -> None:
    reason, message = run(_problem(_answering(text), question))
    assert reason == "SchedulerAnswer"
    assert quoted in message


WRONG: dict[str, list[Any]] = {
    "/json/identity.json": [{}, {"workers": []}, {"workers": {"tcp://10.0.0.1:1": None}}],
    "/api/v1/adaptive_target": [{}, {"workers": "3"}, {"workers": -1}, {"workers": True}, {"workers": 10**400}],
    "/api/v1/check_idle": [{}, {"idle_since": "now"}, {"idle_since": float("nan")}, {"idle_since": False}],
}


@pytest.mark.parametrize(("path", "answer"), [(path, answer) for path, answers in WRONG.items() for answer in answers])
def test_a_wrong_answer_is_nobodys_workers_target_or_idleness(run: Run, path: str, answer: Any) -> None:
    question = dict(zip(WRONG, QUESTIONS.values(), strict=False))[path]
    reason, message = run(_problem(_by_path({path: json.dumps(answer)}), question))
    assert reason == "SchedulerAnswer"
    assert "unexpected answer" in message
    assert len(message) < 300


@pytest.mark.parametrize("text", ["{}", "[]", '{"target": 1e300, "needs": []}', '{"target": NaN, "needs": []}', "\0"])
def test_a_wrong_answer_of_the_agent_is_nobodys_demand(run: Run, text: str) -> None:
    reason, message = run(_problem(_answering(text), Schedulers.demand))
    assert (reason, "/kubernetes/v1/demand: " in message, len(message) < 300) == ("SchedulerAnswer", True, True)


@pytest.mark.parametrize("listed", [{}, {"num_workers": 2, "workers": [{"name": 1, "address": "tcp://10.0.0.1:1"}]}])
def test_a_list_of_workers_that_is_not_whole_is_none(run: Run, listed: Any) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=500) if request.path == "/json/identity.json" else web.json_response(listed)

    assert run(_problem(answer, Schedulers.workers)).reason == "SchedulerAnswer"


def test_a_busy_scheduler_that_only_answers_http_still_lists_its_workers(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def answer(request: web.Request) -> web.Response:
        listed = {"num_workers": 1, "workers": [{"name": "a", "address": "tcp://10.0.0.1:1"}]}
        return web.Response(status=500) if request.path == "/json/identity.json" else web.json_response(listed)

    with caplog.at_level(logging.INFO):
        assert run(_asked(answer, Schedulers.workers)) == (Registration("a", "tcp://10.0.0.1:1"),)
    assert "leave in any order" in caplog.text


@BUT_RETIRE
def test_bytes_that_are_no_text(run: Run, question: Question) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=b"\xff\xfe\xff", content_type="application/json")

    assert run(_problem(answer, question)).reason == "SchedulerAnswer"


@BUT_RETIRE
def test_an_answer_is_not_decompressed(run: Run, question: Question) -> None:
    async def answer(request: web.Request) -> web.Response:
        assert request.headers["Accept-Encoding"] == "identity"
        response = web.Response(text="{" + " " * 100_000 + "}")
        response.enable_compression(web.ContentCoding.gzip)
        return response

    assert run(_problem(answer, question)).reason == "SchedulerAnswer"


@BUT_RETIRE
def test_an_endless_answer_is_not_read_to_its_end(
    run: Run, question: Question, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "LARGEST_ANSWER", 100_000)

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" " * 10_000)

    reason, message = run(_problem(answer, question))
    assert reason == "SchedulerAnswer"
    assert re.search("more than (65536|100000) bytes", message)


@pytest.mark.parametrize(("pods", "complete"), [(0, False), (100, True)])
def test_who_has_few_pods_may_not_send_much(run: Run, pods: int, complete: bool) -> None:
    workers = {f"tcp://10.0.0.1:{port}": {"name": str(port), "id": "x" * 5_000} for port in range(100)}

    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"workers": workers} if request.path == "/json/identity.json" else {})

    def question(schedulers: Schedulers, at: Endpoint) -> Awaitable[object]:
        return schedulers.workers(at, pods)

    if complete:
        found = run(_asked(answer, question))
        assert isinstance(found, tuple)
        assert len(found) == 100
    else:
        assert "get_workers: unexpected answer" in run(_problem(answer, question)).message


@pytest.mark.parametrize("workers", ['{"a":{}' + ',"a":{}' * 30_000 + "}", "[" * 20_000 + "]" * 20_000])
def test_more_than_its_workers_could_be_is_no_answer(run: Run, workers: str) -> None:
    reason, message = run(_problem(_by_path({"/json/identity.json": f'{{"workers":{workers}}}'}), Schedulers.workers))
    assert reason == "SchedulerAnswer"
    assert len(message) < 300


@pytest.mark.parametrize("path", ["/api/v1/adaptive_target", "/api/v1/check_idle"])
def test_a_value_is_short(run: Run, path: str) -> None:
    question = {"/api/v1/adaptive_target": Schedulers.demand, "/api/v1/check_idle": Schedulers.idle_since}[path]
    text = '{"workers":1,"idle_since":null,"x":"' + "x" * 70_000 + '"}'
    reason, message = run(_problem(_by_path({path: text}), question))
    assert (reason, "more than 65536 bytes" in message) == ("SchedulerAnswer", True)


def test_what_is_said_of_a_retirement_is_as_long_as_what_was_asked(run: Run) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"tcp://10.0.0.1:1": {"x": "x" * 300_000}} if request.method == "POST" else {})

    assert "more than 278528 bytes" in run(_problem(answer, QUESTIONS["retire"])).message


async def _silence(_: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


async def _dripping(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" ")
        await asyncio.sleep(1.0)


async def _silent_when_retiring(request: web.Request) -> web.StreamResponse:
    return await _api_without_agent(request) or await _silence(request)


async def _api_without_agent(request: web.Request) -> web.Response | None:
    """Answer as a scheduler whose controller's agent is missing; None for a request to act."""
    if request.path.startswith("/kubernetes"):
        return web.Response(status=404)
    return web.Response(text="API V1") if request.method == "GET" else None


_SILENT = (_silence, _dripping)


@pytest.mark.parametrize(
    ("question", "answer", "seconds"),
    [
        *((QUESTIONS[name], answer, 40.0 if name == "drain" else 10.0) for name in QUESTIONS for answer in _SILENT),
        (QUESTIONS["retire"], _silent_when_retiring, 600.0),
    ],
)
async def test_silence_does_not_last(question: Question, answer: Answer, seconds: float) -> None:
    start = asyncio.get_running_loop().time()
    problem, took = await _problem(answer, question), asyncio.get_running_loop().time() - start
    assert problem.reason == "SchedulerUnreachable"
    assert "Timeout" in problem.message
    assert took == pytest.approx(seconds, abs=1.0)


def _break(request: web.Request) -> web.Response:
    assert request.transport
    request.transport.abort()
    return web.Response()


@ALL
def test_a_connection_that_breaks_again_and_again(run: Run, question: Question) -> None:
    requests: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        requests.append(request.method)
        return _break(request)

    reason, message = run(_problem(answer, question))
    assert reason == "SchedulerUnreachable"
    assert "network policies" in message
    assert f"; and {NOBODY}: " in message
    asks_agent = question in [QUESTIONS[name] for name in OF_AGENT]
    assert set(requests) == ({"POST"} if asks_agent else {"GET"})
    assert 1 <= len(requests) <= 6 if asks_agent else 3 <= len(requests) <= 6, "aiohttp itself may try each twice"


@pytest.mark.parametrize("trouble", [None, 502, 503, 504])
def test_a_connection_that_breaks_is_made_again(run: Run, trouble: int | None) -> None:
    left = [trouble] * 2

    async def answer(request: web.Request) -> web.Response:
        if not left:
            return web.Response(text='{"target": 3, "needs": []}')
        code = left.pop()
        return web.Response(status=code) if code else _break(request)

    assert run(_asked(answer, Schedulers.demand)) == (3, ())


def test_nothing_is_retired_by_rpc_while_http_may_be_at_it(run: Run) -> None:
    requests: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        requests.append(request.method)
        return _break(request) if request.method == "POST" else web.Response(text="API V1")

    reason, message = run(_problem(answer, QUESTIONS["retire"]))
    assert reason == "SchedulerUnreachable"
    assert NOBODY not in message, "Dask's protocol was not tried"
    assert requests == ["GET", "POST"], "nor HTTP again"


async def test_a_name_that_does_not_resolve() -> None:
    host = "simple-scheduler.default.svc.invalid"
    async with Schedulers() as schedulers:
        with pytest.raises(SchedulerError, match="its workers are kept") as caught:
            await schedulers.workers(Endpoint(f"http://{host}:8787", f"tcp://{host}:8786"))
    assert caught.value.problem.reason == "SchedulerUnreachable"


def test_what_is_sent_to_retire(run: Run) -> None:
    got: list[object] = []

    async def answer(request: web.Request) -> web.Response:
        if said := await _api_without_agent(request):
            return said
        got.append((request.path, await request.json()))
        return web.json_response({"tcp://10.0.0.1:1": {"name": "a"}, "tcp://10.0.0.3:1": {}, "Error": "none"})

    def both(schedulers: Schedulers, at: Endpoint) -> Awaitable[object]:
        return schedulers.retire(at, ["tcp://10.0.0.1:1", "tcp://10.0.0.2:1"])

    assert run(_asked(answer, both)) == {"tcp://10.0.0.1:1"}, "nobody is retired who was not to go"
    assert got == [("/api/v1/retire_workers", {"workers": ["tcp://10.0.0.1:1", "tcp://10.0.0.2:1"]})]


def test_what_is_sent_to_the_agent(run: Run) -> None:
    got: list[object] = []

    async def answer(request: web.Request) -> web.Response:
        got.append((request.path, await request.json()))
        kept, draining = {"tcp://10.0.0.2:1": "data"}, {"tcp://10.0.0.3:1": "tasks"}
        said = {"retired": ["tcp://10.0.0.1:1"], "overdue": [], "kept": kept, "draining": draining}
        return web.json_response(said if request.path.endswith("drain") else {"resumed": ["tcp://10.0.0.3:1"]})

    workers = [f"tcp://10.0.0.{number}:1" for number in (1, 2, 3)]
    drained = run(_asked(answer, lambda schedulers, at: schedulers.drain(at, workers, 60.0)))
    assert drained == Drained(
        frozenset(workers[:1]), frozenset(), {"tcp://10.0.0.2:1": "data"}, {"tcp://10.0.0.3:1": "tasks"}
    )
    assert run(_asked(answer, lambda schedulers, at: schedulers.resume(at, workers))) == {"tcp://10.0.0.3:1"}
    assert got == [
        ("/kubernetes/v1/drain", {"workers": workers, "seconds": 60.0, "wait": 30.0}),
        ("/kubernetes/v1/resume", {"workers": workers}),
    ]


@pytest.mark.parametrize("question", [QUESTIONS[name] for name in OF_AGENT], ids=OF_AGENT)
@pytest.mark.parametrize("said", ['{"retired": [1]}', "{}", "[]", "nonsense", '{"retired": [' + '"",' * 5000 + '""]}'])
def test_an_agent_that_answers_wrongly_retires_nobody(run: Run, said: str, question: Question) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=said)

    assert run(_problem(answer, question)).reason == "SchedulerAnswer"


@pytest.mark.parametrize(
    "told",
    [
        {"workers": {"tcp://10.0.0.1:1": {"name": "a", "pod": "b" * 2000, **_IDLE_WORKER}}},
        {"workers": {"tcp://10.0.0.1:1": {"name": "a", "pod": "", **_IDLE_WORKER, "nbytes": -1}}},
        {"workers": {"tcp://10.0.0.1:1": {"name": "a", "pod": ""}}},
        {"workers": []},
        {},
    ],
    ids=["long", "negative", "short", "list", "empty"],
)
def test_an_agent_that_tells_nonsense_counts_as_missing(run: Run, told: object) -> None:
    async def answer(request: web.Request) -> web.Response:
        workers = {"workers": {"tcp://10.0.0.1:1": {"name": "a"}}}
        return web.json_response(told if request.path.startswith("/kubernetes") else workers)

    workers = (Registration("a", "tcp://10.0.0.1:1"),)
    assert run(_asked(answer, lambda schedulers, at: schedulers.survey(at, 1))) == (workers, False)


@pytest.mark.parametrize(
    "question", [lambda schedulers, at: schedulers.survey(at, 1), Schedulers.demand, Schedulers.progress]
)
async def test_an_agent_that_is_late_is_not_missing(question: Question) -> None:
    # Without it, tasks of workers that leave run again, and tasks that need GPUs get workers without.
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path.startswith("/kubernetes"):
            return await _silence(request)
        return web.json_response({"workers": {}})

    assert (await _problem(answer, question)).reason == "SchedulerUnreachable"


def test_a_connection_whose_other_end_vanished_is_noticed(run: Run) -> None:
    timers: list[str] = []

    def timers_of(local: str) -> list[str]:
        connections = Path("/proc/net/tcp").read_text().splitlines()
        return [line.split()[5] for line in connections if f" {local} " in line]

    def is_asked() -> bool:
        # The timer's kind, and hundredths of a second until it ends: two hours where nobody says how soon.
        return any(timer.startswith("02:") and int(timer[3:], 16) <= 2000 for timer in timers)

    async def answer(request: web.Request) -> web.Response:
        assert request.transport
        host, port = request.transport.get_extra_info("peername")
        local = f"{int.from_bytes(socket.inet_aton(host), 'little'):08X}:{port:04X}"
        # Until the peer has acknowledged the request, which on a busy machine takes a moment, another timer runs.
        for _ in range(1000):
            timers[:] = timers_of(local)
            if is_asked():
                break
            await asyncio.sleep(0.001)
        return web.Response(text='{"target": 3, "needs": []}')

    run(_asked(answer, Schedulers.demand))
    assert is_asked(), f"the kernel asks for a sign of life; its timers: {timers}"
