from __future__ import annotations

import asyncio
import errno
import socket
from contextlib import AsyncExitStack
from itertools import count

import aiohttp
import pytest
from tests.support.clock import Run
from tests.support.server import free_port

from dask_operator import metrics
from dask_operator.process import server
from dask_operator.process.server import Address, parse_address, serving


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://0.0.0.0:8080/healthz", Address("0.0.0.0", 8080, "/healthz")),
        ("http://[::]:8080/alive", Address("::", 8080, "/alive")),
        ("http://localhost", Address("localhost", 80, "/")),
    ],
)
def test_the_address_is_a_url(url: str, address: Address) -> None:
    assert parse_address(url) == address


@pytest.mark.parametrize("url", ["", "8080", "https://0.0.0.0:8080/", "http:///healthz", "http://0.0.0.0:many/"])
def test_another_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        parse_address(url)


async def _get(port: int, path: str, host: str = "127.0.0.1") -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://{host}:{port}{path}") as reply:
        return reply.status, await reply.text()


async def test_probes_say_what_is_wrong() -> None:
    wrong: dict[str, list[str]] = {"alive": [], "ready": []}
    address = Address("127.0.0.1", free_port(), "/healthz")
    async with serving(address, lambda: wrong["alive"], lambda: wrong["ready"], lambda: "leading"):
        assert await _get(address.port, "/healthz") == (200, "ok: leading\n")
        assert await _get(address.port, "/readyz") == (200, "ok: leading\n")
        wrong["ready"] = ["one thing", "another"]
        assert await _get(address.port, "/healthz") == (200, "ok: leading\n")
        assert await _get(address.port, "/readyz") == (503, "one thing\nanother\n")
        wrong["alive"] = ["it stands still"]
        assert await _get(address.port, "/healthz") == (503, "it stands still\n")


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
async def test_pods_with_addresses_of_any_family_can_be_probed(host: str) -> None:
    address = parse_address(f"http://{f'[{host}]' if ':' in host else host}:{free_port()}/healthz")
    async with serving(address, list, list, lambda: "leading"):
        assert await _get(address.port, "/healthz") == (200, "ok: leading\n")
        assert await _get(address.port, "/healthz", "[::1]") == (200, "ok: leading\n")


@pytest.mark.parametrize("number", [errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL])
@pytest.mark.parametrize(("disabled", "host"), [(socket.AF_INET6, "127.0.0.1"), (socket.AF_INET, "[::1]")])
async def test_a_node_without_one_of_the_families_has_the_other(
    monkeypatch: pytest.MonkeyPatch, number: int, disabled: int, host: str
) -> None:
    create = socket.create_server

    def as_on_that_node(where: tuple[str, int], *, family: int) -> socket.socket:
        if family == disabled:
            raise OSError(number, "not here")
        return create(where, family=family)

    monkeypatch.setattr(socket, "create_server", as_on_that_node)
    address = Address("0.0.0.0", free_port(), "/healthz")
    async with serving(address, list, list, lambda: "leading"):
        assert await _get(address.port, "/healthz", host) == (200, "ok: leading\n")


async def test_an_address_of_one_family_is_listened_at_alone() -> None:
    address = Address("127.0.0.1", free_port(), "/healthz")
    async with serving(address, list, list, lambda: "leading"):
        with pytest.raises(aiohttp.ClientConnectorError):
            await _get(address.port, "/healthz", "[::1]")


async def test_the_path_of_the_liveness_probe_is_the_users() -> None:
    address = Address("127.0.0.1", free_port(), "/metrics")
    async with serving(address, list, list, lambda: "leading"):
        assert await _get(address.port, "/metrics") == (200, "ok: leading\n")
        assert (await _get(address.port, "/healthz"))[0] == 404


async def test_metrics_are_in_the_format_of_prometheus() -> None:
    address = Address("127.0.0.1", free_port(), "/healthz")
    url = f"http://127.0.0.1:{address.port}/metrics"
    async with (
        serving(address, list, list, lambda: ""),
        aiohttp.ClientSession() as session,
        session.get(url) as reply,
    ):
        content_type, text = reply.headers["Content-Type"], await reply.text()
    assert content_type.startswith("text/plain")
    assert "# TYPE dask_operator_api_requests_total counter" in text


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
async def test_idle_connections_keep_no_probe_from_its_answer(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 3)
    address = Address(host, free_port(), "/healthz")
    async with serving(address, list, list, lambda: "leading"), AsyncExitStack() as stack:
        for _ in range(20):
            await _connected(stack, address.port)
            assert await _get(address.port, "/healthz") == (200, "ok: leading\n")


async def test_the_oldest_connections_beyond_the_limit_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 3)
    address = Address("127.0.0.1", free_port(), "/healthz")
    async with serving(address, list, list, lambda: ""), AsyncExitStack() as stack:
        opened = [await _connected(stack, address.port) for _ in range(10)]
        for reader in opened[:7]:
            assert await asyncio.wait_for(reader.read(), 30.0) == b""
        assert not any(reader.at_eof() for reader in opened[7:])


@pytest.mark.parametrize("said", [b"", b"GET /healthz HT", b"GET /healthz HTTP/1.1\r\nHost: it\r\n"])
async def test_a_connection_without_a_whole_request_is_closed(monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    monkeypatch.setattr(server, "IDLE_SECONDS", 0.2)
    address = Address("127.0.0.1", free_port(), "/healthz")
    async with serving(address, list, list, lambda: ""), AsyncExitStack() as stack:
        reader = await _connected(stack, address.port, said)
        assert b"200" not in await asyncio.wait_for(reader.read(), 30.0)


async def _connected(stack: AsyncExitStack, port: int, said: bytes = b"") -> asyncio.StreamReader:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    stack.callback(writer.close)
    writer.write(said)
    return reader


async def test_metrics_are_rendered_once_for_all_who_ask_within_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    number = count(1)
    monkeypatch.setattr(metrics, "rendered", lambda: b"%d" % next(number))
    monkeypatch.setattr(server, "FRESH_SECONDS", 3600.0)
    address = Address("127.0.0.1", free_port(), "/healthz")
    async with serving(address, list, list, lambda: ""):
        assert [await _get(address.port, "/metrics") for _ in range(3)] == [(200, "1")] * 3
    monkeypatch.setattr(server, "FRESH_SECONDS", 0.0)
    async with serving(address, list, list, lambda: ""):
        assert [await _get(address.port, "/metrics") for _ in range(2)] == [(200, "2"), (200, "3")]


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_an_address_that_is_taken_is_an_error(run: Run, host: str) -> None:
    async def served(port: int) -> None:
        async with serving(Address(host, port, "/healthz"), list, list, lambda: ""):
            await asyncio.Event().wait()

    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match=r"(?i)address already in use"):
        run(served(taken.getsockname()[1]))
