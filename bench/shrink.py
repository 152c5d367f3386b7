"""Scale-down of hundreds of registered workers: seconds from the scheduler's answer that it has retired the surplus
until all of it is deleted. Raw: as many Pods deleted by a bare client.

Operator and scheduler are processes in the node's network, where the scheduler's Service leads to an address of its
fake Pod. The scheduler is `tests.support.fake_scheduler`, since moving data is not the operator's time.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from bench.figures import RAW, Measured
from bench.setting import (
    NAMESPACE,
    PATIENCE,
    WORKERS,
    Bench,
    cluster,
    emptied,
    eventually,
    make_workers,
    seen,
    side_by_side,
    worker_pod,
)

from dask_operator import names
from dask_operator.kubernetes.api import Api
from dask_operator.model import Json
from dask_operator.resources import CLUSTER, GROUP

PORT = 8787


async def shrink(bench: Bench) -> AsyncIterator[Measured]:
    within = in_node()
    raws, times = [], []
    async with bench.operator(within=within):
        for _ in range(bench.rounds):
            if bench.ours:
                async with emptied(bench.api):
                    raws.append(await raw(bench))
            async with emptied(bench.api):
                times.append(await scale_down(bench, within))
    if raws:
        yield Measured("shrink", RAW, tuple(raws))
    yield Measured("shrink", bench.who, tuple(times))


def in_node() -> tuple[str, ...]:
    """Return the command prefix that runs a program in the network of the cluster's node."""
    return ("ci/cluster/cluster", "exec", os.environ["CLUSTER"])


async def raw(bench: Bench) -> float:
    pods = [worker_pod(bench.name("raw")) for _ in range(bench.sizes.workers)]
    await make_workers(bench.api, pods)
    await run(bench)
    where = f"/api/v1/namespaces/{NAMESPACE}/pods"
    going = [pod["metadata"]["name"] for pod in pods[bench.sizes.fewer :]]
    deletes = [partial(bench.api.request, "DELETE", f"{where}/{name}") for name in going]
    begin = time.monotonic()
    return await last_deleted(bench.api, len(going), lambda: side_by_side(deletes)) - begin


async def scale_down(bench: Bench, within: Sequence[str]) -> float:
    api, name, fewer, surplus = bench.api, bench.name("shrinking"), bench.sizes.fewer, _surplus(bench)
    await api.create(CLUSTER, cluster(name, bench.sizes.workers))
    await run(bench)
    body = {"spec": {"worker": {"replicas": fewer}}}
    with scheduling(within, await scheduler_address(api, name)) as scheduler:
        scheduler.register(await worker_names(bench))
        group = names.default_group(name)
        ended = await last_deleted(api, surplus, lambda: api.patch(GROUP, NAMESPACE, group, body))
        return ended - await asyncio.to_thread(scheduler.answered, surplus)


def _surplus(bench: Bench) -> int:
    return bench.sizes.workers - bench.sizes.fewer


async def run(bench: Bench) -> None:
    """Wait until all workers run."""

    async def all_run() -> bool:
        pods = (await bench.api.list_page(WORKERS, NAMESPACE, "")).items
        return [pod["status"].get("phase") for pod in pods] == ["Running"] * bench.sizes.workers

    await eventually(all_run, "all workers run")


async def worker_names(bench: Bench) -> list[str]:
    """Return the names, from each Pod's environment, under which the workers register."""
    pods = (await bench.api.list_page(WORKERS, NAMESPACE, "")).items
    return [_env(pod)[names.WORKER_NAME_ENV] for pod in pods]


def _env(pod: Json) -> dict[str, str]:
    return {entry["name"]: entry.get("value", "") for entry in pod["spec"]["containers"][0]["env"]}


async def last_deleted(api: Api, number: int, act: Callable[[], Awaitable[Any]]) -> float:
    """Return the monotonic time at which the last of `number` workers was deleted, though it may still be ending."""
    async with seen(api) as events:
        acting = asyncio.ensure_future(act())
        going = set[str]()
        async with asyncio.timeout(PATIENCE):
            async for kind, meta in events:
                if kind == "DELETED" or meta.get("deletionTimestamp"):
                    going.add(meta["name"])
                if len(going) == number:
                    break
        ended = time.monotonic()
        await acting
        return ended


async def scheduler_address(api: Api, cluster_name: str) -> str:
    """Return the address of the scheduler's fake Pod once it runs."""
    found: list[str] = []

    async def runs() -> bool:
        params = {"labelSelector": f"{names.CLUSTER_LABEL}={cluster_name},{names.COMPONENT_LABEL}={names.SCHEDULER}"}
        pods = (await api.request("GET", f"/api/v1/namespaces/{NAMESPACE}/pods", params=params)).body["items"]
        found[:] = [pod["status"]["podIP"] for pod in pods if pod["status"].get("phase") == "Running"]
        return bool(found)

    await eventually(runs, "the scheduler runs")
    return found[0]


@dataclass(frozen=True)
class Scheduler:
    process: subprocess.Popen[str]

    def register(self, workers: Sequence[str]) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(workers) + "\n")
        self.process.stdin.flush()

    def answered(self, number: int) -> float:
        """Return the time at which the scheduler had retired `number` workers."""
        assert self.process.stdout
        retired, at = 0, 0.0
        while retired < number and (line := self.process.stdout.readline()):
            some, when = line.split()
            retired, at = retired + int(some), float(when)
        assert retired == number, f"the scheduler retired {retired} of {number}"
        return at


@contextmanager
def scheduling(within: Sequence[str], address: str) -> Iterator[Scheduler]:
    """Run a scheduler at the address of a Pod that runs nothing."""
    here = ["ip", "addr", "add", f"{address}/32", "dev", "lo"]
    subprocess.run([*within, *here], check=True)
    command = [*within, sys.executable, "-m", "tests.support.fake_scheduler", str(PORT)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        process.stdout.readline()  # printed once it listens
        yield Scheduler(process)
    finally:
        process.terminate()
        process.wait()
        here[2] = "del"
        subprocess.run([*within, *here], check=True)
