"""The fake scheduler answers as a real one does, to what operators ask when workers are to go."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import aiohttp
import pytest
from tests.support.dask import a_dask_cluster, http_port
from tests.support.fake_scheduler import FakeScheduler, serving_scheduler

from dask_operator.model import Endpoint
from dask_operator.scheduler.questions import Schedulers

pytestmark = pytest.mark.real_time

NAMES = ("0", "1", "2")


@asynccontextmanager
async def a_real_one() -> AsyncIterator[str]:
    with a_dask_cluster(len(NAMES)) as cluster:
        yield f"http://127.0.0.1:{http_port(cluster)}"


@asynccontextmanager
async def the_fake() -> AsyncIterator[str]:
    scheduler = FakeScheduler()
    scheduler.register(NAMES)
    async with serving_scheduler(scheduler, "127.0.0.1", 0) as url:
        yield url


EITHER = pytest.mark.parametrize("scheduler", [a_real_one, the_fake])
Scheduler = Callable[[], AbstractAsyncContextManager[str]]


@EITHER
async def test_those_named_are_retired_and_known_no_more(scheduler: Scheduler) -> None:
    async with scheduler() as url, Schedulers() as schedulers:
        endpoint = Endpoint(url, "tcp://127.0.0.1:1")
        known = await schedulers.workers(endpoint)
        assert {(worker.name, worker.nbytes, worker.tasks) for worker in known} == {(name, 0, 0) for name in NAMES}
        going = {worker.address for worker in known if worker.name != "1"}
        assert await schedulers.retire(endpoint, [*going, "tcp://127.0.0.1:2"]) == going
        assert [worker.name for worker in await schedulers.workers(endpoint)] == ["1"]


@EITHER
async def test_a_number_of_them_are_retired_and_named(scheduler: Scheduler) -> None:
    """Ask as the previous operator does."""
    async with scheduler() as url, aiohttp.ClientSession() as session:
        async with session.post(f"{url}/api/v1/retire_workers", json={"n": 2}) as reply:
            retired = [str(worker["name"]) for worker in (await reply.json()).values()]
        assert len(set(retired)) == 2
        assert set(retired) < set(NAMES)
        async with session.get(f"{url}/json/identity.json") as reply:
            left = [str(worker["name"]) for worker in (await reply.json())["workers"].values()]
        assert sorted(retired + left) == list(NAMES)
