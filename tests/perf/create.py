"""How fast workers are created, beside what the API server can take in the same run, and what that costs.

    make bench, or: python tests/perf/create.py --controller PID [--workers 300] [--clusters 50] [--rounds 5]

Needs KUBECONFIG of a cluster with fake nodes and the process id of a controller that has just started.
Raw ceiling: the same Pods posted by a bare client, 40 requests in flight. Prints medians, and the ratio of the rates.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import statistics
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kopf

from dask_operator import names
from dask_operator.actions import CLUSTER, GROUP, POD, WATCHED, Resource
from dask_operator.api import Api, ApiError
from dask_operator.plan.status import INTERVAL

NAMESPACE = "bench"
PATIENCE = 120.0
IN_FLIGHT = 40


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
        return bool(sum(item.get("status", {}).get("phase") == "Running" for item in items) == clusters)

    begin = time.monotonic()
    pods = await timed(api, clusters * 5, act)
    await eventually(running, f"{clusters} clusters are Running")
    return pods, time.monotonic() - begin


async def writes(api: Api) -> int:
    """The writes that a cluster of 5 takes until it has settled, by the API server's own count."""
    before = _written()
    await api.create(CLUSTER, cluster("five", 5))

    async def settled() -> bool:
        status = (await api.get(CLUSTER, NAMESPACE, "five")).body.get("status", {})
        return any(c["type"] == "Progressing" and c["status"] == "False" for c in status.get("conditions", []))

    await eventually(settled, "the cluster has settled")
    await asyncio.sleep(2 * INTERVAL)  # until a status that nobody waits for would have been written as well
    events = await api.request("GET", f"/api/v1/namespaces/{NAMESPACE}/events")
    ours = sum(event["involvedObject"]["kind"] in {CLUSTER.kind, GROUP.kind} for event in events.body["items"])
    # Not the controller's: the DaskCluster itself, and the scheduler's Pod, which a ReplicaSet makes.
    return _written() - before + ours - 2


def _written() -> int:
    """Writes so far of the kinds of objects that the controller makes. Others update them by PUT, which it does not."""
    ours = {(resource.plural, "") for resource in WATCHED} | {(CLUSTER.plural, "status"), (GROUP.plural, "status")}
    metrics = subprocess.run(["kubectl", "get", "--raw", "/metrics"], capture_output=True, text=True, check=True).stdout
    lines = (line for line in metrics.splitlines() if line.startswith("apiserver_request_total{"))
    total = 0
    for line in lines:
        labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
        if (labels["resource"], labels["subresource"]) in ours and labels["verb"] in {"POST", "PATCH", "DELETE"}:
            total += int(line.rpartition(" ")[2])
    return total


@dataclass(frozen=True)
class Process:
    """The controller's process, as the kernel accounts for it."""

    pid: int

    def cpu(self) -> float:
        """Seconds of user and system time so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """Resident MiB."""
        return int(re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())[0]) / 1024


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


async def measure(api: Api, controller: Process, options: argparse.Namespace) -> None:
    """One line per round, then the medians."""
    print(f"memory idle: {controller.memory():.1f} MiB", flush=True)
    async with emptied(api):
        print(f"API writes for a cluster of 5: {await writes(api)}", flush=True)
    raws, ours, manies, cpus = [], [], [], []
    for number in range(options.rounds):
        async with emptied(api):
            raws.append(await raw(api, options.workers))
        async with emptied(api):
            ours.append(await scale_up(api, options.workers))
            memory = controller.memory()
        async with emptied(api):
            before = controller.cpu()
            manies.append(await many_clusters(api, options.clusters))
            cpus.append((controller.cpu() - before) / options.clusters)
        print(
            f"round {number + 1}: raw {options.workers / raws[-1]:.0f}/s, ours {options.workers / ours[-1]:.0f}/s, "
            f"{options.clusters} clusters: Pods {manies[-1][0]:.2f} s, Running {manies[-1][1]:.2f} s",
            flush=True,
        )
    ratio = statistics.median(a / b for a, b in zip(raws, ours, strict=True))
    rates = options.workers / statistics.median(raws), options.workers / statistics.median(ours)
    print(f"0 → {options.workers}: raw {rates[0]:.0f} Pods/s, ours {rates[1]:.0f} Pods/s, ratio {ratio:.2f}")
    pods, running = (statistics.median(values) for values in zip(*manies, strict=True))
    print(f"{options.clusters} clusters × 5: all Pods after {pods:.2f} s, all Running after {running:.2f} s")
    print(f"CPU for a cluster of 5: {statistics.median(cpus) * 1000:.1f} ms")
    print(f"memory with {options.workers} workers: {memory:.1f} MiB")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--controller", type=int, required=True)
    parser.add_argument("--workers", type=int, default=300)
    parser.add_argument("--clusters", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    info = kopf.login_with_kubeconfig(settings=kopf.OperatorSettings())
    if info is None:
        raise SystemExit("set KUBECONFIG to that of a cluster with fake nodes")
    async with Api(lambda: info) as api:
        await measure(api, Process(options.controller), options)


if __name__ == "__main__":
    asyncio.run(main())
