"""The cost of the agent: CPU time of a scheduler while workers drain, and while it is asked what they hold and want.

    python -m bench.scale_down.agent_cost [--workers 1000] [--draining 100] [--tasks 10000] [--seconds 60]

Every worker runs a task that does not end, and more tasks wait. The controller's own client asks, as often as for
an autoscaler. The scheduler's work without questions is subtracted.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import dask
from bench.scale_down.rounds import PATIENCE, a_worker
from bench.scale_down.work import END, QUICK, wait_for_end
from distributed import Client, Worker
from tests.support.dask import Scheduler, a_scheduler
from tests.support.wait import meanwhile, until

from dask_operator.model import Endpoint
from dask_operator.plan.autoscaler import INTERVAL
from dask_operator.scheduler.questions import Schedulers

_AT_ONCE = 50
_DRAIN_TIME = 3600.0
Question = Callable[[], Awaitable[object]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--draining", type=int, default=100, help="number of workers that drain")
    parser.add_argument("--tasks", type=int, default=10_000, help="number of tasks, of which each worker runs one")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of each measurement")
    arguments = parser.parse_args()
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with dask.config.set(QUICK), TemporaryDirectory() as folder, a_scheduler(Path(folder)) as scheduler:
        asyncio.run(_measure(scheduler, folder, **vars(arguments)))


async def _measure(scheduler: Scheduler, folder: str, workers: int, draining: int, tasks: int, seconds: float) -> None:
    async with Client(scheduler.address, asynchronous=True) as client, Schedulers() as schedulers:
        started = await _workers(scheduler.address, folder, workers)
        futures = client.map(wait_for_end, range(tasks), pure=False)
        await until(lambda: _executing(started) == workers, "every worker runs a task", PATIENCE)
        where = Endpoint(f"http://127.0.0.1:{scheduler.http_port}", scheduler.address)
        leaving = [worker.address for worker in started[:draining]]
        questions: Mapping[str, Question] = {
            f"asked for demand every {INTERVAL:g} s": lambda: schedulers.demand(where),
            f"asked for what workers hold every {INTERVAL:g} s": lambda: schedulers.survey(where, workers),
            f"{draining} workers drain": lambda: schedulers.drain(where, leaving, _DRAIN_TIME),
        }
        alone = await _share(client, seconds)
        print(f"a scheduler with {workers} workers and {tasks} tasks: {alone:.2%} of one core, and in addition")
        for what, question in questions.items():
            async with meanwhile(_ask(question)):
                await asyncio.sleep(INTERVAL)
                print(f"- {what}: {await _share(client, seconds) - alone:.2%}", flush=True)
        END.set()
        del futures
        await asyncio.gather(*(worker.close(nanny=False) for worker in started))


async def _workers(address: str, folder: str, number: int) -> list[Worker]:
    started: list[Worker] = []
    for first in range(0, number, _AT_ONCE):
        names = [f"worker-{n}" for n in range(first, min(first + _AT_ONCE, number))]
        started += await asyncio.gather(*(a_worker(address, name, folder) for name in names))
    return started


def _executing(workers: list[Worker]) -> int:
    return sum(worker.state.executing_count for worker in workers)


async def _ask(question: Question) -> None:
    while True:
        await asyncio.gather(question(), asyncio.sleep(INTERVAL))


async def _share(client: Client, seconds: float) -> float:
    """Return the share of one core that the scheduler's process uses for so many seconds."""
    cpu, began = await client.run_on_scheduler(time.process_time), time.monotonic()
    await asyncio.sleep(seconds)
    used = await client.run_on_scheduler(time.process_time) - cpu
    return float(used) / (time.monotonic() - began)


if __name__ == "__main__":
    main()
