"""The verbs of the Kubernetes API on raw JSON. They decide nothing and remember nothing.

Typed clients decode every Pod into nested objects, which costs more than all decisions about it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import kopf

from dask_operator.kubernetes import connection, decode
from dask_operator.kubernetes.connection import Connection, Request
from dask_operator.kubernetes.errors import TooLargeError, unreachable
from dask_operator.model import Json
from dask_operator.resources import Resource

MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
PAGE = 500
"""Objects on one page of a list, at most."""
_PAGES = 8
"""Pages that are read at a time, of all lists together."""
_VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list. `items` are decoded one by one, as they are iterated over.

    `continued` and `limit` are the arguments of `list_page` for the next page; without a next one `continued` is empty.
    """

    items: Iterator[dict[str, Any]]
    version: str
    continued: str
    limit: int


@dataclass(frozen=True, slots=True)
class Reply:
    """The object in an answer, and the API server's warnings about the request."""

    body: Json
    warnings: tuple[str, ...] = ()


class Api:
    """An API server, opened by `async with`. `Connection` describes the parameters. All methods raise ApiError."""

    def __init__(self, login: Callable[[], kopf.ConnectionInfo], permitted: Callable[[], bool] = lambda: True) -> None:
        self._connection = Connection(login, permitted)
        self._pages = asyncio.Semaphore(_PAGES)

    async def __aenter__(self) -> Self:
        await self._connection.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._connection.__aexit__(kind, error, trace)

    @property
    def answered(self) -> float:
        """The time on the monotonic clock at which the last request ended, with or without success."""
        return self._connection.answered

    async def list_page(self, resource: Resource, namespace: str, continued: str, limit: int = 0) -> Page:
        """Return a page of a list, as of now and not of a cache, with `limit` objects or fewer if they are large."""
        limit = limit or PAGE
        while True:
            try:
                return await self._page(resource, namespace, continued, limit)
            except TooLargeError:
                if limit == 1:
                    raise
                limit = max(limit // 4, 1)

    async def _page(self, resource: Resource, namespace: str, continued: str, limit: int) -> Page:
        params = {"limit": str(limit), "labelSelector": resource.selector, "continue": continued}
        async with self._pages:
            text, _ = await self._connection.send(_request("list", resource, namespace, params=params))
            try:
                page = decode.page(text, resource.kind)
            except decode.TooDeepError as error:
                raise TooLargeError(f"a page of {resource.plural} {error}") from error
            except ValueError as error:
                raise unreachable(error) from error
        # Ten thousand small objects may follow a few large ones.
        next_limit = min(limit * 4, PAGE) if len(text) < connection.LARGEST_ANSWER // 8 else limit
        return Page(page.items, page.version, page.continued, next_limit)

    async def watch(
        self, resource: Resource, namespace: str, version: str, seconds: float, silence: float
    ) -> AsyncGenerator[Json]:
        """Yield the events after a resource version, for `seconds` at most, or until none came for `silence` seconds.

        Another watch can go on from the last event's version.
        """
        params = {
            "watch": "true",
            "labelSelector": resource.selector,
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(int(seconds)),
        }
        request = _request("watch", resource, namespace, params=params)
        async with aclosing(self._connection.lines(request, silence)) as lines:
            async for line in lines:
                try:
                    event = decode.event(line, resource.kind)
                except ValueError as error:
                    raise unreachable(error) from error
                yield event

    async def create(self, resource: Resource, manifest: Json, *, dry_run: bool = False) -> Reply:
        """Create an object; with `dry_run`, only check whether the API server would accept it."""
        params = {"fieldValidation": "Warn", "dryRun": "All" if dry_run else ""}
        namespace = manifest["metadata"]["namespace"]
        return await self._reply(_request("create", resource, namespace, params=params, body=manifest))

    async def get(self, resource: Resource, namespace: str, name: str) -> Reply:
        """Return an object."""
        return await self._reply(_request("get", resource, namespace, name))

    async def replace(self, resource: Resource, manifest: Json) -> Reply:
        """Replace an object, unless its resource version is no longer the manifest's (409)."""
        meta = manifest["metadata"]
        return await self._reply(_request("update", resource, meta["namespace"], meta["name"], body=manifest))

    async def patch(
        self, resource: Resource, namespace: str, name: str, body: Json | Sequence[Json], subresource: str = ""
    ) -> Reply:
        """Apply a merge patch (a mapping) or a JSON patch (a list) to an object."""
        kind = MERGE_PATCH if isinstance(body, Mapping) else JSON_PATCH
        return await self._reply(
            _request("patch", resource, namespace, name, subresource, body=body, content_type=kind)
        )

    async def delete(
        self, resource: Resource, namespace: str, name: str, preconditions: Json, grace: int | None = None
    ) -> Reply:
        """Delete an object, unless it does not meet the preconditions (409).

        `grace`: the seconds in which a Pod has to end, None for its own.
        """
        body: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions}
        if grace is not None:
            body["gracePeriodSeconds"] = grace
        return await self._reply(_request("delete", resource, namespace, name, body=body))

    async def request(
        self,
        method: str,
        where: str,
        body: Json | Sequence[Json] | None = None,
        *,
        params: Mapping[str, str] | None = None,
    ) -> Reply:
        """Make a request for any path, as `kubectl get --raw` does. It is counted under the resource "other"."""
        return await self._reply(Request(_VERBS[method], "other", where, params or {}, body))

    async def _reply(self, request: Request) -> Reply:
        text, warnings = await self._connection.send(request)
        try:
            return Reply(decode.read(text), warnings)
        except ValueError as error:
            raise unreachable(error) from error


def path(resource: Resource, namespace: str = "", name: str = "") -> str:
    """Return the path of a collection (of all namespaces without a namespace), or of the object with a name."""
    root = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
    scope = f"/namespaces/{namespace}" if namespace else ""
    return f"{root}{scope}/{resource.plural}" + (f"/{name}" if name else "")


def _request(
    verb: str, resource: Resource, namespace: str, name: str = "", subresource: str = "", **others: Any
) -> Request:
    where = path(resource, namespace, name) + (f"/{subresource}" if subresource else "")
    return Request(verb, resource.plural, where, namespace=namespace, **others)
