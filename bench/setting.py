"""The setting of each measurement: an API server with fake nodes, one operator at a time, and an emptied namespace."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from bench.figures import OURS, Sizes
from bench.process import operator, sampled
from tests.support.process import Process

from dask_operator import names
from dask_operator.kubernetes.api import Api, Page, path
from dask_operator.kubernetes.connection import CONNECTIONS
from dask_operator.kubernetes.errors import ApiError
from dask_operator.resources import CLUSTER, DEPLOYMENT, GROUP, POD, Resource

NAMESPACE = "bench"
RAW_GROUP = "raw-default"
PATIENCE = 180.0
_EMPTYING = 600.0
# Not our controller's own label, so that it ignores the Pods made for comparison.
WORKERS = replace(POD, selector=f"{names.COMPONENT_LABEL}={names.WORKER}")
CONFIGMAPS = Resource("ConfigMap", "", "v1", "configmaps", ())
REPLICASETS = Resource("ReplicaSet", "apps", "v1", "replicasets", ())


@dataclass(frozen=True)
class Bench:
    """A setting. `who`: the measured operator; `python`: of its environment; `folder`: for logs."""

    api: Api
    who: str
    python: str
    sizes: Sizes
    folder: Path
    _numbers: Any = field(default_factory=itertools.count)

    @property
    def ours(self) -> bool:
        return self.who == OURS

    @property
    def rounds(self) -> int:
        return self.sizes.rounds if self.ours else self.sizes.incumbent_rounds

    @property
    def kubeconfig(self) -> Path:
        return Path(os.environ["KUBECONFIG"])

    def name(self, stem: str) -> str:
        """Return a new name each time, so that leftovers of an earlier measurement do not interfere."""
        return f"{stem}-{next(self._numbers)}"

    @asynccontextmanager
    async def operator(
        self, kubeconfig: Path | None = None, within: Sequence[str] = (), samples: Path | None = None
    ) -> AsyncIterator[Process]:
        """Run the operator. It has already made one cluster, so that its first use is not measured.

        `samples`: the file into which ours writes the profile of its CPU time at its end.
        """
        log = self.folder / f"{self.who}.log"
        config = kubeconfig or self.kubeconfig
        if samples:
            process = sampled(samples, config, log, within)
        else:
            process = operator(self.who, self.python, config, log, within=within)
        async with process.at_work():
            async with emptied(self.api):
                await timed(self.api, 1, lambda: self.api.create(CLUSTER, cluster(self.name("warm"), 1)))
            yield process


def pod_spec(role: str) -> dict[str, Any]:
    """Return a Pod spec for fake nodes, of a typical size."""
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


def cluster(name: str, workers: int, namespace: str = NAMESPACE) -> dict[str, Any]:
    ports = [{"name": "tcp-comm", "port": 8786}, {"name": "http-dashboard", "port": 8787}]
    selector = {names.CLUSTER_LABEL: name, names.COMPONENT_LABEL: names.SCHEDULER}
    return {
        "apiVersion": CLUSTER.api_version,
        "kind": CLUSTER.kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "worker": {"replicas": workers, "spec": pod_spec("worker")},
            "scheduler": {"spec": pod_spec("scheduler"), "service": {"selector": selector, "ports": ports}},
        },
    }


async def eventually(
    condition: Callable[[], Awaitable[object]], what: str, seconds: float = PATIENCE, every: float = 0.1
) -> None:
    deadline = time.monotonic() + seconds
    while not await condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:.0f} s: {what}")
        await asyncio.sleep(every)


async def count(api: Api, resource: Resource, namespace: str = NAMESPACE) -> int:
    """Count all objects: the API server gives no remaining number for a list with a label selector."""
    page = await api.request("GET", path(resource, namespace), params={"limit": "1"})
    return len(page.body["items"]) + int(page.body["metadata"].get("remainingItemCount", 0))


async def pages(api: Api, resource: Resource, namespace: str) -> AsyncIterator[Page]:
    """Yield a list page by page."""
    page = await api.list_page(resource, namespace, "")
    yield page
    while page.continued:
        page = await api.list_page(resource, namespace, page.continued, page.limit)
        yield page


@asynccontextmanager
async def seen(
    api: Api, namespace: str = NAMESPACE, resource: Resource = WORKERS
) -> AsyncIterator[AsyncIterator[tuple[str, dict[str, Any]]]]:
    """Yield changes of worker Pods, or of others, from now on: ADDED, MODIFIED or DELETED, and an object's metadata."""
    version = (await api.list_page(resource, namespace, "")).version

    async def events() -> AsyncGenerator[tuple[str, dict[str, Any]]]:
        nonlocal version
        # The API server ends a slow reader's watch. It goes on from the last version.
        while True:
            async for event in api.watch(resource, namespace, version, PATIENCE, PATIENCE):
                meta = event["object"]["metadata"]
                version = meta["resourceVersion"]
                if event["type"] != "BOOKMARK":
                    yield event["type"], meta

    stream = events()
    try:
        yield stream
    finally:
        await stream.aclose()


async def timed(api: Api, number: int, act: Callable[[], Awaitable[Any]], seconds: float = PATIENCE) -> float:
    """Return the seconds from an act until `number` worker Pods have been created."""
    async with seen(api) as events:
        begin = time.monotonic()
        acting = asyncio.ensure_future(act())
        missing = number
        async with asyncio.timeout(seconds):
            async for kind, _ in events:
                missing -= kind == "ADDED"
                if not missing:
                    break
        took = time.monotonic() - begin
        await acting
        return took


def worker_pod(name: str, **metadata: Any) -> dict[str, Any]:
    """Return a worker's Pod that belongs to no operator."""
    spec = pod_spec("worker")
    env = {names.WORKER_NAME_ENV: name, names.SCHEDULER_ADDRESS_ENV: "tcp://absent:8786"}
    spec["containers"][0]["env"] = [{"name": key, "value": value} for key, value in env.items()]
    labels = {names.COMPONENT_LABEL: names.WORKER, names.GROUP_LABEL: RAW_GROUP}
    meta = {"name": name, "namespace": NAMESPACE, "labels": labels, **metadata}
    return {"apiVersion": POD.api_version, "kind": POD.kind, "metadata": meta, "spec": spec}


async def side_by_side(requests: Sequence[Callable[[], Awaitable[Any]]]) -> None:
    """Send requests as fast as the API server takes them."""
    pending = iter(requests)

    async def work() -> None:
        for request in pending:
            await request()

    await asyncio.gather(*(work() for _ in range(CONNECTIONS)))


async def make_workers(api: Api, pods: Sequence[dict[str, Any]]) -> None:
    await side_by_side([partial(api.create, POD, pod) for pod in pods])


@asynccontextmanager
async def emptied(api: Api, *namespaces: str) -> AsyncIterator[None]:
    """Create namespaces, and empty them afterwards, while an operator runs that may have to help.

    On interruption leave them, since the whole cluster goes then.
    """
    namespaces = namespaces or (NAMESPACE,)
    for namespace in namespaces:
        with suppress(ApiError):
            await api.request("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
    interrupted = False
    try:
        yield
    except asyncio.CancelledError:
        interrupted = True
        raise
    finally:
        for namespace in () if interrupted else namespaces:
            await empty(api, namespace)


async def empty(api: Api, namespace: str) -> None:
    async def nothing_left() -> bool:
        with suppress(ApiError):  # deleting many objects takes longer than a request may
            for resource in (CLUSTER, REPLICASETS, CONFIGMAPS):
                await api.request("DELETE", path(resource, namespace))
            if not await count(api, CLUSTER, namespace):
                await api.request("DELETE", path(POD, namespace))
            return not any([await count(api, resource, namespace) for resource in (CLUSTER, GROUP, DEPLOYMENT, POD)])
        return False

    await eventually(nothing_left, f"namespace {namespace} is empty", _EMPTYING, every=0.5)
