"""Rounds of other sizes, and what is counted in each."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import parent_process
from typing import Protocol

from bench.scale_down.tally import Tally
from bench.scale_down.work import RESULTS, Held, load, work
from distributed import Client, Worker, wait
from tests.support.starts import STARTS, Starts

PATIENCE = 240.0
"""Seconds, many times the need of a quiet machine."""
logger = logging.getLogger("scale_down")


def begin_lane() -> None:
    """Log each round in this process, and of Dask only what is critical. End with the process that started this one."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    logging.basicConfig(format="%(asctime)s %(process)d %(message)s")
    logger.setLevel(logging.INFO)
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # its errors about connections to ended workers


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent
    parent.join()
    os._exit(1)


class Pool(Protocol):
    """Groups of workers, each of at most `largest`. `deleted`: how many have been deleted so far, by group."""

    groups: Sequence[str]
    largest: int
    deleted: Counter[str]

    async def resize(self, sizes: Mapping[str, int]) -> None:
        """Give the groups these sizes, and return when they have them and all workers are registered."""


async def a_worker(address: str, name: str, folder: str) -> Worker:
    """Start a worker of one thread in this process."""
    worker: Worker = await Worker(address, name=name, nthreads=1, local_directory=folder, memory_limit=0)
    return worker


@contextmanager
def heard(source: str, handler: logging.Handler) -> Iterator[None]:
    """Give a handler all that a logger of this name logs, and nobody else."""
    log = logging.getLogger(source)
    before = log.level, log.propagate
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before[0])
        log.propagate = before[1]


async def measure(pool: Pool, client: Client, rounds: int, chance: random.Random, tally: Tally) -> None:
    """Run rounds until there were `rounds` scale-downs. All groups have their largest size first."""
    STARTS.clear()
    await client.register_plugin(Starts())
    loading = asyncio.create_task(load(client, tally))
    held, sizes = Held(client), dict.fromkeys(pool.groups, pool.largest)
    try:
        while tally.scale_downs < rounds and not loading.done():
            await held.renew()
            working = work(client, chance)
            await asyncio.sleep(chance.uniform(0.0, 0.5))
            sizes = await _round(pool, sizes, _other(pool, sizes, chance), tally)
            async with asyncio.timeout(PATIENCE):
                await wait(working)
            tally.failed += sum(future.status != "finished" for future in working)
            tally.lost += await held.lost()
            tally.results_checked += RESULTS
            logger.info("%d scale-downs, %d lost", tally.scale_downs, tally.lost)
    finally:
        loading.cancel()
        await asyncio.gather(loading, return_exceptions=True)
    again = [key for key, number in STARTS.items() if number > 1]
    tally.tasks, tally.tasks_run_again = len(STARTS), len(again)
    if again:
        logger.info("run again: %s", again[:20])


def _other(pool: Pool, sizes: Mapping[str, int], chance: random.Random) -> dict[str, int]:
    """Choose other sizes for one group or several, but not 0 for all, since some worker must take the results."""
    changed = chance.sample(list(pool.groups), chance.randint(1, len(pool.groups)))
    wanted = {**sizes, **{group: chance.randint(0, pool.largest) for group in changed}}
    return wanted if any(wanted.values()) else dict.fromkeys(pool.groups, pool.largest)


async def _round(pool: Pool, before: Mapping[str, int], after: dict[str, int], tally: Tally) -> dict[str, int]:
    deleted, began = Counter(pool.deleted), time.monotonic()
    await pool.resize(after)
    spent, before_this = tally.seconds_per_scale_down * tally.scale_downs, tally.scale_downs
    for group in pool.groups:
        went, surplus = pool.deleted[group] - deleted[group], before[group] - after[group]
        tally.scale_downs += surplus > 0
        tally.workers_deleted += went
        tally.wrong_group += went if surplus <= 0 else 0
        tally.too_many += max(went - surplus, 0) if surplus > 0 else 0
    if tally.scale_downs > before_this:
        tally.seconds_per_scale_down = (spent + time.monotonic() - began) / tally.scale_downs
    return after
