"""The whole arrow but for kopf: watches, store, queue, plan and execution, against an API server in memory."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import pytest
from tests.support.builders import NOON, a_cluster, condition, raw_cluster, raw_job, raw_pod
from tests.support.fake_api import FakeApi, serve
from tests.support.wait import happens, until

from dask_operator import metrics
from dask_operator.actions import Action
from dask_operator.kubernetes.api import Api
from dask_operator.model import Key
from dask_operator.plan import Policy
from dask_operator.reconcile.execute import Executor
from dask_operator.reconcile.loop import Loop, rest
from dask_operator.reconcile.store import Store
from dask_operator.reconcile.watches import Namespace
from dask_operator.reconcile.workqueue import AT_ONCE, WorkQueue
from dask_operator.resources import CLUSTER, DEPLOYMENT, EVENT, GROUP, JOB, POD, SERVICE
from dask_operator.scheduler.questions import Schedulers

WAIT = 300.0


@asynccontextmanager
async def operating(fake: FakeApi, namespaces: Sequence[str] = ("",), policy: Policy = Policy()) -> AsyncIterator[None]:
    """Run all parts together, as `operator` does, on the test's clock."""
    loop = asyncio.get_running_loop()

    def clock() -> float:
        return NOON + loop.time()

    store, queue = Store(), WorkQueue(clock)

    def changed(keys: Iterable[Key]) -> None:
        for key in keys:
            queue.add(key)

    async with Api(fake.login) as api, Schedulers() as schedulers:
        executor = Executor(api, store, schedulers, queue, clock)
        watched = [Namespace(api, store, name, changed) for name in namespaces]
        tasks = [asyncio.create_task(namespace.run()) for namespace in watched]
        await asyncio.gather(*(watch.synced.wait() for namespace in watched for watch in namespace.watches))
        tasks.append(asyncio.create_task(Loop(store, queue, executor, policy, clock).run()))
        try:
            yield
            assert not any(task.done() for task in tasks), "it runs until it is cancelled"
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await executor.close()


async def _has_workers(fake: FakeApi, number: int) -> None:
    await until(lambda: len(fake.workers()) == number, f"{number} workers", WAIT)


def _run_pods(fake: FakeApi) -> None:
    """Play the kubelet's part."""
    ready = {"phase": "Running", "podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]}
    for pod in fake.objects(POD):
        if pod["status"]["phase"] == "Pending":
            fake.put({**pod, "status": ready})


def _status(fake: FakeApi) -> dict[str, Any]:
    found = fake.find(CLUSTER, "simple")
    return (found or {}).get("status") or {}


def _last_ordinal(fake: FakeApi) -> int:
    group = fake.find(GROUP, "simple-default") or {}
    return int((group.get("status") or {}).get("lastOrdinal", -1))


async def test_a_cluster_is_made_and_says_so() -> None:
    async with serve() as fake, operating(fake):
        fake.put(raw_cluster(workers=3))
        await _has_workers(fake, 3)
        assert fake.find(SERVICE, "simple-scheduler")
        assert fake.find(DEPLOYMENT, "simple-scheduler")
        assert fake.find(GROUP, "simple-default")
        _run_pods(fake)
        await until(lambda: _status(fake).get("readyReplicas") == 3, "the status", WAIT)
        assert _status(fake)["phase"] == "Running"
        settled = len(fake.writes)
        await asyncio.sleep(1200.0)
        assert len(fake.writes) == settled, "nothing is written to a cluster that is as it should be"


def _large(name: str, **others: Any) -> dict[str, Any]:
    """Return a cluster of 1.35 MB."""
    raw = raw_cluster(name, **others)
    raw["spec"]["worker"]["spec"] = {**raw["spec"]["worker"]["spec"], "x": [[]] * 340_000}
    return raw


def _degraded(fake: FakeApi, name: str) -> str:
    status = (fake.find(CLUSTER, name) or {}).get("status") or {}
    return condition(status, "Degraded")["reason"] if status.get("conditions") else ""


async def test_clusters_that_are_too_large_say_so_once_and_hold_up_no_other() -> None:
    names = [f"large-{n}" for n in range(10)]
    async with serve() as fake:
        for name in names:
            fake.put(_large(name))
        async with operating(fake):
            fake.put(raw_cluster(workers=2))
            await _has_workers(fake, 2)
            await until(lambda: all(_degraded(fake, name) == "ObjectTooLarge" for name in names), "it said", WAIT)
            _run_pods(fake)
            await until(lambda: _status(fake).get("readyReplicas") == 2, "the status", WAIT)
            await asyncio.sleep(60.0)
            about = [seen for seen in fake.writes if "large" in seen.name]
            assert [seen.subresource for seen in about] == ["status"] * 10
            events = fake.objects(EVENT)
            assert sum(event["reason"] == "ObjectTooLarge" for event in events) == 10
            written = len(fake.writes)
            await asyncio.sleep(1200.0)
            assert len(fake.writes) == written
        async with operating(fake):
            await asyncio.sleep(60.0)
            assert len(fake.writes) == written, "nor does another process write it again"


async def test_a_running_cluster_that_becomes_too_large_stays_as_it_is_until_it_is_smaller() -> None:
    async with serve() as fake, operating(fake):
        fake.put(raw_cluster(workers=3))
        await _has_workers(fake, 3)
        _run_pods(fake)
        await until(lambda: _status(fake).get("readyReplicas") == 3, "the status", WAIT)
        before = len(fake.writes)
        status = _status(fake)
        fake.put(_large("simple", workers=1, status=status))
        await until(lambda: _degraded(fake, "simple") == "ObjectTooLarge", "it said", WAIT)
        assert _status(fake)["readyReplicas"] == 3
        await asyncio.sleep(600.0)
        assert [(seen.plural, seen.subresource) for seen in fake.writes[before:]] == [("daskclusters", "status")]
        fake.put(raw_cluster(workers=4, status=_status(fake)))
        await _has_workers(fake, 4)
        _run_pods(fake)
        await until(lambda: _degraded(fake, "simple") == "AsExpected", "it is sound again", WAIT)


async def test_a_cluster_costs_its_workers_and_five_writes() -> None:
    async with serve() as fake, operating(fake):
        fake.put(raw_cluster(workers=20))
        await _has_workers(fake, 20)
        _run_pods(fake)
        await until(lambda: _status(fake).get("readyReplicas") == 20, "the status", WAIT)
        await asyncio.sleep(60.0)
        assert len(fake.writes) <= 20 + 5


async def test_a_scale_and_a_deletion_are_followed() -> None:
    async with serve() as fake, operating(fake):
        fake.put(raw_cluster(workers=2))
        await _has_workers(fake, 2)
        group = fake.find(GROUP, "simple-default")
        assert group
        fake.put({**group, "spec": {**group["spec"], "worker": {**group["spec"]["worker"], "replicas": 5}}})
        await _has_workers(fake, 5)
        await until(lambda: _last_ordinal(fake) == 4, "the last ordinal to be noted", WAIT)
        gone = fake.workers()[0]["metadata"]["name"]
        fake.drop(POD, gone)
        await _has_workers(fake, 5)
        assert gone not in {pod["metadata"]["name"] for pod in fake.workers()}
        fake.drop(SERVICE, "simple-scheduler")
        await until(lambda: fake.find(SERVICE, "simple-scheduler"), "the Service to come back", WAIT)


async def test_a_start_in_a_world_that_is_as_it_should_be_writes_nothing() -> None:
    async with serve() as fake:
        async with operating(fake):
            fake.put(raw_cluster(workers=3))
            await _has_workers(fake, 3)
            _run_pods(fake)
            await until(lambda: _status(fake).get("readyReplicas") == 3, "the status", WAIT)
            await asyncio.sleep(60.0)
        before = len(fake.writes)
        async with operating(fake):
            await asyncio.sleep(60.0)
            assert len(fake.writes) == before


async def test_a_controller_killed_while_it_creates_makes_exactly_as_many() -> None:
    async with serve() as fake:
        no_more = fake.fail("POST", POD, 503, times=1000, matches=lambda _: len(fake.workers()) == 10)
        async with operating(fake, policy=Policy(batch_size=7)):
            fake.put(raw_cluster(workers=50))
            await until(lambda: len(fake.workers()) == 10, "some workers", WAIT)
        fake.faults.remove(no_more)
        async with operating(fake):
            await _has_workers(fake, 50)
            await asyncio.sleep(60.0)
            assert len(fake.workers()) == 50


async def test_creates_whose_replies_are_lost_make_exactly_as_many() -> None:
    async with serve() as fake, operating(fake):
        fake.fail("POST", POD, 504, reason="Timeout", after=True, times=7)
        fake.put(raw_cluster(workers=30))
        await _has_workers(fake, 30)
        await asyncio.sleep(60.0)
        assert len(fake.workers()) == 30


async def test_a_lagging_watch_makes_no_two() -> None:
    async with serve() as fake, operating(fake):
        fake.put(raw_cluster(workers=0))
        await until(lambda: fake.find(GROUP, "simple-default"), "the group", WAIT)
        fake.silence_watches(POD)
        cluster = raw_cluster(workers=10)
        fake.put(cluster)
        await _has_workers(fake, 10)
        await asyncio.sleep(30.0)
        assert len(fake.workers()) == 10


async def test_a_quota_is_said_and_one_try_is_made_now_and_then() -> None:
    async with serve() as fake, operating(fake):
        message = "exceeded quota: small"
        quota = fake.fail("POST", POD, 403, reason="Forbidden", message=message, times=100_000)
        fake.put(raw_cluster(workers=10))
        await until(lambda: _status(fake).get("conditions"), "the status", WAIT)
        told = condition(_status(fake), "Degraded")
        assert (told["reason"], told["status"]) == ("QuotaExceeded", "True")
        assert "QuotaExceeded" in {event["reason"] for event in fake.objects(EVENT)}
        before = len(fake.asked("POST", "pods"))
        await asyncio.sleep(600.0)
        assert len(fake.asked("POST", "pods")) - before <= 20, "in ten minutes"
        quota.times = 0
        await _has_workers(fake, 10)


@pytest.mark.parametrize(("method", "resource"), [("PATCH", CLUSTER), ("PATCH", GROUP), ("DELETE", POD)])
async def test_writes_that_stay_refused_are_tried_now_and_then(method: str, resource: Any) -> None:
    async with serve() as fake, operating(fake):
        fake.fail(method, resource, 403, reason="Forbidden", message="may not", times=100_000)
        fake.put(raw_cluster(workers=2))
        await _has_workers(fake, 2)
        _run_pods(fake)
        failed = {"phase": "Failed", "startTime": "2025-01-01T12:00:00Z", "reason": "Evicted"}
        fake.put({**fake.workers()[0], "status": failed})
        often = await happens(lambda: len(fake.asked(method, resource.plural)) > 60, 120.0)
        assert not often, "sixty requests within two minutes"


async def _writes_of_a_while(fake: FakeApi) -> int:
    before = len(fake.writes)
    await asyncio.sleep(600.0)
    return len(fake.writes) - before


# In ten minutes: with pauses that double up to a minute, and each attempt with a status or two.
FEW = 3 * 16


async def test_what_is_being_deleted_is_waited_for_and_made_as_soon_as_it_is_gone() -> None:
    async with serve() as fake, operating(fake):
        fake.put(raw_cluster(workers=2))
        await _has_workers(fake, 2)
        group = fake.find(GROUP, "simple-default") or {}
        held = {**group["metadata"], "deletionTimestamp": "2026-01-01T12:00:00Z", "finalizers": ["acme.io/audit"]}
        fake.put({**group, "metadata": held})
        assert await _writes_of_a_while(fake) <= FEW
        degraded = condition(_status(fake), "Degraded")
        assert (degraded["status"], degraded["reason"]) == ("True", "Terminating")
        assert "DaskWorkerGroup simple-default exists and is being deleted" in degraded["message"]
        assert "acme.io/audit" in degraded["message"]
        before = asyncio.get_running_loop().time()
        fake.drop(GROUP, "simple-default")
        await until(lambda: bool(fake.find(GROUP, "simple-default")), "a new group", WAIT)
        assert asyncio.get_running_loop().time() < before + 5.0, "though the next attempt was a minute off"
        await until(lambda: condition(_status(fake), "Degraded")["reason"] != "Terminating", "the condition goes", WAIT)


async def test_what_somebody_takes_away_at_once_is_not_made_again_without_pause() -> None:
    async with serve() as fake, operating(fake):
        made = fake.made

        def pruned(raw: dict[str, Any]) -> None:
            if raw["kind"] == "Service":
                fake.drop(SERVICE, raw["metadata"]["name"])
            else:
                made(raw)

        fake.made = pruned
        fake.put(raw_cluster(workers=1))
        await until(lambda: len(fake.asked("POST", "services")) > 1, "a second attempt", WAIT)
        assert await _writes_of_a_while(fake) <= FEW
        degraded = condition(_status(fake), "Degraded")
        assert (degraded["status"], degraded["reason"]) == ("True", "WriteUndone")
        assert "Service simple-scheduler was written" in degraded["message"]
        fake.made = made
        await until(lambda: condition(_status(fake), "Degraded")["reason"] != "WriteUndone", "the condition goes", WAIT)
        assert fake.find(SERVICE, "simple-scheduler")


@pytest.mark.parametrize("by_job", [False, True])
@pytest.mark.parametrize("resource", [POD, GROUP, DEPLOYMENT, CLUSTER])
async def test_what_somebody_takes_away_a_moment_later_is_not_made_again_without_pause(
    resource: Any, by_job: bool
) -> None:
    """Take it away once a plan has seen it, so that nothing is wrong for a moment."""
    async with serve() as fake, operating(fake):
        made, loop = fake.made, asyncio.get_running_loop()
        fake.clock = lambda: NOON + loop.time()

        def take(raw: dict[str, Any]) -> None:
            if fake.find(resource, raw["metadata"]["name"]):
                fake.drop(resource, raw["metadata"]["name"])

        def taken(raw: dict[str, Any]) -> None:
            made(raw)
            loop.call_later(1.0, _run_pods, fake)
            if raw["kind"] == resource.kind:
                loop.call_later(0.05, take, raw)

        fake.made = taken
        if not by_job and resource == CLUSTER:
            return  # nobody makes it again
        fake.put(raw_job(workers=3) if by_job else raw_cluster(workers=3))
        await until(lambda: len(fake.asked("POST", resource.plural)) > 3, "attempts", WAIT)
        # Each attempt makes the objects that belong to it, with their statuses.
        assert await _writes_of_a_while(fake) <= 16 * 10
        assert len(fake.asked("POST", resource.plural)) < 80
        told = (fake.find(JOB if by_job else CLUSTER, "simple") or {})["status"]
        assert condition(told, "Degraded")["reason"] == "WriteUndone"


def _without(*labels: str, **changed: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def altered(raw: dict[str, Any]) -> dict[str, Any]:
        meta = raw["metadata"]
        if "worker" not in str(meta.get("labels", {}).get("dask.org/component")) or raw["kind"] != "Pod":
            return raw
        kept = {key: value for key, value in meta["labels"].items() if labels and key not in labels}
        return {**raw, "metadata": {**meta, "labels": {**kept, **changed}}}

    return altered


@pytest.mark.parametrize(
    ("alter", "reasons"),
    [
        (_without(), ("NameTaken", "WriteUndone")),
        (_without("dask.org/workergroup-name"), ("AsExpected",)),
        (_without("x", **{"dask.org/cluster-name": "another"}), ("NameTaken", "WriteUndone")),
    ],
)
async def test_workers_whose_labels_a_webhook_alters_are_not_made_again_and_again(
    alter: Callable[[dict[str, Any]], dict[str, Any]], reasons: tuple[str, ...]
) -> None:
    async with serve() as fake, operating(fake):
        put = fake.put
        fake.put = lambda raw: put(alter(raw))  # type: ignore[method-assign]
        put(raw_cluster(workers=3))
        await until(lambda: len(fake.asked("POST", "pods")) > 2, "Pods", WAIT)
        _run_pods(fake)
        assert await _writes_of_a_while(fake) <= 2 * FEW
        assert len(fake.objects(POD)) <= 7
        assert condition(_status(fake), "Degraded")["reason"] in reasons


@pytest.mark.parametrize(
    ("resource", "name"), [(GROUP, "simple-default"), (SERVICE, "simple-scheduler"), (DEPLOYMENT, "simple-scheduler")]
)
async def test_an_edit_that_is_undone_is_not_made_again_without_pause(resource: Any, name: str) -> None:
    async with serve() as fake, operating(fake):
        cluster = fake.put(raw_cluster(workers=1))
        await _has_workers(fake, 1)
        await until(lambda: "phase" in _status(fake), "its status", WAIT)
        same = json.dumps(fake.find(resource, name))
        fake.fail("PATCH", resource, 200, text=same, times=10**6, matches=lambda seen: not seen.subresource)
        for part in (cluster["spec"]["worker"], cluster["spec"]["scheduler"]):
            part["metadata"] = {"labels": {"team": "b"}}
        cluster["spec"]["scheduler"]["service"]["sessionAffinity"] = "ClientIP"
        fake.put(cluster)
        await until(lambda: len(fake.asked("PATCH", resource.plural)) > 1, "a second attempt", WAIT)
        assert await _writes_of_a_while(fake) <= FEW
        degraded = condition(_status(fake), "Degraded")
        assert (degraded["status"], degraded["reason"]) == ("True", "WriteUndone")
        assert f"{resource.kind} {name} was written" in degraded["message"]


async def test_a_status_that_somebody_alters_is_not_written_again_without_pause() -> None:
    async with serve() as fake, operating(fake):
        fake.put(raw_cluster(workers=1))
        await _has_workers(fake, 1)
        altered = {**(fake.find(CLUSTER, "simple") or {}), "status": {"phase": "Altered"}}
        fake.fail("PATCH", CLUSTER, 200, text=json.dumps(altered), times=10**6)
        _run_pods(fake)
        assert await _writes_of_a_while(fake) <= FEW


@pytest.mark.parametrize("number", ["999999999999999999", "9" * 30, "-1", "all"])
async def test_an_ordinal_that_no_group_reaches_is_none(number: str) -> None:
    async with serve() as fake, operating(fake):
        fake.put(raw_cluster(workers=2))
        await _has_workers(fake, 2)
        _run_pods(fake)
        group = fake.find(GROUP, "simple-default") or {}
        notes = {**group["metadata"]["annotations"], "kubernetes.dask.org/last-ordinal": number}
        status = {**group.get("status", {}), **({"lastOrdinal": int(number)} if number.isdecimal() else {})}
        fake.put({**group, "metadata": {**group["metadata"], "annotations": notes}, "status": status})
        gone = fake.workers()[0]["metadata"]["name"]
        fake.drop(POD, gone)
        await until(lambda: len(fake.workers()) == 2, "another worker", WAIT)
        assert await _writes_of_a_while(fake) <= FEW


async def test_quick_edits_of_a_user_are_no_edits_that_are_undone() -> None:
    async with serve() as fake, operating(fake):
        cluster = fake.put(raw_cluster(workers=1))
        await _has_workers(fake, 1)
        for number in (3, 1, 3, 1, 3):
            cluster["spec"]["worker"]["replicas"] = number
            fake.put(cluster)
            await until(partial(_is_scaled, fake, number), f"a group of {number}", WAIT)
        assert not any("WriteUndone" in json.dumps(seen.body) for seen in fake.writes)


def _is_scaled(fake: FakeApi, number: int) -> bool:
    return bool((fake.find(GROUP, "simple-default") or {})["spec"]["worker"]["replicas"] == number)


async def test_the_time_the_api_server_names_is_kept() -> None:
    async with serve() as fake, operating(fake):
        fake.fail("POST", SERVICE, 429, reason="TooManyRequests", headers={"Retry-After": "30"}, times=100_000)
        fake.put(raw_cluster(workers=0))
        await asyncio.sleep(100.0)
        assert 2 <= len(fake.asked("POST", "services")) <= 4


async def test_only_the_namespaces_given_are_operated() -> None:
    async with serve() as fake:
        for namespace in ("one", "two", "three"):
            fake.put(raw_cluster(workers=1, metadata={"namespace": namespace}))
        async with operating(fake, ["one", "two"]):
            await _has_workers(fake, 2)
            await asyncio.sleep(30.0)
        assert {pod["metadata"]["namespace"] for pod in fake.workers()} == {"one", "two"}


class _Broken(Executor):
    """Fail for one cluster, and count how many are worked on at a time."""

    def __init__(self) -> None:
        self.tried: list[Key] = []
        self.now = self.most = 0

    async def execute(self, key: Key, actions: Sequence[Action]) -> None:
        self.tried.append(key)
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(1.0)
        self.now -= 1
        if key.name == "broken":
            raise ValueError("a mistake of ours")


@asynccontextmanager
async def _looping(*clusters: str) -> AsyncIterator[tuple[_Broken, WorkQueue]]:
    loop = asyncio.get_running_loop()
    store, queue, executor = Store(), WorkQueue(loop.time), _Broken()
    for name in clusters:
        store.observe("DaskCluster", a_cluster(name))
        queue.add(Key("default", name))
    task = asyncio.create_task(Loop(store, queue, executor, Policy(), loop.time).run())
    yield executor, queue
    assert not task.done()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_one_clusters_error_is_that_clusters(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        async with _looping("broken", "well") as (executor, queue):
            await asyncio.sleep(10.0)
            queue.add(Key("default", "well"))
            await asyncio.sleep(10.0)
            tried = executor.tried
    assert tried.count(Key("default", "well")) == 2
    assert 3 <= tried.count(Key("default", "broken")) <= 6, "later each time"
    assert "default/broken: tried again in 0.5 s after an error" in caplog.text
    assert "a mistake of ours" in caplog.text


async def test_errors_and_durations_are_counted() -> None:
    def value(name: str) -> float:
        return metrics.REGISTRY.get_sample_value(f"dask_operator_reconcile_{name}") or 0.0

    errors, count, seconds = map(value, ("errors_total", "duration_seconds_count", "duration_seconds_sum"))
    async with _looping("broken", "well"):
        await asyncio.sleep(1.2)
    assert value("errors_total") == errors + 1.0
    assert value("duration_seconds_count") == count + 2.0
    assert value("duration_seconds_sum") > seconds


@pytest.mark.parametrize(
    ("planned", "executed", "seconds"),
    [(0.001, 0.0, 0.02), (0.001, 0.015, 0.005), (0.001, 2.0, 0.0), (0.1, 0.2, 0.3), (9.0, 0.0, 0.5)],
)
def test_the_longer_a_plan_takes_the_longer_until_the_next(planned: float, executed: float, seconds: float) -> None:
    assert rest(planned, executed) == pytest.approx(seconds)


def test_it_tells_how_long_it_has_worked_and_rested() -> None:
    async def looped() -> None:
        store, queue = Store(), WorkQueue(time.time)
        executor = _Waiting()
        loop = Loop(store, queue, executor, Policy(), time.time)
        task = asyncio.create_task(loop.run())
        assert loop.busy_for == 0.0
        store.observe("DaskCluster", a_cluster())
        queue.add(Key("default", "simple"))
        await until(lambda: loop.busy_for > 0.1, "work that takes its time", 5.0)
        assert loop.idle_for > 0.1
        executor.done.set()
        await until(lambda: loop.busy_for == 0.0, "its end", 5.0)
        assert loop.idle_for < 0.1
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(looped())


class _Waiting(Executor):
    def __init__(self) -> None:
        self.done = asyncio.Event()

    async def execute(self, key: Key, actions: Sequence[Action]) -> None:
        await self.done.wait()


async def test_no_cluster_waits_for_another_but_not_all_run_at_once() -> None:
    async with _looping(*(f"c{number}" for number in range(40))) as (executor, _):
        await until(lambda: len(executor.tried) == 40, "all clusters", 20.0)
        assert executor.most == AT_ONCE


async def test_a_pod_of_nobodys_cluster_is_left_alone() -> None:
    async with serve() as fake, operating(fake):
        fake.put(raw_pod())
        await asyncio.sleep(60.0)
        assert fake.writes == []
