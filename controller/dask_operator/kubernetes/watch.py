"""Keeps the store true to one kind of object: lists, watches from there, and lists again at any doubt.

A watch that ends as it should, after its minutes or because its connection has gone silent, goes on where it was, a few
times. Everything else (410 Gone, an ERROR event, a broken connection) raises doubt at once, and a new list is compared
with the store.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import NamedTuple, Protocol

from dask_operator import metrics
from dask_operator.backoff import Backoff
from dask_operator.kubernetes.api import Api, ApiError
from dask_operator.model import Json, Key, Object
from dask_operator.parse import PARSERS, resource_version, version_number
from dask_operator.resources import Resource

SILENCE = 100.0
"""Seconds without even a bookmark, which come every minute if ever, after which a connection is taken for dead."""
_DURATION = (240.0, 360.0)
_RENEWALS = 6
"""Watches in a row, about half an hour, after which all is listed anew: what was never told is not missed for ever."""
_SHORTEST = 1.0
_LONGEST_STEP = 0.05
"""Seconds for which objects are read before others get their turn."""
_BACKOFF = Backoff(first=1.0, longest=30.0)
_LONGEST_PAUSE = 120.0
_LASTING = (403, 404)
"""Until somebody permits or installs something."""

logger = logging.getLogger(__name__)


class Memory(Protocol):
    """What a watch tells of: see `store.Store`."""

    def observe(self, kind: str, seen: Object) -> Iterable[Key]: ...
    def forget(self, kind: str, gone: Object) -> Iterable[Key]: ...
    def replace(self, kind: str, namespace: str, listed: Iterable[Object], version: int) -> Iterable[Key]: ...
    def reached(self, kind: str, namespace: str, version: int) -> None: ...


class Trouble(NamedTuple):
    """Why a watch does not work, in a sentence, and since when; `lasting`: until a person does something about it."""

    sentence: str
    since: float
    lasting: bool


class Watch:
    """One kind in one namespace ("": in all).

    `synced` is set once the memory has all there is, which is nothing where the API server does not know the kind;
    `answered` then too, or by a refusal that lasts. `doubtful`: what the memory has may be old, until the next list;
    `turned`: when this began or ended. `recovered` is called when it ends, unless `retry` was.
    Times are the event loop's, in seconds.
    """

    def __init__(
        self,
        api: Api,
        memory: Memory,
        resource: Resource,
        namespace: str,
        changed: Callable[[Iterable[Key]], None],
        parse: Callable[[Json], Object] | None = None,
        recovered: Callable[[], None] = lambda: None,
    ) -> None:
        self._api = api
        self._memory = memory
        self._namespace = namespace
        self._changed = changed
        self._parse = parse or PARSERS[resource.kind]
        self._recovered = recovered
        self._retry = asyncio.Event()
        self._told = False
        self._errors = 0
        self.resource = resource
        self.synced = asyncio.Event()
        self.answered = asyncio.Event()
        self.trouble: Trouble | None = None
        self.doubtful = False
        self.turned = self.last_try = self.last_message = asyncio.get_running_loop().time()

    @property
    def what(self) -> str:
        """What is watched, for a person."""
        return f"{self.resource.plural} in {f'namespace {self._namespace}' if self._namespace else 'all namespaces'}"

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            self.last_try = _now()
            try:
                version = await self._list()
                self.synced.set()
                self.answered.set()
                for _ in range(_RENEWALS):
                    version = await self._watch(version)
            except ApiError as error:
                await self._pause(error)
            except (LookupError, TypeError, ValueError) as error:
                await self._pause(ApiError(0, "Malformed", f"an answer without {error}"))

    def retry(self) -> None:
        """Ends the pause after an error: there is reason to think that it would work now."""
        self._retry.set()

    async def _list(self) -> str:
        objects: list[Object] = []
        continued, limit = "", 0
        while True:
            page = await self._api.list_page(self.resource, self._namespace, continued, limit)
            self.last_message = began = _now()
            for raw in page.items:
                objects.append(self._parse(raw))
                # A large object takes its time, and a page may have hundreds.
                if _now() > began + _LONGEST_STEP:
                    await asyncio.sleep(0)
                    began = _now()
            continued, limit = page.continued, page.limit
            if not continued:
                break
        changed = self._memory.replace(self.resource.kind, self._namespace, objects, version_number(page.version))
        self._doubt(False)
        self._changed(changed)
        return page.version

    async def _watch(self, version: str) -> str:
        """The resource version at which the watch ended of its own accord."""
        duration, began = random.uniform(*_DURATION), _now()
        self.last_try = began
        first = version
        sound = asyncio.get_running_loop().call_later(_SHORTEST, self._well)
        try:
            async for event in self._api.watch(self.resource, self._namespace, version, duration, SILENCE):
                self._take(event["type"], event["object"])
                version = event["object"]["metadata"]["resourceVersion"]
        finally:
            sound.cancel()
        if version == first and _now() < began + _SHORTEST:
            raise ApiError(0, "WatchEnded", "the watch ended at once")
        return version

    def _take(self, type_: str, raw: Json) -> None:
        kind = self.resource.kind
        match type_:
            case "ADDED" | "MODIFIED":
                self._changed(self._memory.observe(kind, self._parse(raw)))
            case "DELETED":
                self._changed(self._memory.forget(kind, self._parse(raw)))
            case "BOOKMARK":
                self._memory.reached(kind, self._namespace, resource_version(raw))
            case _:
                raise ApiError(int(raw.get("code", 0)), str(raw.get("reason", type_)), str(raw.get("message", raw)))
        self.last_message = _now()
        self._errors = 0

    def _well(self) -> None:
        if self.trouble:
            logger.info("the watch of %s works again", self.what)
        self.trouble = None

    async def _pause(self, error: ApiError) -> None:
        self._errors += 1
        metrics.WATCH_RESTARTS.labels(self.resource.kind).inc()
        expected = error.code == 410 and self._errors == 1
        if not expected:
            self._complain(error)
        if error.code == 404:
            self.synced.set()
        if error.code in _LASTING:
            self.answered.set()
        self._doubt(error.code != 404)
        pause = 0.0 if expected else _BACKOFF.after(self._errors)
        await asyncio.sleep(min(error.retry_after, _LONGEST_PAUSE))
        self._retry.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(max(pause * random.uniform(0.5, 1.0) - error.retry_after, 0.0)):
                await self._retry.wait()
        self._told = self._retry.is_set()

    def _doubt(self, doubtful: bool) -> None:
        if doubtful == self.doubtful:
            return
        self.doubtful, self.turned = doubtful, _now()
        # One that was told to try tells nobody: where lists work and watches do not, they would never pause.
        if not doubtful and not self._told:
            self._recovered()

    def _complain(self, error: ApiError) -> None:
        """Says what is wrong when it begins, and when it becomes something else."""
        sentence, lasting = self._sentence(error), error.code in _LASTING
        if not self.trouble or sentence != self.trouble.sentence:
            logger.log(logging.ERROR if lasting else logging.WARNING, "%s", sentence)
        self.trouble = Trouble(sentence, self.trouble.since if self.trouble else _now(), lasting)

    def _sentence(self, error: ApiError) -> str:
        if error.code == 403:
            hint = "grant the controller's ServiceAccount what the chart's Role grants, or narrow its --namespace"
            return f"may not watch {self.what}: {error.message}; {hint}"
        if error.code == 404:
            hint = "install the CRDs (the chart does so with crds.install=true)"
            return f"there are no {self.what} to watch, as the API server does not know them; {hint}"
        return f"watch of {self.what}: {error}; listing anew"


def _now() -> float:
    return asyncio.get_running_loop().time()
