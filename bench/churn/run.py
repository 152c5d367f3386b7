"""The run: rounds of churn, each followed by calm, and checks throughout."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bench.churn.calm import Seen, differences, look
from bench.churn.pods import Pods
from bench.churn.replicas import Replica
from bench.churn.result import LASTING, Result
from bench.churn.samples import Samples, metrics
from bench.churn.scene import Scene
from bench.churn.schedulers import Schedulers
from bench.churn.users import Users
from bench.churn.wishes import Manifests
from tests.support.kube import Kube
from tests.support.server import serving

from dask_operator.kubernetes.api import Api
from dask_operator.process.gauges import PHASES

ROUND = 150.0
"""Most seconds of churn between two calms."""
QUIET = 15.0
"""Seconds without any write, once everything is as declared."""
PATIENCE = 300.0
"""Seconds to become as declared. Backoffs take up to a minute, and the machine may be busy."""


class BrokenError(AssertionError):
    """A broken promise."""


class Churn:
    """Churn and checks. `say` is called with the progress about once a minute."""

    def __init__(self, scene: Scene, users: Users, samples: Samples, say: Callable[[str], None]) -> None:
        self._scene = scene
        self._users = users
        self._samples = samples
        self._result = samples.result
        self._say = say
        self._waits_for = ""

    async def run(self, seconds: float, seed: int) -> None:
        """Alternate churn and calm. Raises BrokenError."""
        end = time.monotonic() + seconds
        chances = [random.Random(f"{seed}/{replica.name}") for replica in self._samples.replicas]
        await self._users.populate()
        while (left := end - time.monotonic()) > 0:
            until = time.monotonic() + min(ROUND, left)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._users.act(until))
                for replica, chance in zip(self._samples.replicas, chances, strict=True):
                    tasks.create_task(replica.suffer(chance, until))
            await self._calm()
        self._result.seconds = self._result.now()

    async def watch(self) -> None:
        """Check the promises that always hold, until cancelled. Raises BrokenError."""
        while True:
            await asyncio.sleep(1.0)
            self._result.workers = self._scene.pods.created
            self._result.most_pods = max(self._result.most_pods, len(self._scene.pods.now))
            ended = [
                replica.name for replica in self._samples.replicas if not (replica.mortal or replica.controller.pid)
            ]
            if broken := [*self._scene.pods.broken, *self._samples.broken, *(f"{name} has ended" for name in ended)]:
                raise BrokenError("; ".join(broken))

    async def tell(self) -> None:
        while True:
            await asyncio.sleep(60.0)
            self._say(self._progress())

    async def _calm(self) -> None:
        """Wait until everything is as declared, and then check that nothing is written."""
        began = time.monotonic()
        while problems := await self._problems():
            if time.monotonic() > began + PATIENCE:
                raise BrokenError(f"not within {PATIENCE:.0f} s of calm: {'; '.join(problems)}")
            self._waits_for = problems[0]
        self._waits_for = ""
        if bugs := [bug for replica in self._samples.replicas for bug in replica.bugs()]:
            raise BrokenError("; ".join(bugs))
        took = time.monotonic() - began - QUIET
        self._result.calms.append((self._result.now(), took))
        self._say(f"{self._progress()}; all as declared and no more writes after {took:.0f} s of calm")

    async def _problems(self) -> list[str]:
        """Return the differences from the declared state: at once if any, else after a quiet period."""
        before, written = await look(self._scene.api, self._scene.namespace), await self._writes()
        if problems := differences(self._scene.wishes, before):
            await asyncio.sleep(2.0)
            return problems
        await asyncio.sleep(QUIET)
        after = await look(self._scene.api, self._scene.namespace)
        return [
            *differences(self._scene.wishes, after),
            *_changed(before, after),
            *(["a controller still writes"] if await self._writes() != written else []),
            *[problem for replica in self._samples.replicas for problem in await _disagreement(replica, after)],
        ]

    async def _writes(self) -> list[int | None]:
        samples = [await self._samples.sample(replica) for replica in self._samples.replicas]
        return [sample.writes if sample else None for sample in samples]

    def _progress(self) -> str:
        result, pods = self._result, self._scene.pods
        latest = {row.replica: row.memory for row in result.samples[-4:]}
        memory = ", ".join(f"{replica} {taken:.1f} MiB" for replica, taken in sorted(latest.items()))
        there = f"{len(self._scene.wishes)} clusters, {len(pods.now)} Pods, {pods.created} workers so far"
        done = f"{len(result.deeds)} deeds, {len(result.troubles)} troubles"
        still = f"; not yet: {self._waits_for}" if self._waits_for else ""
        return f"{result.now() / 60:.1f} min: {done}; {there}; {memory}{still}"


def _changed(before: Seen, after: Seen) -> list[str]:
    differ = before.versions.items() ^ after.versions.items()
    return sorted({f"{kind} {name} has changed" for (kind, name), _ in differ})


async def _disagreement(replica: Replica, seen: Seen) -> list[str]:
    """Return differences between a controller's metrics and the cluster, pending work, and failed health checks."""
    values = metrics(await asyncio.to_thread(replica.controller.get, "/metrics"))
    phases = {phase: int(values.get(f'dask_operator_clusters{{phase="{phase}"}}', -1)) for phase in PHASES}
    known = int(sum(value for name, value in values.items() if name.startswith("dask_operator_workers{")))
    alive, ready = [await asyncio.to_thread(replica.controller.get, path) for path in ("/healthz", "/readyz")]
    depth = values.get("dask_operator_queue_depth")
    found = {
        f"has clusters by phase {phases}": phases == {phase: seen.phases()[phase] for phase in PHASES},
        f"knows {known} workers": known == seen.workers(),
        f"has {depth} clusters in its queue": depth == 0,
        f"reports {alive.strip()}": alive.startswith("ok"),
        f"is not ready: {ready.strip()}": ready.startswith("ok"),
    }
    return [f"{replica.name} {what}" for what, well in found.items() if not well]


async def churn(
    api: Api, kube: Kube, folder: Path, seconds: float, clusters: int, seed: int, say: Callable[[str], None]
) -> Result:
    """Run in an empty namespace. `folder`: for logs and samples. Raises BrokenError."""
    result, pods = Result(), Pods(api, kube.namespace)
    schedulers = Schedulers(pods)
    async with serving(schedulers.answer) as url, _replicas(kube, folder, result) as replicas:
        manifests = Manifests(kube.namespace, int(url.rpartition(":")[2]))
        scene = Scene(api, kube.namespace, pods, random.Random(seed), result.deed)
        users = Users(scene, schedulers, manifests, clusters)
        samples = Samples(replicas, folder / "samples.csv", result)
        run = Churn(scene, users, samples, say)
        try:
            await _first_done(run.run(seconds, seed), run.watch(), run.tell(), pods.watch(), samples.take())
        finally:
            result.write_events(folder / "events.csv")
    return result


@asynccontextmanager
async def _replicas(kube: Kube, folder: Path, result: Result) -> AsyncIterator[list[Replica]]:
    replicas = [
        Replica("first", kube, folder, result.trouble, mortal=True),
        Replica(LASTING, kube, folder, result.trouble, mortal=False),
    ]
    try:
        for replica in replicas:
            await replica.start()
        yield replicas
    finally:
        for replica in replicas:
            await replica.end()


async def _first_done(*works: Coroutine[Any, Any, None]) -> None:
    """Wait for the first to end, cancel the others, and raise its exception if it has any."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
