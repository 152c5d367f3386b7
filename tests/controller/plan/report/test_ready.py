from __future__ import annotations

from typing import Any

import pytest
from tests.support.builders import (
    CLUSTER_UID,
    NOON,
    a_cluster,
    a_deployment,
    a_group,
    a_pending_pod,
    a_pod,
    a_scheduler_pod,
    an_autoscaler,
    condition,
    raw_group,
    raw_job,
    seen,
    statuses,
)
from tests.support.world import World

from dask_operator.actions import Action, Create, Patch, RequeueAt, SetStatus
from dask_operator.model import Cluster, ObjectRef, Observed, Problem, Written
from dask_operator.plan import plan
from dask_operator.plan.report.conditions import by_type, degraded, rendered
from dask_operator.plan.report.ready import ended, plan_stall, readiness, suspended, was_ready
from dask_operator.plan.report.status import plan_status
from dask_operator.plan.view import View

WAITS = Problem("ScalingUp", "0 of 3 workers exist")
NO_IMAGE = Problem("ImagePullBackOff", "worker simple-default-0: image x")
NO_ROOM = Problem("Unschedulable", "0/3 nodes")


def _status(
    missing: Problem | None, problem: Problem | None, now: float = NOON, old: dict[str, Any] | None = None
) -> dict[str, Any]:
    cluster, before = a_cluster(), old or {}
    conditions = [*readiness(cluster, before, missing, problem, now), degraded(problem)]
    return {"conditions": rendered(cluster, before, conditions, now)}


def _told(status: Any) -> dict[str, tuple[str, str]]:
    types = ("Ready", "Reconciling", "Stalled")
    return {name: (each["status"], each["reason"]) for name, each in by_type(status).items() if name in types}


def _planned(observed: Observed, cluster: Cluster = a_cluster(), now: float = NOON) -> list[Action]:
    return list(plan_status(View.of(cluster, observed), now))


def _cluster(observed: Observed, cluster: Cluster = a_cluster()) -> dict[str, tuple[str, str]]:
    return _told(statuses(_planned(observed, cluster))["DaskCluster/simple"])


def test_what_is_ready_says_that_alone_although_something_is_wrong() -> None:
    assert _told(_status(None, NO_IMAGE)) == {"Ready": ("True", "AsWanted")}


def test_what_starts_is_reconciling() -> None:
    assert _told(_status(WAITS, None)) == {"Ready": ("False", "ScalingUp"), "Reconciling": ("True", "ScalingUp")}


def test_what_only_a_person_can_mend_has_stalled_at_once_in_the_words_of_degraded() -> None:
    status = _status(WAITS, NO_IMAGE)
    assert _told(status) == {"Ready": ("False", "ImagePullBackOff"), "Stalled": ("True", "ImagePullBackOff")}
    assert condition(status, "Stalled")["message"] == NO_IMAGE.message


def test_a_problem_that_may_pass_has_stalled_when_it_has_lasted() -> None:
    first = _status(WAITS, NO_ROOM)
    assert _told(first) == {"Ready": ("False", "Unschedulable"), "Reconciling": ("True", "Unschedulable")}
    (look,) = plan_stall(a_cluster(), first, NOON)
    assert look == RequeueAt(NOON + 600.0, because="Unschedulable, which may pass by itself")
    assert "Stalled" not in _told(_status(WAITS, NO_ROOM, look.at - 1.0, first))
    assert _told(_status(WAITS, NO_ROOM, look.at, first))["Stalled"] == ("True", "Unschedulable")


def test_what_has_stalled_stays_so_until_its_user_edits_it() -> None:
    stalled = _status(WAITS, NO_ROOM, NOON + 600.0, _status(WAITS, NO_ROOM))
    assert "Stalled" in _told(_status(WAITS, NO_ROOM, NOON + 601.0, stalled))
    edited = a_cluster(generation=2)
    types = {each.type for each in readiness(edited, stalled, WAITS, NO_ROOM, NOON + 601.0)}
    assert types == {"Ready", "Reconciling"}


def test_the_time_before_a_problem_does_not_count() -> None:
    starts = _status(WAITS, None)
    fails = _status(WAITS, NO_ROOM, NOON + 3600.0, starts)
    assert _told(fails)["Reconciling"] == ("True", "Unschedulable")
    assert "Stalled" in _told(_status(WAITS, NO_ROOM, NOON + 4200.0, fails))


def test_a_rollout_with_a_full_quota_lets_workers_go_first() -> None:
    full = Problem("QuotaExceeded", "3 of 3 Pods")
    assert "Stalled" in _told(_status(WAITS, full))
    assert "Reconciling" in _told(_status(Problem("RollingOut", "1 of 3 workers have it"), full))


def test_that_an_object_has_stalled_is_written_at_once() -> None:
    nowhere = [a_pending_pod(n, problem=NO_ROOM) for n in range(3)]
    status = statuses(_planned(seen(nowhere)))["DaskCluster/simple"]
    written = {ObjectRef("DaskCluster", "simple"): Written(NOON + 599.0, status, CLUSTER_UID)}
    later = _planned(seen(nowhere, written=written), a_cluster(status=status), NOON + 600.0)
    assert "Stalled" in _told(statuses(later)["DaskCluster/simple"])


def test_nothing_is_looked_at_again_for_a_time_that_has_passed() -> None:
    assert list(plan_stall(a_cluster(), _status(WAITS, NO_ROOM), NOON + 700.0)) == []
    assert list(plan_stall(a_cluster(), _status(WAITS, None), NOON)) == []


def test_the_end_of_a_job() -> None:
    assert [(each.type, each.true) for each in ended(None)] == [("Ready", True)]
    assert [(each.type, each.true) for each in ended(NO_IMAGE)] == [("Ready", False), ("Stalled", True)]


def test_what_is_suspended_is_not_ready_and_nobody_has_to_act() -> None:
    assert suspended("why")[:3] == ("Ready", False, "Suspended")
    rests = a_cluster(suspended=True)
    assert _cluster(seen(0, scheduler=None), rests) == {"Ready": ("False", "Suspended")}
    written = statuses(_planned(seen(0, scheduler=None), rests))
    assert _told(written["DaskWorkerGroup/simple-default"]) == {"Ready": ("False", "Suspended")}


def test_ready_counts_only_for_the_generation_that_it_is_about() -> None:
    status = _status(None, None)
    assert was_ready(a_cluster(), status)
    assert not was_ready(a_cluster(generation=2), status)


@pytest.mark.parametrize(
    ("observed", "ready"),
    [
        (seen(3), True),
        (seen(2), False),
        (seen(3, scheduler=a_scheduler_pod(ready=False)), False),
        (seen(3, deployment=a_deployment(rolling=True)), False),
        (seen([a_pod(0), a_pod(1), a_pod(2, template="older")]), False),
        (seen(4), True),
        (seen(2, autoscalers=(an_autoscaler(minimum=2),)), True),
        (seen(1, autoscalers=(an_autoscaler(minimum=2),)), False),
    ],
    ids=["as wanted", "a worker lacks", "scheduler", "rollout", "old template", "surplus", "minimum", "below minimum"],
)
def test_a_cluster_is_ready(observed: Observed, ready: bool) -> None:
    assert (_cluster(observed)["Ready"][0] == "True") is ready


def test_a_cluster_that_becomes_ready_says_so_at_once() -> None:
    starting = seen([a_pending_pod(n) for n in range(3)])
    status = statuses(_planned(starting))["DaskCluster/simple"]
    planned = _planned(seen(3), a_cluster(status=status), NOON + 0.1)
    assert _told(statuses(planned)["DaskCluster/simple"]) == {"Ready": ("True", "AsWanted")}


def test_an_autoscaler_in_force_is_ready_and_one_without_its_group_is_not() -> None:
    def told(**of: Any) -> dict[str, tuple[str, str]]:
        actions = plan(a_cluster(), seen(3, groups=[a_group()], autoscalers=(an_autoscaler(**of),)), NOON)
        (status,) = (each.status for each in actions if isinstance(each, SetStatus) and "Auto" in each.subject.kind)
        return _told(status)

    assert told() == {"Ready": ("True", "AsWanted")}
    assert told(group="absent") == {"Ready": ("False", "GroupNotFound"), "Reconciling": ("True", "GroupNotFound")}


def test_the_first_status_after_an_edit_does_not_say_that_the_cluster_is_ready() -> None:
    world = World(workers=1)
    world.settle()
    assert _told(world.status())["Ready"] == ("True", "AsWanted")
    world.edit("DaskCluster", "simple", scheduler={"metadata": {"labels": {"a": "b"}}})
    planned = world.plan()
    assert any(isinstance(action, Patch) for action in planned)
    assert _told(statuses(planned)["DaskCluster/simple"]) == {
        "Ready": ("False", "Updating"),
        "Reconciling": ("True", "Updating"),
    }
    world.settle()
    assert _told(world.status()) == {"Ready": ("True", "AsWanted")}


def test_a_repair_of_a_ready_cluster_does_not_make_it_unready() -> None:
    world = World(workers=1)
    world.settle()
    world.delete("Service", "simple-scheduler")
    planned = world.plan()
    assert [action.subject for action in planned if isinstance(action, Create)] == [("Service", "simple-scheduler")]
    written = statuses(planned).get("DaskCluster/simple", world.status())
    assert _told(written) == {"Ready": ("True", "AsWanted")}


def _of_job(**pods: Any) -> World:
    """Return a world with a job, and with a group of its cluster that its user has written."""
    world = World(None)
    world.starts = lambda pod: pod.group != "more"
    for name, value in pods.items():
        setattr(world, name, value)
    world.put(raw_job(workers=1))
    world.put(raw_group("more", workers=1))
    world.settle(5.0)
    return world


def test_a_group_of_a_job_is_ready_at_once_as_it_may_end_with_the_job_before_it_has_started() -> None:
    world = _of_job()
    status = world.status("DaskWorkerGroup", "more")
    assert (status["observedGeneration"], condition(status, "Ready")["status"]) == (1, "True")
    assert condition(status, "WorkersReady")["status"] == "False"
    assert world.status("DaskWorkerGroup", "simple-default").get("conditions") is None, "nobody waits for it"


def test_a_group_of_a_job_that_cannot_start_has_stalled() -> None:
    refused = Problem("Invalid", "no such thing")
    world = _of_job(refuses=lambda raw: refused if raw["metadata"]["name"].startswith("more-worker") else None)
    status = world.status("DaskWorkerGroup", "more")
    assert condition(status, "Ready")["status"] == "False"
    assert condition(status, "Stalled")["reason"] == "Invalid"
