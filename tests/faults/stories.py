"""Scenarios from beginning to end, with a controller that is killed on the way and another that continues."""

from __future__ import annotations

import asyncio
import math
import re
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Container, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL
from typing import Any

import kopf
from aiohttp import web
from distributed import Client
from tests.faults import account
from tests.faults.scenarios import Place, Scenario
from tests.support.dask import Scheduler
from tests.support.dask_workers import Results, workers_of
from tests.support.events import events
from tests.support.fault_proxy import Call, Fault, FaultProxy, Lines, LostError, PassOn, proxy_to
from tests.support.forked import Forked
from tests.support.outcome import CHANCE, Outcome, difference, orphans, outcome
from tests.support.wait import until_seen

from dask_operator.kubernetes.api import Api, path
from dask_operator.kubernetes.errors import ApiError
from dask_operator.names import COMPONENT_LABEL, JOB_RUNNER, WORKER
from dask_operator.resources import AUTOSCALER, CLUSTER, DEPLOYMENT, GROUP, JOB, POD, SERVICE, WATCHED

PATIENCE = 300.0
_OVER = 13.0
"""Seconds without a request after which an undisturbed story is over: longer than any pause in one."""
_DONE = 0.7
"""Seconds of the same for a story with a known end that has begun."""
_SETTLED = {
    CLUSTER.kind: ("Progressing", ("Settled", "Suspended")),
    GROUP.kind: ("Progressing", ("Settled", "Suspended")),
    AUTOSCALER.kind: ("ScalingActive", ("FollowsScheduler",)),
}
"""The condition of each kind at rest, and its reasons then."""


@dataclass(frozen=True)
class Slot:
    """A place for stories, one after another: a namespace, a proxy to its API server, a scheduler, and a folder."""

    api: Api
    namespace: str
    proxy: FaultProxy
    kubeconfig: Path
    scheduler: Scheduler
    folder: Path

    @property
    def place(self) -> Place:
        return Place(self.api, self.namespace, self.scheduler.port, self.scheduler.http_port)

    async def state(self) -> Outcome:
        """Return the namespace's objects that the controller watches, without random fields."""
        return outcome(await self._objects(), CHANCE, self._texts())

    async def is_at_rest(self) -> bool:
        """Return whether every declared object reports that it is as wanted, and nothing is being deleted."""
        objects = await self._objects()
        there = {raw["metadata"]["uid"] for raw in objects}
        there |= {raw["metadata"]["name"] for raw in objects if raw["kind"] == DEPLOYMENT.kind}
        return all(_is_at_rest(raw, there) for raw in objects)

    async def _objects(self) -> list[dict[str, Any]]:
        pages = await asyncio.gather(*(self.api.list_page(resource, self.namespace, "") for resource in WATCHED))
        listed = zip(WATCHED, pages, strict=True)
        return [{**raw, "kind": resource.kind} for resource, page in listed for raw in page.items]

    def _texts(self) -> dict[str, str]:
        """Return the texts that differ between slots, and between times."""
        ports = (self.scheduler.port, self.scheduler.http_port)
        times = r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
        return {re.escape(self.namespace): "namespace", **{rf"\b{port}\b": "0" for port in ports}, times: "*"}

    def start(self, fault: Fault, port: int | None = 0) -> Forked:
        """Start a controller whose requests meet the fault; `port`: see Controller."""
        self.proxy.begin(fault)
        log = self.folder / f"{self.namespace}.log"
        controller = Forked(self.kubeconfig, log, f"--namespace={self.namespace}", port=port)
        controller.begin()
        return controller


def _is_at_rest(raw: Mapping[str, Any], there: Container[str]) -> bool:
    """Return whether an object is at rest. `there`: uids of all objects, and names of Deployments, for ReplicaSets."""
    meta, status = raw["metadata"], raw.get("status") or {}
    owners = meta.get("ownerReferences", ())
    left = owners and not any(o["uid"] in there or o["name"].rpartition("-")[0] in there for o in owners)
    if left or meta.get("deletionTimestamp"):
        return False
    if raw["kind"] == JOB.kind:
        return status.get("jobStatus") in ("Successful", "Failed")
    if raw["kind"] not in _SETTLED:
        return True
    if any(owner["kind"] == JOB.kind for owner in owners):
        return False  # deleted at the end of its job
    type_, settled = _SETTLED[raw["kind"]]
    reasons = {condition["type"]: condition["reason"] for condition in status.get("conditions", ())}
    return status.get("observedGeneration") == meta["generation"] and reasons.get(type_) in settled


@asynccontextmanager
async def a_slot(api: Api, info: kopf.ConnectionInfo, scheduler: Scheduler, folder: Path) -> AsyncIterator[Slot]:
    """Create a slot in a new namespace, deleted with everything in it."""
    namespace = f"faults-{uuid.uuid4().hex[:8]}"
    await api.request("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
    try:
        async with proxy_to(info) as proxy:
            file = folder / f"{namespace}.kubeconfig"
            await account.make(api, namespace, proxy.url, file)
            yield Slot(api, namespace, proxy, file, scheduler, folder)
    finally:
        await api.request("DELETE", f"/api/v1/namespaces/{namespace}")


class Kill(Fault):
    """A fault that kills the controller before its `number`th request reaches the API server, or `after` its answer."""

    def __init__(self, number: int, *, after: bool) -> None:
        self.number = number
        self.after = after
        self.kill: Callable[[], None] = lambda: None
        self.killed = asyncio.Event()
        self.at = "nowhere"

    async def answer(self, call: Call, pass_on: PassOn) -> web.StreamResponse:
        if self.killed.is_set():
            raise LostError
        if call.number != self.number:
            return await pass_on()
        if self.after and call.watches:
            return await pass_on()  # `stream` kills it
        if self.after:
            await pass_on()
        self._now(call)
        raise LostError

    async def stream(self, call: Call, lines: Lines) -> Lines:
        if self.after and call.number == self.number:
            self._now(call)
            return
        async for line in lines:
            yield line

    def _now(self, call: Call) -> None:
        self.at = f"{'after' if self.after else 'before'} {call}"
        self.kill()
        self.killed.set()


@dataclass(frozen=True)
class End:
    """The end of a story. `killed`: the place of the kill, or "nowhere"; `calls`: number of requests; `created`: number
    of Pods of each name; `lost`: of results; `again`: of tasks that ran more than once."""

    killed: str
    calls: int
    state: Outcome
    created: Counter[str]
    orphans: tuple[str, ...]
    lost: int
    again: int

    def wrong(self, undisturbed: End) -> str:
        """Return the differences from the undisturbed story, or ""."""
        # The Pod of a job's program has the same name in each attempt.
        twice = {name: n for name, n in self.created.items() if n > max(1, undisturbed.created[name])}
        found = [f"created more than once: {twice}"] if twice else []
        found += [f"orphans: {self.orphans}"] if self.orphans else []
        found += [f"{self.lost} results lost"] if self.lost else []
        found += [f"{self.again} tasks run again"] if self.again else []
        if self.state != undisturbed.state:
            found += difference(self.state, undisturbed.state) or ["it ends differently"]
        return f"killed {self.killed}: " + "\n".join(found) if found else ""


async def tell(slot: Slot, scenario: Scenario, kill: Kill, undisturbed: End | None) -> End:
    """Run a story. `undisturbed`: its normal end, for which to wait, or None to find that out."""
    async with AsyncExitStack() as surroundings:
        results = await _surround(slot, scenario, surroundings)
        await _prepare(slot, scenario)
        if results and scenario.workers:
            await results.spread(workers := await _workers(slot))
            if scenario.at_work:
                await results.work(workers)
        await scenario.act(slot.place)
        usual = min(kill.number, undisturbed.calls) if undisturbed else 0
        created = await _disturbed(slot, kill, undisturbed, usual)
        calls = len(slot.proxy.calls)
        if kill.killed.is_set():
            created += await _disturbed(slot, Kill(0, after=False), undisturbed)
        state = await slot.state()
        lost, again = (await results.lost(), await results.again()) if results else (0, 0)
    await empty(slot)
    return End(kill.at, calls, state, Counter(created), tuple(orphans(state)), lost, again)


async def _disturbed(slot: Slot, kill: Kill, undisturbed: End | None, usual: int = 0) -> list[str]:
    """Run a controller until it is killed or the state is as undisturbed. Return the Pods that it created."""
    running = slot.start(kill)
    kill.kill = lambda: running.send(SIGKILL)
    over = asyncio.create_task(_over(slot, undisturbed, usual))
    killed = asyncio.create_task(kill.killed.wait())
    await asyncio.wait({over, killed}, return_when=asyncio.FIRST_COMPLETED)
    running.send(SIGKILL)
    for task in (over, killed):
        task.cancel()
    await asyncio.gather(over, killed, return_exceptions=True)
    kill.kill = lambda: None
    await asyncio.to_thread(running.wait, PATIENCE)
    return slot.proxy.created(POD.plural)


async def _over(slot: Slot, undisturbed: End | None, usual: int) -> None:
    """Wait until the story is over, or until PATIENCE, whatever the state is then.

    Before `usual` requests, or before everything is at rest, the controller may only be slow on a busy machine.
    """
    deadline = time.monotonic() + PATIENCE
    # The deleted objects may be gone before the controller has made any request.
    slot.proxy.asked = math.inf
    while time.monotonic() < deadline:
        quiet = _DONE if undisturbed and len(slot.proxy.calls) >= usual else _OVER
        if (rest := quiet - slot.proxy.quiet()) > 0:
            await asyncio.sleep(min(rest, _DONE))
        elif await (slot.is_at_rest() if undisturbed is None else _ends_as(slot, undisturbed)):
            return
        else:
            await asyncio.sleep(0.5)


async def _ends_as(slot: Slot, undisturbed: End) -> bool:
    return await slot.state() == undisturbed.state


async def _surround(slot: Slot, scenario: Scenario, surroundings: AsyncExitStack) -> Results | None:
    """Start the surroundings of the controller: real workers with results, or the end of a job's runner."""
    if scenario.runner:
        await surroundings.enter_async_context(_ending_runners(slot, scenario.runner))
    if scenario.workers is None:
        return None
    await surroundings.enter_async_context(workers_of(slot.api, slot.namespace, slot.scheduler, slot.folder))
    client = await surroundings.enter_async_context(
        Client(slot.scheduler.address, asynchronous=True, name="results", timeout=PATIENCE)
    )
    if scenario.busy:
        # There is no such worker, so they wait, and the scheduler asks for more workers.
        waiting = client.map(abs, range(100), workers=["tcp://10.0.0.9:1"], pure=False)
        surroundings.push_async_callback(client.cancel, waiting, force=True)
    return Results(client)


async def _prepare(slot: Slot, scenario: Scenario) -> None:
    """Create the declared objects, and wait until they have settled."""
    declared = scenario.declared(slot.place)
    if not declared:
        return
    running = slot.start(Fault())
    await slot.place.create(*declared)
    await until_seen(lambda: _settled(slot), f"{scenario} has begun", PATIENCE)
    await asyncio.to_thread(running.kill)


async def _settled(slot: Slot) -> bool:
    items = (await slot.api.list_page(CLUSTER, slot.namespace, "")).items
    conditions = {c["type"]: c["reason"] for item in items for c in item.get("status", {}).get("conditions", ())}
    type_, settled = _SETTLED[CLUSTER.kind]
    return conditions.get(type_) in settled


async def _workers(slot: Slot) -> list[str]:
    pods = (await slot.api.list_page(POD, slot.namespace, "")).items
    return [pod["metadata"]["name"] for pod in pods if pod["metadata"]["labels"][COMPONENT_LABEL] == WORKER]


@asynccontextmanager
async def _ending_runners(slot: Slot, phase: str) -> AsyncIterator[None]:
    """End a job's program as soon as its Pod runs, in place of a kubelet."""
    task = asyncio.create_task(_end_runners(slot, phase))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _end_runners(slot: Slot, phase: str) -> None:
    version = (await slot.api.list_page(POD, slot.namespace, "")).version
    at = "2026-01-01T00:00:00Z"
    code = 0 if phase == "Succeeded" else 1
    ended = {"exitCode": code, "reason": "Completed", "startedAt": at, "finishedAt": at}
    after = {
        "Pending": _pod_status("Running", {"running": {"startedAt": at}}),
        "Running": _pod_status(phase, {"terminated": ended}),
    }
    async for event in events(slot.api, POD, slot.namespace, version):
        pod = event["object"]
        meta = pod["metadata"]
        status = after.get(pod.get("status", {}).get("phase"))
        if status and meta["labels"].get(COMPONENT_LABEL) == JOB_RUNNER and event["type"] != "DELETED":
            body = {"metadata": {"uid": meta["uid"]}, "status": status}
            try:
                await slot.api.patch(POD, slot.namespace, meta["name"], body, "status")
            except ApiError as error:
                if error.code not in (404, 409):
                    raise
                # It has been deleted meanwhile.


def _pod_status(phase: str, state: dict[str, Any]) -> dict[str, Any]:
    container = {"name": "job", "image": "", "imageID": "", "ready": phase == "Running", "restartCount": 0}
    return {"phase": phase, "containerStatuses": [{**container, "state": state}]}


async def empty(slot: Slot) -> None:
    """Delete everything, and wait until it is gone."""
    kinds = (JOB, AUTOSCALER, CLUSTER, GROUP, DEPLOYMENT, SERVICE, POD)
    async with asyncio.timeout(PATIENCE):
        while any((await slot.state()).values()):
            for resource in kinds:
                where = path(resource, slot.namespace)
                await slot.api.request("DELETE", where, params={"gracePeriodSeconds": "0"})
            await asyncio.sleep(0.3)
