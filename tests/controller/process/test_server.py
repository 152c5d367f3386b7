from __future__ import annotations

import asyncio
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


async def _get(port: int, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as reply:
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


def test_an_address_that_is_taken_is_an_error(run: Run) -> None:
    async def served(port: int) -> None:
        async with serving(Address("127.0.0.1", port, "/healthz"), list, list, lambda: ""):
            await asyncio.Event().wait()

    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="address already in use"):
        run(served(taken.getsockname()[1]))
