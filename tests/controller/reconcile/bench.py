"""An executor with all that it works on, for the tests of plans' execution."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.support.builders import NOON, a_cluster, a_group, raw_cluster, raw_group
from tests.support.fake_api import FakeApi, connected

from dask_operator import manifests, parse
from dask_operator.actions import Action, Create
from dask_operator.model import Endpoint, Key, ObjectRef, Observed, Pod
from dask_operator.reconcile.execute import Executor
from dask_operator.reconcile.store import Store
from dask_operator.reconcile.workqueue import WorkQueue
from dask_operator.scheduler.questions import Schedulers

KEY = Key("default", "simple")
PODS = ObjectRef("Pod", "simple-default-worker-*")
THE_GROUP = ObjectRef("DaskWorkerGroup", "simple-default")
THE_CLUSTER = ObjectRef("DaskCluster", "simple")
THE_SERVICE = ObjectRef("Service", "simple-scheduler")


@dataclass
class Bench:
    """An executor and all that it works on."""

    fake: FakeApi
    store: Store
    queue: WorkQueue
    executor: Executor
    started: float = field(default_factory=lambda: asyncio.get_running_loop().time())

    async def execute(self, *actions: Action) -> Observed:
        await self.executor.execute(KEY, actions)
        return self.observed()

    def observed(self) -> Observed:
        return self.store.snapshot(KEY)[1]

    def pods(self) -> list[Pod]:
        return list(self.observed().pods)

    async def woken(self, seconds: float = 3600.0) -> float | None:
        """Return in how many seconds the cluster is planned again, None if not within `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await self.queue.get()
        except TimeoutError:
            return None
        return asyncio.get_running_loop().time() - self.started


@asynccontextmanager
async def a_bench(*objects: dict[str, Any]) -> AsyncIterator[Bench]:
    """Yield an API server and a store that have a cluster, its group and these objects."""
    loop = asyncio.get_running_loop()

    def clock() -> float:
        return NOON + loop.time()

    async with connected() as (fake, api), Schedulers() as schedulers:
        store, queue = Store(), WorkQueue(clock)
        for raw in (raw_cluster(), raw_group(), *objects):
            store.observe(raw["kind"], parse.PARSERS[raw["kind"]](fake.put(raw)))
        executor = Executor(api, store, schedulers, queue, clock)
        try:
            yield Bench(fake, store, queue, executor)
        finally:
            await executor.close()


def creates(number: int) -> list[Create]:
    pods = manifests.worker_manifests(a_cluster(), a_group(), range(number), 0)
    return [Create(pod, PODS, "the group wants workers") for pod in pods]


def create_service() -> Create:
    return Create(manifests.service_manifest(a_cluster()), THE_SERVICE, "the cluster has none")


def at(url: str) -> Endpoint:
    return Endpoint(url, "tcp://127.0.0.1:1")


def logged(caplog: pytest.LogCaptureFixture) -> Sequence[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("dask_operator.reconcile.")]
