"""All watches of the controller: one per kind in each namespace that is operated.

A plan needs everything about a cluster at once, and it comes by seven watches that know nothing of each other. Four
things can go wrong. `Watches` decides about the third, and `Namespace`, which has the seven of one namespace, about the
others:

- *A plan before the first lists are complete* would create what exists. So no key is passed on before that.
- *A plan from states of different times.* After an outage one watch may be live again while another is stale. A plan
  that has heard of the end of a cluster's Pods, and not of the end of the cluster, would create the Pods anew. So
  `consistent_for` holds plans back until all watches have listed again. A watch that keeps failing while the others
  work, such as for want of a permission, is not waited for.
- *A plan from states older than the last leader's writes.* A process that stood by may have seen the status of a job
  that names a Pod, and not the Pod; it would take the Pod for lost. So a process that begins to lead lists everything
  anew first: `Watches.renew`.
- *A slow recovery.* Each watch backs off on its own, so after a long outage the last might try half a minute after the
  first, and plans would wait for it. So when one watch recovers, all others try at once. A watch that was woken in this
  way wakes nobody: where lists work and watches do not, they would otherwise wake each other without end.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from dask_operator.kubernetes.api import Api
from dask_operator.kubernetes.watch import State, Watch
from dask_operator.model import Flavor, Json, Key, Node, Object, Priority
from dask_operator.parse import resource_version
from dask_operator.reconcile.scope import Scope
from dask_operator.reconcile.store import Store
from dask_operator.resources import FLAVOR, NAMESPACE, NODE, QUEUES, WATCHED, WORKLOAD, Resource

ALL = ""
_CATCHING_UP = 60.0
"""Seconds within which all watches of a namespace should work again once one of them does."""
_BEHIND = 2.0
"""Seconds for which a watch may be stale without harm, as it often is where lists work and watches do not."""
Changed = Callable[[Iterable[Key]], None]
logger = logging.getLogger(__name__)


class Watches:
    """The watches of everything in scope; iterate over it for each `Watch`. `changed` gets the keys of clusters."""

    def __init__(
        self, api: Api, store: Store, scope: Scope, changed: Changed, *, nodes: bool = False, queues: bool = False
    ) -> None:
        self._api = api
        self._store = store
        self._changed = changed
        self._watched = (*WATCHED, WORKLOAD) if queues else WATCHED
        fixed = scope.names or (() if scope.patterns else (ALL,))
        self._namespaces = {name: self._namespace(name) for name in fixed}
        self._matching: dict[str, asyncio.Task[None]] = {}
        watch = Watch(api, _Matching(Scope(patterns=scope.patterns), self), NAMESPACE, ALL, parse=_namespace)
        self._of_namespaces = (watch,) if scope.patterns else ()
        self._of_all = [Watch(api, _Nodes(store, self), NODE, ALL)] if nodes else []
        self._of_all += [Watch(api, _Queues(store, self), kind, ALL) for kind in QUEUES] if queues else []

    def __iter__(self) -> Iterator[Watch]:
        yield from self._of_namespaces
        yield from self._of_all
        for namespace in self._namespaces.values():
            yield from namespace.watches

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as self._tasks:
            for namespace in self._namespaces.values():
                self._tasks.create_task(namespace.run())
            for watch in (*self._of_namespaces, *self._of_all):
                self._tasks.create_task(watch.run())

    async def answered(self) -> None:
        """Wait until the API server has answered every watch, with a complete list or with a lasting refusal."""
        await asyncio.gather(*(watch.answered.wait() for watch in self._of_namespaces))
        await asyncio.gather(*(watch.answered.wait() for watch in self))

    async def renew(self) -> None:
        """List everything anew. A kind that still cannot be listed after a minute is waited for no longer."""
        for watch in self:
            watch.renew()
        with suppress(TimeoutError):
            async with asyncio.timeout(_CATCHING_UP):
                await self.answered()

    def keys(self) -> set[Key]:
        """Return the clusters in namespaces whose lists are complete."""
        complete = {name for name, namespace in self._namespaces.items() if namespace.complete}
        clusters = self._store.keys()
        return clusters if ALL in complete else {key for key in clusters if key.namespace in complete}

    def tell(self, keys: set[Key]) -> None:
        """Tell those clusters of a change that are known completely."""
        if keys:
            self._changed(keys & self.keys())

    def consistent_for(self, key: Key) -> bool:
        """Return whether everything known of a cluster is of about the same time."""
        namespace = self._namespaces.get(key.namespace) or self._namespaces.get(ALL)
        return not namespace or namespace.consistent()

    def matching(self) -> set[str]:
        """Return the namespaces that are watched because they match a pattern."""
        return set(self._matching)

    def open(self, namespace: str) -> None:
        """Watch a namespace that matches a pattern."""
        if namespace in self._namespaces:
            return
        opened = self._namespaces[namespace] = self._namespace(namespace)
        self._matching[namespace] = self._tasks.create_task(opened.run())
        logger.info("namespace %s is operated from now on", namespace)

    def close(self, namespace: str, version: int) -> None:
        """Drop a namespace that is gone as of a resource version, if it is watched because it matches a pattern."""
        if task := self._matching.pop(namespace, None):
            task.cancel()
            del self._namespaces[namespace]
            for resource in self._watched:
                self._store.replace(resource.kind, namespace, (), version)
            logger.info("namespace %s is gone", namespace)

    def _namespace(self, name: str) -> Namespace:
        return Namespace(self._api, self._store, name, self._changed, self._watched)


class Namespace:
    """The watches of one namespace, or of all, and the sink that passes their objects on to the store.

    `complete` is set once every watch has made its first list.
    """

    def __init__(
        self, api: Api, store: Store, name: str, changed: Changed, watched: Iterable[Resource] = WATCHED
    ) -> None:
        self._store = store
        self._name = name
        self._changed = changed
        self.watches = [Watch(api, self, resource, name, self._turned) for resource in watched]
        self.complete = False

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for watch in self.watches:
                tasks.create_task(watch.run())
            await asyncio.gather(*(watch.synced.wait() for watch in self.watches))
            self.complete = True
            clusters = self._store.keys()
            self._changed(key for key in clusters if self._name in (ALL, key.namespace))

    def consistent(self) -> bool:
        """Return whether no watch is stale, but for those that stay so long after the others have recovered."""
        now = asyncio.get_running_loop().time()
        states = [watch.state for watch in self.watches]
        if not any(state.stale and now > state.since + _BEHIND for state in states):
            return True
        recovered = [state.since for state in states if not state.stale]
        return bool(recovered) and now > max(recovered) + _CATCHING_UP

    def observe(self, kind: str, seen: Object) -> None:
        self._tell(self._store.observe(kind, seen))

    def removed(self, kind: str, gone: Object) -> None:
        self._tell(self._store.removed(kind, gone))

    def replace(self, kind: str, namespace: str, listed: Iterable[Object], version: int) -> None:
        self._tell(self._store.replace(kind, namespace, listed, version))

    def reached(self, kind: str, namespace: str, version: int) -> None:
        self._store.reached(kind, namespace, version)

    def _tell(self, keys: Iterable[Key]) -> None:
        if self.complete:
            self._changed(keys)

    def _turned(self, state: State) -> None:
        if not state.stale and not state.woken:
            for watch in self.watches:
                watch.retry()


class _Matching:
    """The sink of the watch of Namespaces: it opens and closes those that match a pattern."""

    def __init__(self, scope: Scope, watches: Watches) -> None:
        self._scope = scope
        self._watches = watches

    def observe(self, _: str, seen: Object) -> None:
        if self._scope.includes(seen.name):
            self._watches.open(seen.name)

    def removed(self, _: str, gone: Object) -> None:
        self._watches.close(gone.name, gone.resource_version)

    def replace(self, kind: str, _: str, listed: Iterable[Object], version: int) -> None:
        present = {seen.name: seen for seen in listed}
        for name in self._watches.matching() - set(present):
            self._watches.close(name, version)
        for seen in present.values():
            self.observe(kind, seen)

    def reached(self, kind: str, namespace: str, version: int) -> None:
        """Record nothing: only this watch's own lists and events tell of Namespaces."""


class _Nodes:
    """The sink of the watch of nodes, for which no plan waits: without it workers stay where they are."""

    def __init__(self, store: Store, watches: Watches) -> None:
        self._store = store
        self._watches = watches

    def observe(self, _: str, seen: Object) -> None:
        if isinstance(seen, Node):
            self._watches.tell(self._store.taint(seen.name, seen.taints))

    def removed(self, _: str, gone: Object) -> None:
        self._watches.tell(self._store.taint(gone.name, ()))

    def replace(self, kind: str, _: str, listed: Iterable[Object], version: int) -> None:
        present = {seen.name: seen for seen in listed}
        for name in self._store.tainted - set(present):
            self._watches.tell(self._store.taint(name, ()))
        for seen in present.values():
            self.observe(kind, seen)

    def reached(self, kind: str, namespace: str, version: int) -> None:
        """Record nothing: only this watch's own lists and events tell of nodes."""


class _Queues:
    """The sink of the watches of ResourceFlavors and priority classes. A cluster waits for those that it needs."""

    def __init__(self, store: Store, watches: Watches) -> None:
        self._store = store
        self._watches = watches

    def observe(self, kind: str, seen: Object) -> None:
        if isinstance(seen, Flavor | Priority):
            self._watches.tell(self._store.queue_fact(kind, seen))

    def removed(self, kind: str, gone: Object) -> None:
        if isinstance(gone, Flavor | Priority):
            self._watches.tell(self._store.queue_fact(kind, gone, gone=True))

    def replace(self, kind: str, _: str, listed: Iterable[Object], version: int) -> None:
        present = {seen.name: seen for seen in listed}
        flavors, priorities = self._store.queues
        known = (
            flavors if kind == FLAVOR.kind else {name: each for (of, name), each in priorities.items() if of == kind}
        )
        for name in known.keys() - present.keys():
            self.removed(kind, known[name])
        for seen in present.values():
            self.observe(kind, seen)

    def reached(self, kind: str, namespace: str, version: int) -> None:
        """Record nothing: only these watches' own lists and events tell of their kinds."""


def _namespace(raw: Json) -> Object:
    meta = raw["metadata"]
    return Object("", meta["name"], meta["uid"], resource_version(raw))
