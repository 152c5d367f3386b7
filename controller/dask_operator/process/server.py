"""The HTTP server for probes and Prometheus: the path of `--liveness`, /readyz and /metrics."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple, cast
from urllib.parse import urlsplit

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from dask_operator import metrics

_ALL = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}  # noqa: S104 - probes come from the node
_DISABLED = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
# Any Pod may connect. Open connections take file descriptors, and metrics take time of the event loop.
MOST_CONNECTIONS = 100
IDLE_SECONDS = 5.0
FRESH_SECONDS = 1.0
Problems = Callable[[], Sequence[str]]
"""A function that returns the current problems, in sentences."""


class Address(NamedTuple):
    host: str
    port: int
    path: str


def parse_address(url: str) -> Address:
    """Return the address in the argument of `--liveness`. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(f"--liveness={url}: must be like http://0.0.0.0:8080/healthz")
    return Address(parts.hostname, parts.port or 80, parts.path or "/")


@asynccontextmanager
async def serving(address: Address, alive: Problems, ready: Problems, state: Callable[[], str]) -> AsyncIterator[None]:
    """Answer 200 while there are no problems, else 503. `state` says in a word or two what this process does.

    A connection that is idle for IDLE_SECONDS is closed, and so is the oldest one for a new one beyond
    MOST_CONNECTIONS. Metrics are at most FRESH_SECONDS old. The address 0.0.0.0 stands for all addresses of this
    machine, those of IPv6 included, as does `::`. Raises OSError if the address is taken.
    """
    app = web.Application()
    app.router.add_get(address.path, _probe(alive, state))
    for path, answer in (("/readyz", _probe(ready, state)), ("/metrics", _metrics())):
        if path != address.path:
            app.router.add_get(path, answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5, keepalive_timeout=IDLE_SECONDS)
    await runner.setup()
    connections, listening = _bounded(cast("web.Server", runner.server)), list[asyncio.Server]()
    loop = asyncio.get_running_loop()
    try:
        if address.host in _ALL.values():
            for listener in _everywhere(address.port):
                listening.append(await loop.create_server(connections, sock=listener))
        else:
            listening.append(await loop.create_server(connections, address.host, address.port))
        yield
    finally:
        for server in listening:
            server.close()
        await runner.cleanup()


def _bounded(server: web.Server) -> Callable[[], asyncio.BaseProtocol]:
    """Return a factory of connections that closes the oldest ones beyond MOST_CONNECTIONS."""

    def connection() -> asyncio.BaseProtocol:
        for oldest in server.connections[: 1 - MOST_CONNECTIONS]:
            oldest.force_close()
        return server()

    return connection


def _everywhere(port: int) -> list[socket.socket]:
    """Return a socket for each family of addresses that this machine has: a Pod may have IPv4, IPv6 or both."""
    sockets: list[socket.socket] = []
    for family, host in _ALL.items():
        try:
            sockets.append(socket.create_server((host, port), family=family))
        except OSError as error:
            if error.errno not in _DISABLED:
                for other in sockets:
                    other.close()
                raise
    return sockets


def _probe(problems: Problems, state: Callable[[], str]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        found = problems()
        lines = found or [f"ok: {state()}"]
        return web.Response(text="".join(f"{line}\n" for line in lines), status=503 if found else 200)

    return answer


def _metrics() -> Callable[[web.Request], Awaitable[web.Response]]:
    text, stale_at = b"", 0.0

    async def answer(_: web.Request) -> web.Response:
        nonlocal text, stale_at
        now = asyncio.get_running_loop().time()
        if now >= stale_at:
            text, stale_at = metrics.rendered(), now + FRESH_SECONDS
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    return answer
