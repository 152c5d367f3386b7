"""Does what a plan says, and remembers how it went for the next plan. It decides nothing.

Writes go out side by side, a bounded number at a time; after the first refusal about a subject the rest about it is
left for a later plan. Questions to a scheduler run beside everything else: their answers are facts of a later plan.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from typing import Any

from dask_operator import build, metrics
from dask_operator.actions import (
    IDLE,
    TARGET,
    Action,
    Ask,
    ClearFailures,
    Create,
    Delete,
    Patch,
    RecordEvent,
    RequeueAt,
    Retire,
    SetStatus,
)
from dask_operator.kubernetes.api import Api, Reply
from dask_operator.kubernetes.errors import ApiError
from dask_operator.model import Json, Key, ObjectRef, Problem, Sample, Survey
from dask_operator.names import RESERVED_LABELS
from dask_operator.parse import PARSERS, rfc3339
from dask_operator.reconcile.store import TERMINATING, Deed, Store, cluster_of
from dask_operator.reconcile.workqueue import WorkQueue
from dask_operator.resources import EVENT, POD, RESOURCES
from dask_operator.scheduler.failures import SchedulerError
from dask_operator.scheduler.questions import Schedulers

IN_FLIGHT = 32
"""Writes of one cluster at a time."""
_FEWER, _MANY = 20, 400
"""Writes at a time of a plan that has many: thousands of workers take their time anyway, and others do not wait."""

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
Write = Create | Patch | Delete | SetStatus
logger = logging.getLogger(__name__)


class Executor:
    def __init__(
        self, api: Api, store: Store, schedulers: Schedulers, queue: WorkQueue, clock: Callable[[], float]
    ) -> None:
        self._api = api
        self._store = store
        self._schedulers = schedulers
        self._queue = queue
        self._clock = clock
        self._background: set[asyncio.Task[None]] = set()

    async def execute(self, key: Key, actions: Sequence[Action]) -> None:
        """Does a plan's actions for one cluster. What fails is a fact in the store afterwards, never an exception."""
        _log(key, actions)
        changes = [action for action in actions if isinstance(action, Create | Patch | Delete)]
        statuses = [action for action in actions if isinstance(action, SetStatus)]
        await self._write(key, changes)
        await self._write(key, statuses)
        await self._emit(key, [action for action in actions if isinstance(action, RecordEvent)])
        for action in actions:
            match action:
                case RequeueAt():
                    self._queue.add(key, action.at)
                case ClearFailures():
                    self._store.void(key, action.subjects)
                case Ask():
                    self._store.asking(key, action.question)
                    self._beside(key, self._ask(key, action))
                case Retire():
                    self._store.retiring(key, frozenset(uid for uid, _ in action.workers))
                    self._beside(key, self._retire(key, action))
        if changes or statuses:
            self._queue.add(key)

    async def close(self) -> None:
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)

    async def _write(self, key: Key, writes: Sequence[Write]) -> None:
        refusals: dict[ObjectRef, ApiError] = {}
        pending = iter(writes)
        done: dict[ObjectRef, set[Deed]] = defaultdict(set)

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
        for subject, deeds in done.items():
            self._store.succeeded(key, subject, frozenset(deeds), self._clock())
        for subject, error in refusals.items():
            self._refused(key, subject, error)

    async def _one(self, key: Key, write: Write) -> Deed | None:
        """Returns what was done, unless it can only be done once."""
        kind, name = write.subject
        match write:
            case Create():
                created = await self._create(key, write)
                # No worker is given the name of another, so one that is new was none before.
                return None if created and kind == POD.kind else Deed(write.manifest["metadata"]["name"], write.because)
            case Patch():
                if write.pod:
                    await self._require_acceptable(write.pod)
                await self._learn(kind, self._api.patch(RESOURCES[kind], key.namespace, name, write.body))
                return Deed(name, write.because, _content(write.body))
            case SetStatus():
                await self._set_status(key, write)
                return Deed(name, write.because, _content(write.status), "status")
            case Delete():
                await self._delete(key, write)
                return None

    async def _require_acceptable(self, pod: Json) -> None:
        """Raises ApiError if the API server would not have a Pod."""
        try:
            await self._api.create(RESOURCES[pod["kind"]], pod, dry_run=True)
        except ApiError as error:
            # Its predecessor's place in a quota is free by then; and not every webhook can be asked without a deed.
            if "exceeded quota" not in error.message and "dry run" not in error.message:
                raise

    async def _set_status(self, key: Key, write: SetStatus) -> None:
        resource, name = RESOURCES[write.subject.kind], write.subject.name
        patch: dict[str, Any] = {"status": write.status}
        inline = False
        try:
            reply = await self._api.patch(resource, key.namespace, name, patch, "status")
        except ApiError as error:
            if error.code != 404:
                raise
            # CRDs of older operators have no status subresource; their status is a part of the object, if they keep it.
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
        """Returns whether it is new: not if it exists already."""
        created, resource, meta = True, RESOURCES[write.manifest["kind"]], write.manifest["metadata"]
        try:
            reply = await self._api.create(resource, write.manifest)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
            # An earlier attempt whose reply was lost, unless it is somebody else's.
            reply = await self._api.get(resource, key.namespace, meta["name"])
            _require_ours(reply, key, meta)
            created = False
        self._store.learn(resource.kind, PARSERS[resource.kind](reply.body))
        for warning in reply.warnings:
            if warning.startswith("metadata.name:"):
                continue  # long names of Pods are no good hostnames, and nobody needs them to be
            text = f"{resource.kind} {write.subject.name}: {warning} (Kubernetes accepted it and ignores this)"
            self._store.warned(key, text)
        return created

    async def _learn(self, kind: str, request: Coroutine[Any, Any, Reply]) -> None:
        try:
            reply = await request
        except ApiError as error:
            if error.code != 404:
                raise
            return  # deleted meanwhile, which the watch will show
        self._store.learn(kind, PARSERS[kind](reply.body))

    async def _delete(self, key: Key, write: Delete) -> None:
        resource = RESOURCES[write.subject.kind]
        preconditions = {"uid": write.uid}
        if write.resource_version is not None:
            preconditions["resourceVersion"] = str(write.resource_version)
        try:
            await self._api.delete(resource, key.namespace, write.name, preconditions)
        except ApiError as error:
            if error.code == 409:  # it has changed since, so the next plan looks at it again
                await self._learn(resource.kind, self._api.get(resource, key.namespace, write.name))
                return
            if error.code != 404:
                raise
        self._store.deleted(resource.kind, write.uid, key.namespace, write.name)

    async def _emit(self, key: Key, events: Sequence[RecordEvent]) -> None:
        for action in events:
            resource = RESOURCES[action.subject.kind]
            regarding = {
                "apiVersion": resource.api_version,
                "kind": resource.kind,
                "namespace": key.namespace,
                "name": action.subject.name,
                "uid": action.uid,
            }
            at = rfc3339(self._clock())
            try:
                await self._api.create(EVENT, build.event(regarding, action.type, action.reason, action.message, at))
            except ApiError as error:
                if error.reason != "AlreadyExists":
                    logger.warning("%s/%s: event %s not recorded: %s", *key, action.reason, error.loggable)
        self._store.reported(key, {action.message for action in events})

    async def _ask(self, key: Key, action: Ask) -> None:
        try:
            await self._answer(key, action)
        finally:
            self._store.answered(key, action.question)

    async def _answer(self, key: Key, action: Ask) -> None:
        ask = {TARGET: self._ask_target, IDLE: self._ask_idle}.get(action.question, self._ask_workers)
        await ask(key, action)

    async def _ask_workers(self, key: Key, action: Ask) -> None:
        try:
            workers = await self._schedulers.workers(action.scheduler, action.pods)
        except SchedulerError as error:
            self._store.surveyed(key, self._unanswered(key, error))
        else:
            self._store.surveyed(key, Survey(self._clock(), workers))

    async def _ask_target(self, key: Key, action: Ask) -> None:
        try:
            target = await self._schedulers.target(action.scheduler)
        except SchedulerError as error:
            metrics.SCHEDULER_ERRORS.inc()
            self._store.demand_unknown(key, error.problem, self._clock())
        else:
            self._store.demanded(key, Sample(self._clock(), target, action.replicas), action.keep)

    async def _ask_idle(self, key: Key, action: Ask) -> None:
        try:
            token = await self._schedulers.idle_since(action.scheduler)
        except SchedulerError as error:
            metrics.SCHEDULER_ERRORS.inc()
            self._store.idle(key, None, self._clock(), error.problem)
        else:
            self._store.idle(key, token, self._clock())

    async def _retire(self, key: Key, action: Retire) -> None:
        asked = frozenset(uid for uid, _ in action.workers)
        try:
            addresses = await self._schedulers.retire(action.scheduler, [address for _, address in action.workers])
        except SchedulerError as error:
            self._store.retirement_failed(key, asked, self._unanswered(key, error))
            return
        # A Pod of several workers holds data until the last of them is retired.
        kept = frozenset(uid for uid, address in action.workers if address not in addresses)
        logger.info(
            "%s/%s: the scheduler retired the workers of %d Pods, and kept %d", *key, len(asked - kept), len(kept)
        )
        metrics.RETIRED.inc(len(asked - kept))
        metrics.REFUSED.inc(len(kept))
        self._store.retired(key, asked, asked - kept, self._clock())

    def _unanswered(self, key: Key, error: SchedulerError) -> Survey:
        metrics.SCHEDULER_ERRORS.inc()
        logger.warning("%s/%s: %s; its condition Degraded says more", *key, error.problem.reason)
        return Survey(self._clock(), problem=error.problem)

    def _beside(self, key: Key, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        task.add_done_callback(lambda _: self._queue.add(key))

    def _refused(self, key: Key, subject: ObjectRef, error: ApiError) -> None:
        now = self._clock()
        failure = self._store.failed(key, subject, _problem(error), now, error.retry_after)
        pause = failure.until - now
        logger.warning("%s/%s: %s %s: %s; tried again in %.0f s", *key, *subject, error.loggable, pause)
        self._queue.add(key)


def _content(body: Json | Sequence[Json]) -> int:
    """A hash of what is written, without the times that are in it."""
    return hash(_TIME.sub("", repr(body)))


def _require_ours(reply: Reply, key: Key, wanted: Json) -> None:
    """Raises ApiError unless an object is its owner's, stays, and has the labels by which it is watched.

    `wanted`: the metadata with which it was to be created.
    """
    found, meta = PARSERS[reply.body["kind"]](reply.body), reply.body["metadata"]
    what = f"{reply.body['kind']} {found.name} exists"
    if wanted["ownerReferences"][0]["uid"] not in found.owners:
        raise ApiError(409, "NameTaken", f"{what} and belongs to something else: delete or rename it, or the cluster")
    if found.deleting:
        raise ApiError(
            409, TERMINATING, f"{what} and is being deleted; it is made anew when it is gone{_held_by(meta)}"
        )
    labels = meta.get("labels") or {}
    if lost := next((f"{k}={wanted['labels'][k]}" for k in _lost(wanted["labels"], labels)), ""):
        raise ApiError(409, "NameTaken", f"{what} and has lost its label {lost}: put it back, or delete {found.name}")
    if cluster_of(found) != key:
        raise ApiError(409, "NameTaken", f"{what} and is of the cluster {cluster_of(found).name}: delete it")


def _lost(wanted: Json, labels: Json) -> Iterator[str]:
    return (key for key in RESERVED_LABELS if key in wanted and labels.get(key) != wanted[key])


def _held_by(meta: Json) -> str:
    finalizers = ", ".join(map(str, meta.get("finalizers") or ()))
    return f", for which its finalizers have to go: {finalizers}" if finalizers else ""


def _problem(error: ApiError) -> Problem:
    if error.code == 403 and "exceeded quota" in error.message:
        return Problem("QuotaExceeded", f"{error.message}; raise the quota or scale down")
    return Problem(error.reason or "ApiError", error.message)


def in_flight(writes: int) -> int:
    """How many of a plan's writes go out side by side: the more, the longer other clusters wait for the API server."""
    return min(writes, _FEWER if writes > _MANY else IN_FLIGHT)


def _log(key: Key, actions: Iterable[Action]) -> None:
    """One line per decision: what is done to how many, and because of what.

    Of an Event only which: its message may have words of the API server, of containers or of a scheduler, and what they
    quote is for those who may read the namespace.
    """
    counts = Counter(filter(None, map(_said, actions)))
    for said, number in counts.items():
        verb, what, because = said
        times = f" ×{number}" if number > 1 else ""
        fields = {"namespace": key.namespace, "cluster": key.name, "action": verb, "about": what, "reason": because}
        why = f": {because}" if because else ""
        logger.info("%s/%s: %s %s%s%s", *key, verb, what, times, why, extra=fields | {"count": number})


def _said(action: Action) -> tuple[str, str, str] | None:
    match action:
        case Create() | Patch() | Delete():
            return type(action).__name__.lower(), f"{action.subject.kind} {action.subject.name}", action.because
        case Retire():
            return "retire", f"{len(action.workers)} workers", action.because
        case RecordEvent():
            return action.reason, f"{action.subject.kind} {action.subject.name}", ""
        case Ask() | SetStatus() | ClearFailures() | RequeueAt():
            return None
