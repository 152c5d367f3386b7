from __future__ import annotations

import asyncio
import errno
import socket

import aiohttp
import pytest
from tests.support.clock import Run
from tests.support.server import free_port

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
def test_an_address_that_is_taken_is_an_error(run: Run, host: str) -> None:
    async def served(port: int) -> None:
        async with serving(Address(host, port, "/healthz"), list, list, lambda: ""):
            await asyncio.Event().wait()

    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match=r"(?i)address already in use"):
        run(served(taken.getsockname()[1]))
