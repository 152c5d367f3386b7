"""The controller as a whole: watches fill the store, and while this process leads, the loop works on the changes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

import kopf

from dask_operator import metrics
from dask_operator.kubernetes.api import Api
from dask_operator.kubernetes.lease import Election, identity
from dask_operator.model import Key
from dask_operator.process import health, own_events
from dask_operator.process.clock import Clock
from dask_operator.process.gauges import Gauges
from dask_operator.process.server import Address, serving
from dask_operator.process.settings import Settings
from dask_operator.reconcile.execute import Executor
from dask_operator.reconcile.loop import Loop
from dask_operator.reconcile.scope import Scope
from dask_operator.reconcile.store import Store
from dask_operator.reconcile.watches import Watches
from dask_operator.reconcile.workqueue import WorkQueue
from dask_operator.scheduler.questions import Schedulers

logger = logging.getLogger(__name__)
_CLOCK_INTERVAL = 5.0
Login = Callable[[], kopf.ConnectionInfo]


async def _no_plugins() -> None:
    """Run nothing."""


@dataclass(frozen=True, slots=True)
class Work:
    """The parts that exist while this process leads: due clusters, their loop, and the connections for its writes."""

    queue: WorkQueue
    loop: Loop
    api: Api


class Operator:
    """A process of the controller. Without a Lease in the settings it leads at once, alone or not.

    `plugins` runs beside the loop while this process leads. If it fails, that is logged and ends nothing else.
    """

    def __init__(
        self,
        login: Login,
        scope: Scope,
        settings: Settings,
        plugins: Callable[[], Awaitable[None]] = _no_plugins,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._login = login
        self._scope = scope
        self._settings = settings
        self._plugins = plugins
        self._wall_clock = clock
        self._store = Store(queues=settings.kueue)
        self._election: Election | None = None
        self._work: Work | None = None

    async def run(self, address: Address | None) -> None:
        """Reconcile until cancelled, and answer probes at an address. Raises OSError if the address is taken."""
        self._clock = Clock(self._wall_clock, asyncio.get_running_loop().time, self._clock_set)
        async with Api(self._login) as api, Api(self._login) as lease_api, Schedulers() as schedulers:
            nodes, queues = self._settings.watch_nodes, self._settings.kueue
            watches = Watches(api, self._store, self._scope, self._changed, nodes=nodes, queues=queues)
            if self._settings.lease:
                self._election = Election(lease_api, self._settings.lease, identity(), self._settings.times)
                await self._election.look()
            async with self._observable(watches, address), asyncio.TaskGroup() as tasks:
                tasks.create_task(watches.run())
                if self._settings.pod:
                    lasting = partial(health.lasting_problems, watches, self._election)
                    tasks.create_task(own_events.record(lease_api, self._settings.pod, lasting, self._clock))
                await watches.answered()
                logger.info("synced: %d clusters in %s", len(watches.keys()), self._scope)
                if self._election:
                    await self._election.run(lambda: self._lead(watches, schedulers))
                else:
                    await self._lead(watches, schedulers)

    async def _lead(self, watches: Watches, schedulers: Schedulers) -> None:
        if self._election and self._election.succeeds:
            await watches.renew()
        permitted = self._election.leading if self._election else lambda: True
        queue = WorkQueue(self._clock)
        # Our own writes end at once, when their connections close; then plugins may take their time.
        async with asyncio.TaskGroup() as tasks, Api(self._login, permitted) as api:
            tasks.create_task(self._run_plugins())
            tasks.create_task(self._watch_clock())
            executor = Executor(api, self._store, schedulers, queue, self._clock)
            loop = Loop(self._store, queue, executor, self._settings.policy, self._clock, watches.consistent_for)
            self._work = Work(queue, loop, api)
            self._store.forget_facts()
            self._changed(watches.keys())
            try:
                await loop.run()
            finally:
                self._work = None
                await executor.close()

    async def _watch_clock(self) -> None:
        """Read the clock every few seconds, so that it is noticed when it is set while nothing is due."""
        while True:
            self._clock()
            await asyncio.sleep(_CLOCK_INTERVAL)

    def _clock_set(self, step: float) -> None:
        self._store.clock_set(step)
        if self._work:
            self._work.queue.hurry()

    async def _run_plugins(self) -> None:
        try:
            await self._plugins()
        except Exception:
            logger.exception("plugins have ended after an error; the controller works without them")

    def _changed(self, keys: Iterable[Key]) -> None:
        if self._work:
            for key in keys:
                self._work.queue.add(key)

    @asynccontextmanager
    async def _observable(self, watches: Watches, address: Address | None) -> AsyncIterator[None]:
        """Answer probes and Prometheus."""
        gauges = Gauges(self._store, watches, lambda: self._work is not None, self._waiting)
        metrics.REGISTRY.register(gauges)
        try:
            async with AsyncExitStack() as served:
                if address:
                    ready = partial(health.unready, watches, self._election)
                    await served.enter_async_context(serving(address, partial(self._stuck, watches), ready, self.state))
                yield
        finally:
            metrics.REGISTRY.unregister(gauges)

    def _stuck(self, watches: Watches) -> list[str]:
        found = health.stuck_watches(watches)
        if work := self._work:
            found += health.stuck_work(work.queue, work.loop, time.monotonic() - work.api.answered)
        return found

    def _waiting(self) -> tuple[int, float]:
        return self._work.queue.waiting() if self._work else (0, 0.0)

    def state(self) -> str:
        """Return what this process does, for a person."""
        if self._work:
            return "leading"
        if self._election and self._election.holder:
            return f"standing by, {self._election.holder} holds the lease"
        return "starting"
