"""A controller in any trouble with its API server stays alive, does not grow, and converges."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.faults.outages import OF_ALL, OUTAGES
from tests.faults.scenarios import NAME, Place
from tests.faults.stories import Slot, a_slot
from tests.faults.trouble import TROUBLE, Trouble
from tests.support.controller import Controller
from tests.support.dask import Scheduler
from tests.support.kubeconfig import credentials
from tests.support.manifests import ON_FAKE_NODES, dask_cluster
from tests.support.outcome import Outcome, orphans
from tests.support.sampling import sampled
from tests.support.wait import happens, meanwhile, until_seen

from dask_operator import names
from dask_operator.kubernetes.api import Api
from dask_operator.resources import CLUSTER, GROUP, POD, SERVICE

pytestmark = pytest.mark.timeout(900)
PATIENCE = 240.0
LASTS = 10.0
"""Duration of each trouble in seconds, while users go on."""
SIDE_BY_SIDE = 14
BESIDE, ALONE = dict(sampled([*TROUBLE.items(), *OUTAGES.items()])), dict(sampled([*OF_ALL.items()]))
GROWTH = 8.0
"""Allowed growth in MiB after a trouble, compared with none: memory kept by an allocator."""
HITS = 300
"""Allowed number of failing requests: the most are those of a watch that is refused each time."""
NOWHERE = Scheduler("tcp://127.0.0.1:11111", 11112)


@dataclass(frozen=True)
class Course:
    """The course of a trouble.

    `converged`: seconds from its end; `dead`: failing answers to the liveness probe; `twice`: Pods created twice;
    `growth`: MiB taken meanwhile; `hits`: number of disturbed requests.
    """

    state: Outcome
    converged: float
    dead: tuple[str, ...]
    twice: tuple[str, ...]
    growth: float
    hits: int


@pytest.fixture(scope="module")
def courses(tmp_path_factory: pytest.TempPathFactory, figure: Callable[[str], None]) -> dict[str, Course]:
    """All troubles, side by side, and "none"."""
    return asyncio.run(_all(tmp_path_factory.mktemp("trouble"), figure))


@pytest.mark.parametrize("trouble", [*BESIDE, *ALONE])
def test_it_converges_and_stays_alive(trouble: str, courses: dict[str, Course]) -> None:
    course, undisturbed = courses[trouble], courses["none"]
    assert 0 < course.hits < HITS, "something was in trouble, and it did not ask without end"
    assert course.dead == (), "it says that it is alive all the time"
    assert course.twice == ()
    assert list(orphans(course.state)) == []
    assert course.state == undisturbed.state
    assert course.growth < undisturbed.growth + GROWTH


async def _all(folder: Path, figure: Callable[[str], None]) -> dict[str, Course]:
    info = credentials()
    room = asyncio.Semaphore(SIDE_BY_SIDE)
    courses: dict[str, Course] = {}
    async with Api(lambda: info) as api:

        async def tell(name: str, trouble: Trouble, expected: Outcome | None = None) -> None:
            async with room, a_slot(api, info, NOWHERE, folder) as slot:
                course = courses[name] = await _course(slot, trouble, expected)
            figure(f"{name}: converged {course.converged:.1f} s after it, {course.growth:+.1f} MiB, {course.hits} hits")

        await tell("none", Trouble())
        expected = courses["none"].state
        await asyncio.gather(*(tell(name, make(), expected) for name, make in BESIDE.items()))
        for name, make in ALONE.items():
            await tell(name, make(), expected)
        return courses


async def _course(slot: Slot, trouble: Trouble, expected: Outcome | None) -> Course:
    controller = slot.start(trouble, port=None)
    try:
        await slot.place.create(slot.place.cluster(3))
        await until_seen(lambda: _running(slot), "three workers run", PATIENCE)
        before = controller.memory()
        async with _watched(controller) as dead:
            await trouble.begin(slot)
            await _go_on(slot.place)
            await trouble.last(LASTS)
            if expected:
                # The controller may be slow, but must meet the trouble at all.
                await happens(lambda: _hits(slot, trouble), PATIENCE)
            await trouble.end(slot)
            began = time.monotonic()
            state = await _end(slot, expected)
            converged = time.monotonic() - began
        created = slot.proxy.created(POD.plural)
        twice = [name for name in set(created) if created.count(name) > 1]
        growth = controller.memory() - before
        return Course(state, converged, tuple(dead), tuple(twice), growth, _hits(slot, trouble))
    finally:
        await asyncio.to_thread(controller.kill)


def _hits(slot: Slot, trouble: Trouble) -> int:
    return trouble.hits + sum(call.status >= 400 or not call.status for call in slot.proxy.calls)


async def _go_on(place: Place) -> None:
    """Do what users do meanwhile: scale, delete a worker and the Service, and make another cluster."""
    await place.scale(5)
    pods = (await place.api.list_page(POD, place.namespace, "")).items
    worker = next(pod for pod in pods if pod["metadata"]["annotations"].get(names.ORDINAL_ANNOTATION) == "0")
    await place.api.delete(POD, place.namespace, worker["metadata"]["name"], {"uid": worker["metadata"]["uid"]})
    service = (await place.api.get(SERVICE, place.namespace, names.scheduler(NAME))).body["metadata"]
    await place.api.delete(SERVICE, place.namespace, service["name"], {"uid": service["uid"]})
    await place.create(dask_cluster("late", 2, pods=ON_FAKE_NODES))


async def _running(slot: Slot) -> bool:
    said = []
    for resource in (CLUSTER, GROUP):
        items = (await slot.api.list_page(resource, slot.namespace, "")).items
        said += [item.get("status", {}) for item in items]
    # The group records the ordinals of its workers: a worker deleted before that could be created again.
    return [status.get("readyReplicas") for status in said] == [3, 3] and said[1].get("lastOrdinal") == 2


async def _end(slot: Slot, expected: Outcome | None) -> Outcome:
    """Return the state once it is the expected one, or after PATIENCE; without one, once everything is at rest."""
    if expected is None:

        async def rests() -> bool:
            return slot.proxy.quiet() > LASTS and await slot.is_at_rest()

        await until_seen(rests, "what is not disturbed comes to rest", PATIENCE)
        return await slot.state()

    async def reached() -> bool:
        return await slot.state() == expected

    with suppress(AssertionError):
        await until_seen(reached, "the end", PATIENCE)
    return await slot.state()


@asynccontextmanager
async def _watched(controller: Controller) -> AsyncIterator[list[str]]:
    """Collect the failing answers to the controller's liveness probe in a list."""
    dead: list[str] = []
    async with meanwhile(_probe(controller, dead)):
        yield dead


async def _probe(controller: Controller, dead: list[str]) -> None:
    while True:
        said = await asyncio.to_thread(controller.get, "/healthz", 60.0)
        if not said.startswith("ok"):
            dead.append(said or "no answer")
        await asyncio.sleep(1.0)
