"""The writes of a plan to the API server, made side by side, and their outcome as facts.

After the first refusal about a subject the other writes about it are left to a later plan, which tries with one of
them: a webhook that hangs would hold all of them.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import defaultdict
from collections.abc import Callable, Container, Coroutine, Iterator, Sequence
from typing import Any

from dask_operator.actions import Action, Create, Delete, Patch, SetStatus
from dask_operator.kubernetes.api import Api, Reply
from dask_operator.kubernetes.errors import ApiError
from dask_operator.model import Json, Key, ObjectRef, Problem
from dask_operator.names import RESERVED_LABELS
from dask_operator.parse import PARSERS
from dask_operator.reconcile.facts import NEW_PODS, TERMINATING, Deed, Facts
from dask_operator.reconcile.store import Store, cluster_of
from dask_operator.resources import POD, RESOURCES

IN_FLIGHT = 32
"""Concurrent writes of one plan."""
_FEWER, _MANY = 20, 400
"""Concurrent writes of a plan with many: a large plan takes its time anyway, and other clusters get their turn."""

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
Write = Create | Patch | Delete | SetStatus
logger = logging.getLogger(__name__)


class Writer:
    """The writer for all clusters. A refusal is a fact in the store afterwards, never an exception."""

    def __init__(self, api: Api, store: Store, clock: Callable[[], float]) -> None:
        self._api = api
        self._store = store
        self._clock = clock

    async def write(self, key: Key, writes: Sequence[Write]) -> None:
        """Make writes about one cluster, as many at a time as `in_flight` says."""
        if not writes:
            return
        refusals: dict[ObjectRef, ApiError] = {}
        done: dict[ObjectRef, set[Deed]] = defaultdict(set)
        for part in _parts(writes, self._store.facts(key).failures):
            await self._side_by_side(key, part, done, refusals)
        facts = self._store.facts(key)
        for subject, deeds in done.items():
            gone = self._store.missing(POD.kind, key.namespace, facts.new_pods(subject))
            facts.succeeded(subject, deeds, self._clock(), gone)
        for subject, error in refusals.items():
            now = self._clock()
            pause = facts.failed(subject, _problem(error), now, error.retry_after).until - now
            logger.warning("%s/%s: %s %s: %s; tried again in %.0f s", *key, *subject, error.loggable, pause)

    async def _side_by_side(
        self, key: Key, writes: Sequence[Write], done: dict[ObjectRef, set[Deed]], refusals: dict[ObjectRef, ApiError]
    ) -> None:
        pending = iter(writes)

        async def work() -> None:
            for write in pending:
                if write.subject in refusals:
                    continue
                try:
                    deed = await self._one(key, write)
                except ApiError as error:
                    refusals.setdefault(write.subject, error)
                else:
                    done[write.subject].update([deed] if deed else ())

        await asyncio.gather(*(work() for _ in range(in_flight(len(writes)))))

    def admitted(self, key: Key, actions: Sequence[Action]) -> list[Action]:
        """Return the actions but for writes that had no effect before, until it is time for another attempt."""
        facts, now = self._store.facts(key), self._clock()
        return [each for each in actions if not (isinstance(each, Write) and _holds(facts, each, now))]

    async def _one(self, key: Key, write: Write) -> Deed | None:
        """Make one write. Return it, unless no plan can ask for the very same again."""
        kind, name = write.subject
        match write:
            case Create():
                if not await self._create(key, write):
                    return Deed(write.manifest["metadata"]["name"], write.because)
            case Patch():
                if write.pod:
                    await self._require_acceptable(write.pod)
                await self._learn(kind, self._api.patch(RESOURCES[kind], key.namespace, name, write.body))
            case SetStatus():
                await self._set_status(key, write)
            case Delete():
                await self._delete(key, write)
                self._store.facts(key).deleted(write.subject, write.name)
        return _deed(write)

    async def _require_acceptable(self, pod: Json) -> None:
        """Raise ApiError if the API server would not accept a Pod."""
        try:
            await self._api.create(RESOURCES[pod["kind"]], pod, dry_run=True)
        except ApiError as error:
            # Its predecessor's place in a quota will be free by then. Webhooks with side effects support no dry run.
            if "exceeded quota" not in error.message and "dry run" not in error.message:
                raise

    async def _set_status(self, key: Key, write: SetStatus) -> None:
        resource, name = RESOURCES[write.subject.kind], write.subject.name
        patch: dict[str, Any] = {"status": write.status}
        if write.resource_version is not None:
            patch["metadata"] = {"resourceVersion": str(write.resource_version)}
        inline = False
        try:
            reply = await self._api.patch(resource, key.namespace, name, patch, "status")
        except ApiError as error:
            if error.code != 404:
                raise
            # CRDs of older operators have no status subresource; the status is a part of the object, if it is kept.
            inline = True
            patch |= {"metadata": {"annotations": write.notes}} if write.notes else {}
            try:
                reply = await self._api.patch(resource, key.namespace, name, patch)
            except ApiError as gone:
                if gone.code != 404:
                    raise
                return
        self._store.learn(resource.kind, PARSERS[resource.kind](reply.body))
        self._store.status_written(key, write.subject, write.status, self._clock(), inline=inline)

    async def _create(self, key: Key, write: Create) -> bool:
        """Create an object. Return False if it existed already."""
        created, resource, meta = True, RESOURCES[write.manifest["kind"]], write.manifest["metadata"]
        try:
            reply = await self._api.create(resource, write.manifest)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
            # It comes from an attempt whose reply was lost, unless it belongs to something else.
            reply = await self._api.get(resource, key.namespace, meta["name"])
            _require_ours(reply, key, meta)
            created = False
        self._store.learn(resource.kind, PARSERS[resource.kind](reply.body))
        for warning in reply.warnings:
            if warning.startswith("metadata.name:"):
                continue  # Long names of Pods are no good hostnames, and nothing here uses them as such.
            # All Pods of a group have one warning, also one that names a Pod.
            text = warning.replace(meta["name"], write.subject.name)
            self._store.facts(key).warned(f"{resource.kind} {write.subject.name}", text)
        return created

    async def _learn(self, kind: str, request: Coroutine[Any, Any, Reply]) -> None:
        try:
            reply = await request
        except ApiError as error:
            if error.code != 404:
                raise
            return  # It was deleted meanwhile, as the watch will show.
        self._store.learn(kind, PARSERS[kind](reply.body))

    async def _delete(self, key: Key, write: Delete) -> None:
        resource = RESOURCES[write.subject.kind]
        preconditions = {"uid": write.uid}
        if write.resource_version is not None:
            preconditions["resourceVersion"] = str(write.resource_version)
        try:
            await self._api.delete(resource, key.namespace, write.name, preconditions, write.grace)
        except ApiError as error:
            if error.code == 409:  # It has changed since, so the next plan looks at it again.
                await self._learn(resource.kind, self._api.get(resource, key.namespace, write.name))
                return
            if error.code != 404:
                raise
        self._store.deleted(resource.kind, write.uid, key.namespace, write.name)


def _holds(facts: Facts, write: Write, now: float) -> bool:
    deed = _deed(write)
    return bool(deed and facts.holds(write.subject, deed, now))


def _deed(write: Write) -> Deed | None:
    """Return a write as one that may be asked for again; None for a deletion."""
    match write:
        case Create():
            name = write.manifest["metadata"]["name"]
            new = write.subject.kind == POD.kind and write.subject.name != name
            return Deed(name, write.because, part=NEW_PODS if new else "")
        case Patch():
            return Deed(write.subject.name, write.because, _content(write.body))
        case SetStatus():
            return Deed(write.subject.name, write.because, _content(write.status), "status")
    return None


def _parts(writes: Sequence[Write], failures: Container[ObjectRef]) -> tuple[list[Write], list[Write]]:
    """Return the writes in two parts: of those about a subject that was refused before, all but one come later."""
    first: list[Write] = []
    later: list[Write] = []
    tried: set[ObjectRef] = set()
    for write in writes:
        (later if write.subject in tried else first).append(write)
        if write.subject in failures:
            tried.add(write.subject)
    return first, later


def in_flight(writes: int) -> int:
    """Return how many of a plan's writes to make at a time."""
    return min(writes, _FEWER if writes > _MANY else IN_FLIGHT)


def _content(body: Json | Sequence[Json]) -> int:
    """Return a hash of a write without the times in it."""
    return hash(_TIME.sub("", repr(body)))


def _problem(error: ApiError) -> Problem:
    if error.code == 403 and "exceeded quota" in error.message:
        return Problem("QuotaExceeded", f"{error.message}; raise the quota or scale down")
    return Problem(error.reason or "ApiError", error.message)


def _require_ours(reply: Reply, key: Key, wanted: Json) -> None:
    """Raise ApiError unless an existing object is the cluster's own, stays, and has the labels by which it is watched.

    `wanted` is the metadata of the object that was to be created.
    """
    found, meta = PARSERS[reply.body["kind"]](reply.body), reply.body["metadata"]
    exists = f"{reply.body['kind']} {found.name} exists"
    if wanted["ownerReferences"][0]["uid"] not in found.owners:
        raise ApiError(409, "NameTaken", f"{exists} and belongs to something else: delete or rename it, or the cluster")
    if found.deleting:
        raise ApiError(
            409, TERMINATING, f"{exists} and is being deleted; it is made anew when it is gone{_held_by(meta)}"
        )
    labels = meta.get("labels") or {}
    if lost := next((f"{k}={wanted['labels'][k]}" for k in _lost(wanted["labels"], labels)), ""):
        raise ApiError(409, "NameTaken", f"{exists} and has lost its label {lost}: put it back, or delete {found.name}")
    if cluster_of(found) != key:
        raise ApiError(409, "NameTaken", f"{exists} and is of the cluster {cluster_of(found).name}: delete it")


def _lost(wanted: Json, labels: Json) -> Iterator[str]:
    return (key for key in RESERVED_LABELS if key in wanted and labels.get(key) != wanted[key])


def _held_by(meta: Json) -> str:
    finalizers = ", ".join(map(str, meta.get("finalizers") or ()))
    return f", for which its finalizers have to go: {finalizers}" if finalizers else ""
