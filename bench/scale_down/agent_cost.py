"""The cost of the agent: CPU time of a scheduler while workers drain, and while it is asked what they hold and want.

    python -m bench.scale_down.agent_cost [--workers 1000] [--draining 100] [--tasks 10000] [--seconds 60]

Every worker runs a task that does not end, and more tasks wait. The controller's own client asks: many times in a row,
so that the cost of one question is seen beside that of the workers' heartbeats. The scheduler's work without questions
is measured before and after, and subtracted.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dask
from bench.scale_down.rounds import a_worker, begin_lane
from bench.scale_down.work import QUICK, wait_for_end
from distributed import Client, Worker
from tests.support.dask import Scheduler, a_scheduler
from tests.support.wait import until_seen

from dask_operator.model import Endpoint
from dask_operator.plan.autoscaler import INTERVAL
from dask_operator.scheduler.questions import Schedulers

_AT_ONCE = 25
_PROCESSES = 4
_QUESTIONS = 50
_DRAIN_TIME = 3600.0
_PATIENCE = 900.0
Question = Callable[[], Awaitable[object]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--draining", type=int, default=100, help="number of workers that drain")
    parser.add_argument("--tasks", type=int, default=10_000, help="number of tasks, of which each worker runs one")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of each measurement without questions")
    arguments = parser.parse_args()
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with (
        dask.config.set(QUICK),
        TemporaryDirectory() as folder,
        a_scheduler(Path(folder)) as scheduler,
        _workers(scheduler.address, folder, arguments.workers),
    ):
        asyncio.run(_measure(scheduler, **vars(arguments)))


@contextmanager
def _workers(address: str, folder: str, number: int) -> Iterator[None]:
    """Start workers in a few processes, and end these."""
    names, context = [f"worker-{n}" for n in range(number)], get_context("spawn")
    parts = [names[first::_PROCESSES] for first in range(_PROCESSES)]
    processes = [context.Process(target=_work, args=(address, folder, part), daemon=True) for part in parts]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.join()


def _work(address: str, folder: str, names: Sequence[str]) -> None:
    begin_lane()
    with dask.config.set(QUICK):
        asyncio.run(_start(address, folder, names))


async def _start(address: str, folder: str, names: Sequence[str]) -> None:
    started: list[Worker] = []
    for first in range(0, len(names), _AT_ONCE):
        started += await asyncio.gather(*(a_worker(address, name, folder) for name in names[first : first + _AT_ONCE]))
    await asyncio.Event().wait()


async def _measure(scheduler: Scheduler, workers: int, draining: int, tasks: int, seconds: float) -> None:
    async with Client(scheduler.address, asynchronous=True) as client, Schedulers() as schedulers:
        await until_seen(lambda: _count(client, _registered, workers), f"{workers} workers", _PATIENCE)
        futures = client.map(wait_for_end, range(tasks), pure=False)
        await until_seen(lambda: _count(client, _executing, workers), "every worker runs a task", _PATIENCE)
        where = Endpoint(f"http://127.0.0.1:{scheduler.http_port}", scheduler.address)
        alone = await _share(client, seconds)
        print(f"a scheduler with {workers} workers and {tasks} tasks: {alone:.1%} of one core, and in addition")
        questions: Mapping[str, Question] = {
            "demand": lambda: schedulers.demand(where),
            "what workers hold": lambda: schedulers.survey(where, workers),
        }
        for what, question in questions.items():
            cost = await _cost(client, question, alone)
            print(f"- asked for {what}: {cost * 1000:.1f} ms each, {cost / INTERVAL:.2%} if every {INTERVAL:g} s")
        leaving = [str(address) for address in await client.run_on_scheduler(_addresses, number=draining)]
        await schedulers.drain(where, leaving, _DRAIN_TIME)
        meanwhile = await _share(client, seconds)
        await schedulers.resume(where, leaving)
        after = await _share(client, seconds)
        print(f"- {draining} workers drain: {meanwhile - (alone + after) / 2:.2%} (alone again: {after:.1%})")
        del futures


async def _count(client: Client, number: Callable[..., int], wanted: int) -> bool:
    return bool(await client.run_on_scheduler(number) == wanted)


def _registered(dask_scheduler: Any) -> int:
    return len(dask_scheduler.workers)


def _executing(dask_scheduler: Any) -> int:
    return sum(bool(ws.executing) for ws in dask_scheduler.workers.values())


def _addresses(dask_scheduler: Any, number: int) -> list[str]:
    return list(dask_scheduler.workers)[:number]


async def _cost(client: Client, question: Question, alone: float) -> float:
    """Return the CPU time of an answer, in seconds."""

    async def ask() -> None:
        for _ in range(_QUESTIONS):
            await question()

    used, took = await _used(client, ask())
    return (used - alone * took) / _QUESTIONS


async def _share(client: Client, seconds: float) -> float:
    """Return the share of one core that the scheduler's process uses for so many seconds."""
    used, took = await _used(client, asyncio.sleep(seconds))
    return used / took


async def _used(client: Client, during: Awaitable[object]) -> tuple[float, float]:
    """Return the CPU time of the scheduler's process and the seconds meanwhile."""
    cpu, began = await client.run_on_scheduler(time.process_time), time.monotonic()
    await during
    used = await client.run_on_scheduler(time.process_time) - cpu
    return float(used), time.monotonic() - began


if __name__ == "__main__":
    main()
