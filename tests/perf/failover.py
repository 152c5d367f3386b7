"""How long clusters wait for a controller when the one that leads ends: told to go, and killed.

    python -m tests.perf.failover [--rounds 20]

Needs kubectl in the PATH and KUBECONFIG of a cluster with fake nodes, with our CRDs and without a controller. It starts
two of its own with one Lease. Each time is from the end of the leader until the other has done what was asked for at
that moment: one more worker. Prints each, and the maximum of each kind; and whether any worker was created twice.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import kopf
from tests.support.controller import LEADS, STANDS_BY, Controller
from tests.support.kube import Kube, eventually
from tests.support.manifests import ON_FAKE_NODES, dask_cluster

from dask_operator import names
from dask_operator.actions import GROUP, POD
from dask_operator.api import Api

NAMESPACE = "failover"
CLUSTER_NAME = "kept"
PATIENCE = 60.0


class Creations:
    """Every worker Pod that is created, by name and as often as it is."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self.names: list[str] = []
        self._another = asyncio.Event()

    async def watch(self) -> None:
        version = (await self._api.list_page(POD, NAMESPACE, ""))["metadata"]["resourceVersion"]
        while True:
            async for event in self._api.watch(POD, NAMESPACE, version, PATIENCE, PATIENCE):
                meta = event["object"]["metadata"]
                version = meta["resourceVersion"]
                if event["type"] == "ADDED" and meta["labels"].get(names.COMPONENT_LABEL) == names.WORKER:
                    self.names.append(meta["name"])
                    self._another.set()

    async def reach(self, number: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while len(self.names) < number:
                self._another.clear()
                await self._another.wait()


async def measure(api: Api, kube: Kube, rounds: int, folder: Path) -> None:
    first, second = (Controller(kube, folder / f"{name}.log", lease="failover") for name in ("first", "second"))
    creations = Creations(api)
    watching = asyncio.create_task(creations.watch())
    try:
        first.start()
        eventually(lambda: first.does(LEADS), "the first leads")
        kube.apply(dask_cluster(CLUSTER_NAME, 1, pods=ON_FAKE_NODES))
        await creations.reach(1)
        leader, standby = first, second
        for title, end in (("told to go", Controller.stop), ("killed", Controller.kill)):
            times = []
            for _ in range(rounds):
                standby.start()
                await asyncio.to_thread(eventually, lambda standby=standby: standby.does(STANDS_BY), "one stands by")
                times.append(await _takes(api, creations, leader, standby, end))
                print(f"{title}: {times[-1]:.2f} s", flush=True)
                leader, standby = standby, leader
            print(f"{title}: at most {max(times):.2f} s in {rounds}", flush=True)
        twice = len(creations.names) - (1 + 2 * rounds)
        print(f"workers created: {len(creations.names)}, of these more than were asked for: {twice}")
    finally:
        watching.cancel()
        first.kill()
        second.kill()


async def _takes(
    api: Api, creations: Creations, leader: Controller, standby: Controller, end: Callable[[Controller], object]
) -> float:
    wanted = len(creations.names) + 1
    began = time.monotonic()
    ending = asyncio.create_task(asyncio.to_thread(end, leader))
    await api.patch(GROUP, NAMESPACE, names.default_group(CLUSTER_NAME), {"spec": {"worker": {"replicas": wanted}}})
    await creations.reach(wanted)
    # Were the worker the old leader's last, its time would not count.
    await asyncio.to_thread(eventually, lambda: standby.does(LEADS), "the other leads")
    took = time.monotonic() - began
    await ending
    return took


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    info, kubectl = kopf.login_with_kubeconfig(settings=kopf.OperatorSettings()), shutil.which("kubectl")
    if info is None or kubectl is None:
        raise SystemExit("set KUBECONFIG to that of a cluster with fake nodes, and PATH to where kubectl is")
    kube = Kube(kubectl, Path(os.environ["KUBECONFIG"]), NAMESPACE)
    kube.run("create", "namespace", NAMESPACE)
    try:
        with tempfile.TemporaryDirectory() as folder:
            async with Api(lambda: info) as api:
                await measure(api, kube, options.rounds, Path(folder))
    finally:
        with suppress(Exception):
            kube.run("delete", "namespace", NAMESPACE, "--wait=false")


if __name__ == "__main__":
    asyncio.run(main())
