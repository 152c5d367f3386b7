"""The time from a change of a spec, one more worker, until its Pod exists: when nothing else happens, and while another
cluster scales up.

Raw: a client that posts a Pod as soon as it sees the change of a ConfigMap.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import statistics
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

from bench.figures import RAW, Measured
from bench.setting import (
    CONFIGMAPS,
    NAMESPACE,
    PATIENCE,
    RAW_GROUP,
    Bench,
    cluster,
    count,
    emptied,
    eventually,
    seen,
    worker_pod,
)
from tests.support.wait import meanwhile

from dask_operator import names
from dask_operator.kubernetes.api import Api
from dask_operator.resources import CLUSTER, GROUP, POD

QUIET = "bench-quiet"
CLUSTERS = 10
PAUSE = 0.05


async def changes(bench: Bench) -> AsyncIterator[Measured]:
    api, ways = bench.api, [bench.who, *([RAW] if bench.ours else [])]
    async with bench.operator(), emptied(api, NAMESPACE, QUIET):
        groups = await _groups(bench)
        async with changing(bench, groups, ways) as times:

            async def enough() -> bool:
                return all(len(values) >= bench.sizes.changes for values in times.values())

            await eventually(enough, "all changes were made")
        for fact in _percentiles("change", times):
            yield fact
        if not bench.ours:
            return
        async with changing(bench, groups, ways) as times:
            await api.create(CLUSTER, cluster(bench.name("large"), bench.sizes.large))

            async def as_large() -> bool:
                return await count(api, POD) == bench.sizes.large + 1

            await eventually(as_large, "the large cluster has its workers", every=1.0)
        for fact in _percentiles("busy", times):
            yield fact


async def _groups(bench: Bench) -> dict[str, int]:
    """Make the clusters, and return the number of workers each default group wants: none yet."""
    clusters = [bench.name("changed") for _ in range(CLUSTERS)]
    for name in clusters:
        await bench.api.create(CLUSTER, cluster(name, 0, QUIET))

    async def all_there() -> bool:
        return await count(bench.api, GROUP, QUIET) == CLUSTERS

    await eventually(all_there, "all groups are there")
    return {names.default_group(name): 0 for name in clusters}


@asynccontextmanager
async def changing(bench: Bench, groups: dict[str, int], ways: Sequence[str]) -> AsyncIterator[dict[str, list[float]]]:
    """Make one change after another until the end of the block; yield their milliseconds, by who reacts."""
    times: dict[str, list[float]] = {who: [] for who in ways}
    task = asyncio.create_task(_change(bench, groups, times))
    try:
        yield times
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if not task.cancelled():
            task.result()


async def _change(bench: Bench, groups: dict[str, int], times: dict[str, list[float]]) -> None:
    trigger = bench.name("trigger")
    async with seen(bench.api, QUIET) as events, reacting(bench, trigger):
        for scaled in itertools.cycle(list(groups)):
            for who, values in times.items():
                if who == RAW:
                    took = await _shown(events, RAW_GROUP, _touch(bench.api, trigger))
                else:
                    groups[scaled] += 1
                    took = await _shown(events, scaled, _scale(bench.api, scaled, groups[scaled]))
                values.append(1000 * took)
                await asyncio.sleep(PAUSE)


async def _shown(
    events: AsyncIterator[tuple[str, dict[str, Any]]], group: str, change: Coroutine[Any, Any, None]
) -> float:
    """Return the seconds from a change until the group has another Pod."""
    begin = time.monotonic()
    acting = asyncio.create_task(change)
    async with asyncio.timeout(PATIENCE):
        async for kind, meta in events:
            if kind == "ADDED" and meta["labels"][names.GROUP_LABEL] == group:
                break
    took = time.monotonic() - begin
    await acting
    return took


async def _scale(api: Api, group: str, replicas: int) -> None:
    await api.patch(GROUP, QUIET, group, {"spec": {"worker": {"replicas": replicas}}})


async def _touch(api: Api, trigger: str) -> None:
    await api.patch(CONFIGMAPS, QUIET, trigger, {"data": {"at": str(time.monotonic())}})


@asynccontextmanager
async def reacting(bench: Bench, trigger: str) -> AsyncIterator[None]:
    """Make a ConfigMap, and post a Pod for each change of it."""
    api = bench.api
    await api.create(CONFIGMAPS, {"metadata": {"name": trigger, "namespace": QUIET}})
    async with seen(api, QUIET, CONFIGMAPS) as events:

        async def react() -> None:
            async for kind, meta in events:
                if kind == "MODIFIED" and meta["name"] == trigger:
                    await api.create(POD, worker_pod(bench.name("reaction"), namespace=QUIET))

        async with meanwhile(react()):
            yield


def _percentiles(budget: str, times: dict[str, list[float]]) -> list[Measured]:
    """Return the median and the 99th percentile."""
    found = []
    for who, values in times.items():
        ordered = sorted(values)
        p99 = ordered[math.ceil(0.99 * len(ordered)) - 1]
        found += [Measured(budget, who, (statistics.median(ordered),)), Measured(f"{budget}_p99", who, (p99,))]
    return found
