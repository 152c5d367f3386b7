"""Which namespaces are operated: all, those that are named, and those that match a pattern, as they come and go."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

# There is no public name for what `kopf run --namespace` means.
from kopf._cogs.structs.references import NamespaceName, match_namespace

from dask_operator.kubernetes.api import Api
from dask_operator.kubernetes.watch import Watch
from dask_operator.model import Json, Key, Object
from dask_operator.parse import resource_version
from dask_operator.reconcile.store import Store
from dask_operator.resources import NAMESPACE, WATCHED

ALL = ""
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_PATTERN = re.compile(r"[-a-z0-9*?!\[\], ]*[*?!\[,][-a-z0-9*?!\[\], ]*")
_CATCHING_UP = 60.0
"""Seconds within which all watches of a place should work again once one of them does."""
_BEHIND = 2.0
"""Seconds by which a watch may be behind the others without harm, as it is where lists work and watches do not."""
Changed = Callable[[Iterable[Key]], None]
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Scope:
    """Names and patterns of namespaces; neither means all of them."""

    names: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()

    def includes(self, namespace: str) -> bool:
        given = (*self.names, *self.patterns)
        return not given or any(match_namespace(NamespaceName(namespace), pattern) for pattern in given)

    def __str__(self) -> str:
        return ", ".join((*self.names, *self.patterns)) or "all namespaces"


def parse_scope(arguments: Sequence[str]) -> Scope:
    """The scope of `--namespace`, once or several times. Raises ValueError where one can match no namespace."""
    names = tuple(dict.fromkeys(text for text in arguments if _NAME.fullmatch(text)))
    patterns = tuple(dict.fromkeys(text for text in arguments if not _NAME.fullmatch(text)))
    for pattern in patterns:
        if not _PATTERN.fullmatch(pattern):
            raise ValueError(f"--namespace={pattern}: neither a namespace's name nor a pattern of names, as in dev-*")
    return Scope(names, patterns)


class Watches:
    """The watches of everything in scope; to iterate over. `changed` gets the keys of clusters.

    It gets none before all is known that is in their namespace: a plan that lacks a kind creates what exists.
    """

    def __init__(self, api: Api, store: Store, scope: Scope, changed: Changed) -> None:
        self._api = api
        self._store = store
        self._changed = changed
        named = scope.names or (() if scope.patterns else (ALL,))
        self._places = {name: _Place(api, store, name, changed) for name in named}
        self._running: dict[str, asyncio.Task[None]] = {}
        memory = _Namespaces(Scope(patterns=scope.patterns), self)
        watch = Watch(api, memory, NAMESPACE, ALL, lambda _: None, parse=_namespace)
        self._namespaces = (watch,) if scope.patterns else ()

    def __iter__(self) -> Iterator[Watch]:
        yield from self._namespaces
        for place in self._places.values():
            yield from place.watches

    async def run(self) -> None:
        """Runs until cancelled."""
        async with asyncio.TaskGroup() as self._tasks:
            for place in self._places.values():
                self._tasks.create_task(place.run())
            for watch in self._namespaces:
                self._tasks.create_task(watch.run())

    async def answered(self) -> None:
        """Returns once the API server has answered what was asked of it: with all there is, or with a refusal."""
        await asyncio.gather(*(watch.answered.wait() for watch in self._namespaces))
        await asyncio.gather(*(watch.answered.wait() for watch in self))

    def keys(self) -> set[Key]:
        """The clusters in namespaces about which all is known."""
        complete = {name for name, place in self._places.items() if place.complete}
        clusters = self._store.keys()
        return clusters if ALL in complete else {key for key in clusters if key.namespace in complete}

    def agree_on(self, key: Key) -> bool:
        """Whether what is known of a cluster is all of about the same time, which it is not after an outage.

        A plan that has heard of the end of a cluster's Pods and not of the cluster's own makes them anew.
        """
        place = self._places.get(key.namespace) or self._places.get(ALL)
        return not place or place.agrees()

    def opened(self) -> set[str]:
        """The namespaces that are watched because they match a pattern."""
        return set(self._running)

    def open(self, namespace: str) -> None:
        if namespace in self._places:
            return
        place = self._places[namespace] = _Place(self._api, self._store, namespace, self._changed)
        self._running[namespace] = self._tasks.create_task(place.run())
        logger.info("namespace %s is operated from now on", namespace)

    def close(self, namespace: str, version: int) -> None:
        """Forgets a namespace that is gone as of a resource version."""
        if task := self._running.pop(namespace, None):
            task.cancel()
            del self._places[namespace]
            for resource in WATCHED:
                self._store.replace(resource.kind, namespace, (), version)
            logger.info("namespace %s is gone", namespace)


class _Place:
    """One namespace, or all. `complete` once all is known that is there."""

    def __init__(self, api: Api, store: Store, namespace: str, changed: Changed) -> None:
        self._store = store
        self._namespace = namespace
        self._changed = changed
        self.watches = [
            Watch(api, store, resource, namespace, self._tell, recovered=self._retry) for resource in WATCHED
        ]
        self.complete = False

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for watch in self.watches:
                tasks.create_task(watch.run())
            await asyncio.gather(*(watch.synced.wait() for watch in self.watches))
            self.complete = True
            clusters = self._store.keys()
            self._changed(key for key in clusters if self._namespace in (ALL, key.namespace))

    def agrees(self) -> bool:
        """Whether no watch is behind the others; one that goes on to fail, while others work, is not waited for."""
        now = asyncio.get_running_loop().time()
        if not any(watch.doubtful and now > watch.turned + _BEHIND for watch in self.watches):
            return True
        well = [watch.turned for watch in self.watches if not watch.doubtful]
        return bool(well) and now > max(well) + _CATCHING_UP

    def _retry(self) -> None:
        """What one watch can reach again the others can."""
        for watch in self.watches:
            watch.retry()

    def _tell(self, keys: Iterable[Key]) -> None:
        if self.complete:
            self._changed(keys)


class _Namespaces:
    """What a watch of Namespaces tells of them opens and closes the watches in them."""

    def __init__(self, scope: Scope, watches: Watches) -> None:
        self._scope = scope
        self._watches = watches

    def observe(self, _: str, seen: Object) -> Iterable[Key]:
        if self._scope.includes(seen.name):
            self._watches.open(seen.name)
        return ()

    def forget(self, _: str, gone: Object) -> Iterable[Key]:
        self._watches.close(gone.name, gone.resource_version)
        return ()

    def replace(self, kind: str, _: str, listed: Iterable[Object], version: int) -> Iterable[Key]:
        present = {seen.name: seen for seen in listed}
        for name in self._watches.opened() - set(present):
            self._watches.close(name, version)
        for seen in present.values():
            self.observe(kind, seen)
        return ()

    def reached(self, kind: str, namespace: str, version: int) -> None:
        """Nothing is learnt of Namespaces but by their watch."""


def _namespace(raw: Json) -> Object:
    meta = raw["metadata"]
    return Object("", meta["name"], meta["uid"], resource_version(raw))
