"""Each deed of `transport` below the surface of aiohttp and asyncio fails a test here if it is left out."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import tracemalloc
from asyncio.sslproto import SSLProtocol
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from kopf import ConnectionInfo
from tests.support.builders import raw_pod
from tests.support.clock import Run
from tests.support.fake_api import connected
from tests.support.server import serving
from tests.support.wait import happens, until

from dask_operator.kubernetes import connection
from dask_operator.kubernetes.api import Api
from dask_operator.kubernetes.errors import ApiError
from dask_operator.kubernetes.transport import TLS_BUFFER, Fence
from dask_operator.resources import POD


async def test_a_connection_that_is_over_is_forgotten(certificates: Path) -> None:
    """Check that a lost transport of TLS counts as closing, although it does not say so."""
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificates / "server.crt", certificates / "server.key")

    async def hang_up(request: web.Request) -> web.Response:
        assert request.transport
        request.transport.abort()
        return web.json_response({})

    def connections() -> int:
        gc.collect()
        return sum(isinstance(known, SSLProtocol) for known in gc.get_objects())

    before = connections()
    async with serving(hang_up, server) as url, Api(lambda: ConnectionInfo(server=url, insecure=True)) as api:
        for _ in range(5):
            with pytest.raises(ApiError, match="did not answer"):
                await api.create(POD, raw_pod(0))
        await until(lambda: connections() <= before, "the end of all connections", 5.0)


def test_a_connection_takes_little_memory(run: Run, certificates: Path) -> None:
    """Return both ends of a connection."""
    number, server = 20, ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificates / "server.crt", certificates / "server.key")

    async def answer(_: web.Request) -> web.Response:
        await all_there.wait()
        return web.json_response({})

    async def asked() -> int:
        async with serving(answer, server) as url, Api(lambda: ConnectionInfo(server=url, insecure=True)) as api:
            before, _ = tracemalloc.get_traced_memory()
            await asyncio.gather(*(api.get(POD, f"namespace-{n % 5}", "x") for n in range(number)))
            return tracemalloc.get_traced_memory()[0] - before

    all_there = asyncio.Barrier(number)
    tracemalloc.start()
    try:
        assert run(asked()) / number < 2 * TLS_BUFFER + 64 * 1024
    finally:
        tracemalloc.stop()


async def test_a_write_that_is_not_permitted_is_cancelled_and_never_sent() -> None:
    async with connected() as (fake, _), Api(fake.login, permitted=lambda: False) as api:
        fake.put(raw_pod(1))
        for write in (
            api.create(POD, raw_pod(0)),
            api.patch(POD, "default", "simple-default-worker-1", {"spec": {}}),
            api.delete(POD, "default", "simple-default-worker-1", {}),
        ):
            with pytest.raises(asyncio.CancelledError):
                await write
        assert fake.requests == []
        assert await api.get(POD, "default", "simple-default-worker-1"), "reading harms nobody"


async def test_a_write_that_waits_for_a_connection_until_it_is_not_permitted_is_never_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "CONNECTIONS", 1)
    permitted = [True]

    async def answer(request: web.Request) -> web.Response:
        got.append(await request.json())
        await asyncio.sleep(5.0)
        return web.json_response({})

    got: list[Any] = []
    async with serving(answer) as url, Api(lambda: ConnectionInfo(server=url), lambda: permitted[0]) as api:
        first, second = (asyncio.create_task(api.create(POD, raw_pod(number))) for number in range(2))
        await until(lambda: got, "the first", 2.0)
        permitted[0] = False
        await first
        with pytest.raises(asyncio.CancelledError):
            await second
        assert len(got) == 1


def test_nothing_arrives_any_more_from_a_connection_that_was_closed() -> None:
    """Check a connection whose network is down: the kernel keeps what was written, and would deliver it later."""

    async def asked(server: socket.socket) -> None:
        info = ConnectionInfo(server=f"http://127.0.0.1:{server.getsockname()[1]}")
        async with Api(lambda: info) as api:
            write = asyncio.create_task(api.create(POD, raw_pod(0, spec={"text": "x" * 900_000})))
            assert not await happens(write.done, 0.3)
            write.cancel()
            with pytest.raises(asyncio.CancelledError):
                await write

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        asyncio.run(asked(server))
        connection, _ = server.accept()
        with connection, connection.makefile("rb") as received, pytest.raises(ConnectionResetError):
            received.read()


SIZE = 900_000


class _Reluctant(asyncio.Protocol):
    """A server's end of a connection that reads nothing until it is told to."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.received = 0
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += len(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()


def test_nor_is_written_by_the_event_loop_after_the_end(certificates: Path) -> None:
    """Check a process that has lost the Lease and goes on, whose last write is still in the buffers of TLS."""
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificates / "server.crt", certificates / "server.key")

    async def asked() -> int:
        end = _Reluctant()
        listening = await asyncio.get_running_loop().create_server(lambda: end, "127.0.0.1", 0, ssl=server)
        async with listening:
            url = f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
            async with Api(lambda: ConnectionInfo(server=url, insecure=True)) as api:
                write = asyncio.create_task(api.create(POD, raw_pod(0, spec={"text": "x" * SIZE})))
                assert not await happens(write.done, 0.5)
                write.cancel()
                await asyncio.wait([write])
            assert end.transport
            end.transport.resume_reading()
            await asyncio.wait_for(end.lost.wait(), 10.0)
        return end.received

    assert asyncio.run(asked()) < SIZE


class _Closing(asyncio.Transport):
    """A transport whose connection has just been lost; any other use of it is an error."""

    def is_closing(self) -> bool:
        return True


@pytest.mark.parametrize("transport", [None, _Closing()])
def test_nothing_is_written_to_a_connection_that_is_lost(transport: asyncio.Transport | None) -> None:
    assert not Fence(lambda: True).admits(transport)
