"""Sequences of users' steps on a real API server: each ends like a new deployment of the last wishes.

The steps are the same as in memory, and many sequences run side by side. They share a namespace, and a quota is for a
namespace; so there are no quotas here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.support.fleet import Fleet, a_fleet, some_schedulers
from tests.support.manifests import ON_FAKE_NODES, dask_autoscaler, worker_group
from tests.support.outcome import difference
from tests.support.sampling import sampled
from tests.support.steps import Change, Step, Wanted, chosen
from tests.support.wait import happens, meanwhile, recorded

from dask_operator.kubernetes.errors import ApiError
from dask_operator.names import COMPONENT_LABEL, GROUP_LABEL, ORDINAL_ANNOTATION, REPLICAS_ANNOTATION, SCHEDULER
from dask_operator.resources import RESOURCES

pytestmark = pytest.mark.timeout(1200)
Raw = dict[str, Any]
SEQUENCES, STEPS, AT_ONCE = 200, 6, 25
PATIENCE = 300.0
_LOOKS = 10
_UNTIL_NEXT = 1.5
"""Longest time in seconds for a step to take effect, before the next."""


@dataclass
class Made:
    """Manifests on fake nodes, at the place of a sequence."""

    fleet: Fleet
    name: str

    def cluster(self, number: int) -> Raw:
        return self.fleet.cluster(self.name, number)

    def group(self, name: str, number: int) -> Raw:
        return worker_group(name, self.name, number, ON_FAKE_NODES)

    def autoscaler(self, group: str, minimum: int, maximum: int) -> Raw:
        return dask_autoscaler(self.name, self.name, minimum, maximum, workerGroup=group)


@dataclass
class Restarts:
    """The controller's restarts, one at a time, each for all sequences waiting for one."""

    fleet: Fleet
    wanted: asyncio.Event = field(default_factory=asyncio.Event)
    number: int = 0

    async def run(self) -> None:
        while True:
            await self.wanted.wait()
            self.wanted.clear()
            await self.fleet.kill()
            self.fleet.start()
            self.number += 1


def test_sequences(tmp_path: Path, figure: Callable[[str], None]) -> None:
    sequences = sampled(chosen(SEQUENCES, STEPS))
    wrong, kills = asyncio.run(_try_all(tmp_path, sequences))
    steps = sum(map(len, sequences))
    figure(
        f"{len(sequences)} sequences of {steps} steps in all, each as what is deployed anew; {kills} kills meanwhile"
    )
    assert not wrong, "\n".join([f"{len(wrong)} of {len(sequences)}", *wrong[:20]])


async def _try_all(folder: Path, sequences: Sequence[Sequence[Step]]) -> tuple[list[str], int]:
    """Return the differences from the wanted states, and the number of kills of the controller."""
    wrong: list[str] = []
    async with AsyncExitStack() as stack:
        schedulers = await stack.enter_async_context(some_schedulers())
        fleet, anew = [await stack.enter_async_context(a_fleet(schedulers, folder)) for _ in range(2)]
        restarts = Restarts(fleet)
        waiting = iter(enumerate(sequences))

        async def lane() -> None:
            for number, sequence in waiting:
                name = f"story-{number:03}"
                if found := await _try(fleet, anew, restarts, name, sequence):
                    wrong.append(f"{name} {sequence}: {found}"[:800])

        async with meanwhile(restarts.run()):
            await asyncio.gather(*(lane() for _ in range(AT_ONCE)))
    return wrong, restarts.number


async def _try(fleet: Fleet, anew: Fleet, restarts: Restarts, name: str, sequence: Sequence[Step]) -> list[str]:
    """Return the differences from the wanted state at the end, and violations on the way."""
    wanted, killed = Wanted(name, Made(fleet, name)), set[str]()
    for step in (Step("create cluster", number=2), *sequence):
        for change in wanted.take(step):
            await _change(fleet, change)
            if change.kind == "DaskCluster" and change.spec is None:
                killed |= _held(fleet, name)
        # If the cluster and its group are scaled at once, either may come last.
        with recorded(f"{name}: after {step} the default group has its cluster's number"):
            await happens(lambda: _has_copied(fleet, wanted), PATIENCE)
        await _happen(fleet, restarts, name, step, killed)
        before = fleet.outcome(name)
        await happens(lambda before=before: fleet.outcome(name) != before, _UNTIL_NEXT)  # type: ignore[misc]
        fleet.schedulers.hold(fleet.namespace, name, step.number)
        if wanted.suspended:
            killed |= _held(fleet, name)
    lost = [f"{worker} went with results" for worker in _held(fleet, name) - killed if not fleet.raw("Pod", worker)]
    for worker in _held(fleet, name):
        del fleet.schedulers.held[worker]
    fleet.schedulers.silent.discard(name)
    for raw in wanted.objects.values():
        await anew.create(raw)
    found = lost + await _until_like_new(fleet, anew, wanted)
    twice = [key for key, uids in fleet.mirror.created.items() if len(uids) > 1 and key[1].startswith(f"{name}-")]
    found += [f"{kind} {pod} twice" for kind, pod in twice if kind == "Pod" and "-worker-" in pod]
    for place in (fleet, anew):
        for kind, of in wanted.objects:
            await place.delete(kind, of)
    return found


def _held(fleet: Fleet, name: str) -> set[str]:
    """Return the workers of a cluster that have results."""
    return {worker for worker, results in fleet.schedulers.held.items() if results and worker.startswith(f"{name}-")}


def _has_copied(fleet: Fleet, wanted: Wanted) -> bool:
    """Return whether a cluster's default group has a copy of the wanted number of workers."""
    cluster, made = wanted.objects.get(("DaskCluster", wanted.name)), fleet.raw("DaskCluster", wanted.name)
    group = fleet.raw("DaskWorkerGroup", f"{wanted.name}-default")
    if not cluster or not made or not group:
        return not cluster
    if made["metadata"]["uid"] not in [owner["uid"] for owner in group["metadata"].get("ownerReferences", ())]:
        return False  # of an earlier cluster of this name, which is about to be deleted
    copied: str = group["metadata"]["annotations"].get(REPLICAS_ANNOTATION, "")
    return copied == str(cluster["spec"]["worker"]["replicas"])


async def _until_like_new(fleet: Fleet, anew: Fleet, wanted: Wanted) -> list[str]:
    def differences() -> list[str]:
        return difference(fleet.outcome(wanted.name), anew.outcome(wanted.name))

    def replicas(place: Fleet, group: str) -> int:
        raw = place.raw("DaskWorkerGroup", group)
        return raw["spec"]["worker"]["replicas"] if raw else -1

    for _ in range(_LOOKS):
        # As many as the last scaling of a group, or as its autoscaler had left, which may act a last time.
        for group in wanted.groups:
            if not await happens(lambda group=group: anew.raw("DaskWorkerGroup", group), PATIENCE):  # type: ignore[misc]
                return [f"there is no {group}"]
            number = wanted.replicas[group]
            number = replicas(fleet, group) if number is None else number
            if replicas(anew, group) != number:
                await anew.patch("DaskWorkerGroup", group, {"spec": {"worker": {"replicas": number}}})
        with recorded(f"{wanted.name} is like new"):
            if await happens(lambda: not differences(), PATIENCE / _LOOKS):
                break
    return differences()


async def _change(fleet: Fleet, change: Change) -> None:
    kind, name, spec, create = change
    if spec is None:
        uid = _uid(fleet, kind, name)
        await fleet.delete(kind, name)
        # The controller recreates a default group at once.
        await happens(lambda: not uid or _uid(fleet, kind, name) != uid, PATIENCE)
    elif create:
        await fleet.create({"apiVersion": "kubernetes.dask.org/v1", **spec})
    elif await happens(lambda: fleet.raw(kind, name), PATIENCE):
        await fleet.patch(kind, name, {"spec": spec})


def _uid(fleet: Fleet, kind: str, name: str) -> str | None:
    """Return the uid of an object, or None."""
    raw = fleet.raw(kind, name)
    return raw["metadata"]["uid"] if raw else None


async def _happen(fleet: Fleet, restarts: Restarts, name: str, step: Step, killed: set[str]) -> None:
    schedulers = fleet.schedulers
    match step.what:
        case "worker is deleted" | "worker fails" | "worker ends":
            killed.add(await _to_a_worker(fleet, f"{name}-{step.group}", step))
        case "service is deleted" | "deployment is deleted":
            await fleet.delete(step.what.split()[0].capitalize(), f"{name}-scheduler")
        case "scheduler is deleted":
            for pod in _pods(fleet, name, COMPONENT_LABEL, SCHEDULER):
                await fleet.delete("Pod", pod["metadata"]["name"])
        case "scheduler falls silent":
            schedulers.silent.add(name)
        case "scheduler answers":
            schedulers.silent.discard(name)
        case "scheduler asks for workers":
            schedulers.targets[name] = step.number
        case "controller is killed":
            restarts.wanted.set()


async def _to_a_worker(fleet: Fleet, group: str, step: Step) -> str:
    """Apply trouble to a worker with a recorded ordinal, since nobody can know of others. Return its name, if any."""
    last = ((fleet.raw("DaskWorkerGroup", group) or {}).get("status") or {}).get("lastOrdinal", -1)
    pods = [pod for pod in _pods(fleet, group, GROUP_LABEL, group) if _ordinal(pod) <= last]
    if not pods:
        return ""
    pod: str = pods[step.number % len(pods)]["metadata"]["name"]
    if step.what == "worker is deleted":
        await fleet.delete("Pod", pod)
        return pod
    phase = "Failed" if step.what == "worker fails" else "Succeeded"
    try:
        await fleet.api.patch(RESOURCES["Pod"], fleet.namespace, pod, {"status": {"phase": phase}}, "status")
    except ApiError as error:
        if error.code != 404:
            raise
    return pod


def _pods(fleet: Fleet, prefix: str, label: str, value: str) -> list[Raw]:
    pods = [raw for raw in fleet.mirror.of(prefix) if raw["kind"] == "Pod"]
    return [pod for pod in pods if pod["metadata"]["labels"].get(label) == value]


def _ordinal(pod: Raw) -> int:
    return int(pod["metadata"]["annotations"][ORDINAL_ANNOTATION])
