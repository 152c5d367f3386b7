"""A listener knows the workers of a real scheduler, even of a restarted one, as long as it exists."""

from __future__ import annotations

import gc
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import dask.config
import pytest
from distributed import Scheduler, Worker
from distributed.deploy.cluster import Cluster
from tests.support.server import free_port
from tests.support.wait import until

from dask_kubernetes.operator.access import workers as module
from dask_kubernetes.operator.access.workers import WorkerFeed

pytestmark = pytest.mark.real_time


class Listener:
    """The handling of a scheduler's messages by distributed's clusters."""

    def __init__(self) -> None:
        self.scheduler_info: Any = {"workers": {}}

    _update_worker_status = Cluster._update_worker_status

    @property
    def names(self) -> set[str]:
        return {worker["name"] for worker in self.scheduler_info["workers"].values()}


@asynccontextmanager
async def a_scheduler(port: int) -> AsyncIterator[Scheduler]:
    quiet: dict[str, Any] = {"distributed.scheduler.http.routes": [], "distributed.worker.http.routes": []}
    with dask.config.set(quiet):
        async with Scheduler(
            host="127.0.0.1", port=port, dashboard_address="127.0.0.1:0", dashboard=False
        ) as scheduler:
            yield scheduler


def a_worker(scheduler: Scheduler, name: str, folder: Any) -> Worker:
    return Worker(scheduler.address, name=name, nthreads=1, dashboard=False, local_directory=str(folder))


@pytest.fixture(autouse=True)
def prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FIRST_PAUSE", 0.01)


async def test_workers_that_join_and_leave_are_known(tmp_path: Any) -> None:
    listener = Listener()
    async with a_scheduler(0) as scheduler, a_worker(scheduler, "first", tmp_path):
        feed = WorkerFeed(listener, scheduler.address, {})
        await feed.start(timeout=10.0)
        assert listener.names == {"first"}, "at once"
        async with a_worker(scheduler, "second", tmp_path):
            await until(lambda: listener.names == {"first", "second"}, "the second worker")
        await until(lambda: listener.names == {"first"}, "its end")
        await feed.stop()
        await feed.stop()


async def test_after_a_restart_of_the_scheduler_its_workers_are_known(tmp_path: Any) -> None:
    port = free_port()
    listener = Listener()
    feed = WorkerFeed(listener, f"tcp://127.0.0.1:{port}", {})
    async with a_scheduler(port) as scheduler, a_worker(scheduler, "before", tmp_path):
        await feed.start(timeout=10.0)
        assert listener.names == {"before"}
    async with a_scheduler(port) as scheduler, a_worker(scheduler, "after", tmp_path):
        await until(lambda: listener.names == {"after"}, "the workers of the new scheduler")
    await feed.stop()


@pytest.mark.filterwarnings("ignore:Scheduler already contains a plugin with name worker-status")
async def test_two_listeners_know_the_workers_of_one_scheduler(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_POLL_INTERVAL", 0.05)
    listeners = [Listener(), Listener()]
    async with a_scheduler(0) as scheduler:
        feeds = [WorkerFeed(listener, scheduler.address, {}) for listener in listeners]
        for feed in feeds:
            await feed.start(timeout=10.0)
        async with a_worker(scheduler, "late", tmp_path):
            await until(lambda: [one.names for one in listeners] == [{"late"}, {"late"}], "both know of it")
        await until(lambda: [one.names for one in listeners] == [set(), set()], "both know that it has left")
        for feed in feeds:
            await feed.stop()


async def test_a_worker_that_is_known_to_have_left_may_leave_again(tmp_path: Any) -> None:
    listener = Listener()
    async with a_scheduler(0) as scheduler:
        feed = WorkerFeed(listener, scheduler.address, {})
        await feed.start(timeout=10.0)
        async with a_worker(scheduler, "first", tmp_path):
            await until(lambda: listener.names == {"first"}, "the first worker")
            listener.scheduler_info["workers"].clear()
        async with a_worker(scheduler, "second", tmp_path):
            await until(lambda: listener.names == {"second"}, "what comes afterwards")
        await feed.stop()


async def test_a_listener_that_is_collected_ends_its_feed() -> None:
    listener = Listener()
    async with a_scheduler(0) as scheduler:
        feed = WorkerFeed(listener, scheduler.address, {})
        await feed.start(timeout=10.0)
        task = feed._task
        assert task
        del listener
        gc.collect()
        await until(task.done, "the end of the feed")


async def test_a_scheduler_that_is_not_there() -> None:
    feed = WorkerFeed(Listener(), f"tcp://127.0.0.1:{free_port()}", {})
    with pytest.raises(OSError):
        await feed.start(timeout=0.1)
    await feed.stop()


async def test_one_that_is_stopped_while_it_waits_for_a_scheduler(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "dask_kubernetes"):
        listener = Listener()
        async with a_scheduler(0) as scheduler:
            feed = WorkerFeed(listener, scheduler.address, {})
            await feed.start(timeout=10.0)
        task = feed._task
        await feed.stop()
        assert task
        assert task.done()
    assert not [record for record in caplog.records if record.name.startswith("dask_kubernetes")]
