"""Clusters and jobs in a queue of Kueue, which admits and evicts as the test says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import pytest
from tests.support.builders import condition, raw_cluster, raw_group, raw_job, raw_object
from tests.support.fake_queue import FakeQueue
from tests.support.object_store import Raw
from tests.support.world import World

from dask_operator import parse
from dask_operator.actions import Create, Delete
from dask_operator.model import Priority, Problem

QUEUE = {"kueue.x-k8s.io/queue-name": "team"}


def _cluster(workers: int = 3, labels: Mapping[str, str] = MappingProxyType({})) -> Raw:
    return raw_cluster(workers=workers, metadata={"labels": {**QUEUE, **labels}})


def _waiting(*objects: Raw) -> tuple[World, FakeQueue]:
    """Return a world whose objects, one cluster of three workers by default, have asked their queue."""
    world = World(None, queues=True)
    queue = FakeQueue(world)
    for raw in objects or (_cluster(),):
        world.put(raw)
    world.settle()
    return world, queue


def _running(*objects: Raw) -> tuple[World, FakeQueue]:
    world, queue = _waiting(*objects)
    queue.admit()
    world.settle()
    return world, queue


def _suspended(world: World, kind: str = "DaskCluster") -> tuple[str, str, str]:
    found = condition(world.status(kind), "Suspended")
    return found["status"], found["reason"], found["message"]


def _pods(world: World) -> list[Raw]:
    return world.objects("Pod")


def _edit_label(world: World, kind: str, **labels: str | None) -> None:
    raw = world.raw(kind, "simple")
    kept = {"kueue.x-k8s.io/" + key.replace("_", "-"): value for key, value in labels.items()}
    wanted = {**raw["metadata"].get("labels", {}), **kept}
    metadata = {**raw["metadata"], "labels": {k: v for k, v in wanted.items() if v is not None}}
    world.rewrite({**raw, "metadata": metadata})


def test_a_cluster_asks_for_all_its_pods_and_has_none_until_it_is_admitted() -> None:
    world, queue = _waiting()
    assert _pods(world) == []
    assert world.observed().deployment is None
    assert queue.numbers() == {"scheduler": 1, "simple-default": 3}
    assert queue.workload["spec"]["queueName"] == "team"
    assert queue.workload["metadata"]["ownerReferences"][0]["kind"] == "DaskCluster"
    assert _suspended(world) == ("True", "Queued", "it waits in queue team: Kueue has not answered yet")
    queue.say("QuotaReserved", "False", "Pending", "insufficient quota for cpu")
    world.settle()
    assert _suspended(world)[2] == "it waits in queue team: insufficient quota for cpu"
    queue.admit()
    world.settle()
    assert len(world.running()) == 3
    assert _suspended(world)[0] == "False"
    assert world.status()["phase"] == "Running"
    assert queue.is_true("PodsReady")


def test_who_names_no_queue_waits_in_none() -> None:
    world = World(queues=True)
    FakeQueue(world)
    world.settle()
    assert len(world.running()) == 3
    assert world.objects("Workload") == []


def test_without_kueue_the_label_is_like_any_other() -> None:
    world = World(None)
    world.put(_cluster())
    world.settle()
    assert len(world.running()) == 3
    assert world.objects("Workload") == []
    assert world.raw("Deployment", "simple-scheduler")["metadata"]["labels"].items() >= QUEUE.items()


def test_no_pod_waits_once_more_by_itself() -> None:
    world, _ = _running()
    made = [*_pods(world), *world.objects("Deployment"), *world.objects("DaskWorkerGroup")]
    assert len(made) > 4
    assert not any(QUEUE.keys() & each["metadata"]["labels"].keys() for each in made)


def test_no_group_has_its_pods_wait_once_more() -> None:
    world, queue = _running()
    world.put(raw_group("more", workers=1, metadata={"labels": QUEUE}))
    world.settle()
    queue.admit(of=queue.parts[0])
    world.settle()
    (worker,) = (pod for pod in _pods(world) if pod["metadata"]["labels"].get("dask.org/workergroup-name") == "more")
    assert not QUEUE.keys() & worker["metadata"]["labels"].keys()


def test_pods_run_where_the_queue_has_chosen() -> None:
    world, queue = _waiting(raw_job(metadata={"labels": QUEUE}))
    toleration = {"key": "spot", "operator": "Exists"}
    queue.add_flavor("spot", nodeLabels={"sort": "spot"}, tolerations=[toleration])
    queue.admit("spot")
    world.settle()
    components = {pod["metadata"]["labels"]["dask.org/component"]: pod["spec"] for pod in _pods(world)}
    assert components.keys() == {"scheduler", "worker", "job-runner"}
    for spec in components.values():
        assert spec["nodeSelector"] == {"sort": "spot"}
        assert toleration in spec["tolerations"]


def test_a_flavor_that_does_not_exist_is_said() -> None:
    world, queue = _waiting()
    queue.admit("spot")
    world.settle()
    assert _suspended(world)[2] == "queue team has admitted it to ResourceFlavor spot, which does not exist"
    queue.add_flavor("spot")
    world.settle()
    assert len(world.running()) == 3


def test_an_evicted_cluster_gives_its_quota_back_when_its_pods_are_gone_and_waits_again() -> None:
    world, queue = _running()
    world.lingers = lambda pod: pod.component == "worker"
    queue.evict()
    world.settle()
    evicted = "queue team has evicted it: preempted to make room for another team"
    ends = "the scheduler and 3 workers end, with the results that they hold"
    assert _suspended(world)[1:] == ("Queued", f"{evicted}: {ends}")
    assert queue.is_true("QuotaReserved"), "its workers still run"
    world.lingers = lambda _: False
    world.settle()
    assert _pods(world) == []
    assert not any(map(queue.is_true, ("QuotaReserved", "Admitted", "PodsReady")))
    assert queue.is_true("Requeued")
    assert "admission" not in queue.workload["status"]
    queue.admit()
    world.settle()
    assert len(world.running()) == 3


@pytest.mark.parametrize("killed_after", range(30))
def test_a_controller_that_is_killed_meanwhile_changes_nothing(killed_after: int) -> None:
    world, queue = _waiting()
    queue.admit()
    world.act_killed(killed_after)
    world.settle()
    assert len(world.running()) == 3
    queue.evict()
    world.act_killed(killed_after)
    world.settle()
    assert _pods(world) == []
    assert not queue.is_true("QuotaReserved")


def test_a_suspended_cluster_needs_no_place_in_a_queue() -> None:
    world, _ = _running()
    world.edit("DaskCluster", "simple", suspend=True)
    world.settle()
    assert _suspended(world)[1] == "Suspended"
    assert world.objects("Workload") == []
    world.edit("DaskCluster", "simple", suspend=None)
    world.settle()
    assert _suspended(world)[1] == "Queued"
    assert len(world.objects("Workload")) == 1


def test_a_job_waits_with_its_cluster_and_reports_its_end() -> None:
    world, queue = _waiting(raw_job(metadata={"labels": QUEUE}))
    assert _pods(world) == []
    assert queue.numbers() == {"scheduler": 1, "runner": 1, "simple-default": 3}
    assert world.status("DaskJob")["jobStatus"] == "Suspended"
    assert _suspended(world, "DaskJob")[1] == "Queued"
    queue.admit()
    world.settle()
    assert world.status("DaskJob")["jobStatus"] == "Running"
    assert queue.is_true("PodsReady")
    world.end("simple-runner", "Succeeded")
    world.settle()
    assert world.status("DaskJob")["jobStatus"] == "Successful"
    assert condition(queue.workload["status"], "Finished")["reason"] == "Succeeded"


def test_a_job_that_is_evicted_has_not_failed() -> None:
    world, queue = _running(raw_job(metadata={"labels": QUEUE}, backoffLimit=0))
    queue.evict()
    world.settle()
    assert _pods(world) == []
    assert not queue.is_true("QuotaReserved")
    queue.admit()
    world.settle()
    status = world.status("DaskJob")
    assert (status["jobStatus"], status["failed"]) == ("Running", 0)


def test_the_queue_that_the_cluster_of_a_job_names_is_the_job_s() -> None:
    job = raw_job()
    job["spec"]["cluster"]["metadata"] = {"labels": QUEUE}
    world, queue = _running(job)
    assert world.status("DaskJob")["jobStatus"] == "Running"
    assert queue.workload["metadata"]["ownerReferences"][0]["kind"] == "DaskJob"


def test_a_time_limit_begins_with_the_admission() -> None:
    world, queue = _waiting(raw_job(metadata={"labels": QUEUE}, activeDeadlineSeconds=100))
    world.run(300.0, tick=10.0)
    queue.admit()
    world.run(50.0, tick=10.0)
    assert world.status("DaskJob")["jobStatus"] == "Running"
    world.run(100.0, tick=10.0)
    assert world.status("DaskJob")["jobStatus"] == "Failed"


def test_what_is_asked_for_follows_edits_until_it_is_admitted() -> None:
    world, queue = _waiting()
    world.scale_cluster(5)
    _edit_label(world, "DaskCluster", queue_name="others")
    world.settle()
    assert queue.numbers()["simple-default"] == 5
    assert queue.workload["spec"]["queueName"] == "others"


@pytest.mark.parametrize(
    "edit",
    [
        lambda world: world.edit("DaskCluster", "simple", worker={"spec": {"nodeSelector": {"disk": "ssd"}}}),
        lambda world: _edit_label(world, "DaskCluster", queue_name="others"),
    ],
)
def test_what_was_not_admitted_asks_again(edit: Callable[[World], Any]) -> None:
    world, queue = _running()
    before = queue.workload["metadata"]["uid"]
    edit(world)
    world.settle()
    assert _pods(world) == []
    assert queue.workload["metadata"]["uid"] != before
    assert not queue.is_true("Admitted")


def test_edits_that_decide_about_no_node_and_no_quota_are_rolled_out() -> None:
    world, queue = _running()
    before = queue.workload["metadata"]["uid"]
    world.edit_workers("another:1", "DaskCluster", "simple")
    world.settle()
    assert {pod["spec"]["containers"][0]["image"] for pod in _pods(world)} >= {"another:1"}
    assert queue.workload["metadata"]["uid"] == before


def test_a_workload_that_somebody_deletes_is_asked_for_again() -> None:
    world, queue = _running()
    world.remove("Workload", queue.workload["metadata"]["name"])
    world.settle()
    assert _pods(world) == []
    assert _suspended(world)[1] == "Queued"
    queue.admit()
    world.settle()
    assert len(world.running()) == 3


def test_where_kueue_is_gone_what_runs_goes_on_and_what_is_new_says_why_it_waits() -> None:
    world, queue = _running()
    gone = Problem("NotFound", "the server could not find the requested resource")
    world.forbids = lambda write: gone if write.subject.kind == "Workload" else None
    world.remove("Workload", queue.workload["metadata"]["name"])
    world.run(120.0)
    assert len(world.running()) == 3
    world.delete("Pod", world.running()[0])
    world.run(30.0)
    assert len(world.running()) == 2, "nobody says whether it may have more"
    world.forbids = lambda _: None
    world.run(120.0)
    assert _pods(world) == [], "Kueue is back, and has not admitted it"
    fresh = World(None, queues=True)
    fresh.forbids = lambda write: gone if write.subject.kind == "Workload" else None
    fresh.put(_cluster())
    fresh.settle()
    assert _suspended(fresh)[2] == f"it asks queue team for admission: {gone.message}"


def test_an_answer_that_is_too_large_to_be_read_ends_nothing() -> None:
    world, queue = _running()
    world.write_status("Workload", queue.workload["metadata"]["name"], admission=None)
    world.scale_cluster(5)
    world.settle()
    assert len(world.running()) == 3


def test_who_leaves_the_queue_runs_without_it() -> None:
    world, _ = _waiting()
    _edit_label(world, "DaskCluster", queue_name=None)
    world.settle()
    assert world.objects("Workload") == []
    assert len(world.running()) == 3


def test_a_finished_workload_is_no_admission() -> None:
    world, queue = _running()
    queue.say("Finished", "True", "Succeeded", "somebody has said so")
    world.settle()
    assert _pods(world) == []
    name = queue.workload["metadata"]["name"]
    assert _suspended(world)[2] == (
        f"Workload {name} has finished: somebody has said so; delete it to wait in queue team again"
    )


def _priority(kind: str, name: str, value: int, **others: Any) -> Priority:
    found = parse.priority(raw_object(kind, name, value=value, **others))
    assert isinstance(found, Priority)
    return found


def test_priorities() -> None:
    world, queue = _waiting(_cluster(labels={"kueue.x-k8s.io/priority-class": "urgent"}))
    assert _suspended(world)[2].endswith("; WorkloadPriorityClass urgent does not exist, so its priority is 0")
    world.store.queue_fact("WorkloadPriorityClass", _priority("WorkloadPriorityClass", "urgent", 7))
    world.settle()
    assert queue.workload["spec"]["priority"] == 7
    assert queue.workload["spec"]["priorityClassRef"] == {
        "group": "kueue.x-k8s.io",
        "kind": "WorkloadPriorityClass",
        "name": "urgent",
    }
    _edit_label(world, "DaskCluster", priority_class=None)
    world.store.queue_fact("PriorityClass", _priority("PriorityClass", "usual", 5, globalDefault=True))
    world.settle()
    assert queue.workload["spec"]["priority"] == 5
    assert not queue.workload["spec"].get("priorityClassRef")
    world.edit("DaskCluster", "simple", worker={"spec": {"priorityClassName": "batch"}})
    world.store.queue_fact("PriorityClass", _priority("PriorityClass", "batch", -3))
    world.settle()
    assert queue.workload["spec"]["priority"] == -3
    assert queue.workload["spec"]["priorityClassRef"]["name"] == "batch"


def test_a_cluster_that_comes_and_goes_leaves_nothing() -> None:
    world, _ = _running()
    world.remove("DaskCluster", "simple")
    world.settle()
    assert world.objects("Workload") == []
    assert not any(isinstance(action, Create | Delete) for action in world.plan())
