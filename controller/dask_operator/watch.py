"""Keeps the store true to one kind of object: lists, watches from there, and lists again at any doubt.

A watch that ends as it should, after its minutes or because its connection has gone silent, goes on where it was.
Everything else (410 Gone, an ERROR event, a broken connection) raises doubt, so a new list is compared with the store.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable

from dask_operator.actions import Resource
from dask_operator.api import Api, ApiError
from dask_operator.backoff import doubling
from dask_operator.model import Json, Key, Object
from dask_operator.parse import PARSERS, resource_version
from dask_operator.store import Store

SILENCE = 100.0
"""Seconds without even a bookmark, which come every minute if ever, after which a connection is taken for dead."""
_DURATION = (240.0, 360.0)
_SHORTEST = 1.0
_FIRST_BACKOFF = 1.0
_LONGEST_BACKOFF = 30.0

logger = logging.getLogger(__name__)


class Watch:
    """One kind in one namespace ("": in all). `synced` is set once the store has all there is."""

    def __init__(
        self, api: Api, store: Store, resource: Resource, namespace: str, changed: Callable[[Iterable[Key]], None]
    ) -> None:
        self._api = api
        self._store = store
        self._resource = resource
        self._namespace = namespace
        self._changed = changed
        self._parse = PARSERS[resource.kind]
        self._errors = 0
        self.synced = asyncio.Event()

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            try:
                version = await self._list()
                self.synced.set()
                while True:
                    version = await self._watch(version)
            except ApiError as error:
                await self._pause(error)
            except (LookupError, TypeError) as error:
                await self._pause(ApiError(0, "Malformed", f"an answer without {error}"))

    async def _list(self) -> str:
        objects: list[Object] = []
        continued = ""
        while True:
            page = await self._api.list_page(self._resource, self._namespace, continued)
            objects += map(self._parse, page["items"])
            continued = page["metadata"].get("continue", "")
            if not continued:
                break
        changed = self._store.replace(self._resource.kind, self._namespace, objects, resource_version(page))
        self._changed(changed)
        return str(page["metadata"]["resourceVersion"])

    async def _watch(self, version: str) -> str:
        """The resource version at which the watch ended of its own accord."""
        duration, began = random.uniform(*_DURATION), asyncio.get_running_loop().time()
        first = version
        async for event in self._api.watch(self._resource, self._namespace, version, duration, SILENCE):
            self._take(event["type"], event["object"])
            version = event["object"]["metadata"]["resourceVersion"]
        if version == first and asyncio.get_running_loop().time() < began + _SHORTEST:
            raise ApiError(0, "WatchEnded", "the watch ended at once")
        return version

    def _take(self, type_: str, raw: Json) -> None:
        kind = self._resource.kind
        match type_:
            case "ADDED" | "MODIFIED":
                self._changed(self._store.observe(kind, self._parse(raw)))
            case "DELETED":
                self._changed(self._store.forget(kind, self._parse(raw)))
            case "BOOKMARK":
                self._store.reached(kind, self._namespace, resource_version(raw))
            case _:
                raise ApiError(int(raw.get("code", 0)), str(raw.get("reason", type_)), str(raw.get("message", raw)))
        self._errors = 0

    async def _pause(self, error: ApiError) -> None:
        self._errors += 1
        where = f"in namespace {self._namespace}" if self._namespace else "in all namespaces"
        if error.code == 403:
            hint = "grant the controller's ServiceAccount what the chart's Role grants, or narrow its --namespace"
            logger.error("may not watch %s %s: %s; %s", self._resource.plural, where, error.message, hint)
        elif error.code == 404:
            hint = "install the CRDs (the chart does so with crds.install=true)"
            logger.error("there are no %s to watch %s; %s", self._resource.plural, where, hint)
        elif error.code != 410:
            logger.warning("watch of %s %s: %s; listing anew", self._resource.plural, where, error)
        expected = error.code == 410 and self._errors == 1
        pause = 0.0 if expected else doubling(_FIRST_BACKOFF, self._errors, _LONGEST_BACKOFF)
        await asyncio.sleep(max(pause * random.uniform(0.5, 1.0), error.retry_after))
