"""Against a real scheduler, and against servers that answer as none should."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Sequence

import pytest
from aiohttp import web
from distributed import Client, LocalCluster
from tests.support.clock import Run
from tests.support.dask import a_dask_cluster, http_port
from tests.support.server import Answer, serving

from dask_operator.build import HTTP_ROUTES
from dask_operator.model import Registration
from dask_operator.scheduler import SchedulerError, Schedulers

_RELEASED = threading.Event()


def _square_slowly(number: int) -> int:
    _RELEASED.wait(0.05)
    return number**2


def _addresses(cluster: LocalCluster) -> list[str]:
    return [worker.address for worker in cluster.workers.values()]


def _url(cluster: LocalCluster) -> str:
    return f"http://127.0.0.1:{http_port(cluster)}"


def _retire(cluster: LocalCluster, addresses: Sequence[str]) -> frozenset[str]:
    async def retired() -> frozenset[str]:
        async with Schedulers() as schedulers:
            return await schedulers.retire(_url(cluster), addresses)

    return asyncio.run(retired())


def _workers(cluster: LocalCluster) -> tuple[Registration, ...]:
    async def asked() -> tuple[Registration, ...]:
        async with Schedulers() as schedulers:
            return await schedulers.workers(_url(cluster))

    return asyncio.run(asked())


def test_the_workers_of_a_scheduler() -> None:
    with a_dask_cluster(workers=2) as cluster:
        assert {worker.address for worker in _workers(cluster)} == set(_addresses(cluster))


def test_a_scheduler_whose_workers_compute_is_answered_for() -> None:
    with a_dask_cluster(workers=2) as cluster, Client(cluster) as client:  # type: ignore[no-untyped-call]
        futures = client.map(_square_slowly, range(120), pure=False)
        for _ in range(20):
            assert {worker.address for worker in _workers(cluster)} == set(_addresses(cluster))
            futures[0].result()
            _RELEASED.wait(0.1)
        client.cancel(futures)


def test_retiring_a_worker_moves_what_it_holds() -> None:
    with a_dask_cluster(workers=3) as cluster, Client(cluster) as client:  # type: ignore[no-untyped-call]
        leaving = _addresses(cluster)[:2]
        futures = [client.submit(bytes, 10_000 + n, workers=[leaving[n % 2]], pure=False) for n in range(10)]
        client.gather(futures)
        assert _retire(cluster, leaving) == frozenset(leaving)
        assert [len(result) for result in client.gather(futures)] == [10_000 + n for n in range(10)]


def test_only_those_named_are_retired() -> None:
    with a_dask_cluster(workers=3) as cluster:
        first, *others = _addresses(cluster)
        assert _retire(cluster, [first]) == {first}
        assert {worker.address for worker in _workers(cluster)} == set(others)


def test_the_last_holder_of_data_is_refused() -> None:
    with a_dask_cluster(workers=1) as cluster, Client(cluster) as client:  # type: ignore[no-untyped-call]
        (last,) = _addresses(cluster)
        future = client.submit(bytes, 10_000)
        future.result()
        assert _retire(cluster, [last]) == frozenset()
        assert len(future.result()) == 10_000


def test_a_worker_that_is_unknown_is_not_retired() -> None:
    with a_dask_cluster(workers=1) as cluster:
        assert _retire(cluster, ["tcp://127.0.0.1:1"]) == frozenset()
        assert len(_workers(cluster)) == 1


def test_a_scheduler_without_the_http_api_says_how_to_turn_it_on() -> None:
    routes = tuple(route for route in HTTP_ROUTES if not route.endswith(".api"))
    with a_dask_cluster(workers=1, routes=routes) as cluster:
        with pytest.raises(SchedulerError) as caught:
            _retire(cluster, _addresses(cluster))
        assert caught.value.problem.reason == "SchedulerApiDisabled"
        assert "add distributed.http.scheduler.api to" in caught.value.problem.message


def _answering(text: str, status: int = 200) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=text, status=status)

    return answer


async def _problem(answer: Answer, what: str) -> tuple[str, str]:
    """What is said about a scheduler that answers so, on being asked for its `workers` or to `retire` some."""
    async with serving(answer) as url, Schedulers() as schedulers:
        with pytest.raises(SchedulerError) as caught:
            await (schedulers.workers(url) if what == "workers" else schedulers.retire(url, ["tcp://10.0.0.1:1"]))
    return caught.value.problem


BOTH = pytest.mark.parametrize("what", ["workers", "retire"])


@BOTH
def test_an_error_says_where_to_look(run: Run, what: str) -> None:
    reason, message = run(_problem(_answering('{"Error": "Internal Server Error"}', 500), what))
    assert reason == "SchedulerError"
    assert "answered 500" in message
    assert "the scheduler's log says why" in message


@BOTH
@pytest.mark.parametrize("text", ["<html>", "[]", "null", '"a"', "{"])
def test_garbage_is_quoted(run: Run, what: str, text: str) -> None:
    reason, message = run(_problem(_answering(text), what))
    assert reason == "SchedulerAnswer"
    assert repr(text) in message


@BOTH
def test_bytes_that_are_no_text(run: Run, what: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=b"\xff\xfe\xff", content_type="application/json")

    reason, _ = run(_problem(answer, what))
    assert reason in ("SchedulerAnswer", "SchedulerUnreachable")


@BOTH
def test_silence_does_not_last(run: Run, what: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async def asked() -> tuple[tuple[str, str], float]:
        start = asyncio.get_running_loop().time()
        return await _problem(answer, what), asyncio.get_running_loop().time() - start

    (reason, message), waited = run(asked())
    assert reason == "SchedulerUnreachable"
    assert "Timeout" in message
    assert waited == pytest.approx(10.0 if what == "workers" else 3600.0, abs=1.0), "data may take an hour to move"


@BOTH
def test_a_connection_that_breaks(run: Run, what: str) -> None:
    async def answer(request: web.Request) -> web.Response:
        assert request.transport
        request.transport.abort()
        return web.Response()

    reason, message = run(_problem(answer, what))
    assert reason == "SchedulerUnreachable"
    assert "network policies" in message


def test_nobody_listens(run: Run) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"

    async def asked() -> None:
        async with Schedulers() as schedulers:
            await schedulers.workers(url)

    with pytest.raises(SchedulerError, match="its workers are kept") as caught:
        run(asked())
    assert caught.value.problem.reason == "SchedulerUnreachable"


def test_a_name_that_does_not_resolve(run: Run) -> None:
    async def asked() -> None:
        async with Schedulers() as schedulers:
            await schedulers.workers("http://simple-scheduler.default.svc.invalid:8787")

    with pytest.raises(SchedulerError) as caught:
        run(asked())
    assert caught.value.problem.reason == "SchedulerUnreachable"


def test_what_is_sent_to_retire(run: Run) -> None:
    got: list[object] = []

    async def answer(request: web.Request) -> web.Response:
        got.append((request.method, request.path, await request.json()))
        return web.json_response({"tcp://10.0.0.1:1": {"name": "a"}})

    async def retired() -> frozenset[str]:
        async with serving(answer) as url, Schedulers() as schedulers:
            return await schedulers.retire(url, ["tcp://10.0.0.1:1", "tcp://10.0.0.2:1"])

    assert run(retired()) == {"tcp://10.0.0.1:1"}
    assert got == [("POST", "/api/v1/retire_workers", {"workers": ["tcp://10.0.0.1:1", "tcp://10.0.0.2:1"]})]
