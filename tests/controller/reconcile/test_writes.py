from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from tests.controller.reconcile.bench import (
    KEY,
    PODS,
    THE_CLUSTER,
    THE_GROUP,
    THE_SERVICE,
    Bench,
    a_bench,
    create_service,
    creates,
    logged,
)
from tests.support.builders import NOON, a_cluster, raw_deployment, raw_pod, raw_service
from tests.support.server import serving

from dask_operator import manifests
from dask_operator.actions import Delete, Patch, RecordEvent, SetStatus
from dask_operator.kubernetes.api import Api
from dask_operator.model import ObjectRef, Pod
from dask_operator.reconcile.execute import Executor
from dask_operator.reconcile.writes import IN_FLIGHT, in_flight
from dask_operator.resources import CLUSTER, DEPLOYMENT, GROUP, POD, SERVICE
from dask_operator.scheduler.questions import Schedulers


def delete(pod: Pod, version: int | None = None) -> Delete:
    return Delete(pod.name, pod.uid, PODS, "surplus", version)


async def test_what_was_created_is_known_at_once_and_planned_with() -> None:
    async with a_bench() as bench:
        await bench.execute(*creates(3))
        assert len(bench.fake.objects(POD)) == 3
        assert sorted(pod.ordinal for pod in bench.pods()) == [0, 1, 2]
        assert await bench.woken() == 0.0


async def test_writes_go_out_side_by_side_but_not_all_at_once() -> None:
    async with a_bench() as bench:
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
                await executor.execute(KEY, creates(IN_FLIGHT * 3))
        assert open_at_once == IN_FLIGHT
        assert len(bench.fake.objects(POD)) == IN_FLIGHT * 3


def test_what_takes_long_anyway_leaves_others_more_of_the_api_server() -> None:
    assert [in_flight(writes) for writes in (1, 40, 300, 500)] == [1, IN_FLIGHT, IN_FLIGHT, 20]


@asynccontextmanager
async def _connected_anew(bench: Bench) -> AsyncIterator[Executor]:
    async with Api(bench.fake.login) as api, Schedulers() as schedulers:
        yield Executor(api, bench.store, schedulers, bench.queue, lambda: NOON)


async def test_a_create_whose_reply_was_lost_is_tried_again_without_making_two() -> None:
    async with a_bench() as bench:
        bench.fake.fail("POST", POD, 500, reason="InternalError", after=True)
        observed = await bench.execute(*creates(1))
        assert observed.failures[PODS].problem.reason == "InternalError"
        assert observed.pods == ()
        observed = await bench.execute(*creates(1))
        assert (len(bench.fake.objects(POD)), len(observed.pods), observed.failures) == (1, 1, {})


async def test_what_exists_already_and_is_somebody_elses_is_a_failure() -> None:
    async with a_bench() as bench:
        bench.fake.put(raw_service(metadata={"ownerReferences": [{"uid": "another"}]}))
        observed = await bench.execute(create_service())
        problem = observed.failures[THE_SERVICE].problem
        assert problem.reason == "NameTaken"
        assert "delete or rename it, or the cluster" in problem.message


async def test_what_is_ours_but_lost_its_label_is_a_failure_and_not_tried_again_at_once() -> None:
    async with a_bench() as bench:
        metadata = {"labels": {}, "ownerReferences": [{"uid": a_cluster().uid}]}
        bench.fake.put(raw_service(metadata=metadata))
        observed = await bench.execute(create_service())
        assert THE_SERVICE in observed.failures


async def test_what_has_lost_the_label_that_says_what_it_is_says_which() -> None:
    async with a_bench() as bench:
        labels = {"dask.org/cluster-name": "simple", "dask.org/component": "worker"}
        metadata = {"labels": labels, "ownerReferences": [{"uid": a_cluster().uid}]}
        bench.fake.put(raw_service(metadata=metadata))
        observed = await bench.execute(create_service())
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
    async with a_bench() as bench:
        bench.fake.put(raw_service())
        if code:
            bench.fake.fail("POST", POD, code, reason=reason, message=message)
        body = {"metadata": {"labels": {"a": "b"}}}
        observed = await bench.execute(
            Patch(THE_SERVICE, body, "edited", manifests.scheduler_pod_manifest(a_cluster()))
        )
        assert bool(bench.fake.asked("PATCH", "services")) == patched
        assert bench.fake.objects(POD) == []
        assert (THE_SERVICE in observed.failures) == (not patched)


async def test_a_refusal_is_remembered_and_stops_the_rest_about_its_subject_alone() -> None:
    async with a_bench() as bench:
        bench.fake.fail("POST", POD, 403, reason="Forbidden", message="exceeded quota: small", times=1000)
        observed = await bench.execute(*creates(200), create_service())
        failure = observed.failures[PODS]
        assert failure.problem.reason == "QuotaExceeded"
        assert "exceeded quota: small; raise the quota or scale down" in failure.problem.message
        assert failure.attempts == 1
        assert failure.until > NOON
        assert len(bench.fake.asked("POST", "pods")) <= IN_FLIGHT
        assert observed.service is not None


async def test_the_time_the_api_server_names_is_kept() -> None:
    async with a_bench() as bench:
        bench.fake.fail("POST", POD, 429, reason="TooManyRequests", headers={"Retry-After": "30"})
        assert (await bench.execute(*creates(1))).failures[PODS].until >= NOON + 30.0


async def test_a_success_ends_a_failure() -> None:
    async with a_bench() as bench:
        bench.fake.fail("POST", POD, 403, reason="Forbidden")
        assert PODS in (await bench.execute(*creates(1))).failures
        assert (await bench.execute(*creates(1))).failures == {}


async def test_the_api_servers_warnings_are_planned_with_once() -> None:
    async with a_bench() as bench:
        bench.fake.warn = lambda _: ['unknown field "spec.contaners"']
        observed = await bench.execute(*creates(20))
        assert observed.warnings == ('Pod simple-default-worker-*: unknown field "spec.contaners"',)


async def test_a_warning_that_names_each_pod_is_one_of_their_group() -> None:
    async with a_bench() as bench:
        bench.fake.warn = lambda raw: [f"updated Pod default/{raw['metadata']['name']}: default requests"]
        observed = await bench.execute(*creates(20))
        assert observed.warnings == (
            "Pod simple-default-worker-*: updated Pod default/simple-default-worker-*: default requests",
        )


async def test_warnings_that_come_beside_another_event_are_not_lost() -> None:
    async with a_bench() as bench:
        bench.fake.warn = lambda _: ['unknown field "spec.contaners"']
        observed = await bench.execute(*creates(1), RecordEvent(THE_GROUP, "uid", "Normal", "Recovered", "no longer"))
        assert len(observed.warnings) == 1


async def test_a_delete_is_of_the_very_pod_as_it_was_seen() -> None:
    async with a_bench(raw_pod(0), raw_pod(1)) as bench:
        first, second = bench.pods()
        observed = await bench.execute(delete(first), delete(second, second.resource_version))
        assert bench.fake.objects(POD) == []
        assert [pod.deleting for pod in observed.pods] == [True, True], "until the watch says that they are gone"
        bodies = {seen.name: seen.body["preconditions"] for seen in bench.fake.asked("DELETE")}
        assert bodies == {
            first.name: {"uid": first.uid},
            second.name: {"uid": second.uid, "resourceVersion": str(second.resource_version)},
        }


async def test_a_pod_that_changed_since_is_left_and_looked_at_again() -> None:
    async with a_bench(raw_pod(0)) as bench:
        (pod,) = bench.pods()
        bench.fake.put(raw_pod(0, status={"phase": "Running"}))
        observed = await bench.execute(delete(pod, pod.resource_version))
        assert len(bench.fake.objects(POD)) == 1
        assert observed.failures == {}
        assert [(pod.deleting, pod.phase) for pod in observed.pods] == [(False, "Running")], "as it is now"


async def test_a_pod_that_is_gone_already_is_success() -> None:
    async with a_bench(raw_pod(0)) as bench:
        (pod,) = bench.pods()
        bench.fake.drop(POD, pod.name)
        observed = await bench.execute(delete(pod))
        assert (observed.failures, [pod.deleting for pod in observed.pods]) == ({}, [True])


async def test_a_patch_is_known_at_once() -> None:
    async with a_bench() as bench:
        patch = Patch(THE_GROUP, manifests.copied_replicas_patch(a_cluster(workers=8)), "replicas")
        (group,) = (await bench.execute(patch)).groups
        assert (group.replicas, group.copied) == (8, "8")


async def test_a_patch_of_what_is_gone_is_no_failure() -> None:
    async with a_bench() as bench:
        bench.fake.drop(GROUP, "simple-default")
        assert (await bench.execute(Patch(THE_GROUP, {"spec": {}}, "replicas"))).failures == {}


async def test_a_list_of_changes_is_done_to_an_object() -> None:
    async with a_bench() as bench:
        body = [{"op": "add", "path": "/spec/worker/spec", "value": {"a": "b"}}]
        (group,) = (await bench.execute(Patch(THE_GROUP, body, "its template was edited"))).groups
        assert bench.fake.find(GROUP, "simple-default")["spec"]["worker"]["spec"] == {"a": "b"}  # type: ignore[index]
        assert group.worker.spec == {"a": "b"}, "what was written is known at once"


@pytest.mark.parametrize("subresource", [True, False])
async def test_notes_stand_in_where_a_definition_keeps_no_status(subresource: bool) -> None:
    async with a_bench() as bench:
        bench.fake.status_subresource = subresource
        notes = {"kubernetes.dask.org/last-ordinal": "7"}
        await bench.execute(SetStatus(THE_GROUP, {"lastOrdinal": 7}, "x", notes))
        found = bench.fake.find(GROUP, "simple-default")
        assert found
        assert found["metadata"].get("annotations", {}) == ({} if subresource else notes)
        assert bench.observed().groups[0].last_ordinal == 7


@pytest.mark.parametrize("grace", [None, 30])
async def test_a_delete_may_shorten_the_time_that_a_pod_has_to_end(grace: int | None) -> None:
    async with a_bench(raw_pod(0)) as bench:
        (pod,) = bench.pods()
        await bench.execute(Delete(pod.name, pod.uid, PODS, "suspended", grace=grace))
        (asked,) = bench.fake.asked("DELETE")
        assert asked.body.get("gracePeriodSeconds") == grace


async def test_what_the_controller_itself_has_deleted_is_no_write_without_effect() -> None:
    async with a_bench() as bench:
        for _ in range(3):
            observed = await bench.execute(create_service())
            assert not observed.failures
            service = bench.fake.objects(SERVICE)[0]["metadata"]
            await bench.execute(Delete(service["name"], service["uid"], THE_SERVICE, "suspended"))


async def test_a_worker_that_is_a_deployment_is_deleted_as_one() -> None:
    labels = {"dask.org/cluster-name": "simple", "dask.org/workergroup-name": "simple-default"}
    labels["dask.org/component"] = "worker"
    async with a_bench(raw_deployment("simple-default-worker-0", metadata={"labels": labels})) as bench:
        (worker,) = bench.observed().worker_deployments
        about = ObjectRef("Deployment", worker.name)
        observed = await bench.execute(Delete(worker.name, worker.uid, about, "retired"))
        assert bench.fake.objects(DEPLOYMENT) == []
        assert [each.deleting for each in observed.worker_deployments] == [True]


async def test_a_status_is_written_where_the_crd_has_no_status_subresource() -> None:
    async with a_bench() as bench:
        bench.fake.status_subresource = False
        await bench.execute(SetStatus(THE_CLUSTER, {"phase": "Running"}, "ready"))
        assert bench.fake.find(CLUSTER, "simple")["status"] == {"phase": "Running"}  # type: ignore[index]


async def test_a_refusal_is_logged_with_when_it_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    async with a_bench() as bench:
        bench.fake.fail("POST", SERVICE, 403, reason="Forbidden", message="may not")
        await bench.execute(create_service())
    assert logged(caplog) == [
        "default/simple: Service simple-scheduler: 403 Forbidden: may not; tried again in 1 s",
    ]


async def test_after_a_refusal_one_write_is_tried_before_the_others() -> None:
    async with a_bench() as bench:
        bench.fake.fail("POST", POD, 500, reason="InternalError", message="timeout", times=1000)
        await bench.execute(*creates(50))
        before = len(bench.fake.asked("POST", "pods"))
        await bench.execute(*creates(50), create_service())
        assert len(bench.fake.asked("POST", "pods")) == before + 1
        assert bench.fake.objects(SERVICE), "others are made meanwhile"
        bench.fake.faults.clear()
        observed = await bench.execute(*creates(50))
        assert (len(bench.fake.objects(POD)), observed.failures) == (50, {}), "then the others"
