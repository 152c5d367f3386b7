"""Questions of a plan to schedulers. They run in the background, and their answers are facts of a later plan."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from dask_operator import actions, metrics
from dask_operator.actions import Ask, Resume, Retire
from dask_operator.backoff import Backoff
from dask_operator.model import Departure, Drained, Key, Problem, Sample, Survey
from dask_operator.reconcile.store import Store
from dask_operator.reconcile.workqueue import WorkQueue
from dask_operator.scheduler.failures import SchedulerError
from dask_operator.scheduler.questions import Schedulers

_BACKOFF = Backoff(first=0.5, longest=60.0)
_RETIRE, _RESUME = "retire", "resume"
# A scheduler that answers at once, again and again, is not asked more often.
_LEAST_PAUSE = 1.0
# The data of a worker move after its tasks have ended.
_MOVES = 600.0
_NEVER_ENDS = Problem("SchedulerAnswer", "the scheduler does not end the drain of its workers in time")
# As `agent.scheduler` says it.
ACTORS = "actors"
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
        now = self._clock()
        departures = {
            uid: Departure(tuple(each), now, final=action.seconds is None) for uid, each in _addresses(action).items()
        }
        self._store.facts(key).retirement_began(departures)
        self._start(key, self._retire(key, action))

    def resume(self, key: Key, action: Resume) -> None:
        """Start to take back workers."""
        self._store.facts(key).resume_began(frozenset(_addresses(action)))
        self._start(key, self._resume(key, action))

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
            case actions.PROGRESS:
                await self._ask_progress(key, action)
            case question:
                raise ValueError(f"{question} is no question")

    async def _ask_workers(self, key: Key, action: Ask) -> None:
        try:
            workers, agent = await self._schedulers.survey(action.scheduler, action.pods)
        except SchedulerError as error:
            self._store.facts(key).surveyed(self._unanswered(key, error))
        else:
            self._store.facts(key).surveyed(Survey(self._clock(), workers, agent=agent))

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

    async def _ask_progress(self, key: Key, action: Ask) -> None:
        try:
            tasks = await self._schedulers.progress(action.scheduler)
        except SchedulerError:
            metrics.SCHEDULER_ERRORS.inc()
            tasks = None
        self._store.facts(key).progressed(tasks, self._clock())

    async def _retire(self, key: Key, action: Retire) -> None:
        left = _addresses(action)
        work = self._retired(key, action, left) if action.seconds is None else self._drained(key, action, left)
        if not await self._guarded(key, _RETIRE, work):
            self._store.facts(key).retirement_failed(frozenset(left), Survey(self._clock(), problem=_BUG))

    async def _retired(self, key: Key, action: Retire, left: dict[str, set[str]]) -> None:
        try:
            retired = await self._schedulers.retire(action.scheduler, [address for _, address in action.workers])
        except SchedulerError as error:
            self._store.facts(key).retirement_failed(frozenset(left), self._unanswered(key, error))
            return
        # A Pod of several workers holds data until the last of them is retired.
        self._end(key, left, frozenset(uid for uid, addresses in left.items() if addresses <= retired))

    async def _drained(self, key: Key, action: Retire, left: dict[str, set[str]]) -> None:
        """Retire workers once their tasks have ended. Those whose Pod has ended leave `left`, each in its own time."""
        clock = asyncio.get_running_loop().time
        end, overdue = clock() + (action.seconds or 0.0), set[str]()
        while left:
            asked, addresses = clock(), [address for each in left.values() for address in each]
            try:
                drained = await self._schedulers.drain(action.scheduler, addresses, max(end - asked, 0.0))
                if drained.draining and asked > end + _MOVES:
                    raise SchedulerError(_NEVER_ENDS)
            except SchedulerError as error:
                self._store.facts(key).retirement_failed(frozenset(left), self._unanswered(key, error))
                return
            overdue |= drained.overdue
            self._take(key, left, drained, overdue)
            await asyncio.sleep(asked + _LEAST_PAUSE - clock() if left else 0.0)

    def _take(self, key: Key, left: dict[str, set[str]], drained: Drained, overdue: set[str]) -> None:
        """Record the agent's answer, and remove from `left` the Pods whose drain has ended."""
        late = frozenset(uid for uid, addresses in left.items() if addresses & overdue)
        for addresses in left.values():
            addresses.difference_update(drained.retired)
        retired = frozenset(uid for uid, addresses in left.items() if not addresses)
        kept = {uid: drained.kept[each] for uid, addresses in left.items() for each in addresses & drained.kept.keys()}
        waits = {uid: next(iter(addresses & drained.draining.keys()), "") for uid, addresses in left.items()}
        going_on = {uid: drained.draining[address] for uid, address in waits.items() if address and uid not in kept}
        self._store.facts(key).retirement_goes_on(going_on)
        over = {uid: addresses for uid, addresses in left.items() if uid in retired or uid in kept}
        if over:
            actors = frozenset(uid for uid, reason in kept.items() if reason == ACTORS)
            self._end(key, over, retired, late & retired, actors)
        back = frozenset(left.keys() - over.keys() - going_on.keys())
        if back:
            self._store.facts(key).retirement_failed(back, None)
        for uid in (*over, *back):
            del left[uid]
        self._queue.add(key)

    def _end(
        self,
        key: Key,
        asked: Mapping[str, set[str]],
        retired: frozenset[str],
        overdue: frozenset[str] = frozenset(),
        actors: frozenset[str] = frozenset(),
    ) -> None:
        kept = len(asked) - len(retired)
        logger.info("%s/%s: the scheduler retired the workers of %d Pods, and kept %d", *key, len(retired), kept)
        metrics.RETIRED.inc(len(retired) - len(overdue))
        metrics.OVERDUE.inc(len(overdue))
        metrics.REFUSED.inc(kept)
        self._store.retired(key, frozenset(asked), retired, self._clock(), overdue, actors)

    async def _resume(self, key: Key, action: Resume) -> None:
        left = _addresses(action)
        try:
            await self._guarded(key, _RESUME, self._resumed(key, action, left))
        finally:
            resumed = frozenset(uid for uid, addresses in left.items() if not addresses)
            self._store.facts(key).resume_ended(frozenset(left), resumed)

    async def _resumed(self, key: Key, action: Resume, left: dict[str, set[str]]) -> None:
        try:
            back = await self._schedulers.resume(action.scheduler, [address for _, address in action.workers])
        except SchedulerError as error:
            self._unanswered(key, error)
            return
        for addresses in left.values():
            addresses.difference_update(back)

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


def _addresses(action: Retire | Resume) -> dict[str, set[str]]:
    """Return the Dask addresses of an action's workers by uid."""
    found: dict[str, set[str]] = {}
    for uid, address in action.workers:
        found.setdefault(uid, set()).add(address)
    return found
