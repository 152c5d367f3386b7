"""Questions of a plan to schedulers. They run in the background, and their answers are facts of a later plan."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from dask_operator import actions, metrics
from dask_operator.actions import Ask, Retire
from dask_operator.backoff import Backoff
from dask_operator.model import Key, Problem, Sample, Survey
from dask_operator.reconcile.store import Store
from dask_operator.reconcile.workqueue import WorkQueue
from dask_operator.scheduler.failures import SchedulerError
from dask_operator.scheduler.questions import Schedulers

_BACKOFF = Backoff(first=0.5, longest=60.0)
_RETIRE = "retire"
_BUG = Problem("ControllerError", "an error of the controller's own, which its log has; the scheduler is asked again")
logger = logging.getLogger(__name__)


class Asker:
    """The questions under way. After each its cluster is planned again."""

    def __init__(self, schedulers: Schedulers, store: Store, queue: WorkQueue, clock: Callable[[], float]) -> None:
        self._schedulers = schedulers
        self._store = store
        self._queue = queue
        self._clock = clock
        self._background: set[asyncio.Task[None]] = set()
        self._errors: Counter[tuple[Key, str]] = Counter()

    def ask(self, key: Key, action: Ask) -> None:
        """Start to ask a question."""
        self._store.facts(key).asked(action.question)
        self._start(key, self._ask(key, action))

    def retire(self, key: Key, action: Retire) -> None:
        """Start to retire workers."""
        self._store.facts(key).retirement_began(frozenset(uid for uid, _ in action.workers))
        self._start(key, self._retire(key, action))

    async def close(self) -> None:
        """Cancel all questions."""
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)

    def _start(self, key: Key, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        task.add_done_callback(lambda _: self._queue.add(key))

    async def _ask(self, key: Key, action: Ask) -> None:
        try:
            await self._guarded(key, action.question, self._answer(key, action))
        finally:
            self._store.facts(key).answered(action.question)

    async def _answer(self, key: Key, action: Ask) -> None:
        match action.question:
            case actions.WORKERS:
                await self._ask_workers(key, action)
            case actions.TARGET:
                await self._ask_target(key, action)
            case actions.IDLE:
                await self._ask_idle(key, action)
            case question:
                raise ValueError(f"{question} is no question")

    async def _ask_workers(self, key: Key, action: Ask) -> None:
        try:
            workers = await self._schedulers.workers(action.scheduler, action.pods)
        except SchedulerError as error:
            self._store.facts(key).surveyed(self._unanswered(key, error))
        else:
            self._store.facts(key).surveyed(Survey(self._clock(), workers))

    async def _ask_target(self, key: Key, action: Ask) -> None:
        try:
            target, needs = await self._schedulers.demand(action.scheduler)
        except SchedulerError as error:
            metrics.SCHEDULER_ERRORS.inc()
            self._store.facts(key).demand_unknown(error.problem, self._clock())
        else:
            self._store.facts(key).demanded(Sample(self._clock(), target, action.replicas, needs), action.keep)

    async def _ask_idle(self, key: Key, action: Ask) -> None:
        try:
            token = await self._schedulers.idle_since(action.scheduler)
        except SchedulerError as error:
            metrics.SCHEDULER_ERRORS.inc()
            self._store.facts(key).idle(None, self._clock(), error.problem)
        else:
            self._store.facts(key).idle(token, self._clock())

    async def _retire(self, key: Key, action: Retire) -> None:
        asked = frozenset(uid for uid, _ in action.workers)
        if not await self._guarded(key, _RETIRE, self._retired(key, action, asked)):
            self._store.facts(key).retirement_failed(asked, Survey(self._clock(), problem=_BUG))

    async def _retired(self, key: Key, action: Retire, asked: frozenset[str]) -> None:
        try:
            addresses = await self._schedulers.retire(action.scheduler, [address for _, address in action.workers])
        except SchedulerError as error:
            self._store.facts(key).retirement_failed(asked, self._unanswered(key, error))
            return
        # A Pod of several workers holds data until the last of them is retired.
        kept = frozenset(uid for uid, address in action.workers if address not in addresses)
        logger.info(
            "%s/%s: the scheduler retired the workers of %d Pods, and kept %d", *key, len(asked - kept), len(kept)
        )
        metrics.RETIRED.inc(len(asked - kept))
        metrics.REFUSED.inc(len(kept))
        self._store.retired(key, asked, asked - kept, self._clock())

    async def _guarded(self, key: Key, question: str, work: Coroutine[Any, Any, None]) -> bool:
        """Return whether a question ended without an error of the controller's own.

        Such an error is logged and counted. The question counts as under way for a pause, longer each time, so that it
        is not asked again at once.
        """
        try:
            await work
        except Exception:
            self._errors[key, question] += 1
            pause = _BACKOFF.after(self._errors[key, question])
            metrics.RECONCILE_ERRORS.inc()
            logger.exception("%s/%s: its scheduler is asked again in %.1f s after an error", *key, pause)
            await asyncio.sleep(pause)
            return False
        self._errors.pop((key, question), None)
        return True

    def _unanswered(self, key: Key, error: SchedulerError) -> Survey:
        metrics.SCHEDULER_ERRORS.inc()
        logger.warning("%s/%s: %s; its condition Degraded says more", *key, error.problem.reason)
        return Survey(self._clock(), problem=error.problem)
