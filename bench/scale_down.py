"""Scale-downs under load, one after another: lost results, tasks that ran twice, and workers deleted by mistake.

    python bench/scale_down.py [--rounds 1000] [--by http|rpc] [--without-agent] [--seed 1]

The whole controller works on an in-memory API server, whose worker Pods are real Dask workers in this process. It asks
a real scheduler in a separate process. Two groups of workers hold random results while sums are computed on them, and
P2P shuffles of dataframes and of arrays, long tasks and long tasks that have seceded. Each round scales one group or
both. A result that was lost and computed again has another digest. Every start of a task is counted on its worker.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import logging
import os
import random
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dask
import dask.array
import dask.dataframe
import dask.datasets
from distributed import Client, Worker, secede
from tests.support.builders import NOON, raw_cluster, raw_group, raw_pod
from tests.support.dask import HTTP_ROUTES, WITHOUT_API, a_scheduler
from tests.support.fake_api import FakeApi, connected
from tests.support.starts import STARTS, Starts
from tests.support.wait import meanwhile, until

from dask_operator.kubernetes.api import Api
from dask_operator.names import CLUSTER_LABEL, COMPONENT_LABEL, GROUP_LABEL
from dask_operator.parse import rfc3339
from dask_operator.process.operator import Operator
from dask_operator.process.settings import Settings
from dask_operator.reconcile.scope import Scope
from dask_operator.resources import GROUP, POD

_RETIRED = re.compile(r"the scheduler retired the workers of (\d+) Pods, and kept (\d+)")
ROUTES = {"http": HTTP_ROUTES, "rpc": WITHOUT_API}
GROUPS = ("simple-default", "simple-extra")
LARGEST_GROUP = 4
RESULTS = 40
RENEWED = 10
PATIENCE = 240.0  # seconds, many times the need of a quiet machine

P2P = {"dataframe.shuffle.method": "p2p", "array.rechunk.method": "p2p"}

logger = logging.getLogger("scale_down")


@dataclass
class Tally:
    """Totals of a run. `lost`: results; `wrong_group`, `too_many`: workers deleted by mistake."""

    scale_downs: int = 0
    workers_deleted: int = 0
    results_checked: int = 0
    lost: int = 0
    wrong_group: int = 0
    too_many: int = 0
    retired: int = 0
    refused: int = 0
    sums_right: int = 0
    sums_wrong: int = 0
    tasks: int = 0
    tasks_run_again: int = 0
    shuffles: int = 0
    shuffles_restarted: int = 0
    seconds_per_scale_down: float = 0.0

    def __str__(self) -> str:
        return "\n".join(f"  {f.name.replace('_', ' '):<22} {getattr(self, f.name):>9.6g}" for f in fields(self))


def scale_downs(rounds: int, by: str = "http", seed: int = 1, *, agent: bool = True) -> Tally:
    """Run at least `rounds` scale-downs, asking the scheduler `by` http or rpc, with the controller's agent in it."""
    quick = {"distributed.worker.http.routes": [], "distributed.admin.tick.limit": "1h"}
    STARTS.clear()
    with (
        dask.config.set(quick | P2P),
        TemporaryDirectory() as folder,
        a_scheduler(Path(folder), ROUTES[by], agent_=agent) as (address, port),
    ):
        tally = asyncio.run(_measure(rounds, address, port, random.Random(seed), folder))
        log = (Path(folder) / "scheduler.log").read_text()
    tally.tasks, tally.tasks_run_again = len(STARTS), sum(number > 1 for number in STARTS.values())
    tally.shuffles, tally.shuffles_restarted = log.count(" initialized by task"), log.count(" restarted due to")
    return tally


async def _measure(rounds: int, address: str, port: int, chance: random.Random, folder: str) -> Tally:
    tally = Tally()
    with _counting_retirements(tally):
        async with connected() as (fake, api), _kubelet(fake, address, folder) as kubelet, _operating(fake):
            _declare(fake, address, port)
            await kubelet.has(dict.fromkeys(GROUPS, LARGEST_GROUP))
            async with Client(address, asynchronous=True, name="results") as client:
                await client.register_plugin(Starts())
                load = asyncio.create_task(_load(client, tally))
                held = _Held(client)
                sizes = dict.fromkeys(GROUPS, LARGEST_GROUP)
                while tally.scale_downs < rounds and not load.done():
                    await held.renew()
                    work = _work(client, chance)
                    await asyncio.sleep(chance.uniform(0.0, 0.5))
                    sizes = await _round(api, kubelet, sizes, _other(sizes, chance), tally)
                    async with asyncio.timeout(PATIENCE):
                        await client.gather(work)
                    tally.lost += await held.lost()
                    tally.results_checked += RESULTS
                    fake.requests.clear()
                    logger.info("%d scale-downs, %d lost", tally.scale_downs, tally.lost)
                load.cancel()
                await asyncio.gather(load, return_exceptions=True)
    return tally


def _other(sizes: Mapping[str, int], chance: random.Random) -> dict[str, int]:
    """Choose other sizes for one group or both, but not 0 for all, since some worker must take the results."""
    wanted = {group: chance.randint(0, LARGEST_GROUP) for group in chance.sample(GROUPS, chance.choice((1, 2)))}
    if not any({**sizes, **wanted}.values()):
        return dict.fromkeys(GROUPS, LARGEST_GROUP)
    return {**sizes, **wanted}


async def _round(
    api: Api, kubelet: _Kubelet, before: Mapping[str, int], after: dict[str, int], tally: Tally
) -> dict[str, int]:
    deleted, began = Counter(kubelet.deleted), time.monotonic()
    for group, number in after.items():
        await api.patch(GROUP, "default", group, {"spec": {"worker": {"replicas": number}}})
    await kubelet.has(after)
    spent, before_this = tally.seconds_per_scale_down * tally.scale_downs, tally.scale_downs
    for group in GROUPS:
        went, surplus = kubelet.deleted[group] - deleted[group], before[group] - after[group]
        tally.scale_downs += surplus > 0
        tally.workers_deleted += went
        tally.wrong_group += went if surplus <= 0 else 0
        tally.too_many += max(went - surplus, 0) if surplus > 0 else 0
    if tally.scale_downs > before_this:
        tally.seconds_per_scale_down = (spent + time.monotonic() - began) / tally.scale_downs
    return after


class _Held:
    """Results on the workers, and their digests. Each round replaces some of them."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._digests: dict[Any, str] = {}

    async def renew(self) -> None:
        kept = list(self._digests)[RENEWED:]
        made = self._client.map(_result, range(RESULTS - len(kept)), pure=False)
        fresh = dict(zip(made, await self._digested(made), strict=True))
        self._digests = {future: self._digests[future] for future in kept} | fresh

    async def lost(self) -> int:
        """Return the number of results that have changed."""
        now = await self._digested(list(self._digests))
        return sum(old != new for old, new in zip(self._digests.values(), now, strict=True))

    async def _digested(self, futures: Sequence[Any]) -> list[str]:
        digests = self._client.map(_digest, futures, pure=False)
        found: list[str] = await self._client.gather(digests)
        return found


def _work(client: Client, chance: random.Random) -> list[Any]:
    """Start two of four kinds of work."""
    kinds = chance.sample((_shuffle, _rechunk, _long, _seceded), 2)
    return [future for kind in kinds for future in kind(client, chance)]


def _shuffle(client: Client, chance: random.Random) -> list[Any]:
    days = {"start": "2000-01-01", "end": "2000-01-09", "freq": "300s", "partition_freq": "1D"}
    frame = dask.datasets.timeseries(**days, seed=chance.randrange(2**31))  # type: ignore[no-untyped-call]
    return [client.compute(frame.shuffle("id").size)]


def _rechunk(client: Client, chance: random.Random) -> list[Any]:
    generator = dask.array.random.default_rng(chance.randrange(2**31))  # type: ignore[no-untyped-call]
    numbers = generator.random((400, 400), chunks=(50, 400))
    return [client.compute((numbers.rechunk((400, 50)) + 1).sum())]


def _long(client: Client, chance: random.Random) -> list[Any]:
    return list(client.map(time.sleep, [chance.uniform(0.2, 1.5) for _ in range(8)], pure=False))


def _seceded(client: Client, chance: random.Random) -> list[Any]:
    return list(client.map(_secede_and_sleep, [chance.uniform(0.2, 1.5) for _ in range(4)], pure=False))


def _secede_and_sleep(seconds: float) -> None:
    secede()
    time.sleep(seconds)


async def _load(client: Client, tally: Tally) -> None:
    while True:
        parts = client.map(_slow_square, range(16), pure=False)
        answer = await client.submit(sum, parts, pure=False)
        right = answer == sum(n * n for n in range(16))
        tally.sums_right += right
        tally.sums_wrong += not right


def _result(_: int) -> bytes:
    return os.urandom(20_000)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _slow_square(number: int) -> int:
    time.sleep(0.005)
    return number * number


@dataclass
class _Kubelet:
    """A kubelet that runs a Dask worker for each worker Pod. `deleted`: number of Pods, by group."""

    fake: FakeApi
    address: str
    folder: str
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
        worker: Worker = await Worker(
            self.address, name=pod["metadata"]["name"], nthreads=1, local_directory=self.folder, memory_limit=0
        )
        ready = {"phase": "Running", "podIP": "127.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]}
        if self.fake.find(POD, pod["metadata"]["name"]):
            self.fake.put({**pod, "status": {**ready, "startTime": rfc3339(_clock())}})
        return worker

    def _pods(self) -> list[dict[str, Any]]:
        return [pod for pod in self.fake.objects(POD) if GROUP_LABEL in pod["metadata"]["labels"]]


@asynccontextmanager
async def _kubelet(fake: FakeApi, address: str, folder: str) -> AsyncIterator[_Kubelet]:
    kubelet = _Kubelet(fake, address, folder)
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

    source, handler = logging.getLogger("dask_operator.reconcile.asking"), Counting()
    before = source.level, source.propagate
    source.setLevel(logging.INFO)
    source.propagate = False
    source.addHandler(handler)
    try:
        yield
    finally:
        source.removeHandler(handler)
        source.setLevel(before[0])
        source.propagate = before[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1000, help="number of scale-downs")
    parser.add_argument("--by", choices=sorted(ROUTES), default="http", help="protocol for asking the scheduler")
    parser.add_argument("--without-agent", action="store_true", help="with a scheduler that has no agent")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(message)s")
    logger.setLevel(logging.INFO)
    began = time.monotonic()
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # its errors about connections to ended workers
    tally = scale_downs(arguments.rounds, arguments.by, arguments.seed, agent=not arguments.without_agent)
    print(f"by {arguments.by}, in {time.monotonic() - began:.0f} s:\n{tally}")
    if tally.lost or tally.wrong_group or tally.too_many or tally.sums_wrong:
        raise SystemExit("results were lost, or workers deleted by mistake")
    if not arguments.without_agent and (tally.tasks_run_again or tally.shuffles_restarted):
        raise SystemExit("tasks were run again")


if __name__ == "__main__":
    main()
