"""The whole controller on an in-memory API server, whose worker Pods are real Dask workers in this process.

It asks a real scheduler in a separate process. There are two groups of workers, of which each round scales one or both.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar
from unittest.mock import patch

import dask
from bench.scale_down.rounds import PATIENCE, a_worker, heard, measure
from bench.scale_down.tally import Tally
from bench.scale_down.work import QUICK
from distributed import Client, Worker
from tests.support.builders import NOON, raw_cluster, raw_group, raw_pod
from tests.support.dask import HTTP_ROUTES, WITHOUT_API, a_scheduler
from tests.support.fake_api import FakeApi, connected
from tests.support.wait import meanwhile, until

from dask_operator.kubernetes.api import Api
from dask_operator.names import CLUSTER_LABEL, COMPONENT_LABEL, GROUP_LABEL
from dask_operator.parse import rfc3339
from dask_operator.process.operator import Operator
from dask_operator.process.settings import Settings
from dask_operator.reconcile.scope import Scope
from dask_operator.resources import GROUP, POD
from dask_operator.scheduler import lazy_rpc
from dask_operator.scheduler.http import Http

_RETIRED = re.compile(r"the scheduler retired the workers of (\d+) Pods, and kept (\d+)")
ROUTES = {"http": HTTP_ROUTES, "rpc": WITHOUT_API}
GROUPS = ("simple-default", "simple-extra")
LARGEST_GROUP = 4
_T = TypeVar("_T")


def scale_downs(rounds: int, by: str = "http", seed: int = 1, *, agent: bool = True) -> Tally:
    """Run at least `rounds` scale-downs, asking the scheduler `by` http or rpc, with the controller's agent in it."""
    tally = Tally()
    with (
        dask.config.set(QUICK),
        TemporaryDirectory() as folder,
        a_scheduler(Path(folder), ROUTES[by], agent_=agent) as (address, port),
    ):
        with _counting_retirements(tally), _counting_questions(tally):
            asyncio.run(_measure(rounds, address, port, random.Random(seed), folder, tally))
        tally.count_shuffles((Path(folder) / "scheduler.log").read_text())
    return tally


async def _measure(rounds: int, address: str, port: int, chance: random.Random, folder: str, tally: Tally) -> None:
    async with connected() as (fake, api), _kubelet(fake, address, folder, api) as kubelet, _operating(fake):
        _declare(fake, address, port)
        await kubelet.has(dict.fromkeys(GROUPS, LARGEST_GROUP))
        async with Client(address, asynchronous=True, name="results") as client:
            await measure(kubelet, client, rounds, chance, tally)


@dataclass
class _Kubelet:
    """A kubelet that runs a Dask worker for each worker Pod."""

    fake: FakeApi
    address: str
    folder: str
    api: Api
    groups: Sequence[str] = GROUPS
    largest: int = LARGEST_GROUP
    deleted: Counter[str] = field(default_factory=Counter)
    _tasks: dict[str, asyncio.Task[Worker]] = field(default_factory=dict)
    _groups: dict[str, str] = field(default_factory=dict)
    _ending: list[asyncio.Task[None]] = field(default_factory=list)

    async def run(self) -> None:
        while True:
            pods = {pod["metadata"]["uid"]: pod for pod in self._pods()}
            for uid in self._tasks.keys() - pods.keys():
                self.deleted[self._groups[uid]] += 1
                self._ending.append(asyncio.create_task(self._end(self._tasks.pop(uid))))
            for uid in pods.keys() - self._tasks.keys():
                self._groups[uid] = pods[uid]["metadata"]["labels"][GROUP_LABEL]
                self._tasks[uid] = asyncio.create_task(self._start(pods[uid]))
            await asyncio.sleep(0.005)

    async def resize(self, sizes: Mapping[str, int]) -> None:
        """Scale the groups, and wait until that is done."""
        self.fake.requests.clear()
        for group, number in sizes.items():
            await self.api.patch(GROUP, "default", group, {"spec": {"worker": {"replicas": number}}})
        await self.has(sizes)

    async def has(self, wanted: Mapping[str, int]) -> None:
        """Wait until each group has the wanted workers, all registered."""

        def settled() -> bool:
            pods = self._pods()
            found = Counter(pod["metadata"]["labels"][GROUP_LABEL] for pod in pods)
            running = all(pod["status"]["phase"] == "Running" for pod in pods)
            return running and len(self._tasks) == len(pods) and all(found[group] == n for group, n in wanted.items())

        await until(settled, f"workers: {dict(wanted)}", PATIENCE)

    async def close(self) -> None:
        await asyncio.gather(*self._ending, *map(self._end, self._tasks.values()))

    async def _end(self, starting: asyncio.Task[Worker]) -> None:
        await (await starting).close(executor_wait=False, nanny=False)

    async def _start(self, pod: dict[str, Any]) -> Worker:
        worker = await a_worker(self.address, pod["metadata"]["name"], self.folder)
        ready = {"phase": "Running", "podIP": "127.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]}
        if self.fake.find(POD, pod["metadata"]["name"]):
            self.fake.put({**pod, "status": {**ready, "startTime": rfc3339(_clock())}})
        return worker

    def _pods(self) -> list[dict[str, Any]]:
        return [pod for pod in self.fake.objects(POD) if GROUP_LABEL in pod["metadata"]["labels"]]


@asynccontextmanager
async def _kubelet(fake: FakeApi, address: str, folder: str, api: Api) -> AsyncIterator[_Kubelet]:
    kubelet = _Kubelet(fake, address, folder, api)
    try:
        async with meanwhile(kubelet.run()):
            yield kubelet
    finally:
        await kubelet.close()


@asynccontextmanager
async def _operating(fake: FakeApi) -> AsyncIterator[None]:
    async with meanwhile(Operator(fake.login, Scope(), Settings(), clock=_clock).run(None)):
        yield


def _clock() -> float:
    return NOON + time.monotonic()


def _declare(fake: FakeApi, address: str, port: int) -> None:
    """Create the cluster, its second group, and its scheduler's Pod."""
    cluster = raw_cluster(workers=LARGEST_GROUP)
    ports = [
        {"name": "tcp-comm", "port": int(address.rpartition(":")[2])},
        {"name": "http-dashboard", "port": port},
    ]
    cluster["spec"]["scheduler"]["service"] |= {"clusterIP": "127.0.0.1", "ports": ports}
    fake.put(cluster)
    fake.put(raw_group(GROUPS[1], workers=LARGEST_GROUP))
    labels = {CLUSTER_LABEL: "simple", COMPONENT_LABEL: "scheduler"}
    running = {"phase": "Running", "podIP": "127.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]}
    scheduler = raw_pod(status=running)
    scheduler["metadata"] |= {"name": "simple-scheduler-abc", "labels": labels, "uid": "uid-of-scheduler-pod"}
    fake.put(scheduler)


@contextmanager
def _counting_retirements(tally: Tally) -> Iterator[None]:
    """Count retirements in the controller's log."""

    class Counting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if found := _RETIRED.search(record.getMessage()):
                tally.retired += int(found[1])
                tally.refused += int(found[2])

    with heard("dask_operator.reconcile.asking", Counting()):
        yield


@contextmanager
def _counting_questions(tally: Tally) -> Iterator[None]:
    """Count what the controller asks the scheduler, by either protocol."""

    def counted(ask: Callable[..., Awaitable[_T]]) -> Callable[..., Awaitable[_T]]:
        async def counting(*args: Any, **kwargs: Any) -> _T:
            tally.questions += 1
            return await ask(*args, **kwargs)

        return counting

    with (
        patch.object(Http, "get", counted(Http.get)),
        patch.object(Http, "post", counted(Http.post)),
        patch.object(lazy_rpc, "ask", counted(lazy_rpc.ask)),
    ):
        yield
