from __future__ import annotations

import logging

import pytest
from tests.controller.reconcile.bench import KEY, THE_CLUSTER, THE_GROUP, a_bench, create_service, creates, logged
from tests.support.builders import NOON, a_cluster, a_group

from dask_operator.actions import ClearFailures, RecordEvent, RequeueAt, SetStatus
from dask_operator.resources import CLUSTER, EVENT, SERVICE


async def test_a_status_is_written_after_the_changes_and_before_the_events() -> None:
    async with a_bench() as bench:
        status = SetStatus(THE_CLUSTER, {"phase": "Running"}, "ready")
        event = RecordEvent(THE_CLUSTER, a_cluster().uid, "Warning", "Unschedulable", "no room")
        observed = await bench.execute(event, status, *creates(2))
        order = [(seen.method, seen.plural) for seen in bench.fake.requests]
        assert order == [("POST", "pods")] * 2 + [("PATCH", "daskclusters"), ("POST", "events")]
        assert bench.fake.find(CLUSTER, "simple")["status"] == {"phase": "Running"}  # type: ignore[index]
        cluster = bench.store.snapshot(KEY)[0]
        assert cluster
        assert cluster.status == {"phase": "Running"}
        written = observed.written[THE_CLUSTER]
        assert (written.status, written.at >= NOON) == ({"phase": "Running"}, True)


async def test_an_event_is_about_its_object_and_recorded_once() -> None:
    async with a_bench() as bench:
        event = RecordEvent(THE_GROUP, a_group().uid, "Warning", "Unschedulable", "no room")
        observed = await bench.execute(event, event)
        (recorded,) = bench.fake.objects(EVENT)
        assert recorded["involvedObject"] == {
            "apiVersion": "kubernetes.dask.org/v1",
            "kind": "DaskWorkerGroup",
            "namespace": "default",
            "name": "simple-default",
            "uid": a_group().uid,
        }
        assert (recorded["reason"], recorded["message"]) == ("Unschedulable", "no room")
        assert observed.failures == {}


async def test_an_event_that_is_refused_is_logged_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    async with a_bench() as bench:
        bench.fake.fail("POST", EVENT, 403, reason="Forbidden", message="may not")
        assert (await bench.execute(RecordEvent(THE_GROUP, "u", "Warning", "Unschedulable", "x"))).failures == {}
    assert "default/simple: event Unschedulable not recorded: 403 Forbidden: may not" in caplog.text


async def test_a_wake_is_for_its_time() -> None:
    async with a_bench() as bench:
        await bench.execute(RequeueAt(NOON + 100.0, "backoff"), RequeueAt(NOON + 50.0, "status"))
        assert await bench.woken() == pytest.approx(50.0, abs=0.1)


async def test_what_was_refused_is_forgotten_when_it_is_no_longer_wanted() -> None:
    async with a_bench() as bench:
        bench.fake.fail("POST", SERVICE, 422, reason="Invalid")
        (service,) = (await bench.execute(create_service())).failures
        assert (await bench.execute(ClearFailures(frozenset({service})))).failures == {}


async def test_nothing_to_do_plans_nothing_more() -> None:
    async with a_bench() as bench:
        await bench.execute()
        assert await bench.woken() is None
        assert bench.fake.requests == []


async def test_a_line_is_logged_for_each_decision_and_not_for_each_pod(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        async with a_bench() as bench:
            await bench.execute(*creates(50), create_service(), RequeueAt(NOON, "x"), SetStatus(THE_CLUSTER, {}, "y"))
    assert logged(caplog) == [
        "default/simple: create Pod simple-default-worker-* ×50: the group wants workers",
        "default/simple: create Service simple-scheduler: the cluster has none",
    ]


async def test_what_is_refused_is_said_to_its_user_and_not_quoted_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    invalid = 'Service "x" is invalid: spec.type: Unsupported value: "hunter2"'
    denied = 'admission webhook "policy.example.com" denied the request: hunter2 is not allowed'
    async with a_bench() as bench:
        for code, reason, message in ((422, "Invalid", invalid), (403, "Forbidden", denied)):
            bench.fake.fail("POST", SERVICE, code, reason=reason, message=message)
            observed = await bench.execute(create_service())
            (failure,) = observed.failures.values()
            assert failure.problem.message == message
    assert "422 Invalid" in caplog.text
    assert '403 Forbidden: admission webhook "policy.example.com" denied the request; tried again' in caplog.text
    assert "hunter2" not in caplog.text


async def test_of_an_event_the_log_says_which_and_not_its_words(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        async with a_bench() as bench:
            await bench.execute(RecordEvent(THE_CLUSTER, a_cluster().uid, "Warning", "Invalid", "hunter2 is no number"))
            (recorded,) = bench.fake.objects(EVENT)
            assert recorded["message"] == "hunter2 is no number"
    assert logged(caplog) == ["default/simple: Invalid DaskCluster simple"]
