"""A watch keeps the store true to one kind of object in one namespace, or in all.

The Kubernetes API makes this a loop: list everything, watch the changes from the list's resource version on, and list
again when the watch cannot be continued. What is easy to get wrong, and is decided here:

- *A relist must report deletions.* An object that vanished while no watch was open is in no event. So a list replaces
  everything that the store has of the kind, and what it lacks is gone (`store.Store.replace`). kopf does not do this
  after 410 Gone, which is one reason for not using its watches.
- *A watch that ends in order goes on where it was.* The API server closes watches after some minutes, and a connection
  that has gone silent is closed here. Neither loses an event, because the next watch starts at the last resource
  version seen. Everything else (410 Gone, an ERROR event, a broken connection, an answer that cannot be read) leads to
  a new list.
- *No event is trusted to come.* After some watches in a row everything is listed anew, so that an event the API server
  never sent is made good within half an hour.
- *A quiet kind looks like a dead connection.* Bookmarks, which come every minute if at all, tell them apart. After
  SILENCE seconds without one the connection is given up.
- *What was seen may be older than what is known to have happened.* A connection that is cut shows nothing until it is
  given up, and one kind may be behind another. Whoever needs a state that is at least as new as this moment calls
  `Watch.renew`.
- *A watch that fails may succeed in listing.* If lists work and watches do not, each list would start the pauses
  between attempts anew. So only an event ends a series of failures, and only a watch that has stayed open for a second
  settles the complaint.

A watch tells its owner, `reconcile.watches`, when its state turns. The owner decides what follows for other watches,
and whether plans may rely on the store meanwhile.
"""

from __future__ import annotations

import asyncio
import enum
import logging
import random
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import NamedTuple, Protocol

from dask_operator import metrics
from dask_operator.backoff import Backoff
from dask_operator.kubernetes.api import Api
from dask_operator.kubernetes.complaint import Complaint
from dask_operator.kubernetes.errors import ApiError
from dask_operator.model import Json, Object
from dask_operator.parse import PARSERS, resource_version, version_number
from dask_operator.resources import Resource

SILENCE = 100.0
"""Seconds without an event or a bookmark after which a connection is considered dead."""
_DURATION = (240.0, 360.0)
_RENEWALS = 6
"""The number of watches in a row, about half an hour, after which everything is listed anew."""
_SHORTEST = 1.0
"""Seconds for which a watch must stay open to count as working."""
_LONGEST_STEP = 0.05
"""Seconds of parsing after which other tasks get their turn."""
_BACKOFF = Backoff(first=1.0, longest=30.0)
_LONGEST_RETRY_AFTER = 120.0
_FORBIDDEN, _UNKNOWN, _GONE = 403, 404, 410

logger = logging.getLogger(__name__)


class Sink(Protocol):
    """The receiver of a watch's objects: the store, or a namespace in front of it."""

    def observe(self, kind: str, seen: Object) -> object: ...
    def removed(self, kind: str, gone: Object) -> object: ...
    def replace(self, kind: str, namespace: str, listed: Iterable[Object], version: int) -> object: ...
    def reached(self, kind: str, namespace: str, version: int) -> object: ...


class Phase(enum.Enum):
    """The relation of the sink's objects to the API server's."""

    LISTING = "listing"
    """The first list is not complete."""
    LIVE = "live"
    """The sink has everything up to the last event."""
    STALE = "stale"
    """The watch broke; changes may be missing until the next list."""
    REFUSED = "refused"
    """Permission is missing; changes may be missing until it is granted."""
    ABSENT = "absent"
    """The API server does not know the kind, so there are no objects."""


class State(NamedTuple):
    """The phase of a watch, and since when the sink has been `stale` or not stale, on the event loop's clock.

    `woken`: this phase came of an attempt that `Watch.retry` asked for, not of the watch's own schedule.
    """

    phase: Phase
    since: float
    woken: bool = False

    @property
    def stale(self) -> bool:
        """True while the sink may lack changes."""
        return self.phase in (Phase.STALE, Phase.REFUSED)


class Watch:
    """The watch of one kind in one namespace ("": in all). `turned` is called when `state.stale` has changed.

    `synced` is set by the first list, or once the API server says that it does not know the kind, and never unset.
    `answered` is set by every list, and by an answer that lasts, such as a refusal; `renew` unsets it.
    """

    def __init__(
        self,
        api: Api,
        sink: Sink,
        resource: Resource,
        namespace: str,
        turned: Callable[[State], None] = lambda _: None,
        parse: Callable[[Json], Object] | None = None,
    ) -> None:
        self._api = api
        self._sink = sink
        self._namespace = namespace
        self._turned = turned
        self._parse = parse or PARSERS[resource.kind]
        self._retry = asyncio.Event()
        self._renewal: asyncio.Timeout | None = None
        self._woken = False
        self._failures = 0
        self.resource = resource
        self.synced = asyncio.Event()
        self.answered = asyncio.Event()
        self.complaint = Complaint(logger)
        self.last_try = self.last_message = _now()
        self.state = State(Phase.LISTING, _now())

    @property
    def what(self) -> str:
        """The watched objects, for a person."""
        if not self.resource.namespaced:
            return self.resource.plural
        return f"{self.resource.plural} in {f'namespace {self._namespace}' if self._namespace else 'all namespaces'}"

    async def run(self) -> None:
        """List and watch until cancelled."""
        while True:
            self.last_try = _now()
            try:
                await self._list_and_watch()
            except ApiError as error:
                await self._recover(error)
            except (LookupError, TypeError, ValueError) as error:
                await self._recover(ApiError(0, "Malformed", f"an answer without {error}"))

    def renew(self) -> None:
        """List everything anew from now on, whatever the watch is doing, and set `answered` when that is done."""
        self.answered.clear()
        self._retry.set()
        if self._renewal:
            self._renewal.reschedule(_now())
            self._renewal = None

    def retry(self) -> None:
        """End the pause after a failure, because there is reason to think that an attempt would succeed now."""
        self._retry.set()

    async def _list_and_watch(self) -> None:
        """List and watch until `renew`, or until it is time to list anew."""
        with suppress(TimeoutError):
            async with asyncio.timeout(None) as renewal:
                self._renewal = renewal
                try:
                    version = await self._list()
                    for _ in range(_RENEWALS):
                        version = await self._watch(version)
                finally:
                    self._renewal = None

    async def _list(self) -> str:
        objects: list[Object] = []
        continued, limit = "", 0
        while True:
            page = await self._api.list_page(self.resource, self._namespace, continued, limit)
            self.last_message = began = _now()
            for raw in page.items:
                objects.append(self._parse(raw))
                # A page may have hundreds of large objects.
                if _now() > began + _LONGEST_STEP:
                    await asyncio.sleep(0)
                    began = _now()
            continued, limit = page.continued, page.limit
            if not continued:
                break
        self._sink.replace(self.resource.kind, self._namespace, objects, version_number(page.version))
        self._enter(Phase.LIVE)
        return page.version

    async def _watch(self, version: str) -> str:
        """Watch until the watch ends in order, and return the resource version reached."""
        duration, began = random.uniform(*_DURATION), _now()
        self.last_try = began
        first = version
        sound = asyncio.get_running_loop().call_later(_SHORTEST, self._settle)
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
                self._sink.observe(kind, self._parse(raw))
            case "DELETED":
                self._sink.removed(kind, self._parse(raw))
            case "BOOKMARK":
                self._sink.reached(kind, self._namespace, resource_version(raw))
            case _:
                raise ApiError(int(raw.get("code", 0)), str(raw.get("reason", type_)), str(raw.get("message", raw)))
        self.last_message = _now()
        self._failures = 0

    async def _recover(self, error: ApiError) -> None:
        """Record a failure and pause before the next list."""
        self._failures += 1
        metrics.WATCH_RESTARTS.labels(self.resource.kind).inc()
        # The API server keeps events for some minutes only; a list at once makes that good.
        expected = error.code == _GONE and self._failures == 1
        if not expected:
            self._complain(error)
        self._enter(_PHASES.get(error.code, Phase.STALE))
        pause = 0.0 if expected else _BACKOFF.after(self._failures)
        await asyncio.sleep(min(error.retry_after, _LONGEST_RETRY_AFTER))
        self._retry.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(max(pause * random.uniform(0.5, 1.0) - error.retry_after, 0.0)):
                await self._retry.wait()
        self._woken = self._retry.is_set()

    def _enter(self, phase: Phase) -> None:
        before = self.state
        self.state = State(phase, before.since, self._woken)
        if phase in (Phase.LIVE, Phase.ABSENT):
            self.synced.set()
        if phase is not Phase.STALE:
            self.answered.set()
        if self.state.stale != before.stale:
            self.state = self.state._replace(since=_now())
            self._turned(self.state)

    def _settle(self) -> None:
        if self.complaint:
            logger.info("the watch of %s works again", self.what)
        self.complaint.settle()

    def _complain(self, error: ApiError) -> None:
        lasting = error.code in _PHASES
        level = logging.ERROR if lasting else logging.WARNING
        self.complaint.make(self._sentence(error), _now(), level, lasting=lasting)

    def _sentence(self, error: ApiError) -> str:
        if error.code == _FORBIDDEN:
            hint = "grant the controller's ServiceAccount what the chart's Role grants, or narrow its --namespace"
            return f"may not watch {self.what}: {error.message}; {hint}"
        if error.code == _UNKNOWN:
            hint = "install the CRDs (the chart does so with crds.install=true)"
            return f"there are no {self.what} to watch, as the API server does not know them; {hint}"
        return f"watch of {self.what}: {error}; listing anew"


_PHASES = {_FORBIDDEN: Phase.REFUSED, _UNKNOWN: Phase.ABSENT}
"""The phases that last until a person grants a permission or installs a definition."""


def _now() -> float:
    return asyncio.get_running_loop().time()
