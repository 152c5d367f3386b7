from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from tests.support.builders import (
    NOON,
    a_cluster,
    a_group,
    a_pod,
    raw_cluster,
    raw_deployment,
    raw_group,
    raw_pod,
    raw_service,
)
from tests.support.fake_api import FakeApi, connected
from tests.support.server import Answer, serving
from tests.support.wait import until

from dask_operator import build, parse
from dask_operator.actions import (
    IDLE,
    TARGET,
    WORKERS,
    Action,
    Ask,
    ClearFailures,
    Create,
    Delete,
    Patch,
    RecordEvent,
    RequeueAt,
    Retire,
    SetStatus,
)
from dask_operator.kubernetes.api import Api
from dask_operator.model import Endpoint, Key, ObjectRef, Observed, Pod
from dask_operator.reconcile.execute import Executor
from dask_operator.reconcile.store import Store
from dask_operator.reconcile.workqueue import WorkQueue
from dask_operator.reconcile.writes import IN_FLIGHT, in_flight
from dask_operator.resources import CLUSTER, DEPLOYMENT, EVENT, GROUP, POD, SERVICE
from dask_operator.scheduler.questions import Schedulers

KEY = Key("default", "simple")
PODS = ObjectRef("Pod", "simple-default")
THE_GROUP = ObjectRef("DaskWorkerGroup", "simple-default")
THE_CLUSTER = ObjectRef("DaskCluster", "simple")
THE_SERVICE = ObjectRef("Service", "simple-scheduler")


@dataclass
class Bench:
    """An executor and all that it works on."""

    fake: FakeApi
    store: Store
    queue: WorkQueue
    executor: Executor
    started: float = field(default_factory=lambda: asyncio.get_running_loop().time())

    async def execute(self, *actions: Action) -> Observed:
        await self.executor.execute(KEY, actions)
        return self.observed()

    def observed(self) -> Observed:
        return self.store.snapshot(KEY)[1]

    def pods(self) -> list[Pod]:
        return list(self.observed().pods)

    async def woken(self, seconds: float = 3600.0) -> float | None:
        """Return in how many seconds the cluster is planned again, None if not within `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await self.queue.get()
        except TimeoutError:
            return None
        return asyncio.get_running_loop().time() - self.started


@asynccontextmanager
async def _bench(*objects: dict[str, Any]) -> AsyncIterator[Bench]:
    """Yield an API server and a store that have a cluster, its group and these objects."""
    loop = asyncio.get_running_loop()

    def clock() -> float:
        return NOON + loop.time()

    async with connected() as (fake, api), Schedulers() as schedulers:
        store, queue = Store(), WorkQueue(clock)
        for raw in (raw_cluster(), raw_group(), *objects):
            store.observe(raw["kind"], parse.PARSERS[raw["kind"]](fake.put(raw)))
        executor = Executor(api, store, schedulers, queue, clock)
        try:
            yield Bench(fake, store, queue, executor)
        finally:
            await executor.close()


def _creates(number: int) -> list[Create]:
    pods = build.worker_manifests(a_cluster(), a_group(), range(number), 0)
    return [Create(pod, PODS, "the group wants workers") for pod in pods]


def _create_service() -> Create:
    return Create(build.service_manifest(a_cluster()), THE_SERVICE, "the cluster has none")


def _at(url: str) -> Endpoint:
    return Endpoint(url, "tcp://127.0.0.1:1")


def _ask(url: str) -> Ask:
    return Ask(WORKERS, _at(url), "scale down")


def _delete(pod: Pod, version: int | None = None) -> Delete:
    return Delete(pod.name, pod.uid, PODS, "surplus", version)


async def test_what_was_created_is_known_at_once_and_planned_with() -> None:
    async with _bench() as bench:
        await bench.execute(*_creates(3))
        assert len(bench.fake.objects(POD)) == 3
        assert sorted(pod.ordinal for pod in bench.pods()) == [0, 1, 2]
        assert await bench.woken() == 0.0


async def test_writes_go_out_side_by_side_but_not_all_at_once() -> None:
    async with _bench() as bench:
        open_at_once = 0
        reply = bench.fake.answer
        now = 0

        async def counted(request: web.Request) -> web.StreamResponse:
            nonlocal open_at_once, now
            now += 1
            open_at_once = max(open_at_once, now)
            await asyncio.sleep(0.1)
            now -= 1
            return await reply(request)

        async with serving(counted) as url:
            bench.fake.url = url
            async with _connected_anew(bench) as executor:
                await executor.execute(KEY, _creates(IN_FLIGHT * 3))
        assert open_at_once == IN_FLIGHT
        assert len(bench.fake.objects(POD)) == IN_FLIGHT * 3


def test_what_takes_long_anyway_leaves_others_more_of_the_api_server() -> None:
    assert [in_flight(writes) for writes in (1, 40, 300, 500)] == [1, IN_FLIGHT, IN_FLIGHT, 20]


@asynccontextmanager
async def _connected_anew(bench: Bench) -> AsyncIterator[Executor]:
    async with Api(bench.fake.login) as api, Schedulers() as schedulers:
        yield Executor(api, bench.store, schedulers, bench.queue, lambda: NOON)


async def test_a_create_whose_reply_was_lost_is_tried_again_without_making_two() -> None:
    async with _bench() as bench:
        bench.fake.fail("POST", POD, 500, reason="InternalError", after=True)
        observed = await bench.execute(*_creates(1))
        assert observed.failures[PODS].problem.reason == "InternalError"
        assert observed.pods == ()
        observed = await bench.execute(*_creates(1))
        assert (len(bench.fake.objects(POD)), len(observed.pods), observed.failures) == (1, 1, {})


async def test_what_exists_already_and_is_somebody_elses_is_a_failure() -> None:
    async with _bench() as bench:
        bench.fake.put(raw_service(metadata={"ownerReferences": [{"uid": "another"}]}))
        observed = await bench.execute(_create_service())
        problem = observed.failures[THE_SERVICE].problem
        assert problem.reason == "NameTaken"
        assert "delete or rename it, or the cluster" in problem.message


async def test_what_is_ours_but_lost_its_label_is_a_failure_and_not_tried_again_at_once() -> None:
    async with _bench() as bench:
        metadata = {"labels": {}, "ownerReferences": [{"uid": a_cluster().uid}]}
        bench.fake.put(raw_service(metadata=metadata))
        observed = await bench.execute(_create_service())
        assert THE_SERVICE in observed.failures


async def test_what_has_lost_the_label_that_says_what_it_is_says_which() -> None:
    async with _bench() as bench:
        labels = {"dask.org/cluster-name": "simple", "dask.org/component": "worker"}
        metadata = {"labels": labels, "ownerReferences": [{"uid": a_cluster().uid}]}
        bench.fake.put(raw_service(metadata=metadata))
        observed = await bench.execute(_create_service())
        problem = observed.failures[THE_SERVICE].problem
        assert problem.reason == "NameTaken"
        assert "has lost its label dask.org/component=scheduler: put it back" in problem.message


@pytest.mark.parametrize(
    ("code", "reason", "message", "patched"),
    [
        (403, "Forbidden", "violates PodSecurity", False),
        (422, "Invalid", "spec.containers: Required value", False),
        (500, "InternalError", "failed calling webhook", False),
        (403, "Forbidden", "exceeded quota: small, requested: pods=1", True),
        (400, "BadRequest", 'admission webhook "a.b" does not support dry run', True),
        (0, "", "", True),
    ],
)
async def test_a_patch_is_made_once_the_pod_that_it_brings_is_accepted(
    code: int, reason: str, message: str, patched: bool
) -> None:
    async with _bench() as bench:
        bench.fake.put(raw_service())
        if code:
            bench.fake.fail("POST", POD, code, reason=reason, message=message)
        body = {"metadata": {"labels": {"a": "b"}}}
        observed = await bench.execute(Patch(THE_SERVICE, body, "edited", build.scheduler_pod_manifest(a_cluster())))
        assert bool(bench.fake.asked("PATCH", "services")) == patched
        assert bench.fake.objects(POD) == []
        assert (THE_SERVICE in observed.failures) == (not patched)


async def test_a_refusal_is_remembered_and_stops_the_rest_about_its_subject_alone() -> None:
    async with _bench() as bench:
        bench.fake.fail("POST", POD, 403, reason="Forbidden", message="exceeded quota: small", times=1000)
        observed = await bench.execute(*_creates(200), _create_service())
        failure = observed.failures[PODS]
        assert failure.problem.reason == "QuotaExceeded"
        assert "exceeded quota: small; raise the quota or scale down" in failure.problem.message
        assert failure.attempts == 1
        assert failure.until > NOON
        assert len(bench.fake.asked("POST", "pods")) <= IN_FLIGHT
        assert observed.service is not None


async def test_the_time_the_api_server_names_is_kept() -> None:
    async with _bench() as bench:
        bench.fake.fail("POST", POD, 429, reason="TooManyRequests", headers={"Retry-After": "30"})
        assert (await bench.execute(*_creates(1))).failures[PODS].until >= NOON + 30.0


async def test_a_success_ends_a_failure() -> None:
    async with _bench() as bench:
        bench.fake.fail("POST", POD, 403, reason="Forbidden")
        assert PODS in (await bench.execute(*_creates(1))).failures
        assert (await bench.execute(*_creates(1))).failures == {}


async def test_the_api_servers_warnings_are_planned_with_once() -> None:
    async with _bench() as bench:
        bench.fake.warn = lambda _: ['unknown field "spec.contaners"']
        observed = await bench.execute(*_creates(20))
        assert observed.warnings == ('Pod simple-default: unknown field "spec.contaners"',)


async def test_a_warning_that_names_each_pod_is_one_of_their_group() -> None:
    async with _bench() as bench:
        bench.fake.warn = lambda raw: [f"updated Pod default/{raw['metadata']['name']}: default requests"]
        observed = await bench.execute(*_creates(20))
        assert observed.warnings == ("Pod simple-default: updated Pod default/simple-default: default requests",)


async def test_warnings_that_come_beside_another_event_are_not_lost() -> None:
    async with _bench() as bench:
        bench.fake.warn = lambda _: ['unknown field "spec.contaners"']
        observed = await bench.execute(*_creates(1), RecordEvent(THE_GROUP, "uid", "Normal", "Recovered", "no longer"))
        assert len(observed.warnings) == 1


async def test_a_delete_is_of_the_very_pod_as_it_was_seen() -> None:
    async with _bench(raw_pod(0), raw_pod(1)) as bench:
        first, second = bench.pods()
        observed = await bench.execute(_delete(first), _delete(second, second.resource_version))
        assert bench.fake.objects(POD) == []
        assert [pod.deleting for pod in observed.pods] == [True, True], "until the watch says that they are gone"
        bodies = {seen.name: seen.body["preconditions"] for seen in bench.fake.asked("DELETE")}
        assert bodies == {
            first.name: {"uid": first.uid},
            second.name: {"uid": second.uid, "resourceVersion": str(second.resource_version)},
        }


async def test_a_pod_that_changed_since_is_left_and_looked_at_again() -> None:
    async with _bench(raw_pod(0)) as bench:
        (pod,) = bench.pods()
        bench.fake.put(raw_pod(0, status={"phase": "Running"}))
        observed = await bench.execute(_delete(pod, pod.resource_version))
        assert len(bench.fake.objects(POD)) == 1
        assert observed.failures == {}
        assert [(pod.deleting, pod.phase) for pod in observed.pods] == [(False, "Running")], "as it is now"


async def test_a_pod_that_is_gone_already_is_success() -> None:
    async with _bench(raw_pod(0)) as bench:
        (pod,) = bench.pods()
        bench.fake.drop(POD, pod.name)
        observed = await bench.execute(_delete(pod))
        assert (observed.failures, [pod.deleting for pod in observed.pods]) == ({}, [True])


async def test_a_patch_is_known_at_once() -> None:
    async with _bench() as bench:
        patch = Patch(THE_GROUP, build.copied_replicas_patch(a_cluster(workers=8)), "replicas")
        (group,) = (await bench.execute(patch)).groups
        assert (group.replicas, group.copied) == (8, "8")


async def test_a_patch_of_what_is_gone_is_no_failure() -> None:
    async with _bench() as bench:
        bench.fake.drop(GROUP, "simple-default")
        assert (await bench.execute(Patch(THE_GROUP, {"spec": {}}, "replicas"))).failures == {}


async def test_a_list_of_changes_is_done_to_an_object() -> None:
    async with _bench() as bench:
        body = [{"op": "add", "path": "/spec/worker/spec", "value": {"a": "b"}}]
        (group,) = (await bench.execute(Patch(THE_GROUP, body, "its template was edited"))).groups
        assert bench.fake.find(GROUP, "simple-default")["spec"]["worker"]["spec"] == {"a": "b"}  # type: ignore[index]
        assert group.worker.spec == {"a": "b"}, "what was written is known at once"


@pytest.mark.parametrize("subresource", [True, False])
async def test_notes_stand_in_where_a_definition_keeps_no_status(subresource: bool) -> None:
    async with _bench() as bench:
        bench.fake.status_subresource = subresource
        notes = {"kubernetes.dask.org/last-ordinal": "7"}
        await bench.execute(SetStatus(THE_GROUP, {"lastOrdinal": 7}, "x", notes))
        found = bench.fake.find(GROUP, "simple-default")
        assert found
        assert found["metadata"].get("annotations", {}) == ({} if subresource else notes)
        assert bench.observed().groups[0].last_ordinal == 7


async def test_a_worker_that_is_a_deployment_is_deleted_as_one() -> None:
    labels = {"dask.org/cluster-name": "simple", "dask.org/workergroup-name": "simple-default"}
    labels["dask.org/component"] = "worker"
    async with _bench(raw_deployment("simple-default-worker-0", metadata={"labels": labels})) as bench:
        (worker,) = bench.observed().worker_deployments
        about = ObjectRef("Deployment", worker.name)
        observed = await bench.execute(Delete(worker.name, worker.uid, about, "retired"))
        assert bench.fake.objects(DEPLOYMENT) == []
        assert [each.deleting for each in observed.worker_deployments] == [True]


async def test_what_a_scheduler_asks_for_is_a_fact_with_what_there_was_then() -> None:
    async def answer(request: web.Request) -> web.Response:
        assert request.path.endswith("adaptive_target")
        return web.json_response({"workers": 7})

    async with _bench() as bench, serving(answer) as url:
        ask = Ask(TARGET, _at(url), "autoscaling", 30.0, {"simple-default": 3})
        assert (await bench.execute(ask)).asking == {TARGET}
        await until(lambda: not bench.observed().asking, "the answer")
        demand = bench.observed().demand
        assert demand
        assert [(sample.target, sample.replicas) for sample in demand.samples] == [(7, {"simple-default": 3})]


@pytest.mark.parametrize("question", [TARGET, IDLE])
async def test_a_question_without_an_answer_is_a_fact_with_its_reason(question: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="x" * 100)

    async with _bench() as bench, serving(answer) as url:
        await bench.execute(Ask(question, _at(url), "x"))
        await until(lambda: not bench.observed().asking, "the answer")
        fact = bench.observed().demand if question == TARGET else bench.observed().idleness
        assert fact
        assert fact.problem
        assert (fact.problem.reason, fact.at >= NOON) == ("SchedulerAnswer", True)


async def test_a_status_is_written_after_the_changes_and_before_the_events() -> None:
    async with _bench() as bench:
        status = SetStatus(THE_CLUSTER, {"phase": "Running"}, "ready")
        event = RecordEvent(THE_CLUSTER, a_cluster().uid, "Warning", "Unschedulable", "no room")
        observed = await bench.execute(event, status, *_creates(2))
        order = [(seen.method, seen.plural) for seen in bench.fake.requests]
        assert order == [("POST", "pods")] * 2 + [("PATCH", "daskclusters"), ("POST", "events")]
        assert bench.fake.find(CLUSTER, "simple")["status"] == {"phase": "Running"}  # type: ignore[index]
        cluster = bench.store.snapshot(KEY)[0]
        assert cluster
        assert cluster.status == {"phase": "Running"}
        written = observed.written[THE_CLUSTER]
        assert (written.status, written.at >= NOON) == ({"phase": "Running"}, True)


async def test_a_status_is_written_where_the_crd_has_no_status_subresource() -> None:
    async with _bench() as bench:
        bench.fake.status_subresource = False
        await bench.execute(SetStatus(THE_CLUSTER, {"phase": "Running"}, "ready"))
        assert bench.fake.find(CLUSTER, "simple")["status"] == {"phase": "Running"}  # type: ignore[index]


async def test_an_event_is_about_its_object_and_recorded_once() -> None:
    async with _bench() as bench:
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
    async with _bench() as bench:
        bench.fake.fail("POST", EVENT, 403, reason="Forbidden", message="may not")
        assert (await bench.execute(RecordEvent(THE_GROUP, "u", "Warning", "Unschedulable", "x"))).failures == {}
    assert "default/simple: event Unschedulable not recorded: 403 Forbidden: may not" in caplog.text


async def test_a_wake_is_for_its_time() -> None:
    async with _bench() as bench:
        await bench.execute(RequeueAt(NOON + 100.0, "backoff"), RequeueAt(NOON + 50.0, "status"))
        assert await bench.woken() == pytest.approx(50.0, abs=0.1)


async def test_what_was_refused_is_forgotten_when_it_is_no_longer_wanted() -> None:
    async with _bench() as bench:
        bench.fake.fail("POST", SERVICE, 422, reason="Invalid")
        (service,) = (await bench.execute(_create_service())).failures
        assert (await bench.execute(ClearFailures(frozenset({service})))).failures == {}


async def test_nothing_to_do_plans_nothing_more() -> None:
    async with _bench() as bench:
        await bench.execute()
        assert await bench.woken() is None
        assert bench.fake.requests == []


def _identity(*pods: Pod) -> Answer:
    async def answer(request: web.Request) -> web.Response:
        workers = {f"tcp://{pod.ip}:4000": {"name": pod.name, "metrics": {}} for pod in pods}
        listed = [{"name": pod.name, "address": f"tcp://{pod.ip}:4000"} for pod in pods]
        if request.path.endswith("get_workers"):
            return web.json_response({"num_workers": len(pods), "workers": listed})
        return web.json_response({"workers": workers})

    return answer


async def test_an_answer_is_a_fact_for_a_later_plan() -> None:
    async with _bench(raw_pod(0)) as bench, serving(_identity(a_pod(0), a_pod(1))) as url:
        assert (await bench.execute(_ask(url))).asking
        await until(lambda: not bench.observed().asking, "the answer")
        survey = bench.observed().survey
        assert survey
        assert {worker.name for worker in survey.workers} == {a_pod(0).name, a_pod(1).name}
        assert await bench.woken() is not None


async def test_a_question_does_not_hold_up_the_plan() -> None:
    async def answer(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async with _bench() as bench, serving(answer) as url:
        async with asyncio.timeout(1.0):
            assert (await bench.execute(_ask(url))).asking


async def test_no_answer_is_a_fact_as_well() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=503)

    async with _bench() as bench, serving(answer) as url:
        await bench.execute(_ask(url))
        await until(lambda: not bench.observed().asking, "the answer")
        survey = bench.observed().survey
        assert survey
        assert survey.problem
        assert survey.problem.reason == "SchedulerUnreachable"
        assert survey.at >= NOON


def _retiring(*addresses: str) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response({address: {} for address in addresses})

    return answer


async def test_only_those_the_scheduler_names_are_retired() -> None:
    async with _bench(raw_pod(0), raw_pod(1)) as bench, serving(_retiring("tcp://10.0.0.1:1")) as url:
        first, second = bench.pods()
        workers = ((first.uid, "tcp://10.0.0.1:1"), (second.uid, "tcp://10.0.0.2:1"))
        observed = await bench.execute(Retire(_at(url), workers, "scale down"))
        assert observed.retiring == {first.uid, second.uid}
        await until(lambda: not bench.observed().retiring, "the end of the retirement")
        assert bench.observed().retired == {first.uid}
        assert list(bench.observed().refused) == [second.uid]
        assert await bench.woken() is not None


async def test_a_pod_of_several_dask_workers_is_retired_when_all_of_them_are() -> None:
    async with _bench(raw_pod(0)) as bench, serving(_retiring("tcp://10.0.0.1:1")) as url:
        (pod,) = bench.pods()
        workers = ((pod.uid, "tcp://10.0.0.1:1"), (pod.uid, "tcp://10.0.0.1:2"))
        await bench.execute(Retire(_at(url), workers, "scale down"))
        await until(lambda: not bench.observed().retiring, "the end of the retirement")
        assert bench.observed().retired == frozenset(), "one of its two still holds data"


async def test_after_a_retirement_without_an_answer_nobody_is_retired() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=500)

    async with _bench(raw_pod(0)) as bench, serving(answer) as url:
        (pod,) = bench.pods()
        await bench.execute(Retire(_at(url), ((pod.uid, "tcp://10.0.0.1:1"),), "scale down"))
        await until(lambda: not bench.observed().retiring, "the end of the retirement")
        observed = bench.observed()
        assert (observed.retired, observed.refused) == (frozenset(), {})
        assert observed.survey
        assert observed.survey.problem


async def test_closing_ends_what_runs_beside() -> None:
    asked, ended = asyncio.Event(), asyncio.Event()

    async def answer(_: web.Request) -> web.Response:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError("unreachable")

    async with _bench() as bench, serving(answer) as url:
        await bench.execute(_ask(url))
        await until(asked.is_set, "the question")
        await bench.executor.close()
        await until(ended.is_set, "the end of the question", 5.0)


def _logged(caplog: pytest.LogCaptureFixture) -> Sequence[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("dask_operator.reconcile.")]


async def test_a_line_is_logged_for_each_decision_and_not_for_each_pod(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        async with _bench() as bench:
            await bench.execute(*_creates(50), _create_service(), RequeueAt(NOON, "x"), SetStatus(THE_CLUSTER, {}, "y"))
    assert _logged(caplog) == [
        "default/simple: create Pod simple-default ×50: the group wants workers",
        "default/simple: create Service simple-scheduler: the cluster has none",
    ]


async def test_a_refusal_is_logged_with_when_it_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    async with _bench() as bench:
        bench.fake.fail("POST", SERVICE, 403, reason="Forbidden", message="may not")
        await bench.execute(_create_service())
    assert _logged(caplog) == [
        "default/simple: Service simple-scheduler: 403 Forbidden: may not; tried again in 1 s",
    ]


async def test_what_is_refused_is_said_to_its_user_and_not_quoted_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    invalid = 'Service "x" is invalid: spec.type: Unsupported value: "hunter2"'
    denied = 'admission webhook "policy.example.com" denied the request: hunter2 is not allowed'
    async with _bench() as bench:
        for code, reason, message in ((422, "Invalid", invalid), (403, "Forbidden", denied)):
            bench.fake.fail("POST", SERVICE, code, reason=reason, message=message)
            observed = await bench.execute(_create_service())
            (failure,) = observed.failures.values()
            assert failure.problem.message == message
    assert "422 Invalid" in caplog.text
    assert '403 Forbidden: admission webhook "policy.example.com" denied the request; tried again' in caplog.text
    assert "hunter2" not in caplog.text


async def test_of_an_event_the_log_says_which_and_not_its_words(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        async with _bench() as bench:
            await bench.execute(RecordEvent(THE_CLUSTER, a_cluster().uid, "Warning", "Invalid", "hunter2 is no number"))
            (recorded,) = bench.fake.objects(EVENT)
            assert recorded["message"] == "hunter2 is no number"
    assert _logged(caplog) == ["default/simple: Invalid DaskCluster simple"]


@pytest.mark.parametrize("question", [WORKERS, TARGET, IDLE])
async def test_what_a_scheduler_answers_is_not_quoted_in_the_log(
    caplog: pytest.LogCaptureFixture, question: str
) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="hunter2")

    with caplog.at_level(logging.DEBUG, "dask_operator"):
        async with _bench() as bench, serving(answer) as url:
            await bench.execute(Ask(question, _at(url), "x"))
            await until(lambda: not bench.observed().asking, "the answer")
    assert "hunter2" not in caplog.text
