"""The Kubernetes API over HTTP: raw JSON in and out, nothing decided, nothing remembered but the connections.

Typed clients decode every Pod into objects of objects, which costs more than all decisions about it together.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
import socket
import ssl
import struct
import tempfile
import time
import weakref
from asyncio.sslproto import SSLProtocol
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp
import kopf
import orjson

from dask_operator import metrics
from dask_operator.kubernetes import decode
from dask_operator.model import Json
from dask_operator.resources import Resource

MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
PAGE = 500
"""How many objects one page of a list has, at most."""
LARGEST_ANSWER = 8 * 2**20
"""In bytes, of a page, an event or an object. Of pages that have more a part is asked for; objects have fewer."""
_LONGEST_MESSAGE = 8 * 2**10
_PAGES = 8  # at a time, of all lists together
CONNECTIONS = 40
"""At a time, besides watches: enough to keep an API server busy, and each costs memory and a handshake of 2 ms."""
TLS_BUFFER = 32 * 1024
"""Bytes for each connection, of two records of TLS: asyncio would take 256 KiB, which is most of what one costs."""
SSLProtocol.max_size = TLS_BUFFER
REQUEST_TIMEOUT = 30.0
_TIMEOUT = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT)
_VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_QUOTING = (400, 422)
# Whose webhook or policy it is may say anything about the object.
_DENIAL = re.compile(r"(denied (?:the )?request).*", re.DOTALL)
_USER_AGENT = "dask-kubernetes-operator"


class ApiError(Exception):
    """The API server's refusal, or that it could not be reached (`code` 0).

    `reason` and `message` are those of its Status, `fields` those that it finds wrong; `retry_after` in seconds, where
    it names a time.
    """

    def __init__(
        self, code: int, reason: str, message: str, retry_after: float = 0.0, fields: Sequence[str] = ()
    ) -> None:
        super().__init__(f"{code} {reason}: {message}" if code else message)
        self.code = code
        self.reason = reason
        self.message = message
        self.retry_after = retry_after
        self.fields = tuple(fields)

    @property
    def loggable(self) -> str:
        """The error without what it may quote of the object: others read the log than may read the object."""
        if not self.code:
            return self.message
        # A webhook may give a sentence for a reason.
        what = f"{self.code} {self.reason}" if self.reason.isalnum() else str(self.code)
        said = ", ".join(self.fields) if self.code in _QUOTING else _DENIAL.sub(r"\1", self.message)
        return f"{what}: {said}" if said else what


class _LargeAnswerError(ApiError):
    """What was asked for has too many bytes; it was not read to its end."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list. `items` are built up one by one; `continued`: where the next page begins, if there is one.

    `limit`: how many objects that one should have.
    """

    items: Iterator[dict[str, Any]]
    version: str
    continued: str
    limit: int


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer's object and the API server's warnings about the request."""

    body: Json
    warnings: tuple[str, ...] = ()


class Api:
    """One API server. `login` gives credentials, and is asked anew when they are refused, as tokens expire.

    `permitted`: whether writes may leave at this moment. One that finds itself forbidden is cancelled, and none is on
    its way any more once the connection is closed.
    """

    def __init__(self, login: Callable[[], kopf.ConnectionInfo], permitted: Callable[[], bool] = lambda: True) -> None:
        self._login = login
        self._permitted = permitted
        self._sessions: tuple[aiohttp.ClientSession, aiohttp.ClientSession] | None = None
        self._server = ""
        self._headers: dict[str, str] = {}
        self._used: weakref.WeakSet[asyncio.Transport] = weakref.WeakSet()
        self._pages = asyncio.Semaphore(_PAGES)
        self.answered = time.monotonic()
        """When a request ended the last time, well or not."""

    async def __aenter__(self) -> Self:
        info = self._login()
        tls = ssl_context(info)
        self._sessions = self._session(tls, CONNECTIONS), self._session(tls, 0)
        self._use(info)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for transport in list(self._used):
            transport.abort()
        for session in self._sessions or ():
            await session.close()

    async def list_page(self, resource: Resource, namespace: str, continued: str, limit: int = 0) -> Page:
        """A page of a list, as of now and not of a cache, with `limit` objects at most, or fewer if they are large."""
        limit = limit or PAGE
        while True:
            try:
                return await self._page(resource, namespace, continued, limit)
            except _LargeAnswerError:
                if limit == 1:
                    raise
                limit = max(limit // 4, 1)

    async def _page(self, resource: Resource, namespace: str, continued: str, limit: int) -> Page:
        where = path(resource, namespace)
        params = {"limit": str(limit), "labelSelector": resource.selector, "continue": continued}
        async with self._pages:
            text, _ = await self._answer("GET", where, params=params)
            try:
                page = decode.page(text, resource.kind)
            except decode.TooDeepError as error:
                raise _too_large(f"a page of {resource.plural} {error}") from error
            except ValueError as error:
                raise _unreachable(error) from error
        # After large objects there may be ten thousand small ones.
        next_limit = min(limit * 4, PAGE) if len(text) < LARGEST_ANSWER // 8 else limit
        return Page(page.items, page.version, page.continued, next_limit)

    async def watch(
        self, resource: Resource, namespace: str, version: str, seconds: float, silence: float
    ) -> AsyncIterator[Json]:
        """The events after a resource version, for `seconds` at most, or until none has come for `silence` seconds.

        It can go on from the last event's version, since that is all it depends on. Raises ApiError.
        """
        params = {
            "watch": "true",
            "labelSelector": resource.selector,
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(int(seconds)),
        }
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10.0, sock_read=silence)
        try:
            request = self._request("GET", path(resource, namespace), params, None, "", timeout, watch=True)
            async with request as response:
                _count("watch", resource.plural, response.status)
                await _raise_for(response)
                async for line in _lines(response.content):
                    yield decode.event(line, resource.kind)
        except aiohttp.SocketTimeoutError:
            return
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise _unreachable(error) from error

    async def create(self, resource: Resource, manifest: Json, *, dry_run: bool = False) -> Reply:
        """Creates an object, or says of a `dry_run` whether it would be created."""
        params = {"fieldValidation": "Warn", "dryRun": "All" if dry_run else ""}
        return await self.request("POST", path(resource, manifest["metadata"]["namespace"]), manifest, params=params)

    async def get(self, resource: Resource, namespace: str, name: str) -> Reply:
        return await self.request("GET", path(resource, namespace, name))

    async def replace(self, resource: Resource, manifest: Json) -> Reply:
        """Refused with 409 if the object has another resource version than the manifest."""
        meta = manifest["metadata"]
        return await self.request("PUT", path(resource, meta["namespace"], meta["name"]), manifest)

    async def patch(
        self, resource: Resource, namespace: str, name: str, body: Json | Sequence[Json], subresource: str = ""
    ) -> Reply:
        """Merges a body into an object, or does what a list of changes says."""
        where = path(resource, namespace, name) + (f"/{subresource}" if subresource else "")
        content_type = MERGE_PATCH if isinstance(body, Mapping) else JSON_PATCH
        return await self.request("PATCH", where, body, content_type=content_type)

    async def delete(self, resource: Resource, namespace: str, name: str, preconditions: Json) -> Reply:
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions}
        return await self.request("DELETE", path(resource, namespace, name), body)

    async def request(
        self,
        method: str,
        where: str,
        body: Json | Sequence[Json] | None = None,
        *,
        params: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Reply:
        """Raises ApiError."""
        text, warnings = await self._answer(method, where, body, params=params, content_type=content_type)
        try:
            return Reply(decode.read(text), warnings)
        except ValueError as error:
            raise _unreachable(error) from error

    async def _answer(
        self,
        method: str,
        where: str,
        body: Json | Sequence[Json] | None = None,
        *,
        params: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> tuple[bytes, tuple[str, ...]]:
        """An answer's bytes and its warnings. Credentials that have expired are renewed once."""
        for renewed in (False, True):
            try:
                return await self._once(method, where, params, body, content_type)
            except ApiError as error:
                if error.code != 401 or renewed:
                    raise
                self._use(self._login())
        raise AssertionError("unreachable")

    async def _once(
        self,
        method: str,
        where: str,
        params: Mapping[str, str] | None,
        body: Json | Sequence[Json] | None,
        content_type: str,
    ) -> tuple[bytes, tuple[str, ...]]:
        began, code = time.monotonic(), 0
        verb, plural = _named(method, where)
        try:
            async with self._request(method, where, params, body, content_type, _TIMEOUT) as response:
                code = response.status
                await _raise_for(response)
                return await _bounded(response), _warnings(response)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            if method != "GET" and not self._permitted():
                raise asyncio.CancelledError from error
            raise _unreachable(error) from error
        finally:
            self.answered = time.monotonic()
            _count(verb, plural, code)
            metrics.API_REQUEST_DURATION.labels(verb).observe(self.answered - began)

    def _request(
        self,
        method: str,
        where: str,
        params: Mapping[str, str] | None,
        body: Json | Sequence[Json] | None,
        content_type: str,
        timeout: aiohttp.ClientTimeout,
        *,
        watch: bool = False,
    ) -> Any:
        if self._sessions is None:
            raise RuntimeError("the connection is not open: use `async with`")
        return self._sessions[watch].request(
            method,
            self._server + where,
            params={key: value for key, value in (params or {}).items() if value},
            data=None if body is None else orjson.dumps(body),
            headers={**self._headers, "Content-Type": content_type} if content_type else self._headers,
            timeout=timeout,
        )

    def _session(self, tls: ssl.SSLContext, connections: int) -> aiohttp.ClientSession:
        permitted, used = self._permitted, self._used

        class Request(aiohttp.ClientRequest):
            """Asks for permission when it has its connection, for which it may have waited long."""

            async def write_bytes(self, writer: Any, conn: Any, *rest: Any) -> None:
                if not conn.transport or conn.transport.is_closing():
                    return  # the answer will be that it is closed
                if not permitted():
                    conn.transport.abort()
                    return
                _make_forgetful(conn.transport)
                used.add(conn.transport)
                await super().write_bytes(writer, conn, *rest)

        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=connections, ssl=tls),
            request_class=Request,
            auto_decompress=True,
            skip_auto_headers=("User-Agent",),
        )

    def _use(self, info: kopf.ConnectionInfo) -> None:
        self._server = info.server.rstrip("/")
        # Compressed, a small answer could become one that fills the memory.
        self._headers = {"User-Agent": _USER_AGENT, "Accept": "application/json", "Accept-Encoding": "identity"}
        if info.token:
            self._headers["Authorization"] = f"{info.scheme or 'Bearer'} {info.token}"
        elif info.username and info.password:
            self._headers["Authorization"] = aiohttp.encode_basic_auth(info.username, info.password)


def path(resource: Resource, namespace: str = "", name: str = "") -> str:
    """The path of a collection, or of an object. An empty namespace means all of them."""
    root = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
    scope = f"/namespaces/{namespace}" if namespace else ""
    return f"{root}{scope}/{resource.plural}" + (f"/{name}" if name else "")


def _named(method: str, where: str) -> tuple[str, str]:
    """The verb and the plural of what a request is about, as Kubernetes' own metrics name them."""
    parts = where.split("/")[3 if where.startswith("/api/") else 4 :]
    if len(parts) > 2 and parts[0] == "namespaces":
        parts = parts[2:]
    verb = "list" if method == "GET" and len(parts) == 1 else _VERBS[method]
    return verb, parts[0]


def _count(verb: str, plural: str, code: int) -> None:
    metrics.API_REQUESTS.labels(verb, plural, code).inc()


def _make_forgetful(transport: asyncio.Transport) -> None:
    """Once this connection is closed, what was written to it and has not arrived yet never will.

    Otherwise the kernel goes on sending, for minutes if the network is down.
    """
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines, which may be longer than the stream's own limit for one."""
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
            raise _too_large(f"an event has more than {LARGEST_ANSWER} bytes")


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    text = bytearray()
    async for part in response.content.iter_any():
        text += part
        if len(text) > LARGEST_ANSWER:
            raise _too_large(f"{response.url.path}: more than {LARGEST_ANSWER} bytes")
    return bytes(text)


async def _raise_for(response: aiohttp.ClientResponse) -> None:
    if response.status < 400:
        return
    text = await _bounded(response)
    try:
        status = decode.status(text)
    except ValueError:
        status = {}
    retry_after = response.headers.get("Retry-After", "")
    raise ApiError(
        response.status,
        str(status.get("reason") or response.reason or ""),
        str(status.get("message") or text[:500].decode(errors="replace"))[:_LONGEST_MESSAGE],
        float(retry_after) if retry_after.isdecimal() else 0.0,
        tuple(_fields(status)),
    )


def _fields(status: Json) -> Iterator[str]:
    details = status.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    for cause in causes if isinstance(causes, list) else ():
        if isinstance(cause, dict) and cause.get("field"):
            yield str(cause["field"])


def _unreachable(error: Exception) -> ApiError:
    what = str(error) or type(error).__name__
    return ApiError(0, "Unreachable", f"the API server did not answer as it should: {what}")


def _too_large(what: str) -> _LargeAnswerError:
    return _LargeAnswerError(0, "TooLarge", f"{what}, and so is not read")


def _warnings(response: aiohttp.ClientResponse) -> tuple[str, ...]:
    # RFC 7234: `299 - "text"`
    headers = response.headers.getall("Warning", [])
    return tuple(header.partition('"')[2].rpartition('"')[0].replace('\\"', '"') for header in headers)


def ssl_context(info: kopf.ConnectionInfo) -> ssl.SSLContext:
    """How to speak TLS with the API server of some credentials, with their certificate if they have one."""
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
    # The ssl module takes certificates from files only.
    with tempfile.NamedTemporaryFile("w") as chain:
        chain.write(f"{_pem(info.certificate_data)}\n{_pem(info.private_key_data)}")
        chain.flush()
        context.load_cert_chain(chain.name)


def _text_path(value: str | bytes | os.PathLike[str] | os.PathLike[bytes] | None) -> str | None:
    return os.fsdecode(value) if value else None


def _pem(data: str | bytes | None) -> str | None:
    """PEM text of a certificate or key, which a kubeconfig has in base64."""
    if not data:
        return None
    raw = data.encode() if isinstance(data, str) else data
    return raw.decode() if raw.startswith(b"-----") else base64.b64decode(raw).decode()
