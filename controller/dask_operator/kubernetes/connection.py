"""The connections to one API server: credentials, TLS, limits on time and size, and metrics of every request."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import aiohttp
import kopf
import orjson

from dask_operator import metrics
from dask_operator.kubernetes.complaint import Complaint
from dask_operator.kubernetes.errors import ApiError, TooLargeError, refusal, unreachable
from dask_operator.kubernetes.login.credentials import Credentials, content, ssl_context
from dask_operator.kubernetes.transport import Fence
from dask_operator.model import Json
from dask_operator.turns import Turns

LARGEST_ANSWER = 8 * 2**20
"""Bytes of a page, an event or an object. Pages of large objects are asked for in parts; no object is so large."""
CONNECTIONS = 40
"""The most concurrent requests besides watches and slow ones: they keep an API server busy, and each connection costs a
handshake of 2 ms."""
REQUEST_TIMEOUT = 30.0
RENEWAL = 60.0
"""Seconds after which credentials are read again: their files are replaced before they end. kubectl does so too."""
_EARLY = 60.0
"""Seconds before they end at which credentials are renewed that say when they end."""
_TIMEOUT = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT)
_WATCH_CONNECT_TIMEOUT = 10.0
_METHODS = {"create": "POST", "update": "PUT", "patch": "PATCH", "delete": "DELETE"}
_USER_AGENT = "dask-kubernetes-operator"
_REQUESTS, _WATCHES = 0, 1
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Request:
    """A request for `path`, counted under its verb and resource as in the API server's own metrics.

    Requests of different namespaces have equal turns at the connections.
    """

    verb: str
    resource: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    body: Json | Sequence[Json] | None = None
    content_type: str = "application/json"
    namespace: str = ""

    @property
    def method(self) -> str:
        """The HTTP method."""
        return _METHODS.get(self.verb, "GET")


class Connection:
    """Connections to one API server, which are open within `async with`.

    `login` gives the credentials, and may take its time. It is called again each minute, or before the credentials end
    if they say when, and when they are refused. Writes leave only while `permitted`. A write that is stopped is
    cancelled, and none is on its way once the connections are closed.
    """

    def __init__(self, login: Callable[[], kopf.ConnectionInfo], permitted: Callable[[], bool]) -> None:
        self._login = login
        self._permitted = permitted
        self._fence = Fence(permitted)
        self._turns = Turns(CONNECTIONS)
        self._sessions: tuple[aiohttp.ClientSession, ...] = ()
        self._info = kopf.ConnectionInfo(server="")
        self._headers: dict[str, str] = {}
        self._trust: tuple[Any, ...] = ()
        self._tls: ssl.SSLContext | None = None
        self._renewal: asyncio.Task[None] | None = None
        self._renew_at = 0.0
        self._complaint = Complaint(logger)
        self.answered = time.monotonic()
        """The time at which the last request ended, with or without success."""

    async def __aenter__(self) -> Self:
        await self._log_in()
        # A connection that a watch has used is not for requests.
        self._sessions = self._session(), self._session()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._fence.close()
        if self._renewal:
            self._renewal.cancel()
        for session in self._sessions:
            await session.close()

    async def send(self, request: Request) -> tuple[bytes, tuple[str, ...]]:
        """Return the answer's bytes and the API server's warnings. Raises ApiError."""
        async with self._turns.turn(request.namespace):
            self._renew_in_time()
            used = self._headers
            try:
                return await self._send_once(request)
            except ApiError as error:
                if error.code != 401:
                    raise
                if self._headers is used:
                    # It is not for this request alone, which may be cancelled.
                    await asyncio.shield(self._begin_renewal())
                if self._headers is used:
                    raise
            return await self._send_once(request)

    async def lines(self, request: Request, silence: float) -> AsyncGenerator[bytes]:
        """Yield the lines of an answer that goes on, until none has come for `silence` seconds. Raises ApiError."""
        self._renew_in_time()
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_WATCH_CONNECT_TIMEOUT, sock_read=silence)
        try:
            async with self._open(request, timeout, _WATCHES) as response:
                _count(request, response.status)
                await _require_success(response)
                async for line in _lines(response.content):
                    yield line
        except aiohttp.SocketTimeoutError:
            return
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise unreachable(error) from error

    async def _send_once(self, request: Request) -> tuple[bytes, tuple[str, ...]]:
        began, code = time.monotonic(), 0
        try:
            async with self._open(request, _TIMEOUT, _REQUESTS) as response:
                code = response.status
                await _require_success(response)
                return await _bounded(response), _warnings(response)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            if request.method != "GET" and not self._permitted():
                raise asyncio.CancelledError from error
            raise unreachable(error) from error
        finally:
            self.answered = time.monotonic()
            _count(request, code)
            metrics.API_REQUEST_DURATION.labels(request.verb).observe(self.answered - began)

    def _open(self, request: Request, timeout: aiohttp.ClientTimeout, session: int) -> Any:
        if not self._sessions:
            raise RuntimeError("the connection is not open: use `async with`")
        return self._sessions[session].request(
            request.method,
            self._info.server.rstrip("/") + request.path,
            params={key: value for key, value in request.params.items() if value},
            data=None if request.body is None else orjson.dumps(request.body),
            headers={**self._headers, "Content-Type": request.content_type},
            timeout=timeout,
            ssl=self._tls or True,
            server_hostname=(self._info.server_name or None) if isinstance(self._info, Credentials) else None,
            proxy=self._info.proxy_url,
        )

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            request_class=self._fence.request_class(),
            auto_decompress=True,
            skip_auto_headers=("User-Agent",),
        )

    def _renew_in_time(self) -> None:
        """Start to renew the credentials if it is time to. Requests go on meanwhile with those that are known."""
        if _now() >= self._renew_at:
            self._begin_renewal()

    def _begin_renewal(self) -> asyncio.Task[None]:
        if not self._renewal or self._renewal.done():
            self._renewal = asyncio.create_task(self._renew())
        return self._renewal

    async def _renew(self) -> None:
        self._renew_at = _now() + RENEWAL
        try:
            await self._log_in()
        except (kopf.LoginError, OSError, ValueError) as error:
            self._complaint.make(f"credentials cannot be renewed: {error}", _now())
        else:
            self._complaint.settle()

    async def _log_in(self) -> None:
        info, trust, tls = await asyncio.to_thread(self._read)
        self._info, self._trust, self._tls = info, trust, tls
        ends = info.expiration and info.expiration.replace(tzinfo=info.expiration.tzinfo or UTC)
        lasts = (ends - datetime.now(UTC)).total_seconds() - _EARLY if ends else RENEWAL
        self._renew_at = _now() + max(lasts, RENEWAL)
        # A small compressed answer could fill the memory.
        self._headers = {"User-Agent": _USER_AGENT, "Accept": "application/json", "Accept-Encoding": "identity"}
        if info.token:
            self._headers["Authorization"] = f"{info.scheme or 'Bearer'} {info.token}"
        elif info.username and info.password:
            self._headers["Authorization"] = aiohttp.encode_basic_auth(info.username, info.password)

    def _read(self) -> tuple[kopf.ConnectionInfo, tuple[Any, ...], ssl.SSLContext]:
        """Return the credentials and their TLS context, which takes a while to make and is kept while it is the same.

        Connections of the context before are not used again.
        """
        info = self._login()
        trust = content(info)
        return info, trust, self._tls if self._tls and trust == self._trust else ssl_context(info)


def _count(request: Request, code: int) -> None:
    metrics.API_REQUESTS.labels(request.verb, request.resource, code).inc()


async def _require_success(response: aiohttp.ClientResponse) -> None:
    if response.status >= 400:
        retry_after = response.headers.get("Retry-After", "")
        raise refusal(response.status, response.reason or "", await _bounded(response), retry_after)


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    text = bytearray()
    async for part in response.content.iter_any():
        text += part
        if len(text) > LARGEST_ANSWER:
            raise TooLargeError(f"{response.url.path}: more than {LARGEST_ANSWER} bytes")
    return bytes(text)


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Yield lines, which may be longer than the stream's own limit allows."""
    parts: list[bytes] = []
    async for chunk in content.iter_any():
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            line = b"".join((*parts, end))
            parts.clear()
            if line:
                yield line
        parts.append(rest)
        if sum(map(len, parts)) > LARGEST_ANSWER:
            raise TooLargeError(f"an event has more than {LARGEST_ANSWER} bytes")


def _warnings(response: aiohttp.ClientResponse) -> tuple[str, ...]:
    # RFC 7234: `299 - "text"`
    headers = response.headers.getall("Warning", [])
    return tuple(header.partition('"')[2].rpartition('"')[0].replace('\\"', '"') for header in headers)


def _now() -> float:
    return asyncio.get_running_loop().time()
