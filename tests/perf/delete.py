"""A cluster is deleted: until nothing of it is left; the same while no operator runs, so that Kubernetes' garbage
collector does all of it. Raw: an owner of as many Pods alone, where no operator runs."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

from tests.perf.figures import RAW, Measured
from tests.perf.setting import (
    CONFIGMAPS,
    NAMESPACE,
    Bench,
    cluster,
    count,
    emptied,
    eventually,
    make_workers,
    worker_pod,
)
from tests.perf.shrink import run

from dask_operator.actions import CLUSTER, DEPLOYMENT, GROUP, POD, SERVICE, Resource
from dask_operator.api import path

_OWNED = (POD, CLUSTER, GROUP, SERVICE, DEPLOYMENT)


async def delete(bench: Bench) -> AsyncIterator[Measured]:
    raws, alone, times = [], [], []
    for _ in range(bench.rounds):
        if bench.ours:
            async with emptied(bench.api):
                raws.append(await raw(bench))
            async with emptied(bench.api):
                async with bench.operator():
                    name = await made(bench)
                alone.append(await deleted(bench, CLUSTER, name))
        async with bench.operator(), emptied(bench.api):
            times.append(await deleted(bench, CLUSTER, await made(bench)))
    if bench.ours:
        yield Measured("delete", RAW, tuple(raws))
        yield Measured("delete_alone", bench.who, tuple(alone))
    yield Measured("delete", bench.who, tuple(times))


async def raw(bench: Bench) -> float:
    name = bench.name("owner")
    owning = (await bench.api.create(CONFIGMAPS, {"metadata": {"name": name, "namespace": NAMESPACE}})).body
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": owning["metadata"]["uid"]}
    pods = [worker_pod(bench.name("owned"), ownerReferences=[owner]) for _ in range(bench.sizes.workers)]
    await make_workers(bench.api, pods)
    await run(bench)
    return await deleted(bench, CONFIGMAPS, name)


async def made(bench: Bench) -> str:
    """The name of a cluster whose workers run."""
    name = bench.name("deleted")
    await bench.api.create(CLUSTER, cluster(name, bench.sizes.workers))
    await run(bench)
    return name


async def deleted(bench: Bench, owner: Resource, name: str) -> float:
    """Seconds until nothing is left of an owner and what it owns."""
    begin = time.monotonic()
    await bench.api.request("DELETE", path(owner, NAMESPACE, name))

    async def gone() -> bool:
        return not any([await count(bench.api, kind) for kind in _OWNED])

    await eventually(gone, f"nothing is left of {name}", every=0.05)
    return time.monotonic() - begin
