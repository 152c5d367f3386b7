"""A port of this machine leads to the scheduler's current Pod, both ways, and ends with all of its connections."""

from __future__ import annotations

import asyncio
import errno
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from tests.client.operator.conftest import Kubeconfig
from tests.client.operator.served import PORTS, SCHEDULER, a_pod
from tests.support.fake_api import CUT, FakeApi, serve
from tests.support.wait import until

from dask_kubernetes.exceptions import ValidationError
from dask_kubernetes.operator.access.forward import HOST, Forward
from dask_kubernetes.operator.access.kubernetes import Kubernetes
from dask_operator import resources

pytestmark = pytest.mark.real_time

MEGABYTES = random.Random(0).randbytes(5 << 20)
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()


def saying(words: bytes) -> Answer:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(words)
        writer.close()

    return answer


@dataclass
class Forwarded:
    fake: FakeApi
    forward: Forward
    port: int = 0

    async def pod(self, name: str, answer: Answer, **metadata: Any) -> asyncio.Server:
        """Run a scheduler's Pod with this answer at its port of communication."""
        server = await asyncio.start_server(answer, HOST)
        pod = a_pod(name)
        self.fake.put({**pod, "metadata": {**pod["metadata"], **metadata}})
        self.fake.ports[name, PORTS["tcp-comm"]] = server.sockets[0].getsockname()[1]
        return server

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(HOST, self.port)

    async def hear(self) -> bytes:
        """Return all data from a new connection, until it ends."""
        reader, writer = await self.connect()
        said = await reader.read()
        writer.close()
        return said


@asynccontextmanager
async def forwarded(kubeconfig: Kubeconfig, port: int | str = "tcp-comm") -> AsyncIterator[Forwarded]:
    async with serve() as fake:
        kubeconfig.write(fake.url)
        kubernetes = await Kubernetes.connect()
        forward = Forward(kubernetes, "default", SCHEDULER, port)
        try:
            yield Forwarded(fake, forward, await forward.start())
        finally:
            await forward.close()
            await kubernetes.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert not [task for task in others if "dask_kubernetes" in repr(task)], "no task is left"


async def sent_and_heard(to: Forwarded, data: bytes) -> bytes:
    reader, writer = await to.connect()
    heard = asyncio.ensure_future(reader.readexactly(len(data)))
    writer.write(data)
    await writer.drain()
    back = await heard
    writer.close()
    return back


@pytest.mark.parametrize("port", ["tcp-comm", 8786])
async def test_data_goes_both_ways(kubeconfig: Kubeconfig, port: str | int) -> None:
    async with forwarded(kubeconfig, port) as to, await to.pod("a", echo):
        assert await sent_and_heard(to, MEGABYTES) == MEGABYTES


async def test_several_connections_at_once_are_kept_apart(kubeconfig: Kubeconfig) -> None:
    data = [bytes([number]) * 100_000 for number in range(10)]
    async with forwarded(kubeconfig) as to, await to.pod("a", echo):
        assert await asyncio.gather(*(sent_and_heard(to, each) for each in data)) == data


async def test_the_next_connection_reaches_the_pod_that_has_replaced_another(kubeconfig: Kubeconfig) -> None:
    async with forwarded(kubeconfig) as to, await to.pod("old", saying(b"old")):
        assert await to.hear() == b"old"
        to.fake.drop(resources.POD, "old")
        async with await to.pod("new", saying(b"new")):
            assert await to.hear() == b"new"


async def test_a_pod_that_goes_is_left_for_the_one_that_comes(kubeconfig: Kubeconfig) -> None:
    async with (
        forwarded(kubeconfig) as to,
        await to.pod("a-goes", saying(b"a"), deletionTimestamp="2026-01-01T12:00:00Z"),
        await to.pod("b-stays", saying(b"b")),
    ):
        assert await to.hear() == b"b"


async def test_a_scheduler_that_listens_no_more_is_looked_for_anew(kubeconfig: Kubeconfig) -> None:
    """Check that an error of the API server on its channel ends a connection, and the way to that Pod."""
    async with forwarded(kubeconfig) as to, await to.pod("a", saying(b"a")):
        assert await to.hear() == b"a"
        del to.fake.ports["a", PORTS["tcp-comm"]]
        assert await to.hear() == b""
        asked = len(to.fake.asked("GET", "pods"))
        async with await to.pod("a", saying(b"again")):
            assert await to.hear() == b"again"
        assert len(to.fake.asked("GET", "pods")) == asked + 2, "for the Pods, and for a port"


@pytest.mark.parametrize("phase", ["Pending", "Succeeded", None])
async def test_without_a_pod_that_runs_a_connection_ends_and_nothing_is_said(
    kubeconfig: Kubeconfig, caplog: pytest.LogCaptureFixture, phase: str | None
) -> None:
    with caplog.at_level(logging.DEBUG, "dask_kubernetes"):
        async with forwarded(kubeconfig) as to:
            if phase:
                to.fake.put(a_pod("a", phase=phase))
            assert await to.hear() == b""
    assert ["the scheduler has no running Pod" in record.getMessage() for record in caplog.records] == [True]
    assert caplog.records[0].levelno == logging.DEBUG


async def test_a_pod_without_a_port_of_the_name(kubeconfig: Kubeconfig, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "dask_kubernetes"):
        async with forwarded(kubeconfig, "gopher") as to, await to.pod("a", echo):
            assert await to.hear() == b""
    assert "no port named gopher" in caplog.text


async def test_a_connection_that_the_scheduler_ends_is_no_failure(
    kubeconfig: Kubeconfig, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "dask_kubernetes"):
        async with forwarded(kubeconfig) as to, await to.pod("a", saying(b"a")):
            assert await to.hear() == b"a"
    assert not caplog.records


@pytest.mark.parametrize("status", [403, 500, CUT])
async def test_a_server_that_refuses_ends_the_connection_and_not_the_next(kubeconfig: Kubeconfig, status: int) -> None:
    async with forwarded(kubeconfig) as to, await to.pod("a", saying(b"a")):
        of_ports = to.fake.fail("GET", resources.POD, status, matches=lambda seen: bool(seen.subresource))
        first = await to.hear()
        assert of_ports.times == 0
        assert first in (b"", b"a")
        assert await to.hear() == b"a"


async def test_a_connection_with_the_server_that_breaks_ends_what_goes_through(kubeconfig: Kubeconfig) -> None:
    async with forwarded(kubeconfig) as to, await to.pod("a", echo):
        reader, writer = await to.connect()
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        to.fake.cut_ports()
        assert await reader.read() == b""
        writer.close()
        assert await sent_and_heard(to, b"again") == b"again"


async def test_the_pod_learns_that_a_connection_has_ended(kubeconfig: Kubeconfig) -> None:
    ended = asyncio.Event()

    async def until_it_ends(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1 << 16):
            pass
        ended.set()
        writer.close()

    async with forwarded(kubeconfig) as to, await to.pod("a", until_it_ends):
        _, writer = await to.connect()
        writer.write(b"hello")
        writer.close()
        await asyncio.wait_for(ended.wait(), 10.0)


@pytest.mark.parametrize("number", [errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, None])
async def test_a_machine_without_ipv4_listens_at_its_other_loopback_address(
    kubeconfig: Kubeconfig, monkeypatch: pytest.MonkeyPatch, number: int | None
) -> None:
    listen = asyncio.start_server

    async def start_server(accept: Any, host: str, port: int) -> asyncio.Server:
        if host == HOST:
            raise OSError(number, "no such address")
        return await listen(accept, host, port)

    async with forwarded(kubeconfig) as to, await to.pod("a", saying(b"hello")):
        monkeypatch.setattr(asyncio, "start_server", start_server)
        forward = Forward(to.forward._kubernetes, "default", SCHEDULER, "tcp-comm")
        port = await forward.start()
        assert forward.host == "::1"
        reader, writer = await asyncio.open_connection(forward.host, port)
        assert await reader.read() == b"hello"
        writer.close()
        await forward.close()


async def test_a_port_that_is_in_use_is_named(kubeconfig: Kubeconfig) -> None:
    async with forwarded(kubeconfig) as to:
        another = Forward(to.forward._kubernetes, "default", SCHEDULER, 1)
        with pytest.raises(ValidationError, match=f"port {to.port} of this machine cannot be used .*in use"):
            await another.start(to.port)
        await another.close()


async def test_close_ends_what_goes_through(kubeconfig: Kubeconfig) -> None:
    async with forwarded(kubeconfig) as to, await to.pod("a", echo):
        connections = [await to.connect() for _ in range(3)]
        for reader, writer in connections:
            writer.write(b"hello")
            assert await reader.readexactly(5) == b"hello"
        _, late_writer = await to.connect()
        never_begun = asyncio.StreamReader(), late_writer
        to.forward._accept(*never_begun)
        await to.forward.close()
        await to.forward.close()
        assert late_writer.is_closing()
        for reader, writer in connections:
            assert await reader.read() == b""
            writer.close()
        with pytest.raises(OSError):
            await to.connect()
        await until(lambda: not to.fake.open_ports, "the end of the connections with the API server")
