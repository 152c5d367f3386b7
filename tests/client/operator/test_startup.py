"""Waiting ends, with the reason, when the scheduler is ready, when its time is over, or when nothing can help."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.client.operator.conftest import Kubeconfig, connected
from tests.client.operator.objects import NOT_READY
from tests.client.operator.served import Operator, a_pod, a_service, owned
from tests.support.fake_api import FakeApi

from dask_kubernetes.exceptions import (
    ClusterNotFoundError,
    CrashLoopBackOffError,
    OperatorNotRespondingError,
    SchedulerStartupError,
)
from dask_kubernetes.operator.daskcluster import DaskCluster
from dask_kubernetes.operator.diagnosis.status import Startup
from dask_kubernetes.operator.manifests.spec import make_cluster_spec
from dask_kubernetes.operator.startup import poll_interval, scheduler_is_up
from dask_operator import resources

NAME = "mine-scheduler-0"
CRASH = {"exitCode": 1, "reason": "Error"}


def starting(phase: str = "Pending", container: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the scheduler's Pod before it is ready."""
    statuses = [{"name": "dask", "image": "dask:1", "restartCount": 0, **container}] if container else []
    return a_pod(NAME, phase=phase, conditions=[NOT_READY], containerStatuses=statuses)


WAITING = starting()
PULLING = starting(container={"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}})
INVALID = starting(container={"state": {"waiting": {"reason": "InvalidImageName", "message": "bad name"}}})
CRASHING = starting(
    "Running",
    {"restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": CRASH}},
)


@asynccontextmanager
async def made(
    kubeconfig: Kubeconfig, scheduler: dict[str, Any] | None = WAITING
) -> AsyncIterator[tuple[FakeApi, DaskCluster]]:
    """Make a DaskCluster with this Pod; None if no operator has taken it up."""
    async with connected(kubeconfig) as (fake, kubernetes):
        if scheduler:
            Operator(fake, scheduler=scheduler)
        cluster = DaskCluster(kubernetes, "mine", "default")
        await cluster.create(make_cluster_spec("mine"))
        yield fake, cluster


def later(seconds: float, act: Callable[[], object]) -> None:
    asyncio.get_running_loop().call_later(seconds, act)


async def test_the_scheduler_comes_up_and_each_step_is_reported(kubeconfig: Kubeconfig) -> None:
    reports: list[Startup] = []
    async with made(kubeconfig, None) as (fake, cluster):
        found = await cluster.read()
        later(0.5, lambda: fake.put(WAITING))
        later(1.0, lambda: fake.put(owned(a_service(), found)))
        later(2.0, lambda: fake.put(a_pod(NAME)))
        snapshot = await scheduler_is_up(cluster, 3.0, reports.append)
        assert snapshot.pods[0]["status"]["phase"] == "Running"
    rows = [tuple(row.status for row in report.rows[:3]) for report in reports]
    assert list(dict.fromkeys(rows)) == [
        ("-", "-", "-"),
        ("-", "Pending", "-"),
        ("-", "Pending", "Created"),
        ("-", "Running", "Created"),
    ]
    assert [reports[0].scheduler_ready, reports[-1].scheduler_ready] == [False, True]


async def test_a_resumed_cluster_is_not_up_while_its_status_says_that_it_is_suspended(kubeconfig: Kubeconfig) -> None:
    async with made(kubeconfig, a_pod(NAME)) as (fake, cluster):
        said = {"status": "True"}

        def say() -> None:
            conditions = [{"type": "Suspended", **said}]
            fake.put({**(fake.find(resources.CLUSTER, "mine") or {}), "status": {"conditions": conditions}})

        def resume() -> None:
            said["status"] = "False"
            say()

        say()
        later(1.0, resume)
        await scheduler_is_up(cluster, 60.0, lambda _: None)
        assert said["status"] == "False"


async def test_a_load_balancer_is_waited_for(kubeconfig: Kubeconfig) -> None:
    point = {"ingress": [{"ip": "1.2.3.4"}]}
    async with made(kubeconfig, a_pod(NAME)) as (fake, cluster):
        found = await cluster.read()
        fake.put(owned(a_service("LoadBalancer"), found))
        later(1.0, lambda: fake.put(owned(a_service("LoadBalancer", loadBalancer=point), found)))
        snapshot = await scheduler_is_up(cluster, 3.0, lambda _: None)
        assert (snapshot.service or {})["status"]["loadBalancer"] == point


@pytest.mark.parametrize(
    ("scheduler", "error", "words"),
    [
        (None, OperatorNotRespondingError, "No operator has taken up DaskCluster mine"),
        (WAITING, SchedulerStartupError, "within 3 s: DaskCluster Running, Scheduler Pod Pending"),
        (PULLING, SchedulerStartupError, "no such image"),
        (CRASHING, CrashLoopBackOffError, "Its log ends with:\nTraceback"),
    ],
)
async def test_when_the_time_is_over_the_reason_is_raised(
    kubeconfig: Kubeconfig, scheduler: dict[str, Any] | None, error: type[Exception], words: str
) -> None:
    async with made(kubeconfig, scheduler) as (fake, cluster):
        fake.logs[f"{NAME}/"] = "Traceback\n" * 30 + "ValueError: no"
        begun = asyncio.get_running_loop().time()
        with pytest.raises(error) as raised:
            await scheduler_is_up(cluster, 3.0, lambda _: None)
        assert 3.0 < asyncio.get_running_loop().time() - begun < 4.0
        assert type(raised.value) is error
        assert words in str(raised.value)
        assert "3 s" in str(raised.value)
        assert str(raised.value).count("Traceback") in (0, 19), "of its twenty last lines"


@pytest.mark.parametrize("status", [403, 500])
async def test_without_a_log_the_reason_is_raised_all_the_same(kubeconfig: Kubeconfig, status: int) -> None:
    async with made(kubeconfig, CRASHING) as (fake, cluster):
        fake.fail(
            "GET", resources.POD, status, message="jane cannot get it", times=9, matches=lambda seen: bool(seen.name)
        )
        with pytest.raises(CrashLoopBackOffError, match="keeps ending with exit code 1") as raised:
            await scheduler_is_up(cluster, 1.0, lambda _: None)
        assert "log" not in str(raised.value)


async def test_what_cannot_get_better_is_raised_at_once(kubeconfig: Kubeconfig) -> None:
    async with made(kubeconfig, INVALID) as (_, cluster):
        with pytest.raises(SchedulerStartupError, match=r"the scheduler of mine cannot start\. .*bad name"):
            await scheduler_is_up(cluster, 1e9, lambda _: None)


async def test_a_cluster_that_is_deleted_meanwhile(kubeconfig: Kubeconfig) -> None:
    async with made(kubeconfig) as (fake, cluster):
        later(1.0, lambda: fake.drop(resources.CLUSTER, "mine"))
        with pytest.raises(ClusterNotFoundError, match="or it has been deleted"):
            await scheduler_is_up(cluster, 3.0, lambda _: None)


def test_what_comes_is_seen_soon_and_long_waits_ask_rarely() -> None:
    waited, looks = 0.0, 0
    while waited < 600.0:
        assert 0.1 <= poll_interval(waited) <= max(waited / 10, 0.1)
        waited += poll_interval(waited)
        looks += 1
    assert looks < 650
