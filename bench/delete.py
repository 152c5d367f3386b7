"""Seconds to delete a cluster completely. Raw: by Kubernetes' garbage collector, without operator."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

from bench.figures import RAW, Measured
from bench.setting import NAMESPACE, Bench, cluster, count, emptied, eventually
from bench.shrink import run

from dask_operator.kubernetes.api import path
from dask_operator.resources import CLUSTER, DEPLOYMENT, EVENT, GROUP, POD, SERVICE

_PARTS = (POD, CLUSTER, GROUP, SERVICE, DEPLOYMENT)


async def delete(bench: Bench) -> AsyncIterator[Measured]:
    raws, times = [], []
    for _ in range(bench.rounds):
        if bench.ours:
            async with emptied(bench.api):
                async with bench.operator():
                    name = await made(bench)
                raws.append(await deleted(bench, name))
        async with bench.operator(), emptied(bench.api):
            times.append(await deleted(bench, await made(bench)))
    if raws:
        yield Measured("delete", RAW, tuple(raws))
    yield Measured("delete", bench.who, tuple(times))


async def made(bench: Bench) -> str:
    """Make a cluster, wait until its workers run and its status no longer changes, and return its name."""
    name = bench.name("deleted")
    await bench.api.create(CLUSTER, cluster(name, bench.sizes.workers))
    await run(bench)
    told = -1

    async def nothing_new() -> bool:
        nonlocal told
        before, told = told, await count(bench.api, EVENT)
        return told == before

    await eventually(nothing_new, "no more Events", every=1.0)
    return name


async def deleted(bench: Bench, name: str) -> float:
    """Delete a cluster, and return the seconds until nothing of it is left."""
    begin = time.monotonic()
    await bench.api.request("DELETE", path(CLUSTER, NAMESPACE, name))

    async def gone() -> bool:
        return not any([await count(bench.api, kind) for kind in _PARTS])

    await eventually(gone, f"nothing is left of {name}", every=0.05)
    return time.monotonic() - begin
