"""How fast workers are created, beside what the API server can take in the same run.

    python tests/perf/create.py [--workers 300] [--clusters 50] [--rounds 5]

Needs KUBECONFIG of a cluster with fake nodes (`ci/cluster/cluster up bench --fake-nodes 4`) and a running controller.
Raw ceiling: the same Pods posted by a bare client, 40 requests in flight. Prints medians, and the ratio of the rates.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import kopf

from dask_operator import names
from dask_operator.actions import CLUSTER, GROUP, POD, Resource
from dask_operator.api import Api, ApiError
from dask_operator.execute import IN_FLIGHT

NAMESPACES = Resource("Namespace", "", "v1", "namespaces", ())
NAMESPACE = "bench"
PATIENCE = 120.0


def pod_spec(role: str) -> dict[str, Any]:
    """A Pod for fake nodes, of the size that users' Pods have."""
    return {
        "nodeSelector": {"type": "kwok"},
        "tolerations": [{"operator": "Exists"}],
        "containers": [
            {
                "name": role,
                "image": "ghcr.io/dask/dask:2026.8.0-py3.13",
                "args": ["dask", role, "--name", "$(DASK_WORKER_NAME)", "--dashboard-address", "8788"],
                "ports": [{"name": "http-dashboard", "containerPort": 8788}],
                "resources": {"limits": {"cpu": "1", "memory": "1Gi"}},
            }
        ],
    }


def cluster(name: str, workers: int) -> dict[str, Any]:
    ports = [{"name": "tcp-comm", "port": 8786}, {"name": "http-dashboard", "port": 8787}]
    selector = {names.CLUSTER_LABEL: name, names.COMPONENT_LABEL: names.SCHEDULER}
    return {
        "apiVersion": CLUSTER.api_version,
        "kind": CLUSTER.kind,
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "worker": {"replicas": workers, "spec": pod_spec("worker")},
            "scheduler": {"spec": pod_spec("scheduler"), "service": {"selector": selector, "ports": ports}},
        },
    }


async def eventually(condition: Callable[[], Awaitable[bool]], what: str, every: float = 0.1) -> None:
    deadline = time.monotonic() + PATIENCE
    while not await condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {PATIENCE:.0f} s: {what}")
        await asyncio.sleep(every)


async def count(api: Api, resource: Resource) -> int:
    page = await api.request(
        "GET",
        f"/{'apis' if resource.group else 'api'}/{resource.api_version}/namespaces/{NAMESPACE}/{resource.plural}",
        params={"limit": "1"},
    )
    return len(page.body["items"]) + int(page.body["metadata"].get("remainingItemCount", 0))


async def pods_seen(api: Api, number: int, started: asyncio.Event) -> float:
    """When the watch has shown this many new worker Pods, on the monotonic clock."""
    page = await api.list_page(POD, NAMESPACE, "")
    version, seen, deadline = page["metadata"]["resourceVersion"], 0, time.monotonic() + PATIENCE
    started.set()
    # The API server ends a watch whose reader is slow, which then goes on from where it was.
    while time.monotonic() < deadline:
        async for event in api.watch(POD, NAMESPACE, version, PATIENCE, PATIENCE):
            meta = event["object"]["metadata"]
            version = meta["resourceVersion"]
            seen += event["type"] == "ADDED" and meta["labels"].get(names.COMPONENT_LABEL) == names.WORKER
            if seen == number:
                return time.monotonic()
    raise TimeoutError(f"{seen} of {number} Pods within {PATIENCE:.0f} s")


async def timed(api: Api, number: int, act: Callable[[], Awaitable[Any]]) -> float:
    """Seconds from an act until that many worker Pods exist."""
    started = asyncio.Event()
    watching = asyncio.create_task(pods_seen(api, number, started))
    await started.wait()
    begin = time.monotonic()
    await act()
    return await watching - begin


async def raw(api: Api, workers: int) -> float:
    labels = {names.CLUSTER_LABEL: "raw", names.COMPONENT_LABEL: names.WORKER, names.GROUP_LABEL: "raw-default"}
    env = [{"name": names.WORKER_NAME_ENV, "value": "x"}, {"name": names.SCHEDULER_ADDRESS_ENV, "value": "tcp://x:1"}]
    pending = iter(range(workers))

    async def post() -> None:
        for number in pending:
            spec = pod_spec("worker")
            spec["containers"][0]["env"] = env
            metadata = {"name": f"raw-{number}", "namespace": NAMESPACE, "labels": labels}
            await api.create(POD, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})

    async def act() -> None:
        await asyncio.gather(*(post() for _ in range(IN_FLIGHT)))

    return await timed(api, workers, act)


async def scale_up(api: Api, workers: int) -> float:
    """0 → `workers` of one cluster that exists already."""
    await api.create(CLUSTER, cluster("one", 0))

    async def has_group() -> bool:
        return await count(api, GROUP) == 1

    await eventually(has_group, "the cluster has its default group")
    body = {"spec": {"worker": {"replicas": workers}}}
    return await timed(api, workers, lambda: api.patch(GROUP, NAMESPACE, "one-default", body))


async def many_clusters(api: Api, clusters: int) -> tuple[float, float]:
    """`clusters` × 5 workers at once: seconds until all Pods exist, and until all clusters are Running."""

    async def act() -> None:
        await asyncio.gather(*(api.create(CLUSTER, cluster(f"many-{n}", 5)) for n in range(clusters)))

    async def running() -> bool:
        items = (await api.list_page(CLUSTER, NAMESPACE, ""))["items"]
        return sum(item.get("status", {}).get("phase") == "Running" for item in items) == clusters

    begin = time.monotonic()
    pods = await timed(api, clusters * 5, act)
    await eventually(running, f"{clusters} clusters are Running")
    return pods, time.monotonic() - begin


@asynccontextmanager
async def emptied(api: Api) -> AsyncIterator[None]:
    """A namespace of our own, emptied afterwards."""
    with suppress(ApiError):
        await api.request("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    try:
        yield
    finally:
        for resource in (CLUSTER, POD):
            where = f"/{'apis' if resource.group else 'api'}/{resource.api_version}/namespaces/{NAMESPACE}"
            await api.request("DELETE", f"{where}/{resource.plural}", params={"gracePeriodSeconds": "0"})

        async def empty() -> bool:
            return await count(api, POD) == 0

        await eventually(empty, f"namespace {NAMESPACE} is empty")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=300)
    parser.add_argument("--clusters", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    raws, ours, manies = [], [], []
    info = kopf.login_with_kubeconfig(settings=kopf.OperatorSettings())
    if info is None:
        raise SystemExit("set KUBECONFIG to that of a cluster with fake nodes")
    async with Api(lambda: info) as api:
        for number in range(options.rounds):
            async with emptied(api):
                raws.append(await raw(api, options.workers))
            async with emptied(api):
                ours.append(await scale_up(api, options.workers))
            async with emptied(api):
                manies.append(await many_clusters(api, options.clusters))
            print(
                f"round {number + 1}: raw {options.workers / raws[-1]:.0f}/s, ours {options.workers / ours[-1]:.0f}/s, "
                f"{options.clusters} clusters: Pods {manies[-1][0]:.2f} s, Running {manies[-1][1]:.2f} s",
                flush=True,
            )
    ratio = statistics.median(a / b for a, b in zip(raws, ours, strict=True))
    print(
        f"0 → {options.workers}: raw {options.workers / statistics.median(raws):.0f} Pods/s, "
        f"ours {options.workers / statistics.median(ours):.0f} Pods/s, ratio {ratio:.2f}"
    )
    pods, all_running = (statistics.median(values) for values in zip(*manies, strict=True))
    print(f"{options.clusters} clusters × 5: all Pods after {pods:.2f} s, all Running after {all_running:.2f} s")


if __name__ == "__main__":
    asyncio.run(main())
