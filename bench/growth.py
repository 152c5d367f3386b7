"""The costs of more workers and of more clusters: seconds, CPU and memory of a controller that has just started.

The largest size also gives a profile of the CPU time, and the costs of a thousand clusters at rest. These stay:
deleting them takes minutes, and they go with their Kubernetes.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

from aiohttp import web
from bench.figures import RAW, Fact, Measured, Point, Share
from bench.process import operator
from bench.proxy import proxying
from bench.setting import NAMESPACE, Bench, cluster, emptied, eventually, pages, side_by_side, timed
from bench.writes import quiet
from tests.support.kubeconfig import write_kubeconfig
from tests.support.loopback_schedulers import SITE
from tests.support.process import Process
from tests.support.server import serving

from dask_operator.kubernetes.api import Api
from dask_operator.model import Json
from dask_operator.plan.workers import registration
from dask_operator.resources import CLUSTER, WATCHED, Resource

WORKERS_EACH = 9
SCHEDULERS_PORT = 8787
WAIT = 600.0


async def workers(bench: Bench) -> AsyncIterator[Fact]:
    """Grow one cluster by more and more workers."""
    samples = bench.folder / "samples.json"
    for size in bench.sizes.growth_workers:
        async with bench.operator(samples=samples) as process, emptied(bench.api):
            yield await grown(bench, process, "workers", size, [cluster(bench.name("grown"), size)])
            memory = process.memory()
    yield Measured("memory_all", bench.who, (memory,))
    for share in shares("workers", samples):
        yield share


async def clusters(bench: Bench) -> AsyncIterator[Fact]:
    """Make more and more clusters. The last and largest set stays, for other controllers to find."""
    samples = bench.folder / "samples.json"
    *fewer, most = bench.sizes.growth_clusters
    for size in fewer:
        async with bench.operator(samples=samples) as process, emptied(bench.api):
            yield await grown(bench, process, "clusters", size, several(bench, size))
    async with bench.operator(samples=samples) as process:
        yield await grown(bench, process, "clusters", most, several(bench, most))
    for share in shares("clusters", samples):
        yield share
    yield Measured("start", RAW, tuple([await lists(bench.api) for _ in range(bench.rounds)]))
    yield Measured("start", bench.who, tuple([await start(bench) for _ in range(bench.rounds)]))
    async for fact in stand(bench):
        yield fact


def several(bench: Bench, number: int) -> list[Json]:
    return [cluster(bench.name("grown"), WORKERS_EACH) for _ in range(number)]


async def grown(bench: Bench, process: Process, kind: str, size: int, manifests: list[Json]) -> Point:
    """Create clusters, and return the costs until they have settled."""
    idle, cpu = process.memory(), process.cpu()
    pods = sum(manifest["spec"]["worker"]["replicas"] for manifest in manifests)
    creations = [partial(bench.api.create, CLUSTER, manifest) for manifest in manifests]
    seconds = await timed(bench.api, pods, lambda: side_by_side(creations), WAIT)
    await eventually(lambda: _settled(bench.api, len(manifests)), f"{size} {kind} have settled", WAIT, every=1.0)
    return Point(kind, size, seconds, process.cpu() - cpu, process.memory() - idle)


async def _settled(api: Api, number: int) -> bool:
    """Return whether `number` clusters have all they want."""
    found = 0
    async for page in pages(api, CLUSTER, NAMESPACE):
        conditions = [c for item in page.items for c in item.get("status", {}).get("conditions", [])]
        found += len([c for c in conditions if c["type"] == "Progressing" and c["status"] == "False"])
    return found == number


def shares(kind: str, samples: Path) -> list[Share]:
    """Return the CPU samples of the last controller that has ended."""
    return [Share(kind, part, function, number) for part, function, number in json.loads(samples.read_text())]


async def start(bench: Bench) -> float:
    """Start a controller, and return the seconds until it has seen every object."""
    begin = time.monotonic()
    async with operator(bench.who, bench.python, bench.kubeconfig, bench.folder / "start.log").at_work():
        return time.monotonic() - begin


async def _who_works(_: web.Request) -> web.Response:
    """Answer as every scheduler: with a worker of an unknown name, which may be in any Pod."""
    return web.json_response({"workers": {"tcp://127.0.0.1:8788": {"name": "any"}}})


async def lists(api: Api) -> float:
    """Return the seconds a running client takes to read all that a controller lists, without keeping it."""
    begin = time.monotonic()
    await asyncio.gather(*(_listed(api, resource) for resource in WATCHED))
    return time.monotonic() - begin


async def _listed(api: Api, resource: Resource) -> None:
    async for page in pages(api, resource, ""):
        for _ in page.items:
            pass


async def stand(bench: Bench) -> AsyncIterator[Measured]:
    """Start a controller with a Lease; measure its writes at the start, and its CPU and requests when idle."""
    async with proxying() as (proxy, url), serving(_who_works, port=SCHEDULERS_PORT):
        kubeconfig = write_kubeconfig(bench.folder / "kubeconfig", url)
        leading = operator(
            bench.who, bench.python, kubeconfig, bench.folder / "stand.log", lease=f"{NAMESPACE}/bench", site=SITE
        )
        async with leading.at_work() as process:
            await asyncio.sleep(registration.TAKES)  # until the schedulers of the newest clusters have been asked
            await quiet(proxy)
            yield Measured("start_writes", bench.who, (proxy.writes().total(),))
            before, cpu = proxy.requests.copy(), process.cpu()
            await asyncio.sleep(bench.sizes.idle)
            share = 100 * (process.cpu() - cpu) / bench.sizes.idle
            yield Measured("idle_cpu", bench.who, (share,))
            yield Measured("idle_requests", bench.who, ((proxy.requests - before).total(),))
