from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from tests.support.builders import (
    NOON,
    a_cluster,
    a_group,
    a_pod,
    a_survey,
    condition,
    raw_autoscaler,
    raw_cluster,
    raw_job,
    seen,
)
from tests.support.world import World

from dask_operator.actions import Action, Ask, Delete, RecordEvent, RequeueAt, SetStatus
from dask_operator.model import Problem
from dask_operator.plan import plan
from dask_operator.plan.report.conditions import by_type

SUSPENDED = {
    "conditions": [
        {"type": "Suspended", "status": "True", "reason": "Suspended", "lastTransitionTime": "2026-01-01T11:00:00Z"}
    ]
}


def _deletes(actions: Sequence[Action]) -> list[Delete]:
    return [action for action in actions if isinstance(action, Delete)]


def _events(world: World) -> list[tuple[str, str]]:
    told = [action for action in world.done if isinstance(action, RecordEvent) and action.subject.kind != "DaskJob"]
    return [(event.reason, event.message) for event in told if event.reason in ("Suspended", "Resumed")]


def _suspend(world: World, kind: str = "DaskCluster", *, suspended: bool = True) -> None:
    world.edit(kind, "simple", suspend=suspended)


def _act(world: World, left: int) -> int:
    """Plan until nothing is left to do, or until the controller is killed. Return how many actions are left then."""
    actions: Sequence[Action] = [RequeueAt(0.0, "it begins")]
    while left >= 0 and actions:
        actions, left = world.act(left)
        world.run_pods()
    return left


def _is_at_rest(world: World) -> None:
    assert world.observed().pods == ()
    assert world.observed().deployment is None
    assert world.has("Service", "simple-scheduler")
    assert [action for action in world.plan() if not isinstance(action, RequeueAt)] == []


def test_the_status_says_it_before_anything_is_deleted() -> None:
    pods, group = [a_pod(0), a_pod(1)], a_group(workers=2, last_ordinal=1)
    first = plan(a_cluster(suspended=True), seen(pods, groups=[group]), NOON)
    assert _deletes(first) == []
    (status,) = [act.status for act in first if isinstance(act, SetStatus) and act.subject.kind == "DaskCluster"]
    assert (status["phase"], condition(status, "Suspended")["status"]) == ("Suspended", "True")
    second = plan(a_cluster(suspended=True, status=SUSPENDED), seen(pods, groups=[group]), NOON)
    assert [(each.name, each.grace) for each in _deletes(second)] == [
        ("simple-scheduler", None),
        (pods[0].name, 30),
        (pods[1].name, 30),
    ]


def test_a_worker_leaves_once_its_ordinal_is_noted_so_that_no_name_is_given_twice() -> None:
    pods, group = [a_pod(0), a_pod(3)], a_group(workers=2, last_ordinal=0)
    planned = plan(a_cluster(suspended=True, status=SUSPENDED), seen(pods, groups=[group]), NOON)
    assert [each.name for each in _deletes(planned)] == ["simple-scheduler", pods[0].name]
    (status,) = [act.status for act in planned if isinstance(act, SetStatus) and act.subject.kind == "DaskWorkerGroup"]
    assert status["lastOrdinal"] == 3, "a gap is no creation on its way"


def test_workers_of_a_group_that_is_not_read_go_too() -> None:
    group = a_group(workers=0, unread="is too large")
    planned = plan(a_cluster(suspended=True, status=SUSPENDED), seen([a_pod(4)], groups=[group]), NOON)
    assert a_pod(4).name in [each.name for each in _deletes(planned)]


def test_nobody_asks_the_scheduler() -> None:
    pods = [a_pod(0), a_pod(1)]
    observed = seen(pods, groups=[a_group(workers=1, last_ordinal=1)], survey=a_survey(pods, at=NOON - 600.0))
    planned = plan(a_cluster(suspended=True, idle_timeout=60.0, status=SUSPENDED), observed, NOON)
    assert [action for action in planned if isinstance(action, Ask)] == []


@pytest.mark.parametrize("story", ["settled", "young", "rollout", "drain", "removed group", "autoscaled"])
def test_a_suspended_cluster_has_no_pods_and_starts_anew(story: str) -> None:
    world = World(3)
    if story != "young":
        world.settle()
    if story == "rollout":
        world.edit_workers("dask:2")
        world.step()
    if story == "drain":
        world.held = dict.fromkeys(world.running(), 1000)
        world.retiring_takes = 600.0
        world.scale(1)
        world.run(10.0)
    if story == "removed group":
        world.add_group("simple-extra", 2)
        world.settle()
        world.remove("DaskWorkerGroup", "simple-extra")
    if story == "autoscaled":
        world.target = 5
        world.put(raw_autoscaler(minimum=1, maximum=10))
        world.settle()
    before = set(world.names)
    _suspend(world)
    world.settle()
    _is_at_rest(world)
    status = world.status()
    assert (status["phase"], status["replicas"], status["readyReplicas"]) == ("Suspended", 0, 0)
    told = {type_: condition(status, type_) for type_ in ("SchedulerReady", "WorkersReady", "Progressing", "Degraded")}
    assert {each["status"] for each in told.values()} == {"False"}
    assert "set it to false to start the cluster" in condition(status, "Suspended")["message"]
    if story == "autoscaled":
        assert condition(world.status("DaskAutoscaler"), "ScalingActive")["reason"] == "ClusterSuspended"
    _suspend(world, suspended=False)
    world.settle()
    workers = {"drain": 1, "autoscaled": world.replicas()}.get(story, 3)
    assert len(world.running()) == workers
    assert not set(world.running()) & before, "no name is given twice"
    assert (world.status()["phase"], condition(world.status(), "Suspended")["reason"]) == ("Running", "Resumed")
    assert [reason for reason, _ in _events(world)] == ["Suspended", "Resumed"]


def test_the_event_says_what_goes() -> None:
    world = World(3)
    world.settle()
    _suspend(world)
    world.settle()
    ((_, message),) = _events(world)
    said = "spec.suspend is true: the scheduler and 3 workers end, with the results that they hold"
    assert message.startswith(f"{said} (generation ")


def test_each_suspension_has_an_event_of_its_own() -> None:
    world = World(3)
    for suspended in (True, False, True, False):
        world.settle()
        _suspend(world, suspended=suspended)
    world.settle()
    assert len(set(_events(world))) == 4


@pytest.mark.parametrize("kind", ["DaskCluster", "DaskJob"])
def test_while_its_status_is_refused_nothing_comes_and_goes_again_and_again(kind: str) -> None:
    world = World(2) if kind == "DaskCluster" else _job()
    world.settle()
    _suspend(world, kind)
    world.settle()
    _suspend(world, kind, suspended=False)
    refused = Problem("Forbidden", "no status")
    world.forbids = lambda write: refused if isinstance(write, SetStatus) and write.subject.kind == kind else None
    created = sum(world.names.values())
    world.run(120.0)
    assert sum(world.names.values()) <= created + 3, "the cluster of a job may have its workers meanwhile"
    world.forbids = lambda _: None
    world.run(600.0, tick=10.0)
    assert len(world.running()) >= 2
    assert world.status(kind).get("phase") == "Running" or world.status(kind).get("jobStatus") == "Running"


@pytest.mark.parametrize("owners", [(), ("somebody",)])
@pytest.mark.parametrize("component", ["worker", "scheduler", "client", ""])
def test_a_pod_that_only_has_its_labels_does_not_keep_it_from_coming_back(
    component: str, owners: tuple[str, ...]
) -> None:
    stranger = a_pod(7, component=component, owners=owners, group="")
    planned = plan(a_cluster(status=SUSPENDED), seen([stranger], groups=[a_group(workers=0)], scheduler=None), NOON)
    (status,) = [act.status for act in planned if isinstance(act, SetStatus) and act.subject.kind == "DaskCluster"]
    resumed = component != "scheduler" or not owners
    assert condition(status, "Suspended")["status"] == ("False" if resumed else "True")


def test_a_cluster_that_is_resumed_early_starts_when_nothing_of_before_is_left() -> None:
    world = World(2)
    world.settle()
    old = world.running()
    world.lingers = lambda pod: pod.name == old[0]
    _suspend(world)
    world.settle()
    _suspend(world, suspended=False)
    world.settle()
    assert world.observed().deployment is None
    said = condition(world.status(), "Suspended")
    assert (said["status"], said["reason"]) == ("True", "Resuming")
    assert old[0] in said["message"]
    world.lingers = lambda _: False
    world.settle()
    assert len(world.running()) == 2
    assert old[0] not in world.running()


def test_scaling_a_suspended_cluster_counts_when_it_is_resumed() -> None:
    world = World(2)
    world.settle()
    _suspend(world)
    world.settle()
    world.scale(4)
    world.settle()
    _is_at_rest(world)
    _suspend(world, suspended=False)
    world.settle()
    assert len(world.running()) == 4


@pytest.mark.parametrize("killed_after", range(14))
def test_a_controller_that_is_killed_anywhere_suspends_and_resumes_all_the_same(killed_after: int) -> None:
    world, left = World(2), killed_after
    world.settle()
    for suspended in (True, False):
        _suspend(world, suspended=suspended)
        left = _act(world, left)
        world.settle()
        assert len(world.running()) == (0 if suspended else 2)
    assert max(world.names.values()) == 1


def test_nothing_happens_to_a_suspended_cluster_that_is_being_deleted() -> None:
    pods, group = [a_pod(0), a_pod(1)], a_group(workers=2, last_ordinal=1)
    cluster = a_cluster(suspended=True, status=SUSPENDED, deleting=True)
    assert plan(cluster, seen(pods, groups=[group]), NOON) == ()


# Jobs


def _job(**spec: Any) -> World:
    world = World(None)
    world.put(raw_job(**spec))
    world.settle()
    return world


def test_a_suspended_job_has_no_pods_and_its_program_has_not_failed() -> None:
    world = _job(backoffLimit=0)
    assert world.status("DaskJob")["jobStatus"] == "Running"
    _suspend(world, "DaskJob")
    world.settle()
    _is_at_rest(world)
    status = world.status("DaskJob")
    assert (status["jobStatus"], status["failed"], status.get("startTime")) == ("Suspended", 0, None)
    assert condition(status, "Ready")["reason"] == "Suspended"
    assert by_type(status).keys().isdisjoint(("Reconciling", "Stalled")), (
        "nobody has to act, and nothing comes by itself"
    )
    assert condition(status, "Degraded")["status"] == "False"
    _suspend(world, "DaskJob", suspended=False)
    world.settle()
    status = world.status("DaskJob")
    assert (status["jobStatus"], status["failed"]) == ("Running", 0)
    world.end("simple-runner", "Succeeded")
    world.settle()
    assert world.status("DaskJob")["jobStatus"] == "Successful"


@pytest.mark.parametrize("spec", [{"suspend": True}, {"cluster": {"spec": {**raw_cluster()["spec"], "suspend": True}}}])
def test_a_job_that_is_created_suspended_waits(spec: dict[str, Any]) -> None:
    world = _job(**spec)
    _is_at_rest(world)
    assert world.names["simple-runner"] == 0
    assert world.status("DaskJob")["jobStatus"] == "Suspended"
    assert world.raw("DaskCluster", "simple")["spec"]["suspend"] is True


def test_the_time_for_which_a_job_is_suspended_does_not_count() -> None:
    world = _job(activeDeadlineSeconds=600)
    _suspend(world, "DaskJob")
    world.run(3600.0, tick=60.0)
    _suspend(world, "DaskJob", suspended=False)
    world.run(500.0, tick=10.0)
    assert world.status("DaskJob")["jobStatus"] == "Running"
    world.run(200.0, tick=10.0)
    status = world.status("DaskJob")
    assert status["jobStatus"] == "Failed"
    assert "600 s of the end of its suspension" in condition(status, "Failed")["message"]


def test_a_program_that_has_ended_before_it_was_stopped_has_ended() -> None:
    world = _job()
    world.end("simple-runner", "Succeeded")
    _suspend(world, "DaskJob")
    world.settle()
    status = world.status("DaskJob")
    assert status["jobStatus"] == "Successful"
    assert "Suspended" not in [each["type"] for each in status["conditions"]]


def test_a_runner_that_still_ends_is_no_failure_of_the_resumed_job() -> None:
    world = _job(backoffLimit=0)
    world.lingers = lambda pod: pod.name == "simple-runner"
    _suspend(world, "DaskJob")
    world.settle()
    _suspend(world, "DaskJob", suspended=False)
    world.settle()
    assert world.status("DaskJob")["jobStatus"] == "Suspended"
    world.lingers = lambda _: False
    world.settle()
    status = world.status("DaskJob")
    assert (status["jobStatus"], status["failed"]) == ("Running", 0)


@pytest.mark.parametrize("killed_after", range(16))
def test_a_controller_that_is_killed_anywhere_suspends_a_job_all_the_same(killed_after: int) -> None:
    world, left = _job(backoffLimit=0), killed_after
    for suspended in (True, False):
        _suspend(world, "DaskJob", suspended=suspended)
        left = _act(world, left)
        world.settle()
        status = world.status("DaskJob")
        assert (status["jobStatus"], status["failed"]) == ("Suspended" if suspended else "Running", 0)


def test_the_cluster_of_a_job_follows_its_job() -> None:
    world = _job()
    running = set(world.running())
    _suspend(world)
    world.settle()
    assert world.raw("DaskCluster", "simple")["spec"].get("suspend") is None
    assert world.status("DaskJob")["jobStatus"] == "Running"
    assert set(world.running()) == running, "nothing of it has ended"


def test_a_runner_that_fails_with_its_scheduler_has_not_failed() -> None:
    world = _job(backoffLimit=0)
    refused = Problem("Forbidden", "not the runner")
    world.forbids = lambda write: refused if isinstance(write, Delete) and write.name == "simple-runner" else None
    _suspend(world, "DaskJob")
    world.settle()
    world.end("simple-runner", "Failed")
    world.settle()
    assert world.status("DaskJob")["jobStatus"] == "Suspended"
    world.forbids = lambda _: None
    world.run(300.0, tick=10.0)
    _suspend(world, "DaskJob", suspended=False)
    world.settle()
    status = world.status("DaskJob")
    assert (status["jobStatus"], status["failed"]) == ("Running", 0)
