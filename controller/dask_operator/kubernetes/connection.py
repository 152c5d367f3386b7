"""The connections to one API server: credentials, TLS, limits on time and size, and metrics of every request."""

from __future__ import annotations

import asyncio
import base64
import os
import ssl
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import aiohttp
import kopf
import orjson

from dask_operator import metrics
from dask_operator.kubernetes.errors import ApiError, TooLargeError, refusal, unreachable
from dask_operator.kubernetes.transport import Fence
from dask_operator.model import Json

LARGEST_ANSWER = 8 * 2**20
"""Bytes of a page, an event or an object. Pages of large objects are asked for in parts; no object is so large."""
CONNECTIONS = 40
"""The most concurrent requests besides watches: they keep an API server busy, and each costs a handshake of 2 ms."""
REQUEST_TIMEOUT = 30.0
_TIMEOUT = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT)
_WATCH_CONNECT_TIMEOUT = 10.0
_METHODS = {"create": "POST", "update": "PUT", "patch": "PATCH", "delete": "DELETE"}
_USER_AGENT = "dask-kubernetes-operator"
_REQUESTS, _WATCHES = 0, 1


@dataclass(frozen=True, slots=True)
class Request:
    """A request for `path`, counted under its verb and resource as in the API server's own metrics."""

    verb: str
    resource: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    body: Json | Sequence[Json] | None = None
    content_type: str = "application/json"

    @property
    def method(self) -> str:
        """The HTTP method."""
        return _METHODS.get(self.verb, "GET")


class Connection:
    """Connections to one API server, which are open within `async with`.

    `login` gives the credentials, and is called again when they are refused, since tokens expire. Writes leave only
    while `permitted`. A write that is stopped is cancelled, and none is on its way once the connections are closed.
    """

    def __init__(self, login: Callable[[], kopf.ConnectionInfo], permitted: Callable[[], bool]) -> None:
        self._login = login
        self._permitted = permitted
        self._fence = Fence(permitted)
        self._sessions: tuple[aiohttp.ClientSession, ...] = ()
        self._server = ""
        self._headers: dict[str, str] = {}
        self.answered = time.monotonic()
        """The time at which the last request ended, with or without success."""

    async def __aenter__(self) -> Self:
        info = self._login()
        tls = ssl_context(info)
        # Watches have connections of their own, or enough of them would leave none to requests.
        self._sessions = self._session(tls, CONNECTIONS), self._session(tls, 0)
        self._use(info)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._fence.close()
        for session in self._sessions:
            await session.close()

    async def send(self, request: Request) -> tuple[bytes, tuple[str, ...]]:
        """Return the answer's bytes and the API server's warnings. Raises ApiError."""
        for renewed in (False, True):
            try:
                return await self._send_once(request)
            except ApiError as error:
                if error.code != 401 or renewed:
                    raise
                self._use(self._login())
        raise AssertionError("unreachable")

    async def lines(self, request: Request, silence: float) -> AsyncGenerator[bytes]:
        """Yield the lines of an answer that goes on, until none has come for `silence` seconds. Raises ApiError."""
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
            self._server + request.path,
            params={key: value for key, value in request.params.items() if value},
            data=None if request.body is None else orjson.dumps(request.body),
            headers={**self._headers, "Content-Type": request.content_type},
            timeout=timeout,
        )

    def _session(self, tls: ssl.SSLContext, connections: int) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=connections, ssl=tls),
            request_class=self._fence.request_class(),
            auto_decompress=True,
            skip_auto_headers=("User-Agent",),
        )

    def _use(self, info: kopf.ConnectionInfo) -> None:
        self._server = info.server.rstrip("/")
        # A small compressed answer could fill the memory.
        self._headers = {"User-Agent": _USER_AGENT, "Accept": "application/json", "Accept-Encoding": "identity"}
        if info.token:
            self._headers["Authorization"] = f"{info.scheme or 'Bearer'} {info.token}"
        elif info.username and info.password:
            self._headers["Authorization"] = aiohttp.encode_basic_auth(info.username, info.password)


def ssl_context(info: kopf.ConnectionInfo) -> ssl.SSLContext:
    """Return the TLS context for some credentials, with their client certificate if they have one."""
    context = ssl.create_default_context(cafile=_text_path(info.ca_path), cadata=_pem(info.ca_data))
    if info.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if info.certificate_path or info.certificate_data:
        _load_certificate(context, info)
    return context


def _load_certificate(context: ssl.SSLContext, info: kopf.ConnectionInfo) -> None:
    if info.certificate_path:
        context.load_cert_chain(str(_text_path(info.certificate_path)), _text_path(info.private_key_path))
        return
    # The ssl module loads certificates from files only.
    with tempfile.NamedTemporaryFile("w") as chain:
        chain.write(f"{_pem(info.certificate_data)}\n{_pem(info.private_key_data)}")
        chain.flush()
        context.load_cert_chain(chain.name)


def _text_path(value: str | bytes | os.PathLike[str] | os.PathLike[bytes] | None) -> str | None:
    return os.fsdecode(value) if value else None


def _pem(data: str | bytes | None) -> str | None:
    """Return a certificate or key as PEM text, which a kubeconfig has in base64."""
    if not data:
        return None
    raw = data.encode() if isinstance(data, str) else data
    return raw.decode() if raw.startswith(b"-----") else base64.b64decode(raw).decode()


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
