"""The execution of a plan: what it asks for is done in order, and the outcome becomes facts for the next plan.

It decides nothing. Changes come first, then statuses, which tell of them, then Events, which tell of the statuses.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from dask_operator import manifests
from dask_operator.actions import (
    Action,
    Ask,
    ClearFailures,
    Create,
    Delete,
    Patch,
    RecordEvent,
    RequeueAt,
    Resume,
    Retire,
    SetStatus,
)
from dask_operator.kubernetes.api import Api
from dask_operator.kubernetes.errors import ApiError
from dask_operator.model import Key
from dask_operator.parse import rfc3339
from dask_operator.reconcile.asking import Asker
from dask_operator.reconcile.store import Store
from dask_operator.reconcile.workqueue import WorkQueue
from dask_operator.reconcile.writes import Writer
from dask_operator.resources import EVENT, RESOURCES
from dask_operator.scheduler.questions import Schedulers

logger = logging.getLogger(__name__)


class Executor:
    """The executor of plans. A failed action is a fact in the store afterwards, never an exception."""

    def __init__(
        self, api: Api, store: Store, schedulers: Schedulers, queue: WorkQueue, clock: Callable[[], float]
    ) -> None:
        self._api = api
        self._store = store
        self._queue = queue
        self._clock = clock
        self._writer = Writer(api, store, clock)
        self._asker = Asker(schedulers, store, queue, clock)

    async def execute(self, key: Key, actions: Sequence[Action]) -> None:
        """Execute a plan for one cluster, and ask for the next plan if this one changes anything."""
        admitted = self._writer.admitted(key, actions)
        if len(admitted) < len(actions):
            self._queue.add(key)
        actions = admitted
        _log(key, actions)
        changes = [action for action in actions if isinstance(action, Create | Patch | Delete)]
        statuses = [action for action in actions if isinstance(action, SetStatus)]
        await self._writer.write(key, changes)
        await self._writer.write(key, statuses)
        await self._record(key, [action for action in actions if isinstance(action, RecordEvent)])
        for action in actions:
            match action:
                case RequeueAt():
                    self._queue.add(key, action.at)
                case ClearFailures():
                    self._store.clear_failures(key, action.subjects)
                case Ask():
                    self._asker.ask(key, action)
                case Retire():
                    self._asker.retire(key, action)
                case Resume():
                    self._asker.resume(key, action)
        if changes or statuses:
            self._queue.add(key)

    async def close(self) -> None:
        """Cancel all questions to schedulers."""
        await self._asker.close()

    async def _record(self, key: Key, events: Sequence[RecordEvent]) -> None:
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
                await self._api.create(
                    EVENT, manifests.event_manifest(regarding, action.type, action.reason, action.message, at)
                )
            except ApiError as error:
                if error.reason != "AlreadyExists":
                    logger.warning("%s/%s: event %s not recorded: %s", *key, action.reason, error.loggable)
        if events:
            self._store.facts(key).reported({action.message for action in events})


def _log(key: Key, actions: Iterable[Action]) -> None:
    """Log one line per decision: the action, its subject, how often, and why.

    An Event's message is left out. It may quote the API server, containers or a scheduler, and more people may read
    the log than the namespace.
    """
    counts = Counter(filter(None, map(_line, actions)))
    for line, number in counts.items():
        verb, about, because = line
        times = f" ×{number}" if number > 1 else ""
        fields = {"namespace": key.namespace, "cluster": key.name, "action": verb, "about": about, "reason": because}
        why = f": {because}" if because else ""
        logger.info("%s/%s: %s %s%s%s", *key, verb, about, times, why, extra=fields | {"count": number})


def _line(action: Action) -> tuple[str, str, str] | None:
    match action:
        case Create() | Patch() | Delete():
            return type(action).__name__.lower(), f"{action.subject.kind} {action.subject.name}", action.because
        case Retire() | Resume():
            return type(action).__name__.lower(), f"{len(action.workers)} workers", action.because
        case RecordEvent():
            return action.reason, f"{action.subject.kind} {action.subject.name}", ""
        case Ask() | SetStatus() | ClearFailures() | RequeueAt():
            return None
