"""The HTTP server for probes and Prometheus: the path of `--liveness`, /readyz and /metrics."""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple
from urllib.parse import urlsplit

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from dask_operator import metrics

_ALL = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}  # noqa: S104 - probes come from the node
_DISABLED = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
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

    The address 0.0.0.0 stands for all addresses of this machine, those of IPv6 included, as does `::`. Raises OSError
    if the address is taken.
    """
    app = web.Application()
    app.router.add_get(address.path, _probe(alive, state))
    for path, answer in (("/readyz", _probe(ready, state)), ("/metrics", _metrics)):
        if path != address.path:
            app.router.add_get(path, answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        if address.host in _ALL.values():
            for listening in _everywhere(address.port):
                await web.SockSite(runner, listening).start()
        else:
            await web.TCPSite(runner, address.host, address.port).start()
        yield
    finally:
        await runner.cleanup()


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


async def _metrics(_: web.Request) -> web.Response:
    return web.Response(body=metrics.rendered(), headers={"Content-Type": CONTENT_TYPE_LATEST})
