"""The speed of creating workers, compared with the API server's limit and with Kubernetes' own controller.

Raw: the same objects, posted by a bare client with as many requests in flight as the controller has connections.
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from bench.figures import RAW, REPLICASET, Measured
from bench.setting import (
    CONFIGMAPS,
    NAMESPACE,
    REPLICASETS,
    Bench,
    cluster,
    count,
    emptied,
    eventually,
    make_workers,
    side_by_side,
    timed,
    worker_pod,
)
from tests.support.process import Process

from dask_operator import names
from dask_operator.model import Json
from dask_operator.resources import CLUSTER, DEPLOYMENT, GROUP, POD, SERVICE

EACH = 5
"""Workers of each of many clusters."""


async def create(bench: Bench) -> AsyncIterator[Measured]:
    """Create some hundred workers in each round; measure the memory before and afterwards."""
    workers, rates = bench.sizes.workers, dict[str, list[float]]()
    async with bench.operator() as process:
        yield Measured("memory", bench.who, (process.memory(),))
        for _ in range(bench.rounds):
            for who, scale in {RAW: raw, REPLICASET: replicaset}.items() if bench.ours else ():
                async with emptied(bench.api):
                    rates.setdefault(who, []).append(workers / await scale(bench))
            async with emptied(bench.api):
                rates.setdefault(bench.who, []).append(workers / await scale_up(bench))
                memory = process.memory()
    for who, values in rates.items():
        yield Measured("create", who, tuple(values))
    yield Measured("memory_workers", bench.who, (memory,))


async def many(bench: Bench) -> AsyncIterator[Measured]:
    """Create many clusters at once."""
    rounds, raws = [], []
    async with bench.operator() as process:
        for _ in range(bench.rounds):
            if bench.ours:
                async with emptied(bench.api):
                    raws.append(await raw_clusters(bench))
            async with emptied(bench.api):
                rounds.append(await many_clusters(bench, process))
    if raws:
        for budget, values in zip(("many", "cpu"), zip(*raws, strict=True), strict=True):
            yield Measured(budget, RAW, values)
    for budget, values in zip(("many", "running", "stuck", "cpu"), zip(*rounds, strict=True), strict=True):
        yield Measured(budget, bench.who, values)


async def raw(bench: Bench) -> float:
    pods = [worker_pod(bench.name("raw")) for _ in range(bench.sizes.workers)]
    return await timed(bench.api, len(pods), lambda: make_workers(bench.api, pods))


async def replicaset(bench: Bench) -> float:
    pod = worker_pod(bench.name("replicaset"))
    name, labels = pod["metadata"]["name"], pod["metadata"]["labels"]
    template = {"metadata": {"labels": labels}, "spec": pod["spec"]}
    spec = {"replicas": bench.sizes.workers, "selector": {"matchLabels": labels}, "template": template}
    manifest = {"metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}
    return await timed(bench.api, bench.sizes.workers, lambda: bench.api.create(REPLICASETS, manifest))


async def scale_up(bench: Bench) -> float:
    """Scale an existing cluster from 0, and return the seconds until all its workers exist."""
    api, name, workers = bench.api, bench.name("one"), bench.sizes.workers
    await api.create(CLUSTER, cluster(name, 0))

    async def has_group() -> bool:
        return await count(api, GROUP) == 1

    await eventually(has_group, "the cluster has its default group")
    body = {"spec": {"worker": {"replicas": workers}}}
    return await timed(api, workers, lambda: api.patch(GROUP, NAMESPACE, names.default_group(name), body))


async def raw_clusters(bench: Bench) -> tuple[float, float]:
    """Return seconds until all Pods exist, and CPU in ms per cluster, of a client that also watches Pods."""
    number, cpu = bench.sizes.clusters, time.process_time()
    makers = [partial(_make_cluster, bench, bench.name("raw")) for _ in range(number)]
    seconds = await timed(bench.api, number * EACH, lambda: side_by_side(makers))
    return seconds, 1000 * (time.process_time() - cpu) / number


async def _make_cluster(bench: Bench, name: str) -> None:
    """Create a cluster's objects, with ConfigMaps in place of our kinds, on which the operator would act."""
    api, spec, labels = bench.api, cluster(name, 0)["spec"]["scheduler"], {"scheduler": name}
    meta = {"name": name, "namespace": NAMESPACE, "ownerReferences": [await _owner(bench, name)]}
    await api.create(SERVICE, {"metadata": meta, "spec": spec["service"]})
    template = {"metadata": {"labels": labels}, "spec": spec["spec"]}
    deployment = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    await api.create(DEPLOYMENT, {"metadata": meta, "spec": deployment})
    owners = [await _owner(bench, names.default_group(name))]
    for _ in range(EACH):
        await api.create(POD, worker_pod(bench.name("raw"), ownerReferences=owners))


async def _owner(bench: Bench, name: str) -> dict[str, Any]:
    """Create a ConfigMap, and return the owner reference that makes Kubernetes delete its children."""
    owning = (await bench.api.create(CONFIGMAPS, {"metadata": {"name": name, "namespace": NAMESPACE}})).body
    return {"apiVersion": "v1", "kind": CONFIGMAPS.kind, "name": name, "uid": owning["metadata"]["uid"]}


async def many_clusters(bench: Bench, process: Process) -> tuple[float, float, float, float]:
    """Return seconds until all Pods exist and all clusters run, the number that never do, and CPU in ms of each."""
    api, number, wait = bench.api, bench.sizes.clusters, bench.sizes.wait
    manifests = [cluster(bench.name("many"), EACH) for _ in range(number)]
    creations = [partial(api.create, CLUSTER, manifest) for manifest in manifests]
    cpu, begin = process.cpu(), time.monotonic()
    try:
        pods = await timed(api, number * EACH, lambda: side_by_side(creations), wait)
    except TimeoutError:
        pods = math.inf
    stuck = number

    async def all_run() -> bool:
        nonlocal stuck
        stuck = number - sum(map(_runs, (await api.list_page(CLUSTER, NAMESPACE, "")).items))
        return stuck == 0

    try:
        await eventually(all_run, "all are Running", max(wait - (time.monotonic() - begin), 1.0))
        running = time.monotonic() - begin
    except TimeoutError:
        running = math.inf
    return pods, running, stuck, 1000 * (process.cpu() - cpu) / number


def _runs(item: Json) -> bool:
    return bool(item.get("status", {}).get("phase") == "Running")
