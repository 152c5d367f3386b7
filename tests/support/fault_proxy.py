"""A proxy between a controller and an API server that records requests and applies a fault to them.

It speaks HTTP on loopback and TLS to the API server, so that a fault looks like one of a network, a load balancer or
the API server itself.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import aiohttp
from aiohttp import web
from kopf import ConnectionInfo
from tests.support.server import serving

from dask_operator.kubernetes.login.credentials import ssl_context

READING = ("GET", "HEAD")
_PASSED_ON = ("Accept", "Authorization", "Content-Type", "User-Agent")
_PASSED_BACK = ("Content-Type", "Retry-After", "Warning")


@dataclass
class Call:
    """Request number `number`. `status`: of the API server's answer, 0 before it; `answer`: its body."""

    number: int
    method: str
    path: str
    watches: bool
    body: Any
    query: dict[str, str]
    status: int = 0
    answer: bytes = b""

    @property
    def parts(self) -> list[str]:
        """The path after group and version: a kind; or a namespace, a kind, a name and a subresource."""
        parts = [part for part in self.path.split("/") if part][2 if self.path.startswith("/api/") else 3 :]
        return parts[2:] if parts[:1] == ["namespaces"] and len(parts) > 2 else parts

    @property
    def plural(self) -> str:
        return self.parts[0] if self.parts else ""

    @property
    def verb(self) -> str:
        """The verb, as in a Role."""
        if self.method == "GET":
            return "watch" if self.watches else "get" if len(self.parts) > 1 else "list"
        return {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}[self.method]

    @property
    def writes(self) -> bool:
        return self.method not in READING

    def __str__(self) -> str:
        return f"request {self.number}, {self.verb} {'/'.join(self.parts)}"


PassOn = Callable[[], Awaitable[web.StreamResponse]]
Lines = AsyncIterator[bytes]


class LostError(Exception):
    """A request or its answer is lost: the connection breaks."""


class Fault:
    """No fault. Subclasses override what they change."""

    async def answer(self, call: Call, pass_on: PassOn) -> web.StreamResponse:
        """Return the answer to a request. Raises LostError if it has none."""
        return await pass_on()

    def stream(self, call: Call, lines: Lines) -> Lines:
        """Return a watch's events, one for each line with its line break."""
        return lines


def refusal(code: int, reason: str, message: str, **headers: str) -> web.Response:
    """Return the API server's answer to a refused request."""
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message}
    return web.json_response({**status, "code": code}, status=code, headers=headers)


@dataclass
class FaultProxy:
    """A proxy. `calls`: all requests so far; `fault`: applied to new ones; `asked`: the time of the last."""

    server: str
    session: aiohttp.ClientSession
    url: str = ""
    fault: Fault = field(default_factory=Fault)
    calls: list[Call] = field(default_factory=list)
    asked: float = 0.0
    _open: set[asyncio.Task[Any]] = field(default_factory=set)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        text = await request.read()
        call = Call(
            number=len(self.calls) + 1,
            method=request.method,
            path=request.path,
            watches="watch" in request.query,
            body=json.loads(text) if text else None,
            query=dict(request.query),
        )
        self.calls.append(call)
        self.asked = time.monotonic()
        task = asyncio.current_task()
        assert task
        self._open.add(task)
        try:
            return await self.fault.answer(call, partial(self._pass_on, request, call, text))
        except (LostError, aiohttp.ClientError, ConnectionError, asyncio.CancelledError):
            # Cut by the fault, the API server, `cut` or the client itself, which gets no answer then.
            return _broken(request)
        finally:
            self._open.discard(task)

    def begin(self, fault: Fault) -> None:
        """Start counting anew, for another controller."""
        self.fault, self.calls = fault, []

    def cut(self) -> None:
        """Cut every connection with an unfinished answer or watch."""
        for task in self._open:
            task.cancel()

    def quiet(self) -> float:
        """Return the seconds since the last request."""
        return time.monotonic() - self.asked

    def created(self, plural: str) -> list[str]:
        """Return the names of the created objects."""
        created = [call for call in self.calls if call.verb == "create" and call.plural == plural]
        return [call.body["metadata"]["name"] for call in created if call.status == 201]

    async def _pass_on(self, request: web.Request, call: Call, text: bytes) -> web.StreamResponse:
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        url = f"{self.server}{call.path}"
        async with self.session.request(
            call.method, url, params=call.query, headers=headers, data=text or None
        ) as reply:
            call.status = reply.status
            back = {name: reply.headers[name] for name in _PASSED_BACK if name in reply.headers}
            if call.watches and reply.status == 200:
                return await self._pass_events(request, call, reply, back)
            call.answer = await reply.read()
            return web.Response(status=reply.status, body=call.answer, headers=back)

    async def _pass_events(
        self, request: web.Request, call: Call, reply: aiohttp.ClientResponse, headers: dict[str, str]
    ) -> web.StreamResponse:
        response = web.StreamResponse(status=reply.status, headers=headers)
        await response.prepare(request)
        async for line in self.fault.stream(call, _lines(reply.content)):
            await response.write(line)
        return response


def _broken(request: web.Request) -> web.Response:
    if request.transport:
        request.transport.abort()
    return web.Response(status=499)


async def _lines(content: aiohttp.StreamReader) -> Lines:
    rest = b""
    async for chunk in content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line + b"\n"


@asynccontextmanager
async def proxy_to(info: ConnectionInfo) -> AsyncIterator[FaultProxy]:
    """Run a proxy to the API server of some credentials, which it adds to the requests."""
    nobody = replace(info, certificate_data=None, certificate_path=None)
    connector = aiohttp.TCPConnector(limit=0, ssl=ssl_context(nobody))
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        proxy = FaultProxy(info.server.rstrip("/"), session)
        async with serving(proxy.answer) as proxy.url:
            yield proxy
