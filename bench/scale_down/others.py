"""Others that scale Dask down: the incumbent operator, and Dask's own Adaptive.

Each scales one group of real workers in this process, and deletes those that it chooses as soon as it says so. Neither
knows groups, so there is one only.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from io import StringIO
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import dask
from bench.scale_down.rounds import PATIENCE, a_worker, heard, measure
from bench.scale_down.tally import Tally
from bench.scale_down.work import QUICK
from distributed import Client, LocalCluster, Worker
from tests.support.dask import Scheduler, a_scheduler
from tests.support.wait import until

ALL = "all"
LARGEST = 8
_INCUMBENT = Path(__file__).with_name("incumbent.py")


def incumbent(rounds: int, seed: int, python: str) -> Tally:
    """Run scale-downs by the incumbent's own function. `python`: an interpreter that can import it."""
    tally = Tally()
    with dask.config.set(QUICK), TemporaryDirectory() as folder, a_scheduler(Path(folder), agent_=False) as scheduler:
        asyncio.run(_by_incumbent(scheduler, folder, rounds, random.Random(seed), tally, python))
        tally.count_shuffles((Path(folder) / "scheduler.log").read_text())
    return tally


def adaptive(rounds: int, seed: int) -> Tally:
    """Run scale-downs by Dask's Adaptive, with a LocalCluster."""
    tally, log = Tally(), StringIO()
    with (
        dask.config.set(QUICK),
        TemporaryDirectory() as folder,
        heard("distributed.shuffle._scheduler_plugin", logging.StreamHandler(log)),
    ):
        asyncio.run(_by_adaptive(folder, rounds, random.Random(seed), tally))
    tally.count_shuffles(log.getvalue())
    return tally


async def _by_incumbent(
    scheduler: Scheduler, folder: str, rounds: int, chance: random.Random, tally: Tally, python: str
) -> None:
    async with _Incumbent.started(scheduler, folder, python) as pool:
        await pool.resize({ALL: LARGEST})
        async with Client(scheduler.address, asynchronous=True, name="results") as client:
            await measure(pool, client, rounds, chance, tally)


async def _by_adaptive(folder: str, rounds: int, chance: random.Random, tally: Tally) -> None:
    cluster = await LocalCluster(
        n_workers=LARGEST,
        threads_per_worker=1,
        processes=False,
        protocol="tcp://",
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        worker_dashboard_address=None,
        silence_logs=logging.CRITICAL,
        local_directory=folder,
        memory_limit=0,
        asynchronous=True,
    )
    async with cluster, Client(cluster, asynchronous=True, name="results") as client:
        pool = _Adaptive(cluster)
        await pool.resize({ALL: LARGEST})
        await measure(pool, client, rounds, chance, tally)


@dataclass
class _Incumbent:
    """Workers of which the incumbent's function retires some, and which end when it has named them."""

    scheduler: Scheduler
    folder: str
    process: asyncio.subprocess.Process
    groups: Sequence[str] = (ALL,)
    largest: int = LARGEST
    deleted: Counter[str] = field(default_factory=Counter)
    _workers: dict[str, Worker] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=count)

    @classmethod
    @asynccontextmanager
    async def started(cls, scheduler: Scheduler, folder: str, python: str) -> AsyncIterator[_Incumbent]:
        """Run the incumbent's function in a process of its own, for as long as the block lasts."""
        pipe = asyncio.subprocess.PIPE
        http = f"http://127.0.0.1:{scheduler.http_port}"
        command = (python, str(_INCUMBENT), scheduler.address, http)
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
        pool = cls(scheduler, folder, process)
        try:
            yield pool
        finally:
            await asyncio.gather(*(worker.close(nanny=False) for worker in pool._workers.values()))
            process.kill()
            await process.wait()

    async def resize(self, sizes: Mapping[str, int]) -> None:
        """Start workers, or let the incumbent choose those that end."""
        number = sizes[ALL]
        surplus = len(self._workers) - number
        if surplus > 0:
            for name in await self._retired(surplus):
                self.deleted[ALL] += 1
                await self._workers.pop(name).close(executor_wait=False, nanny=False)
        names = [f"worker-{next(self._numbers)}" for _ in range(-surplus)]
        made = await asyncio.gather(*(a_worker(self.scheduler.address, name, self.folder) for name in names))
        self._workers |= dict(zip(names, made, strict=True))

    async def _retired(self, number: int) -> list[str]:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{number}\n".encode())
        async with asyncio.timeout(PATIENCE):
            names: list[str] = json.loads(await self.process.stdout.readline())
        return names


@dataclass
class _Adaptive:
    """The workers of a LocalCluster, whose number Adaptive has to bring between equal bounds."""

    cluster: LocalCluster
    groups: Sequence[str] = (ALL,)
    largest: int = LARGEST
    deleted: Counter[str] = field(default_factory=Counter)

    async def resize(self, sizes: Mapping[str, int]) -> None:
        """Set Adaptive's bounds, and wait until it has done what they say."""
        number, before = sizes[ALL], set(self.cluster.workers)
        self.cluster.adapt(minimum=number, maximum=number, interval="100ms", wait_count=1)
        await until(lambda: self._has(number), f"{number} workers", PATIENCE)
        self.deleted[ALL] += len(before - set(self.cluster.workers))

    def _has(self, number: int) -> bool:
        scheduler = self.cluster.scheduler
        assert scheduler
        return len(self.cluster.workers) == len(scheduler.workers) == number
