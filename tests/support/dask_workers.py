"""Real Dask workers in this process for worker Pods on fake nodes, and results on them."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import dask
from distributed import Client, Worker
from tests.support.dask import Scheduler
from tests.support.events import events
from tests.support.starts import STARTS, Starts
from tests.support.wait import until_seen

from dask_operator.kubernetes.api import Api
from dask_operator.names import COMPONENT_LABEL, WORKER
from dask_operator.resources import POD

PATIENCE = 300.0
_WORK = 4.0
"""Seconds that a task takes."""
_MEMORY = 2**34
"""Bytes; a scheduler retires workers only while the others have room for their results."""
_QUICK = {"distributed.worker.http.routes": [], "distributed.admin.tick.limit": "1h"}


@dataclass
class DaskWorkers:
    """A worker for each running worker Pod, under the Pod's name, until its Pod is gone."""

    api: Api
    namespace: str
    scheduler: Scheduler
    folder: Path
    _started: dict[str, asyncio.Task[Worker]] = field(default_factory=dict)
    _ending: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self) -> None:
        page = await self.api.list_page(POD, self.namespace, "")
        for pod in page.items:
            self._take("ADDED", pod)
        async for event in events(self.api, POD, self.namespace, page.version):
            self._take(event["type"], event["object"])

    async def close(self) -> None:
        await asyncio.gather(*map(self._end, self._started.values()), *self._ending)

    def _take(self, type_: str, pod: dict[str, Any]) -> None:
        meta = pod["metadata"]
        if type_ == "BOOKMARK" or meta["labels"].get(COMPONENT_LABEL) != WORKER:
            return
        if type_ == "DELETED":
            if starting := self._started.pop(meta["uid"], None):
                ending = asyncio.create_task(self._end(starting))
                self._ending.add(ending)
                ending.add_done_callback(self._ending.discard)
        elif pod["status"].get("phase") == "Running" and meta["uid"] not in self._started:
            self._started[meta["uid"]] = asyncio.create_task(self._start(meta["name"]))

    async def _start(self, name: str) -> Worker:
        worker: Worker = await Worker(
            self.scheduler.address, name=name, nthreads=1, local_directory=str(self.folder), memory_limit=_MEMORY
        )
        return worker

    async def _end(self, starting: asyncio.Task[Worker]) -> None:
        await (await starting).close(executor_wait=False, nanny=False)


@asynccontextmanager
async def workers_of(api: Api, namespace: str, scheduler: Scheduler, folder: Path) -> AsyncIterator[None]:
    """Run real workers for the Pods of a namespace until the end of the block."""
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # its errors about connections to ended workers
    with dask.config.set(_QUICK):
        workers = DaskWorkers(api, namespace, scheduler, folder)
        task = asyncio.create_task(workers.run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await workers.close()


class Results:
    """Random results on a cluster's workers: a result that was lost and computed again is different."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._digests: dict[Any, str] = {}
        self._at_work: list[Any] = []

    async def spread(self, workers: Sequence[str], each: int = 2) -> None:
        """Put `each` results on each of these workers, once all have registered."""
        await until_seen(lambda: self._registered(workers), f"{workers} have registered", PATIENCE)
        made = [
            self._client.submit(_result, n, workers=[name], allow_other_workers=True, pure=False)
            for name in workers
            for n in range(each)
        ]
        self._digests = dict(zip(made, await self._digested(made), strict=True))

    async def lost(self) -> int:
        """Return the number of results that have changed."""
        async with asyncio.timeout(PATIENCE):
            now = await self._digested(list(self._digests))
        return sum(old != new for old, new in zip(self._digests.values(), now, strict=True))

    async def work(self, workers: Sequence[str]) -> None:
        """Let each of these workers run a task that takes some seconds."""
        await self._client.register_plugin(Starts())
        ids = [uuid4().hex for _ in workers]
        pairs = zip(ids, workers, strict=True)
        self._at_work = [
            self._client.submit(time.sleep, _WORK, key=id_, workers=[name], allow_other_workers=True)
            for id_, name in pairs
        ]
        await until_seen(lambda: _begun(ids), "all are at work", PATIENCE)

    async def again(self) -> int:
        """Return how many of these tasks were begun more than once, when all have ended."""
        async with asyncio.timeout(PATIENCE):
            await self._client.gather(self._at_work)
        return sum(STARTS[task.key] > 1 for task in self._at_work)

    async def _registered(self, workers: Sequence[str]) -> bool:
        assert self._client.scheduler
        known = (await self._client.scheduler.identity())["workers"].values()
        return set(workers) <= {worker["name"] for worker in known}

    async def _digested(self, futures: list[Any]) -> list[str]:
        found: list[str] = await self._client.gather(self._client.map(_digest, futures, pure=False))
        return found


async def _begun(ids: Sequence[str]) -> bool:
    return all(STARTS[id_] for id_ in ids)


def _result(_: int) -> bytes:
    return os.urandom(10_000)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
