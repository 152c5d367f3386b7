"""A proxy between an operator and the API server that counts requests."""

from __future__ import annotations

import os
import re
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from aiohttp import web
from tests.support.process import Process
from tests.support.server import serving

READING = ("GET", "HEAD")
PASSED = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
RETURNED = ("Content-Encoding", "Content-Type", "Retry-After", "Warning")


class Proxy:
    """A proxy. `requests`: their number by verb and kind, without watches and Leases."""

    def __init__(self, server: str, session: aiohttp.ClientSession) -> None:
        self._server = server
        self._session = session
        self.requests: Counter[str] = Counter()

    def writes(self) -> Counter[str]:
        return Counter({what: number for what, number in self.requests.items() if not what.startswith(READING)})

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self._count(request)
        passed = {k: v for k, v in request.headers.items() if k.title() in PASSED}
        url, body = f"{self._server}{request.path_qs}", await request.read()
        async with self._session.request(request.method, url, headers=passed, data=body or None) as reply:
            kept = {k: v for k, v in reply.headers.items() if k.title() in RETURNED}
            response = web.StreamResponse(status=reply.status, headers=kept)
            await response.prepare(request)
            async for chunk in reply.content.iter_any():
                await response.write(chunk)
        return response

    def _count(self, request: web.Request) -> None:
        # Below the version: the kind; or "namespaces", a name, the kind, and perhaps a name and a subresource.
        parts = [part for part in request.path.split("/") if part][2 if request.path.startswith("/api/") else 3 :]
        kind = parts[2] if len(parts) > 2 and parts[0] == "namespaces" else "".join(parts[:1])
        if request.query.get("watch") not in {"true", "1"} and kind != "leases":
            self.requests[f"{request.method} {kind}"] += 1


@asynccontextmanager
async def proxying() -> AsyncIterator[tuple[Proxy, str]]:
    """Run a proxy; yield it and its URL, without TLS. Needs KUBECONFIG, and kubectl in the PATH."""
    timeout, connector = aiohttp.ClientTimeout(total=None), aiohttp.TCPConnector(limit=0)
    async with (
        _kubectl_proxy() as server,
        aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as session,
    ):
        proxy = Proxy(server, session)
        async with serving(proxy.answer) as url:
            yield proxy, url


@asynccontextmanager
async def _kubectl_proxy() -> AsyncIterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "proxy.log"
        async with Process(["kubectl", "proxy", "--port=0"], os.environ, log, ready="127.0.0.1:").at_work():
            yield f"http://{_address(log)}"


def _address(log: Path) -> str:
    return str(re.findall(r"127\.0\.0\.1:[0-9]+", log.read_text())[0])
