from __future__ import annotations

import random
from typing import Any

import pytest
from tests.support.builders import (
    ENDPOINT,
    NOON,
    a_cluster,
    a_failure,
    a_scheduler_pod,
    an_idleness,
    raw_cluster,
    raw_job,
    seen,
)
from tests.support.world import World

from dask_operator.actions import IDLE, Action, Ask, Delete, Patch, RecordEvent, RequeueAt
from dask_operator.model import Cluster, Idleness, ObjectRef, Observed, Problem
from dask_operator.plan.questions.idle import plan_idle
from dask_operator.plan.view import View

CLUSTER = ObjectRef("DaskCluster", "simple")


def _planned(
    answer: Idleness | None, *, timeout: float = 60.0, now: float = NOON, cluster: Cluster | None = None, **others: Any
) -> list[Action]:
    observed: Observed = seen(3, idleness=answer, **others)
    return list(plan_idle(View.of(cluster or a_cluster(idle_timeout=timeout), observed), now))


def test_a_cluster_without_timeout_is_not_asked() -> None:
    assert _planned(None, timeout=0.0) == []


def test_a_jobs_cluster_goes_with_its_job() -> None:
    assert _planned(an_idleness(since=NOON - 900.0), cluster=a_cluster(idle_timeout=60.0, job="simple")) == []


@pytest.mark.parametrize("scheduler", [None, a_scheduler_pod(phase="Pending"), a_scheduler_pod(deleting=True)])
def test_a_scheduler_that_does_not_run_is_not_asked_and_not_idle(scheduler: Any) -> None:
    for answer in (None, an_idleness(since=NOON - 900.0)):
        assert _planned(answer, scheduler=scheduler) == []


def test_a_scheduler_is_asked_several_times_within_the_timeout() -> None:
    ask = Ask(IDLE, ENDPOINT, "idleTimeout")
    assert _planned(None) == [ask]
    busy = an_idleness(since=NOON, token=None)
    assert _planned(busy, now=NOON + 5.0) == [RequeueAt(NOON + 15.0, "idleTimeout")]
    assert _planned(busy, now=NOON + 15.0) == [ask]
    assert _planned(busy, now=NOON + 15.0, asking=frozenset({IDLE})) == []


def test_a_long_timeout_is_not_asked_more_than_twice_a_minute() -> None:
    busy = an_idleness(since=NOON, token=None)
    assert _planned(busy, timeout=1e18, now=NOON + 29.0) == [RequeueAt(NOON + 30.0, "idleTimeout")]


def test_when_it_has_been_idle_for_that_long_it_is_asked_at_once() -> None:
    idle = an_idleness(since=NOON - 52.0)
    assert _planned(idle, now=NOON + 7.0) == [RequeueAt(NOON + 8.0, "idleTimeout")]
    assert isinstance(_planned(idle, now=NOON + 8.0)[0], Ask), "an answer of eight seconds ago is not certain"


def test_what_has_been_idle_for_that_long_is_deleted_as_it_was_seen() -> None:
    delete, event = _planned(an_idleness(since=NOON - 60.0))
    cluster = a_cluster()
    because = "idle for 60 s, and idleTimeout is 60 s"
    assert delete == Delete("simple", cluster.uid, CLUSTER, because, cluster.resource_version)
    assert isinstance(event, RecordEvent)
    assert (event.subject, event.reason, event.message) == (CLUSTER, "IdleTimeout", f"deleted: {because}")


@pytest.mark.parametrize(
    "answer",
    [
        an_idleness(since=NOON - 59.9),
        an_idleness(since=NOON - 900.0, token=None),
        an_idleness(since=NOON - 900.0, at=NOON - 2.0),
        an_idleness(since=NOON - 900.0, token=None, problem=Problem("SchedulerUnreachable", "x")),
    ],
)
def test_what_is_not_certain_is_not_deleted(answer: Idleness) -> None:
    assert not [action for action in _planned(answer) if isinstance(action, Delete)]


def test_a_deletion_that_was_refused_waits_and_is_not_said_to_be_done() -> None:
    planned = _planned(an_idleness(since=NOON - 60.0), failures={CLUSTER: a_failure(until=NOON + 8.0)})
    assert [type(action) for action in planned] == [RequeueAt]


# Stories


def _world(timeout: object = 60, *, idle: bool = True) -> World:
    world = World(None)
    raw = raw_cluster(workers=1)
    raw["spec"]["idleTimeout"] = timeout
    world.put(raw)
    world.idle_since = 1.0 if idle else None
    return world


def test_an_idle_cluster_goes_with_all_it_has() -> None:
    world = _world()
    began = world.now
    world.settle(59.0)
    assert world.has("DaskCluster", "simple")
    world.settle(2.0)
    assert not world.has("DaskCluster", "simple")
    assert 60.0 <= world.now - began <= 62.0
    assert world.observed().pods == ()
    assert world.plan() == ()


@pytest.mark.parametrize("timeout", [0, None, -5, "60", 10**15])
def test_a_timeout_that_is_none_or_far_away(timeout: object) -> None:
    world = _world(timeout)
    world.settle(3600.0)
    assert world.has("DaskCluster", "simple")


def test_a_timeout_of_a_second() -> None:
    world = _world(1)
    world.settle(3.0)
    assert not world.has("DaskCluster", "simple")


def test_a_busy_cluster_stays() -> None:
    world = _world(idle=False)
    world.settle(3600.0)
    assert world.has("DaskCluster", "simple")
    questions = [action for action in world.done if isinstance(action, Ask) and action.question == IDLE]
    assert len(questions) <= 3600 / 15 + 1
    assert not [action for action in world.done if isinstance(action, Patch)]


def test_the_shortest_work_begins_the_time_anew() -> None:
    world = _world()
    world.settle(40.0)
    world.idle_since = 2.0  # it was busy between two questions
    world.settle(50.0)
    assert world.has("DaskCluster", "simple")
    world.settle(30.0)
    assert not world.has("DaskCluster", "simple")


def test_a_scheduler_that_was_restarted_or_silent_begins_the_time_anew() -> None:
    world = _world()
    world.settle(50.0)
    world.scheduler_answers = False
    world.settle(30.0)
    assert world.has("DaskCluster", "simple")
    world.scheduler_answers = True
    world.settle(50.0)
    assert world.has("DaskCluster", "simple")


def test_a_controller_that_was_restarted_begins_the_time_anew() -> None:
    world = _world()
    world.settle(50.0)
    world.restart_controller()
    world.settle(55.0)
    assert world.has("DaskCluster", "simple")
    world.settle(30.0)
    assert not world.has("DaskCluster", "simple")


@pytest.mark.parametrize("killed_after", range(12))
def test_a_controller_that_is_killed_anywhere_deletes_it_all_the_same(killed_after: int) -> None:
    world = _world(20)
    left = killed_after
    for _ in range(200):
        _, left = world.act(left)
        world.run_pods()
        world.now += 1.0
    assert not world.has("DaskCluster", "simple")
    assert sum(isinstance(action, Delete) for action in world.done) == 1


def test_a_deletion_that_is_refused_is_neither_an_event_each_nor_a_question_each() -> None:
    world = _world()
    world.forbids = lambda write: Problem("Forbidden", "a webhook") if isinstance(write, Delete) else None
    world.settle(660.0)
    assert world.has("DaskCluster", "simple")
    tried = [action for action in world.done if isinstance(action, Delete)]
    assert 2 <= len(tried) <= 25
    said = [action for action in world.done if isinstance(action, RecordEvent) and action.reason == "IdleTimeout"]
    assert len(said) <= len(tried)
    assert len([action for action in world.done if isinstance(action, Ask)]) <= 100
    world.forbids = lambda _: None
    world.settle(120.0)
    assert not world.has("DaskCluster", "simple")


def test_a_job_whose_program_does_other_things_for_a_while_keeps_its_cluster() -> None:
    world = World(None)
    job = raw_job()
    job["spec"]["cluster"]["spec"]["idleTimeout"] = 10
    world.put(job)
    world.idle_since = 1.0
    world.settle(600.0)
    assert world.has("DaskCluster", "simple")
    assert world.status("DaskJob")["jobStatus"] == "Running"


def test_a_clock_that_was_set_back_does_not_end_it_early() -> None:
    world = _world()
    world.settle(50.0)
    world.now -= 40.0
    world.settle(45.0)
    assert world.has("DaskCluster", "simple")


def test_a_clock_that_was_set_back_far_does_not_end_the_asking() -> None:
    world = _world()
    world.settle(50.0)
    world.now -= 3600.0
    world.settle(300.0)
    assert not world.has("DaskCluster", "simple")


@pytest.mark.parametrize("seed", range(30))
def test_a_cluster_that_worked_within_the_timeout_is_never_deleted(seed: int) -> None:
    chance = random.Random(seed)
    timeout = chance.choice([1, 5, 60, 600])
    world = _world(timeout)
    worked, since = world.now, world.now
    for _ in range(60):
        if chance.random() < 0.5:
            worked, since = world.now, since + 1.0
            world.idle_since = None if chance.random() < 0.3 else since
        world.scheduler_answers = chance.random() < 0.9
        if chance.random() < 0.05:
            world.restart_controller()
        before = world.now
        world.settle(chance.uniform(0.0, timeout / 2))
        busy = world.idle_since is None
        assert world.has("DaskCluster", "simple") or (not busy and world.now - worked >= timeout)
        if not world.has("DaskCluster", "simple"):
            return
        world.now = max(world.now, before)
        worked = world.now if busy else worked
