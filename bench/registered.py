"""Seconds from a DaskCluster until its three workers, in real containers, are registered with its scheduler.

Raw: the objects our controller would make, made at once by a bare client without an operator.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from typing import Any

from bench.figures import RAW, Measured
from bench.setting import NAMESPACE, Bench, emptied, eventually, side_by_side
from tests.support.manifests import dask_cluster

from dask_operator import manifests, names, parse
from dask_operator.kubernetes.api import Api, path
from dask_operator.kubernetes.errors import ApiError
from dask_operator.resources import CLUSTER, DEPLOYMENT, GROUP, POD, SERVICE

WORKERS = 3


async def registered(bench: Bench) -> AsyncIterator[Measured]:
    raws, times = [], []
    for _ in range(bench.rounds):
        if bench.ours:
            async with emptied(bench.api):
                raws.append(await raw(bench))
        async with bench.operator(), emptied(bench.api):
            times.append(await operated(bench))
    if raws:
        yield Measured("registered", RAW, tuple(raws))
    yield Measured("registered", bench.who, tuple(times))


async def operated(bench: Bench) -> float:
    manifest = _cluster(bench.name("real"))
    begin = time.monotonic()
    await bench.api.create(CLUSTER, manifest)
    return await until_registered(bench.api, manifest["metadata"]["name"], begin)


def _cluster(name: str) -> dict[str, Any]:
    manifest = dask_cluster(name, WORKERS, image=os.environ["DASK_IMAGE"])
    manifest["metadata"]["namespace"] = NAMESPACE
    return manifest


async def raw(bench: Bench) -> float:
    manifest = _cluster(bench.name("raw"))
    begin = time.monotonic()
    cluster = parse.cluster((await bench.api.create(CLUSTER, manifest)).body)
    group = parse.group((await bench.api.create(GROUP, manifests.group_manifest(cluster))).body)
    made = [(DEPLOYMENT, manifests.deployment_manifest(cluster)), (SERVICE, manifests.service_manifest(cluster))]
    made += [(POD, pod) for pod in manifests.worker_manifests(cluster, group, range(WORKERS), attempt=0)]
    await side_by_side([partial(bench.api.create, *each) for each in made])
    return await until_registered(bench.api, cluster.name, begin)


async def until_registered(api: Api, name: str, begin: float) -> float:
    """Return the seconds since `begin` once all workers are registered, asking the scheduler through the API server."""
    service = f"{names.scheduler(name)}:{names.DASHBOARD_PORT}"
    where = f"{path(SERVICE, NAMESPACE, service)}/proxy/json/counts.json"

    async def all_registered() -> bool:
        with suppress(ApiError):
            return bool((await api.request("GET", where)).body["workers"] == WORKERS)
        return False

    await eventually(all_registered, f"{WORKERS} workers are registered with {name}", every=0.05)
    return time.monotonic() - begin
