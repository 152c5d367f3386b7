"""Whole plans, folded over a world until no action is left."""

from __future__ import annotations

import copy
import functools
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from tests.support.builders import (
    NOON,
    WORKER_SPEC,
    a_cluster,
    a_failed_pod,
    a_failure,
    a_group,
    a_pending_pod,
    a_pod,
    a_scheduler_pod,
    changes,
    condition,
    raw_autoscaler,
    raw_cluster,
    raw_group,
    raw_job,
    seen,
    statuses,
)
from tests.support.world import KEY, World, Write

from dask_operator import parse
from dask_operator.actions import ClearFailures, Create, Delete, Patch, RecordEvent, RequeueAt, Retire, SetStatus
from dask_operator.model import Object, ObjectRef, Pod, Problem, Registration, Survey
from dask_operator.plan import Policy, plan
from dask_operator.reconcile.store import Store

HOUR = 3600.0


def _well(world: World, workers: int, group: str = "simple-default") -> None:
    """Check the end of every story: as many workers as wanted, nothing lost, no name twice, nothing left to do."""
    assert len(world.running(group)) == workers
    assert world.lost == []
    assert [name for name, times in world.names.items() if times > 1] == []
    world.settle(600.0)  # the scheduler is asked whether all have registered
    for later in (0.0, 60.0, HOUR):
        world.now += later
        assert world.plan() == ()


def test_a_cluster_is_made() -> None:
    world = World(workers=3)
    done = changes(world.settle())
    assert [action.subject for action in done if isinstance(action, Create)] == [
        ("Service", "simple-scheduler"),
        ("Deployment", "simple-scheduler"),
        ("DaskWorkerGroup", "simple-default"),
        *[("Pod", "simple-default-worker-*")] * 3,
    ]
    assert world.status()["phase"] == "Running"
    assert (world.status()["replicas"], world.status()["readyReplicas"]) == (3, 3)
    assert world.status("DaskWorkerGroup", "simple-default")["lastOrdinal"] == 2
    _well(world, 3)


@pytest.mark.parametrize("workers", [0, 1, 5, 50])
def test_a_cluster_costs_its_workers_and_five_writes(workers: int) -> None:
    world = World(workers)
    world.settle()
    assert world.writes() <= workers + 5
    assert not [action for action in world.done if isinstance(action, RecordEvent)]
    _well(world, workers)


def test_a_cluster_that_starts_slowly_costs_two_more() -> None:
    # Users wait for both: that it is in progress, and that the scheduler is ready before the workers.
    world = World(workers=5)
    world.starts = lambda pod: world.now >= NOON + (8.0 if pod.component == "scheduler" else 15.0)
    world.settle(20.0)
    world.now = NOON + 8.0
    world.settle(5.0)
    world.now = NOON + 15.0
    world.settle()
    assert world.writes() <= 5 + 7
    _well(world, 5)


@pytest.mark.parametrize("how", [World.scale, World.scale_cluster])
def test_scaling_up_and_down(how: Callable[[World, int], None]) -> None:
    world = World(workers=2)
    world.settle()
    for wanted in (7, 3, 0, 4, 1):
        how(world, wanted)
        world.settle()
        _well(world, wanted)


def test_a_scale_down_retires_and_then_deletes() -> None:
    world = World(workers=5)
    world.settle()
    world.held = dict.fromkeys(world.running(), 1000)
    world.scale(2)
    done = [action for action in world.settle() if isinstance(action, Retire | Delete)]
    assert [type(action) for action in done] == [Retire, Delete, Delete, Delete]
    assert isinstance(done[0], Retire)
    assert len(done[0].workers) == 3
    assert sum(world.held.values()) == 5000
    _well(world, 2)


def test_workers_without_data_go_before_those_with() -> None:
    world = World(workers=4)
    world.settle()
    holders = world.running()[:2]
    world.held = dict.fromkeys(holders, 1000)
    world.now += 10.0  # the last answer is out of date
    world.scale(2)
    world.settle()
    assert sorted(world.running()) == sorted(holders)


def test_the_last_holder_of_data_is_kept_and_that_is_said() -> None:
    world = World(workers=1)
    world.settle()
    (last,) = world.running()
    world.held = {last: 1000}
    world.scale(0)
    world.settle(120.0)
    assert world.running() == [last]
    told = condition(world.status("DaskWorkerGroup", "simple-default"), "Degraded")
    assert (told["reason"], last in told["message"]) == ("RetirementRefused", True)
    assert sum(isinstance(action, Retire) for action in world.done) <= 6, "not without end"
    world.held.clear()
    world.settle(120.0)
    _well(world, 0)
    assert condition(world.status("DaskWorkerGroup", "simple-default"), "Degraded")["status"] == "False"


def test_a_scheduler_that_does_not_answer_keeps_its_workers() -> None:
    world = World(workers=4)
    world.settle()
    world.scheduler_answers = False
    world.scale(1)
    world.settle(120.0)
    assert len(world.running()) == 4
    assert condition(world.status(), "Degraded")["reason"] == "SchedulerUnreachable"
    world.scheduler_answers = True
    world.settle()
    _well(world, 1)


def test_a_scheduler_that_is_gone_has_no_data_to_save() -> None:
    world = World(workers=4)
    world.settle()
    world.starts = lambda pod: pod.component == "worker"
    for pod in list(world.observed().pods):
        if pod.component == "scheduler":
            world.remove("Pod", pod.name)
    world.scale(1)
    before = world.now
    world.settle(50.0)
    assert len(world.running()) == 4
    world.settle(60.0)
    assert len(world.running()) == 1
    assert world.now >= before + 60.0
    world.starts = lambda _: True
    world.settle()
    _well(world, 1)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("Service", "simple-scheduler"),
        ("Deployment", "simple-scheduler"),
        ("DaskWorkerGroup", "simple-default"),
    ],
)
def test_what_is_deleted_comes_back(kind: str, name: str) -> None:
    world = World(workers=2)
    world.settle()
    world.remove(kind, name)
    world.settle()
    assert world.has(kind, name)
    _well(world, 2)


@pytest.mark.parametrize("end", ["deleted", "Failed", "Succeeded", "Evicted"])
def test_a_worker_that_goes_is_replaced(end: str) -> None:
    world = World(workers=3)
    world.settle()
    world.now += HOUR
    first = world.running()[0]
    if end == "deleted":
        world.remove("Pod", first)
    elif end == "Evicted":
        world.end(first, "Failed", reason="Evicted")
    else:
        world.end(first, end)
    done = changes(world.settle())
    assert [type(action) for action in done if isinstance(action, Create)] == [Create]
    assert first not in world.running()
    _well(world, 3)


@pytest.mark.parametrize("end", ["Failed", "Succeeded", "Rejected"])
def test_workers_that_end_at_once_are_not_replaced_without_end(end: str) -> None:
    world = World(workers=2)
    world.settle()
    created = sum(world.names.values())
    world.ends = lambda pod: end if pod.name not in before else ""
    before = world.running()
    world.scale(4)
    world.settle(600.0)
    assert sum(world.names.values()) - created <= 2 * 10, "in ten minutes"
    world.ends = lambda _: ""
    world.settle(600.0)
    assert len(world.running()) == 4


def test_no_ordinal_is_given_twice_though_workers_fail_again_and_again() -> None:
    world = World(workers=2)
    world.ends = lambda _: "Failed"
    world.settle(1200.0)
    world.ends = lambda _: ""
    world.settle(600.0)
    _well(world, 2)


def test_no_ordinal_is_given_twice_though_workers_go_at_once() -> None:
    world = World(workers=2)
    world.settle()
    for _ in range(5):
        world.scale(6)
        world.step()
        world.step()
        world.scale(2)
        world.settle(1.0)
    world.settle()
    _well(world, 2)


@pytest.mark.parametrize("group", ["simple-default", "simple-gpu"])
def test_a_quota_stops_its_group_and_lifts(group: str) -> None:
    world = World(workers=2)
    world.add_group("simple-gpu", 2)
    world.settle()
    quota = Problem("QuotaExceeded", "no more than 3 pods")
    labels = {"dask.org/workergroup-name": group}
    world.refuses = lambda raw: (
        quota if labels.items() <= raw["metadata"]["labels"].items() and len(world.pods(group)) >= 3 else None
    )
    for name in ("simple-default", "simple-gpu"):
        world.scale(6, name=name)
    world.settle(300.0)
    other = next(name for name in ("simple-default", "simple-gpu") if name != group)
    assert (len(world.running(group)), len(world.running(other))) == (3, 6)
    assert condition(world.status("DaskWorkerGroup", group), "Degraded")["message"] == quota.message
    refused = [action for action in world.done if isinstance(action, Create)]
    assert len(refused) < 40, "not without end"
    world.refuses = lambda _: None
    world.settle(300.0)
    _well(world, 6, group)
    assert condition(world.status(), "Degraded")["status"] == "False"


def test_no_worker_takes_the_place_that_a_quota_has_for_the_scheduler() -> None:
    world = World(workers=3)
    quota = Problem("QuotaExceeded", "no more than 2 pods")
    world.refuses = lambda raw: quota if raw["kind"] == "Pod" and len(world.observed().pods) >= 2 else None
    for _ in range(2):
        world.settle()
        (scheduler,) = (pod.name for pod in world.observed().pods if pod.component == "scheduler")
        assert len(world.running()) == 1
        # The plan may try another worker by now, and does, unless the scheduler comes first.
        world.now += HOUR
        world.remove("Pod", scheduler)


def test_a_quota_that_is_no_longer_in_the_way_is_no_problem() -> None:
    world = World(workers=2)
    world.settle()
    quota = Problem("QuotaExceeded", "no more than 3 pods")
    world.refuses = lambda raw: quota if raw["kind"] == "Pod" and len(world.pods()) >= 3 else None
    world.scale(6)
    world.settle(100.0)
    world.scale(3)
    world.settle()
    assert condition(world.status(), "Degraded")["reason"] == "AsExpected"
    assert world.observed().failures == {}, "the next refusal is the first"
    _well(world, 3)


def test_a_plan_that_forgets_a_failure_goes_by_the_others_alone() -> None:
    void, refused = ObjectRef("Pod", "gone"), ObjectRef("Service", "simple-scheduler")
    failures = {void: a_failure("QuotaExceeded"), refused: a_failure("Forbidden", until=NOON + 8.0)}
    forget, *planned = plan(a_cluster(), seen(0, groups=[], service=None, failures=failures), NOON)
    assert forget == ClearFailures(frozenset({void}))
    assert [action.holds for action in planned if isinstance(action, RequeueAt) and action.holds] == [refused]
    assert not [action for action in planned if isinstance(action, Create) and action.subject == refused]


def test_what_is_said_is_said_without_the_failures_that_are_forgotten() -> None:
    group, refused = a_group(workers=3, last_ordinal=2), ObjectRef("Pod", "simple-default-worker-*")
    forget, *planned = plan(a_cluster(), seen(3, groups=[group], failures={refused: a_failure("QuotaExceeded")}), NOON)
    assert forget == ClearFailures(frozenset({refused}))
    assert condition(statuses(planned)["DaskCluster/simple"], "Degraded")["status"] == "False"


@pytest.mark.parametrize("kind", ["Service", "Deployment", "DaskWorkerGroup"])
def test_an_edit_that_was_refused_and_is_taken_back_is_no_problem(kind: str) -> None:
    world = World(workers=1)
    world.settle()
    invalid = Problem("Invalid", "no")
    world.forbids = lambda write: invalid if isinstance(write, Patch) and write.subject.kind == kind else None
    edited = raw_cluster(workers=1)
    edited["spec"]["worker"]["metadata"] = edited["spec"]["scheduler"]["metadata"] = {"labels": {"a": "b"}}
    world.rewrite(edited)
    world.settle(100.0)
    assert condition(world.status(), "Degraded")["reason"] == "Invalid"
    world.rewrite(raw_cluster(workers=1))
    world.settle()
    assert condition(world.status(), "Degraded")["reason"] == "AsExpected"
    _well(world, 1)


def test_a_status_that_was_written_though_its_reply_was_lost_is_no_problem() -> None:
    world = World(workers=1)
    lost = Problem("Unreachable", "the API server did not answer as it should")
    group = ObjectRef("DaskWorkerGroup", "simple-default")

    def answers(write: object) -> Problem | None:
        if not isinstance(write, SetStatus) or write.subject != group or world.status(*group):
            return None
        world._do(write)
        return lost

    world.forbids = answers
    world.settle()
    assert condition(world.status(), "Degraded")["reason"] == "AsExpected"
    _well(world, 1)


def test_a_status_that_says_what_was_refused_and_is_refused_too_is_tried_again_later_and_later() -> None:
    world = World(workers=1)
    world.settle()
    tried: Counter[ObjectRef] = Counter()

    def forbids(write: Write) -> Problem:
        tried[write.subject] += 1
        return Problem("Unauthorized", "Unauthorized")

    world.forbids = forbids
    world.scale(3)
    world.run(60.0)
    assert max(tried.values()) < 10, "after 1, 2, 4, 8, 16 and 32 seconds"
    world.forbids = lambda _: None
    world.run(120.0)
    assert world.observed().failures == {}
    _well(world, 3)


def test_a_refusal_lasts_while_a_scheduler_is_asked_who_may_go() -> None:
    world = World(workers=3)
    world.settle()
    world.forbids = lambda write: Problem("Forbidden", "a webhook") if isinstance(write, Delete) else None
    world.scale(1)
    world.run(300.0)
    told = [
        action
        for action in world.done
        if isinstance(action, RecordEvent) and action.reason in ("Forbidden", "Recovered")
    ]
    assert [action.reason for action in told] == ["Forbidden", "Forbidden"], "of the group and of the cluster, once"
    assert sum(isinstance(action, Delete) for action in world.done) < 20, "not without end"


def test_replicas_are_copied_once_and_a_direct_scale_stays() -> None:
    world = World(workers=2)
    world.settle()
    world.scale(5)
    world.settle()
    assert len(world.running()) == 5, "a scale of the group is not undone"
    world.scale_cluster(3)
    world.settle()
    assert len(world.running()) == 3, "a change of the cluster is copied"
    world.scale(1)
    world.restart_controller()
    world.settle()
    assert world.raw("DaskCluster", "simple")["spec"]["worker"]["replicas"] == 3
    _well(world, 1)


def test_what_belongs_to_somebody_else_is_left_alone_and_said() -> None:
    world = World(workers=2)
    foreign = {"name": "simple-scheduler", "namespace": "default", "ownerReferences": [{"uid": "another"}]}
    world.put({"kind": "Service", "metadata": foreign, "spec": {"clusterIP": "10.0.0.1"}})
    world.settle(120.0)
    assert world.raw("Service", "simple-scheduler")["metadata"]["ownerReferences"] == [{"uid": "another"}]
    assert condition(world.status(), "Degraded")["reason"] == "NameTaken"
    assert len(world.running()) == 2, "the rest goes on"
    assert world.writes() < 30
    world.remove("Service", "simple-scheduler")
    world.settle(120.0)
    _well(world, 2)


def test_never_a_worker_of_another_group() -> None:
    world = World(workers=3)
    world.add_group("simple-gpu", 3)
    world.settle()
    gpus = world.running("simple-gpu")
    world.held = dict.fromkeys(world.running(), 1000)
    world.scale(0)
    world.settle()
    assert world.running("simple-gpu") == gpus
    assert sum(world.held.values()) == 3000
    assert sum(world.held.get(name, 0) for name in gpus) == 3000
    _well(world, 0)


def test_a_group_that_names_the_cluster_goes_with_it() -> None:
    world = World(workers=1)
    world.add_group("simple-gpu", 1)
    done = world.settle()
    (patch,) = [action for action in done if isinstance(action, Patch)]
    assert patch.subject == ("DaskWorkerGroup", "simple-gpu")
    world.remove("DaskCluster", "simple")
    assert world.observed().pods == ()
    assert world.plan() == ()


def test_a_group_waits_for_its_cluster() -> None:
    world = World(workers=1)
    world.remove("DaskCluster", "simple")
    world.add_group("simple-gpu", 2)
    world.settle()
    assert condition(world.status("DaskWorkerGroup", "simple-gpu"), "Degraded")["reason"] == "ClusterNotFound"
    assert world.pods("simple-gpu") == []
    assert condition(world.status("DaskWorkerGroup", "simple-gpu"), "Stalled")["reason"] == "ClusterNotFound"
    assert world.writes() == 2, "the problem, and that it has lasted"


def test_a_cluster_that_is_being_deleted_is_left_to_the_garbage_collector() -> None:
    assert plan(a_cluster(deleting=True), seen(0, service=None), NOON) == ()


def test_batches_of_workers() -> None:
    world = World(workers=7, policy=Policy(batch_size=3, batch_delay=10.0))
    world.settle()
    created = [parsed.created for parsed in sorted(world.pods(), key=lambda pod: pod.ordinal)]
    assert created == [created[0]] * 3 + [created[0] + 10.0] * 3 + [created[0] + 20.0]
    _well(world, 7)


@pytest.mark.parametrize("killed_after", range(9))
def test_a_controller_that_is_killed_while_it_creates_tries_the_same_names_again(killed_after: int) -> None:
    world = World(workers=8)
    world.step()
    world.run_pods()
    planned = world.plan()
    wanted = [action.manifest["metadata"]["name"] for action in planned if isinstance(action, Create)]
    assert len(wanted) == 8
    # Writes run concurrently: any of them may have been done.
    random.Random(killed_after).shuffle(shuffled := list(planned))
    world.apply(shuffled, only=killed_after)
    world.restart_controller()
    world.settle()
    assert sorted(pod.name for pod in world.pods()) == sorted(wanted)
    _well(world, 8)


@pytest.mark.parametrize("seed", range(40))
def test_whatever_happens_it_ends_well(seed: int) -> None:
    """Try random scaling, deletions, failures, restarts of the controller and plans that are cut short."""
    chance = random.Random(seed)
    world = World(workers=chance.randrange(6))
    world.add_group("simple-gpu", chance.randrange(4))
    for _ in range(30):
        _something_happens(world, chance)
        world.apply(world.plan(), only=chance.choice([None, None, 1, 3]))
        world.run_pods()
        world.now += chance.choice([0.0, 1.0, 30.0])
        for pod in world.running():
            world.held.setdefault(pod, chance.choice([0, 0, 1000]))
    world.refuses = lambda _: None
    world.scheduler_answers = True
    world.scale(3)
    world.scale(2, name="simple-gpu")
    world.settle(1200.0)
    _well(world, 3)
    _well(world, 2, "simple-gpu")


def _something_happens(world: World, chance: random.Random) -> None:
    chance.choice([_scaled, _scaled, _scaled, _worker_ends, _object_deleted, _object_deleted, _faults_change])(
        world, chance
    )


def _scaled(world: World, chance: random.Random) -> None:
    kind, name = chance.choice(
        [("DaskWorkerGroup", "simple-default"), ("DaskWorkerGroup", "simple-gpu"), ("DaskCluster", "simple")]
    )
    if world.has(kind, name):
        world.scale(chance.randrange(8), kind, name)


def _worker_ends(world: World, chance: random.Random) -> None:
    if running := world.running():
        world.end(chance.choice(running), chance.choice(["Failed", "Succeeded"]))


def _object_deleted(world: World, chance: random.Random) -> None:
    pods = [("Pod", pod.name) for pod in _noted(world)]
    kind, name = chance.choice([*pods, ("Service", "simple-scheduler"), ("Deployment", "simple-scheduler")])
    world.held.pop(name, None)
    world.remove(kind, name)


def _faults_change(world: World, chance: random.Random) -> None:
    refused = chance.random() < 0.5
    world.refuses = lambda raw: Problem("Forbidden", "no") if refused and raw["kind"] == "Pod" else None
    world.scheduler_answers = chance.random() < 0.5
    if chance.random() < 0.5:
        world.restart_controller()


def _noted(world: World) -> list[Pod]:
    """Return the Pods with recorded ordinals, since nobody can know of others once they are deleted."""
    last = {group.name: group.last_ordinal for group in world.observed().groups}
    return [pod for pod in world.observed().pods if pod.ordinal <= last.get(pod.group, -1)]


def test_the_same_state_and_time_give_the_same_plan() -> None:
    pods = [a_pod(0), a_pending_pod(1), a_failed_pod(2), a_failed_pod(3, lived=1.0, attempt=2)]
    for wanted in range(6):
        observed = seen(pods, groups=[a_group(workers=wanted)])
        assert plan(a_cluster(), observed, NOON) == plan(a_cluster(), observed, NOON)


# Several groups, and changes of mind


def test_two_groups_that_shrink_at_once_lose_nothing_and_keep_their_own() -> None:
    world = World(workers=4)
    world.add_group("simple-gpu", 4)
    world.settle()
    world.held = dict.fromkeys(world.running() + world.running("simple-gpu"), 1000)
    world.scale(1)
    world.scale(2, name="simple-gpu")
    world.settle()
    assert sum(world.held.values()) == 8000
    _well(world, 1)
    _well(world, 2, "simple-gpu")


def test_the_last_holders_of_two_groups_are_not_asked_to_take_from_each_other() -> None:
    """Delete every worker at once, so that nobody is left to take anything."""
    world = World(workers=2)
    world.add_group("simple-gpu", 2)
    world.settle()
    world.held = dict.fromkeys(world.running() + world.running("simple-gpu"), 1000)
    world.retiring_takes = 5.0
    world.scale(0)
    world.scale(0, name="simple-gpu")
    world.run(120.0)
    assert world.lost == []
    assert sum(world.held.values()) == 4000
    world.held.clear()
    world.run(120.0)
    _well(world, 0)
    _well(world, 0, "simple-gpu")


def test_a_group_that_is_to_have_no_workers_keeps_one_for_the_data_of_all() -> None:
    world = World(workers=5)
    world.settle()
    world.held = {name: 1000 * n for n, name in enumerate(world.running())}
    world.scale(0)
    world.run(180.0)
    assert len(world.running()) == 1, "the others' data fits there"
    assert sum(world.held.values()) == 10000
    assert world.lost == []


@pytest.mark.parametrize("takes", [0.0, 10.0])
def test_up_in_the_middle_of_going_down_and_the_reverse(takes: float) -> None:
    world = World(workers=6)
    world.settle()
    world.now += HOUR
    world.retiring_takes = takes
    world.held = dict.fromkeys(world.running(), 1000)
    for wanted in (2, 8, 3, 7, 1, 6):
        world.scale(wanted)
        world.run(3.0)
    world.run(60.0)
    assert sum(world.held.values()) == 6000
    _well(world, 6)


def _draining() -> tuple[World, set[str]]:
    """Return a world in whose middle of a scale-down from 4 to 2 workers tasks run, and those that leave."""
    world = World(workers=4)
    world.settle()
    world.now += HOUR
    world.held = dict.fromkeys(world.running(), 1000)
    world.retiring_takes = 600.0
    world.scale(2)
    world.run(30.0)
    leaving = {pod.name for pod in world.pods() if pod.uid in world.observed().retiring}
    assert len(leaving) == 2
    return world, leaving


def test_workers_that_drain_come_back_when_the_group_wants_them_again() -> None:
    world, _ = _draining()
    before = set(world.running())
    world.scale(4)
    world.run(10.0)
    _well(world, 4)
    assert set(world.running()) == before
    world.run(900.0)
    assert set(world.running()) == before, "no drain goes on"
    assert sum(world.held.values()) == 4000


def test_another_controller_goes_on_with_the_same_drains() -> None:
    world, leaving = _draining()
    began = world.now
    world.restart_controller()
    world.run(30.0)
    assert {pod.name for pod in world.pods() if pod.uid in world.observed().retiring} == leaving
    world.run(began + 620.0 - world.now)
    assert set(world.running()).isdisjoint(leaving), "not begun anew"
    assert sum(world.held.values()) == 4000
    _well(world, 2)


def test_another_controller_takes_back_workers_that_are_to_stay_by_now() -> None:
    world, _ = _draining()
    before = set(world.running())
    world.restart_controller()
    world.scale(4)
    world.run(900.0)
    _well(world, 4)
    assert set(world.running()) == before


def test_without_the_agent_workers_leave_all_the_same() -> None:
    world = World(workers=3)
    world.agent = False
    world.settle()
    world.held = dict.fromkeys(world.running(), 1000)
    world.scale(1)
    world.run(60.0)
    assert sum(world.held.values()) == 3000
    _well(world, 1)


def test_a_retirement_that_fails_is_tried_again() -> None:
    world = World(workers=4)
    world.settle()
    world.held = dict.fromkeys(world.running(), 1000)
    world.retiring_takes = 5.0
    world.scale(1)
    world.run(2.0)
    world.scheduler_answers = False
    world.run(20.0)
    assert len(world.running()) == 4
    world.scheduler_answers = True
    world.run(60.0)
    assert sum(world.held.values()) == 4000
    _well(world, 1)


@pytest.mark.parametrize("seed", range(5))
def test_several_groups_never_take_from_another(seed: int) -> None:
    chance = random.Random(seed)
    world = World(workers=chance.randint(0, 5))
    groups = ["simple-default", "simple-gpu", "simple-big"]
    for name in groups[1:]:
        world.add_group(name, chance.randint(0, 5))
    world.settle()
    for _ in range(25):
        name = chance.choice(groups)
        others = {other: set(world.running(other)) for other in groups if other != name}
        world.scale(chance.randint(0, 6), name=name)
        world.retiring_takes = chance.choice([0.0, 2.0])
        world.run(chance.choice([6.0, 20.0]))
        for other, before in others.items():
            assert set(world.running(other)) == before
        every = [pod for group in groups for pod in world.running(group)]
        world.held = dict.fromkeys(every[: chance.randint(0, len(every))], 1000)
    world.held.clear()
    for name in groups:
        world.scale(2, name=name)
    world.run(120.0)
    for name in groups:
        _well(world, 2, name)


def test_a_group_that_is_made_anew_under_its_name_starts_anew() -> None:
    world = World(workers=1)
    world.add_group("simple-gpu", 3)
    world.settle()
    world.remove("DaskWorkerGroup", "simple-gpu")
    world.put(raw_group("simple-gpu", workers=3, metadata={"uid": "uid-of-the-next"}))
    world.settle()
    assert world.status("DaskWorkerGroup", "simple-gpu")["replicas"] == 3
    world.scale(1, name="simple-gpu")
    world.settle()
    _well(world, 1, "simple-gpu")


def test_the_workers_of_a_group_that_is_removed_hand_over_what_they_hold() -> None:
    world = World(workers=2)
    world.add_group("simple-gpu", 3)
    world.settle()
    world.held = dict.fromkeys(world.running() + world.running("simple-gpu"), 1000)
    world.retiring_takes = 5.0
    world.remove("DaskWorkerGroup", "simple-gpu")
    done = world.settle(2.0)
    assert len(world.running("simple-gpu")) == 3, "they are being retired"
    done += world.settle()
    assert sum(world.held.get(name, 0) for name in world.running()) == 5000
    (event,) = [action for action in done if isinstance(action, RecordEvent)]
    assert event.subject == ("DaskCluster", "simple")
    assert event.message.endswith("its group was removed")
    _well(world, 0, "simple-gpu")
    _well(world, 2)


def test_the_workers_of_a_group_that_is_removed_stay_while_nobody_can_take_what_they_hold() -> None:
    world = World(workers=0)
    world.add_group("simple-gpu", 2)
    world.settle()
    world.held = dict.fromkeys(world.running("simple-gpu"), 1000)
    world.remove("DaskWorkerGroup", "simple-gpu")
    world.run(60.0)
    assert sum(world.held.values()) == 2000
    said = condition(world.status(), "Degraded")
    assert (said["status"], said["reason"]) == ("True", "RetirementRefused")
    assert said["message"].startswith("group simple-gpu, which was removed: ")
    assert condition(world.status(), "Progressing")["reason"] == "ScalingDown"
    world.scale(1)
    world.run(60.0)
    assert sum(world.held.values()) == 2000
    _well(world, 0, "simple-gpu")
    _well(world, 1)


def test_a_removed_groups_workers_that_have_ended_are_cleared_away() -> None:
    world = World(workers=1)
    world.add_group("simple-gpu", 2)
    world.settle()
    first, second = world.running("simple-gpu")
    world.remove("DaskWorkerGroup", "simple-gpu")
    world.end(first, "Failed")
    world.settle()
    assert not world.has("Pod", first)
    assert not world.has("Pod", second)
    _well(world, 0, "simple-gpu")


def test_a_group_that_is_made_anew_while_its_workers_leave_gets_its_own() -> None:
    world = World(workers=1)
    world.add_group("simple-gpu", 2)
    world.settle()
    before = world.running("simple-gpu")
    world.retiring_takes = 10.0
    world.remove("DaskWorkerGroup", "simple-gpu")
    world.settle(1.0)
    world.put(raw_group("simple-gpu", workers=2, metadata={"uid": "uid-of-the-next"}))
    world.settle(60.0)
    assert set(world.running("simple-gpu")).isdisjoint(before)
    _well(world, 2, "simple-gpu")


def test_a_group_that_belongs_to_an_application_as_well_gets_its_workers() -> None:
    """Add an owner of somebody else's, such as a workflow, which says nothing about a cluster."""
    world = World(workers=1)
    owner = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": "etl", "uid": "uid-of-a-workflow"}
    world.put(raw_group("simple-gpu", workers=2, metadata={"ownerReferences": [owner]}))
    world.settle()
    assert len(world.running("simple-gpu")) == 2


def test_a_cluster_that_is_made_anew_under_its_name_gets_all_of_its_own() -> None:
    world = World(workers=2)
    world.settle()
    old = {pod.uid for pod in world.observed().pods}
    world.remove("DaskCluster", "simple")
    world.put(raw_cluster(workers=2, metadata={"uid": "uid-of-the-next"}))
    world.settle()
    assert not old & {pod.uid for pod in world.observed().pods}
    _well(world, 2)


def test_a_cluster_whose_replicas_were_no_number_of_workers_is_mended_by_an_edit() -> None:
    # Older definitions allow any number.
    world = World(workers=-1)
    world.settle()
    assert world.running() == []
    world.scale_cluster(3)
    world.settle()
    _well(world, 3)


# Bad input

_ODD: list[Any] = [None, [], {}, "", 0, -1, True, 10**30, "ключ ☃ \x00" * 1000, [[None]], [{"": None}]]
_DEEP = 8
_DASK = {"Cluster": "DaskCluster", "Group": "DaskWorkerGroup", "Job": "DaskJob", "Autoscaler": "DaskAutoscaler"}


def _paths(value: object, *path: object) -> Iterator[tuple[object, ...]]:
    """Yield the paths of all values in JSON, the whole first."""
    if path:
        yield path
    if len(path) >= _DEEP:
        return
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in items:
        yield from _paths(each, *path, key)


def _replaced(raw: dict[str, Any], path: tuple[object, ...], value: object) -> dict[str, Any]:
    changed = copy.deepcopy(raw)
    at: Any = changed
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return changed


@functools.cache
def _everything() -> tuple[dict[str, Any], ...]:
    """Return objects of all kinds, with every field that the controller reads."""
    world = World(None)
    policies = [{"type": "Pods", "value": 4, "periodSeconds": 60}]
    behavior = {"stabilizationWindowSeconds": 60, "policies": policies, "selectPolicy": "Max"}
    job = raw_job(backoffLimit=3, activeDeadlineSeconds=86400, ttlSecondsAfterFinished=60)
    made = job["spec"]["cluster"]
    made["metadata"] = {"labels": {"a": "b"}, "annotations": {"a": "b"}}
    made["spec"]["idleTimeout"] = 0
    env = [{"name": "DASK_SCHEDULER_ADDRESS", "value": "tcp://x"}, {"name": "A", "valueFrom": {"fieldRef": {}}}]
    for part in ("worker", "scheduler"):
        made["spec"][part]["metadata"] = {"labels": {"a": "b"}, "annotations": {"a": "b"}}
        container = made["spec"][part]["spec"]["containers"][0]
        made["spec"][part]["spec"] = {
            "containers": [{**container, "env": env, "command": ["sh"]}],
            "restartPolicy": "Never",
        }
    job["spec"]["job"]["metadata"] = {"labels": {"a": "b"}, "annotations": {"a": "b"}}
    world.put(job)
    world.put(raw_autoscaler(workerGroup="simple-default", behavior={"scaleUp": behavior, "scaleDown": behavior}))
    world.target = 3
    world.settle(70.0)
    world.restart("simple-runner")
    world.end(world.running()[0], "Failed")
    world.end(world.running()[0], "Failed", reason="Evicted")
    world.add_worker_deployments(1)
    world.run_pods()
    world.settle(1.0)
    kinds = ("DaskJob", "DaskCluster", "DaskWorkerGroup", "DaskAutoscaler", "Service", "Deployment", "Pod")
    return tuple(raw for kind in kinds for raw in world.objects(kind))


def _planned_with(changed: dict[str, Any], others: Iterable[Object]) -> None:
    store = Store()
    for each in (parse.PARSERS[changed["kind"]](changed), *others):
        store.observe(_DASK.get(type(each).__name__, type(each).__name__), each)
    for key in store.keys() | {KEY}:
        for action in plan(*store.snapshot(key), NOON + 100.0):
            # The sent body is JSON, whatever it was made from.
            match action:
                case Create():
                    json.dumps(action.manifest)
                case Patch():
                    json.dumps(action.body)
                case SetStatus():
                    json.dumps(action.status)


def _parsed(raws: Iterable[dict[str, Any]]) -> list[Object]:
    return [parse.PARSERS[raw["kind"]](raw) for raw in raws]


def _each_object() -> list[Any]:
    seen_kinds = []
    for index, raw in enumerate(_everything()):
        seen_kinds.append(pytest.param(index, id=f"{raw['kind']} {raw['metadata']['name']}"))
    return seen_kinds


@pytest.mark.parametrize("index", _each_object())
def test_no_half_valid_object_ends_a_plan(index: int) -> None:
    """Replace each value of a valid object in turn by one that an older definition would allow."""
    every = _everything()
    raw = every[index]
    others = _parsed(other for other in every if other is not raw)
    # And before anything has been created.
    alone = _parsed(other for other in every if other["kind"] == "DaskCluster" != raw["kind"] != "DaskJob")
    failed = []
    for path in _paths(raw):
        if path[0] in ("kind", "apiVersion") or path in (("metadata",), ("metadata", "name"), ("metadata", "uid")):
            continue
        for odd in _ODD:
            changed = _replaced(raw, path, odd)
            for rest in (others, alone):
                try:
                    _planned_with(changed, rest)
                except Exception as error:
                    where = "/".join(map(str, path))
                    failed.append(f"{where} = {str(odd)[:20]!r}: {type(error).__name__}: {error}")
    assert not failed, f"{len(failed)}: " + "\n".join(dict.fromkeys(failed))[:3000]


@pytest.mark.parametrize("what", ["status", "spec", "metadata"])
def test_objects_that_have_nothing_end_no_plan(what: str) -> None:
    for raw in _everything():
        changed = {key: value for key, value in raw.items() if key != what}
        if what == "metadata":
            changed["metadata"] = {"name": raw["metadata"]["name"], "namespace": "default", "uid": "u"}
        _planned_with(changed, _parsed(other for other in _everything() if other is not raw))


def test_ten_thousand_annotations_are_no_trouble() -> None:
    world = World(None)
    world.put(raw_cluster(workers=3, metadata={"annotations": {f"key-{n}": "v" for n in range(10_000)}}))
    world.settle()
    pod = world.raw("Pod", world.running()[0])
    assert len(pod["metadata"]["annotations"]) == 10_000 + 2
    _well(world, 3)


def test_unicode_is_no_trouble() -> None:
    world = World(None)
    world.put(raw_cluster(workers=1, metadata={"annotations": {"note": "ключ ☃ 漢字 \u202e"}}))
    world.settle()
    assert world.raw("Pod", world.running()[0])["metadata"]["annotations"]["note"] == "ключ ☃ 漢字 \u202e"
    _well(world, 1)


@pytest.mark.parametrize("port", ["tcp-comm", 8786, "8786", None])
def test_ports_by_name_and_by_number(port: object) -> None:
    raw = raw_cluster(workers=1)
    raw["spec"]["scheduler"]["service"]["ports"][0] |= {"targetPort": port, "port": 9000}
    world = World(None)
    world.put(raw)
    world.settle()
    env = world.raw("Pod", world.running()[0])["spec"]["containers"][0]["env"]
    assert {"name": "DASK_SCHEDULER_ADDRESS", "value": "tcp://simple-scheduler.default.svc:9000"} in env


def test_the_longest_names_are_no_trouble() -> None:
    name = "c" * 53
    store = Store()
    store.observe("DaskCluster", parse.cluster(raw_cluster(name, workers=1)))
    (key,) = store.keys()
    created = [a.manifest["metadata"]["name"] for a in plan(*store.snapshot(key), NOON) if isinstance(a, Create)]
    assert created == [f"{name}-scheduler", f"{name}-scheduler", f"{name}-default"]
    assert all(len(each) <= 63 for each in created), "a Service's name and a label's value are no longer"
    group = f"{name}-default"
    store.observe("DaskWorkerGroup", parse.group(_of(name, raw_group(group, workers=1))))
    store.observe("Pod", a_scheduler_pod(cluster=name))
    (pod,) = [a.manifest for a in plan(*store.snapshot(key), NOON) if isinstance(a, Create) and "Pod" in a.subject.kind]
    assert all(len(value) <= 63 for value in pod["metadata"]["labels"].values())
    assert len(pod["metadata"]["name"]) <= 253


def _of(cluster: str, raw: dict[str, Any]) -> dict[str, Any]:
    return {**raw, "spec": {**raw["spec"], "cluster": cluster}}


def test_an_hour_of_doing_nothing_is_no_write() -> None:
    world = World(workers=3)
    world.put(raw_autoscaler())
    world.add_group("simple-gpu", 2)
    world.target = 5
    world.settle(120.0)
    before = world.writes()
    world.settle(HOUR / 12)
    assert world.writes() == before
    assert not [action for action in world.plan() if not isinstance(action, RequeueAt)]


def test_workers_that_nothing_tells_apart_stay_and_the_condition_says_how_to_name_them() -> None:
    pods = [a_pod(number, ip="192.168.0.5") for number in range(3)]
    addresses = [f"tcp://192.168.0.5:4000{number}" for number in range(3)]
    survey = Survey(NOON - 1.0, tuple(Registration(each, each, nbytes=10**9, tasks=5) for each in addresses))
    group = a_group(workers=1, last_ordinal=2)
    actions = plan(a_cluster(workers=1), seen(pods, groups=[group], survey=survey), NOON)
    assert [action for action in actions if isinstance(action, Delete | Retire)] == []
    statuses = [action.status for action in actions if isinstance(action, SetStatus)]
    assert "WorkerNotNamed" in {condition(status, "Degraded")["reason"] for status in statuses}
    assert any(isinstance(action, RequeueAt) for action in actions), "the scheduler is asked again"


def test_an_edit_takes_away_no_worker_that_nothing_tells_apart() -> None:
    pods = [a_pod(number, template="older", ip="192.168.0.5") for number in range(3)]
    addresses = [f"tcp://192.168.0.5:4000{number}" for number in range(3)]
    survey = Survey(NOON - 1.0, tuple(Registration(each, each, nbytes=10**9) for each in addresses))
    group = a_group(workers=3, last_ordinal=2)
    actions = plan(a_cluster(), seen(pods, groups=[group], survey=survey), NOON)
    assert [action for action in actions if isinstance(action, Delete | Retire)] == []


@pytest.mark.parametrize("how", ["Succeeded", "Failed"])
def test_a_worker_that_has_ended_beside_another_container_is_replaced(how: str) -> None:
    policy = "Never" if how == "Failed" else "OnFailure"
    shipper = {"name": "a-log-shipper", "image": "shipper"}
    cluster = raw_cluster(workers=2)
    cluster["spec"]["worker"]["spec"] = {"restartPolicy": policy, "containers": [*WORKER_SPEC["containers"], shipper]}
    world = World(None)
    world.put(cluster)
    world.settle()
    before = set(world.running())
    world.now += HOUR
    for name in before:
        world.end(name, how, beside="a-log-shipper")
    world.settle()
    assert len(world.running()) == 2
    assert not before & set(world.running())
    assert not any(world.has("Pod", name) for name in before)
