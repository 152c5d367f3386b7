"""Puts the parts together: watches fill the store and the queue, and once all are synced the loop runs."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence

import kopf

from dask_operator.actions import WATCHED
from dask_operator.api import Api
from dask_operator.execute import Executor
from dask_operator.loop import Loop
from dask_operator.model import Key
from dask_operator.scheduler import Schedulers
from dask_operator.settings import Settings
from dask_operator.store import Store
from dask_operator.watch import Watch
from dask_operator.workqueue import WorkQueue

logger = logging.getLogger(__name__)


async def operate(login: Callable[[], kopf.ConnectionInfo], namespaces: Sequence[str], settings: Settings) -> None:
    """Reconciles until cancelled. `namespaces`: which; none means all."""
    clock = time.time
    store, queue = Store(), WorkQueue(clock)

    def changed(keys: Iterable[Key]) -> None:
        for key in keys:
            queue.add(key)

    async with Api(login) as api, Schedulers() as schedulers, asyncio.TaskGroup() as tasks:
        executor = Executor(api, store, schedulers, queue, clock)
        scopes = tuple(namespaces) or ("",)
        watches = [Watch(api, store, resource, scope, changed) for scope in scopes for resource in WATCHED]
        for watch in watches:
            tasks.create_task(watch.run())
        try:
            await asyncio.gather(*(watch.synced.wait() for watch in watches))
            logger.info("synced: %d clusters in %s", len(store.keys()), ", ".join(namespaces) or "all namespaces")
            await Loop(store, queue, executor, settings.policy, clock).run()
        finally:
            await executor.close()
