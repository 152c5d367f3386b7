"""The arrow: a key from the queue, a snapshot of the store, a plan, and its execution."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from dask_operator import metrics
from dask_operator.model import Key
from dask_operator.plan import Policy, plan
from dask_operator.reconcile.execute import Executor
from dask_operator.reconcile.store import Store
from dask_operator.reconcile.workqueue import WorkQueue

_SHARE = 20.0
"""Seconds of rest per second of planning."""
_LONGEST_REST = 0.5
_UNTIL_KNOWN = 0.5

logger = logging.getLogger(__name__)


class Loop:
    """The loop over due clusters. A cluster waits until `known` says that it can be planned with."""

    def __init__(
        self,
        store: Store,
        queue: WorkQueue,
        executor: Executor,
        policy: Policy,
        clock: Callable[[], float],
        known: Callable[[Key], bool] = lambda _: True,
    ) -> None:
        self._store = store
        self._queue = queue
        self._executor = executor
        self._policy = policy
        self._clock = clock
        self._known = known
        self._working: dict[Key, float] = {}
        self._ended = time.monotonic()

    @property
    def busy_for(self) -> float:
        """Seconds since the work on the slowest of the current clusters began."""
        now = time.monotonic()
        return now - min(self._working.values(), default=now)

    @property
    def idle_for(self) -> float:
        """Seconds since the work on any cluster ended."""
        return time.monotonic() - self._ended

    async def run(self) -> None:
        """Reconcile due clusters until cancelled. An error is logged, and only its own cluster is tried again later."""
        async with asyncio.TaskGroup() as reconcilers:
            while True:
                reconcilers.create_task(self._work_on(await self._queue.get()))

    async def _work_on(self, key: Key) -> None:
        began = self._working[key] = time.monotonic()
        try:
            pause = await self._reconcile(key)
        except Exception:
            metrics.RECONCILE_ERRORS.inc()
            logger.exception("%s/%s: tried again in %.1f s after an error", *key, self._queue.failed(key))
        else:
            self._queue.done(key, pause)
        finally:
            del self._working[key]
            self._ended = time.monotonic()
            metrics.RECONCILE_DURATION.observe(self._ended - began)

    async def _reconcile(self, key: Key) -> float:
        """Plan a cluster and execute the plan. Return the seconds for which the key should rest."""
        if not self._known(key):
            self._queue.add(key, self._clock() + _UNTIL_KNOWN)
            return 0.0
        started = time.perf_counter()
        desired, observed = self._store.snapshot(key)
        actions = plan(desired, observed, self._clock(), self._policy)
        planned = time.perf_counter()
        await self._executor.execute(key, actions)
        return rest(planned - started, time.perf_counter() - planned)


def rest(planned: float, executed: float) -> float:
    """Return the seconds before a cluster is planned again, so that its many events leave time for other clusters.

    They had time while its actions were executed.
    """
    return max(min(planned * _SHARE, _LONGEST_REST) - executed, 0.0)
