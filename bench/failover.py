"""The time clusters wait for a controller when the leader is stopped, and when it is killed.

Two controllers share a Lease. Each time runs from the end of the leader until the other has created the worker that was
asked for at that moment. No worker may be created twice.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from bench.figures import OURS, Measured
from bench.setting import Bench, seen
from tests.support.controller import LEADS, STANDS_BY, Controller
from tests.support.kube import Kube, eventually
from tests.support.manifests import ON_FAKE_NODES, dask_cluster

from dask_operator import names
from dask_operator.kubernetes.api import Api
from dask_operator.resources import GROUP

NAMESPACE = "failover"
CLUSTER_NAME = "kept"
LEASE = f"{NAMESPACE}/failover"
PATIENCE = 60.0


class Creations:
    """Names of worker Pods, one for each creation."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self.names: list[str] = []
        self._another = asyncio.Event()

    async def watch(self) -> None:
        async with seen(self._api, NAMESPACE) as events:
            async for kind, meta in events:
                if kind == "ADDED":
                    self.names.append(meta["name"])
                    self._another.set()

    async def reach(self, number: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while len(self.names) < number:
                self._another.clear()
                await self._another.wait()


async def failover(bench: Bench) -> AsyncIterator[Measured]:
    kubectl = shutil.which("kubectl")
    assert kubectl, "kubectl in the PATH"
    kube = Kube(kubectl, bench.kubeconfig, NAMESPACE)
    kube.create_namespace()
    first, second = (
        Controller(kube.kubeconfig, bench.folder / f"{name}.log", f"--namespace={NAMESPACE}", lease=LEASE)
        for name in ("first", "second")
    )
    creations = Creations(bench.api)
    watching = asyncio.create_task(creations.watch())
    try:
        await asyncio.to_thread(first.start)
        await asyncio.to_thread(eventually, lambda: first.does(LEADS), "the first leads")
        kube.apply(dask_cluster(CLUSTER_NAME, 1, pods=ON_FAKE_NODES))
        await creations.reach(1)
        leader, standby = first, second
        for budget, end in (("stopped", Controller.stop), ("killed", Controller.kill)):
            times = []
            for _ in range(bench.sizes.failovers):
                await asyncio.to_thread(standby.start)
                await asyncio.to_thread(eventually, lambda standby=standby: standby.does(STANDS_BY), "one stands by")
                times.append(await _takes(bench.api, creations, leader, standby, end))
                leader, standby = standby, leader
            yield Measured(budget, OURS, tuple(times))
        asked_for = 1 + 2 * bench.sizes.failovers
        assert len(creations.names) == asked_for, f"{len(creations.names)} workers created, {asked_for} asked for"
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        first.kill()
        second.kill()
        with suppress(Exception):
            kube.delete_namespace()


async def _takes(
    api: Api, creations: Creations, leader: Controller, standby: Controller, end: Callable[[Controller], object]
) -> float:
    wanted = len(creations.names) + 1
    began = time.monotonic()
    ending = asyncio.create_task(asyncio.to_thread(end, leader))
    await api.patch(GROUP, NAMESPACE, names.default_group(CLUSTER_NAME), {"spec": {"worker": {"replicas": wanted}}})
    await creations.reach(wanted)
    # A worker created by the old leader in its last moments would not count.
    await asyncio.to_thread(eventually, lambda: standby.does(LEADS), "the other leads")
    took = time.monotonic() - began
    await ending
    return took
