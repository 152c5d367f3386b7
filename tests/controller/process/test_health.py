from __future__ import annotations

import asyncio
from typing import Any

from tests.support.builders import raw_cluster
from tests.support.clock import Run
from tests.support.fake_api import connected
from tests.support.wait import until

from dask_operator.kubernetes.leadership import LeaseName
from dask_operator.kubernetes.lease import Election
from dask_operator.kubernetes.watch import Watch
from dask_operator.model import Key
from dask_operator.process.health import (
    FAILING,
    STUCK,
    STUCK_CLUSTER,
    lasting_problems,
    stuck_watches,
    stuck_work,
    unready,
)
from dask_operator.reconcile.store import Store
from dask_operator.reconcile.workqueue import WorkQueue
from dask_operator.resources import CLUSTER, LEASE, POD


def _watch(api: Any) -> Watch:
    return Watch(api, Store(), POD, "")


async def test_watches_that_work_or_fail_are_alive_and_one_that_does_nothing_is_not() -> None:
    async with connected() as (fake, api):
        watch = _watch(api)
        task = asyncio.create_task(watch.run())
        await asyncio.sleep(3 * STUCK)
        assert stuck_watches([watch]) == []
        fake.fail("GET", POD, 503, times=10_000)
        fake.cut_watches(POD)
        for _ in range(30):
            await asyncio.sleep(STUCK / 10)
            assert stuck_watches([watch]) == [], "an API server that is down kills nobody"
        task.cancel()
        await asyncio.sleep(1.1 * STUCK)
        (found,) = stuck_watches([watch])
        assert found.startswith("the watch of pods in all namespaces has done nothing for 3")


class _Loop:
    def __init__(self, idle_for: float = 0.0, busy_for: float = 0.0) -> None:
        self.idle_for = idle_for
        self.busy_for = busy_for


def _stuck_work(queue: WorkQueue, since_answer: float, **others: float) -> list[str]:
    return stuck_work(queue, _Loop(**others), since_answer)  # type: ignore[arg-type]


async def test_work_that_is_due_for_long_while_nothing_is_done_is_stuck() -> None:
    queue = WorkQueue(asyncio.get_running_loop().time)
    long = STUCK + 100.0
    assert _stuck_work(queue, long, idle_for=long) == [], "there is nothing to do"
    queue.add(Key("default", "simple"))
    assert _stuck_work(queue, long, idle_for=long) == [], "only now there is"
    await asyncio.sleep(long)
    assert _stuck_work(queue, long, idle_for=long) == [
        f"1 clusters wait to be worked on, the first for {long:.0f} s, and nothing is done"
    ]
    assert _stuck_work(queue, long, idle_for=1.0) == [], "others are worked on"
    assert _stuck_work(queue, 30.0, idle_for=long) == [], "requests end, though nobody may answer them"


async def test_work_on_one_cluster_that_never_ends_is_stuck() -> None:
    queue = WorkQueue(lambda: 0.0)
    assert _stuck_work(queue, 0.0, busy_for=STUCK) == []
    (found,) = _stuck_work(queue, 0.0, busy_for=STUCK_CLUSTER + 1.0)
    assert "the work on one cluster has not ended for" in found


async def test_ready_once_everything_has_been_listed() -> None:
    async with connected() as (_, api):
        watch = _watch(api)
        assert unready([watch], None) == ["not all pods in all namespaces have been listed yet"]
        task = asyncio.create_task(watch.run())
        await asyncio.wait_for(watch.synced.wait(), 10.0)
        assert unready([watch], None) == []
        task.cancel()


async def test_a_watch_that_fails_for_a_while_is_still_ready() -> None:
    async with connected() as (fake, api):
        watch = _watch(api)
        task = asyncio.create_task(watch.run())
        await until(lambda: fake.watching(POD), "the watch", 60.0)
        fault = fake.fail("GET", POD, 503, reason="ServiceUnavailable", times=10_000)
        fake.cut_watches(POD)
        await asyncio.sleep(FAILING / 2)
        assert watch.complaint
        assert unready([watch], None) == []
        await asyncio.sleep(FAILING)
        (found,) = unready([watch], None)
        assert found.startswith("watch of pods in all namespaces: 503 ServiceUnavailable")
        assert lasting_problems([watch], None) == [], "nobody need do anything"
        fault.times = 0
        await until(lambda: unready([watch], None) == [], "the watch", 60.0)
        task.cancel()


def test_a_kind_that_is_unknown_or_forbidden_is_said_at_once(run: Run) -> None:
    async def watched(status: int) -> list[str]:
        async with connected() as (fake, api):
            fake.fail("GET", CLUSTER, status, times=10_000)
            fake.put(raw_cluster())
            watch = Watch(api, Store(), CLUSTER, "team")
            task = asyncio.create_task(watch.run())
            await asyncio.wait_for(watch.answered.wait(), 10.0)
            task.cancel()
            assert lasting_problems([watch], None) == unready([watch], None)
            return unready([watch], None)

    assert run(watched(403))[0].startswith("may not watch daskclusters in namespace team")
    assert run(watched(404))[0].startswith("there are no daskclusters in namespace team to watch")


async def test_a_process_that_may_not_take_part_in_the_election_is_not_ready() -> None:
    async with connected() as (fake, api):
        fake.fail("GET", LEASE, 403, reason="Forbidden", message="may not", times=10_000)
        election = Election(api, LeaseName("default", "controller"), "a")
        task = asyncio.create_task(election.run(asyncio.Event().wait))  # type: ignore[arg-type]
        await until(lambda: election.complaint, "the refusal", 60.0)
        task.cancel()
        assert lasting_problems([], election) == unready([], election)
        (found,) = unready([], election)
    assert "permit get, create and update of leases" in found
