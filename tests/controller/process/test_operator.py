"""All parts together but for kopf, on the test's clock, one process or several, against an API server in memory."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from tests.support.builders import NOON, raw_cluster, raw_job
from tests.support.clock import Run
from tests.support.fake_api import FakeApi, Seen, serve
from tests.support.server import free_port
from tests.support.slow import relayed
from tests.support.wait import happens, until

from dask_operator.kubernetes.leadership import LeaseName, Times
from dask_operator.plan import Policy
from dask_operator.process.operator import Operator
from dask_operator.process.server import Address
from dask_operator.process.settings import PodReference, Settings
from dask_operator.reconcile.scope import Scope
from dask_operator.resources import AUTOSCALER, CLUSTER, EVENT, JOB, LEASE, POD, WATCHED

LEADING = "leading"
SETTINGS = Settings(lease=LeaseName("default", "controller"))


class Process:
    """Run a controller that would be a process of its own."""

    def __init__(
        self,
        fake: FakeApi,
        settings: Settings = SETTINGS,
        address: Address | None = None,
        **others: Any,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.ahead = 0.0
        clock = lambda: NOON + loop.time() + self.ahead  # noqa: E731
        self.operator = Operator(fake.login, Scope(), settings, clock=clock, **others)
        self.task = asyncio.create_task(self.operator.run(address))

    @property
    def leads(self) -> bool:
        return self.operator.state() == LEADING

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])


@asynccontextmanager
async def _processes(fake: FakeApi, number: int, **others: Any) -> AsyncIterator[list[Process]]:
    """Run two controllers, of which the first leads."""
    processes = [Process(fake, **others)]
    await until(lambda: processes[0].leads, "a leader", 60.0)
    processes += [Process(fake, **others) for _ in range(number - 1)]
    for process in processes[1:]:
        await until(lambda p=process: p.operator.state().startswith("standing by"), "a standby", 60.0)  # type: ignore[misc]
    try:
        yield processes
    finally:
        for process in processes:
            await process.stop()


def _workers(fake: FakeApi) -> set[str]:
    return {pod["metadata"]["name"] for pod in fake.workers()}


async def _has_workers(fake: FakeApi, number: int) -> None:
    await until(lambda: len(_workers(fake)) == number, f"{number} workers", 60.0)


def _created(fake: FakeApi) -> list[str]:
    return [seen.body["metadata"]["name"] for seen in fake.asked("POST", "pods")]


async def _scheduler_is_ready(fake: FakeApi) -> None:
    def scheduler() -> dict[str, Any] | None:
        return fake.find(POD, "simple-scheduler-abc")

    await until(scheduler, "the scheduler's Pod", 60.0)
    ready = {"phase": "Running", "podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]}
    fake.put({**(scheduler() or {}), "status": ready})


def _is_runner(seen: Seen) -> bool:
    return seen.method == "POST" and bool(seen.body["metadata"]["name"] == "simple-runner")


def _job_status(fake: FakeApi) -> dict[str, Any]:
    return dict((fake.find(JOB, "simple") or {}).get("status", {}))


async def _get(address: Address, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{address.port}{path}") as reply:
        return reply.status, await reply.text()


def _operated(run: Run, scenario: Callable[[FakeApi], Awaitable[None]]) -> None:
    async def operated() -> None:
        async with serve() as fake:
            loop = asyncio.get_running_loop()
            fake.clock = lambda: NOON + loop.time()
            await scenario(fake)

    run(operated())


def test_without_a_lease_it_leads(run: Run) -> None:
    async def scenario(fake: FakeApi) -> None:
        fake.put(raw_cluster(workers=2))
        process = Process(fake, Settings())
        assert process.operator.state() == "starting"
        await _has_workers(fake, 2)
        assert process.leads
        assert "leases" not in {seen.plural for seen in fake.requests}
        await process.stop()

    _operated(run, scenario)


def test_what_it_may_not_do_is_an_event_of_its_own_pod_also_while_it_stands_by(run: Run) -> None:
    async def scenario(fake: FakeApi) -> None:
        async with _processes(fake, 1):
            fake.fail("GET", POD, 403, reason="Forbidden", message="may not", times=10_000)
            second = Process(fake, Settings(SETTINGS.policy, SETTINGS.lease, PodReference("default", "second", "uid")))
            await until(lambda: bool(fake.objects(EVENT)), "an Event", 30.0)
            (event,) = fake.objects(EVENT)
            assert event["involvedObject"]["name"] == "second"
            assert event["message"].startswith("may not watch pods in all namespaces: may not; grant")
            assert not second.leads
            await second.stop()

    _operated(run, scenario)


def test_a_standby_knows_everything_and_writes_nothing(run: Run) -> None:
    async def scenario(fake: FakeApi) -> None:
        async with _processes(fake, 2) as (leader, standby):
            fake.put(raw_cluster(workers=3))
            await _has_workers(fake, 3)
            await asyncio.sleep(60.0)
            assert len(_created(fake)) == 3
            lists = [seen for seen in fake.asked("GET") if seen.plural != "leases" and not seen.name]
            assert len(lists) == 2 * len(WATCHED)
            await leader.stop()
            fake.put(raw_cluster("second", workers=2))
            await _has_workers(fake, 5)
            assert standby.leads
            assert len(_created(fake)) == 5
            lists = [seen for seen in fake.asked("GET") if seen.plural != "leases" and not seen.name]
            assert len(lists) == 3 * len(WATCHED), "a new leader lists once more"

    _operated(run, scenario)


def test_a_new_leader_acts_on_nothing_older_than_its_predecessors_writes(run: Run) -> None:
    """Check that a job whose runner the standby has not seen is not taken for one that has lost it."""

    async def scenario(fake: FakeApi) -> None:
        async with _processes(fake, 2) as (leader, standby):
            refused = fake.fail("POST", POD, 503, reason="ServiceUnavailable", times=10_000, matches=_is_runner)
            fake.put(raw_job(restartPolicy="Never"))
            await _scheduler_is_ready(fake)
            await until(lambda: any(map(_is_runner, fake.requests)), "a try to create the runner", 60.0)
            fake.silence_watches(POD)  # the leader learns from the reply
            refused.times = 0
            await until(lambda: _job_status(fake).get("jobRunnerPodName"), "the name of the runner in the status", 60.0)
            await leader.stop()
            await until(lambda: standby.leads, "the standby", 60.0)
            await asyncio.sleep(60.0)
            assert (_job_status(fake)["jobStatus"], _job_status(fake)["failed"]) == ("ClusterCreated", 0)

    _operated(run, scenario)


def test_a_kind_that_cannot_be_listed_delays_a_new_leader_by_a_minute(run: Run) -> None:
    async def scenario(fake: FakeApi) -> None:
        async with _processes(fake, 2) as (leader, standby):
            fault = fake.fail("GET", AUTOSCALER, 500, times=10_000)
            await leader.stop()
            fake.put(raw_cluster(workers=1))
            assert not await happens(lambda: standby.leads, 50.0)
            await _has_workers(fake, 1)
            assert fault.times

    _operated(run, scenario)


def test_the_first_of_all_leaders_lists_once(run: Run) -> None:
    async def scenario(fake: FakeApi) -> None:
        for _ in range(2):
            fake.requests.clear()
            async with _processes(fake, 1):
                await asyncio.sleep(10.0)
                lists = [seen for seen in fake.asked("GET") if seen.plural != "leases"]
                assert len(lists) == len(WATCHED)

    _operated(run, scenario)


def test_a_change_that_only_the_standby_saw_is_made_good(run: Run) -> None:
    async def scenario(fake: FakeApi) -> None:
        async with _processes(fake, 2) as (leader, standby):
            await leader.stop()
            fake.put(raw_cluster(workers=3))
            assert not standby.leads
            await _has_workers(fake, 3)

    _operated(run, scenario)


@pytest.mark.parametrize("after", [False, True])
def test_a_hand_over_in_the_middle_of_a_burst_makes_exactly_as_many(run: Run, after: bool) -> None:
    async def scenario(fake: FakeApi) -> None:
        settings = Settings(Policy(batch_size=10, batch_delay=1.0), SETTINGS.lease)
        async with _processes(fake, 2, settings=settings) as (leader, _):
            if after:  # the replies to some creations are lost
                fake.fail("POST", POD, 504, reason="Timeout", after=True, times=7)
            fake.put(raw_cluster(workers=100))
            await until(lambda: len(_workers(fake)) >= 25, "some workers", 60.0)
            await leader.stop()
            assert len(_workers(fake)) < 100
            await _has_workers(fake, 100)
            await asyncio.sleep(60.0)
            assert len(_workers(fake)) == 100

    _operated(run, scenario)


def test_who_cannot_renew_writes_nothing_until_it_leads_again(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(fake: FakeApi) -> None:
        def renews(seen: Seen) -> bool:
            return bool(seen.body["spec"]["holderIdentity"] == holder)

        async with _processes(fake, 2) as (leader, standby):
            lease = fake.find(LEASE, "controller")
            assert lease
            holder = lease["spec"]["holderIdentity"]
            fault = fake.fail("PUT", LEASE, 503, reason="ServiceUnavailable", times=10_000, matches=renews)
            await until(lambda: not leader.leads, "the deadline", 4.0)
            fake.put(raw_cluster(workers=2))
            assert not await happens(lambda: fake.writes, 0.5)
            await _has_workers(fake, 2)
            assert standby.leads
            assert not leader.leads
            fault.times = 0
            await asyncio.sleep(30.0)
            await standby.stop()
            fake.put(raw_cluster("second", workers=1))
            await _has_workers(fake, 3)
            assert leader.leads, "the same process leads again"
            assert len(_created(fake)) == 3

    with caplog.at_level(logging.INFO):
        _operated(run, scenario)
    assert "nothing is written until it is won again" in caplog.text


def test_an_api_server_that_is_away_for_minutes_ends_nothing(run: Run) -> None:
    async def scenario(fake: FakeApi) -> None:
        address = Address("127.0.0.1", free_port(), "/healthz")
        process = Process(fake, address=address)
        await until(lambda: process.leads, "the leader", 60.0)
        faults = [
            fake.fail(method, resource, 503, reason="ServiceUnavailable", times=100_000)
            for method in ("GET", "PUT", "POST", "PATCH")
            for resource in (*WATCHED, LEASE)
        ]
        for resource in WATCHED:
            fake.cut_watches(resource)
        await asyncio.sleep(1200.0)
        status, text = await _get(address, "/healthz")
        assert (status, text.partition(",")[0]) == (200, "ok: standing by")
        status, text = await _get(address, "/readyz")
        assert status == 503
        assert "watch of pods in all namespaces: 503" in text
        for fault in faults:
            fault.times = 0
        fake.put(raw_cluster(workers=2))
        await _has_workers(fake, 2)
        await until(lambda: all(map(fake.watching, WATCHED)), "all watches", 60.0)
        await asyncio.sleep(2.0)
        assert await _get(address, "/readyz") == (200, "ok: leading\n")
        await process.stop()

    _operated(run, scenario)


def test_what_runs_beside_runs_while_leading_and_may_fail(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    running: list[str] = []

    async def beside() -> None:
        running.append("x")
        try:
            await asyncio.sleep(30.0)
        finally:
            running.remove("x")
        raise ValueError("a mistake of somebody else")

    async def scenario(fake: FakeApi) -> None:
        async with _processes(fake, 2, plugins=beside) as (leader, standby):
            assert running == ["x"]
            await leader.stop()
            assert running == []
            await until(lambda: standby.leads, "the standby", 5.0)
            await until(lambda: running, "its own", 5.0)
            await asyncio.sleep(60.0)
            fake.put(raw_cluster(workers=1))
            await _has_workers(fake, 1)

    with caplog.at_level(logging.ERROR):
        _operated(run, scenario)
    assert "a mistake of somebody else" in caplog.text


def test_probes_and_metrics_are_served(run: Run) -> None:
    async def scenario(fake: FakeApi) -> None:
        fake.put(raw_cluster(workers=1))
        address = Address("127.0.0.1", free_port(), "/healthz")
        process = Process(fake, address=address)
        await _has_workers(fake, 1)
        assert await _get(address, "/healthz") == await _get(address, "/readyz") == (200, "ok: leading\n")
        _, text = await _get(address, "/metrics")
        assert "dask_operator_leader 1.0" in text
        assert 'dask_operator_workers{state="pending"} 1.0' in text
        await process.stop()

    _operated(run, scenario)


def _cut_all_watches(fake: FakeApi) -> None:
    for resource in WATCHED:
        fake.cut_watches(resource)


def test_after_an_outage_nothing_is_made_before_all_is_known_that_has_gone(run: Run) -> None:
    """Check that no worker is created for a cluster that has ended during an outage."""

    async def scenario(fake: FakeApi) -> None:
        fake.put(raw_cluster(workers=2))
        process = Process(fake, Settings())
        await _has_workers(fake, 2)
        await asyncio.sleep(60.0)
        outage = [fake.fail("GET", resource, 500, times=1000) for resource in WATCHED]
        _cut_all_watches(fake)
        await asyncio.sleep(10.0)
        fake.requests.clear()
        for resource in WATCHED:
            for gone in fake.objects(resource):
                fake.drop(resource, gone["metadata"]["name"])
        for fault in outage:
            fault.times = 1000 if fault.plural == CLUSTER.plural else 0
        await until(lambda: fake.watching(POD), "the watch of Pods", 60.0)
        await asyncio.sleep(30.0)
        assert not fake.watching(CLUSTER)
        fake.faults.clear()
        await until(lambda: fake.watching(CLUSTER), "the watch of DaskClusters", 60.0)
        await asyncio.sleep(60.0)
        assert fake.writes == []
        await process.stop()

    _operated(run, scenario)


def test_a_kind_that_cannot_be_listed_for_long_stops_nothing(run: Run) -> None:
    async def scenario(fake: FakeApi) -> None:
        fake.put(raw_cluster(workers=2))
        process = Process(fake, Settings())
        await _has_workers(fake, 2)
        fake.fail("GET", AUTOSCALER, 500, times=10_000)
        _cut_all_watches(fake)
        await asyncio.sleep(10.0)
        fake.drop(POD, min(_workers(fake)))
        await until(lambda: len(_workers(fake)) == 2, "another worker", 120.0)
        assert not fake.watching(AUTOSCALER)
        await process.stop()

    _operated(run, scenario)


def test_a_controller_whose_lease_has_time_goes_on_while_the_api_server_is_slow(run: Run) -> None:
    async def scenario(fake: FakeApi) -> None:
        url = fake.url
        async with relayed(int(url.rpartition(":")[2])) as relay:
            fake.url = f"http://127.0.0.1:{relay.port}"
            async with _processes(fake, 1, settings=Settings(lease=SETTINGS.lease, times=Times(15, 10.0, 2.0))):
                relay.delay = 2.0
                for number in (1, 2, 3):
                    fake.put(raw_cluster(f"simple-{number}", workers=1))
                    await _has_workers(fake, number)
                    await asyncio.sleep(60.0)

    _operated(run, scenario)


@pytest.mark.parametrize("step", [-3600.0, 3600.0])
def test_a_clock_that_is_set_stops_nothing(run: Run, step: float, caplog: pytest.LogCaptureFixture) -> None:
    """Set it while a creation waits to be tried again, and while a status waits to be written."""

    async def scenario(fake: FakeApi) -> None:
        process = Process(fake, Settings())
        fake.fail("POST", POD, 403, reason="Forbidden", message="not yet", times=5)
        fake.put(raw_cluster(workers=2))
        await until(lambda: len(fake.asked("POST", "pods")) >= 2, "a refusal", 60.0)
        process.ahead = step
        fake.faults.clear()
        began = asyncio.get_running_loop().time()
        await _has_workers(fake, 2)
        assert asyncio.get_running_loop().time() - began < 20.0, "it is tried again about when it would have been"

        def settled() -> bool:
            status = (fake.find(CLUSTER, "simple") or {}).get("status", {})
            degraded = [each for each in status.get("conditions", ()) if each["type"] == "Degraded"]
            return bool(degraded) and "not yet" not in degraded[0]["message"]

        await until(settled, "a status without the refusal", 30.0)
        process.ahead = 0.0
        fake.drop(POD, min(_workers(fake)))
        await until(lambda: len(_workers(fake)) == 2, "another worker", 30.0)
        assert caplog.text.count("the clock of this machine was set") == 2
        await process.stop()

    _operated(run, scenario)


def test_a_warning_about_every_pod_of_a_group_is_one_event(run: Run) -> None:
    policy = 'would violate PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "worker")'

    def warn(raw: Any) -> list[str]:
        at = asyncio.get_running_loop().time()
        named = f"updated Pod default/{raw['metadata']['name']}: defaulted requests (at {at})"
        return [policy, named] if raw["kind"] == "Pod" else []

    async def scenario(fake: FakeApi) -> None:
        fake.warn = warn
        fake.put(raw_cluster(workers=30))
        process = Process(fake, Settings())
        await _has_workers(fake, 30)
        for _ in range(5):
            fake.drop(POD, min(_workers(fake)))
            await _has_workers(fake, 30)
            await asyncio.sleep(60.0)
        events = [event for event in fake.objects(EVENT) if event["reason"] == "KubernetesWarning"]
        assert [policy in event["message"] for event in events].count(True) == 1
        assert len(events) == 2
        await process.stop()

    _operated(run, scenario)
