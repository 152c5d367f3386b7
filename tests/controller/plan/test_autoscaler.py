from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any
from unittest import mock

import pytest
from tests.support.builders import (
    ENDPOINT,
    NOON,
    NOON_TEXT,
    a_cluster,
    a_demand,
    a_failure,
    a_group,
    a_scheduler_pod,
    an_autoscaler,
    condition,
    raw_autoscaler,
    raw_cluster,
    raw_group,
    seen,
    statuses,
)
from tests.support.world import World

from dask_operator.actions import TARGET, Action, Ask, Create, Delete, Patch, RecordEvent, RequeueAt, SetStatus
from dask_operator.model import Autoscaler, Demand, Group, Need, ObjectRef, Observed, Problem, Scaling, ScalingPolicy
from dask_operator.plan.autoscaler import INTERVAL, plan_autoscalers, plan_without_cluster
from dask_operator.plan.view import View
from dask_operator.plan.workers import scaling

GROUP = ObjectRef("DaskWorkerGroup", "simple-default")
UNREACHABLE = Problem("SchedulerUnreachable", "no answer")
LONG = 300.0


def _planned(observed: Observed, now: float = NOON) -> list[Action]:
    return list(plan_autoscalers(View.of(a_cluster(), observed), now))


def _with(*autoscalers: Autoscaler, workers: int = 3, demand: Demand | None = None, **others: Any) -> Observed:
    return seen(
        3, groups=others.pop("groups", [a_group(workers=workers)]), autoscalers=autoscalers, demand=demand, **others
    )


def _scaled(actions: list[Action]) -> dict[str, int]:
    """Return the new number of workers of each scaled group."""
    bodies = {a.subject.name: a.body for a in actions if isinstance(a, Patch)}
    return {name: body["spec"]["worker"]["replicas"] for name, body in bodies.items() if isinstance(body, Mapping)}


def _active(actions: list[Action], name: str = "simple") -> tuple[str, str]:
    told = condition(statuses(actions)[f"DaskAutoscaler/{name}"], "ScalingActive")
    return told["status"], told["reason"]


# One plan


def test_a_controller_that_has_just_started_leaves_the_status_until_the_scheduler_has_answered() -> None:
    before = statuses(_planned(_with(an_autoscaler(), demand=a_demand(3))))["DaskAutoscaler/simple"]
    autoscaler = an_autoscaler(status=before)
    assert "DaskAutoscaler/simple" not in statuses(_planned(_with(autoscaler)))
    silent = Demand(NOON, problem=Problem("SchedulerUnreachable", "timeout"))
    assert _active(_planned(_with(autoscaler, demand=silent))) == ("False", "SchedulerUnreachable")


def test_the_scheduler_is_asked_again_and_again() -> None:
    (ask,) = [a for a in _planned(_with(an_autoscaler())) if isinstance(a, Ask)]
    assert (ask.question, ask.scheduler, ask.replicas) == (TARGET, ENDPOINT, {"simple-default": 3})
    asked = _with(an_autoscaler(), demand=a_demand(3, until=NOON - 1.0))
    assert RequeueAt(NOON - 1.0 + INTERVAL, "autoscaling") in _planned(asked)
    assert not [a for a in _planned(asked) if isinstance(a, Ask)]
    assert [a for a in _planned(asked, NOON + 1.0) if isinstance(a, Ask)]


@pytest.mark.parametrize("scheduler", [None, a_scheduler_pod(ready=False), a_scheduler_pod(deleting=True)])
def test_a_scheduler_that_is_not_ready_is_not_asked_and_nobody_comes_or_goes(scheduler: Any) -> None:
    planned = _planned(_with(an_autoscaler(), scheduler=scheduler, demand=a_demand(9)))
    assert not [a for a in planned if isinstance(a, Ask | Patch)]


def test_a_question_that_is_under_way_is_not_asked_twice() -> None:
    assert not [a for a in _planned(_with(an_autoscaler(), asking=frozenset({TARGET}))) if isinstance(a, Ask)]


def test_a_cluster_without_autoscaler_is_not_asked() -> None:
    assert _planned(_with()) == []
    assert _planned(_with(an_autoscaler(deleting=True))) == []


def test_a_group_is_scaled_and_that_is_said() -> None:
    planned = _planned(_with(an_autoscaler(), demand=a_demand(7)))
    assert _scaled(planned) == {"simple-default": 7}
    (patch,) = [a for a in planned if isinstance(a, Patch)]
    done = [a_group(workers=7, scaled=patch.body["metadata"]["annotations"]["kubernetes.dask.org/scaled"])]  # type: ignore[call-overload]
    planned = _planned(_with(an_autoscaler(), groups=done, demand=a_demand(7)))
    (event,) = [a for a in planned if isinstance(a, RecordEvent)]
    assert (event.type, event.reason) == ("Normal", "Scaled")
    assert event.message == "3 → 7: the scheduler asks for 7 workers"
    status = statuses(planned)["DaskAutoscaler/simple"]
    assert (status["currentReplicas"], status["desiredReplicas"]) == (3, 7)
    assert (status["lastDecision"], status["lastScaleTime"]) == (event.message, "2026-01-01T12:00:00Z")
    assert _active(planned) == ("True", "FollowsScheduler")
    assert _scaled(planned) == {}


def test_two_decisions_of_one_second_are_both_told() -> None:
    before = {"lastScaleTime": "2026-01-01T12:00:00Z", "lastDecision": "1 → 2: minimum 2, maximum 5"}
    group = a_group(workers=5, scaled="2026-01-01T12:00:00Z simple 9 → 5: minimum 2, maximum 5")
    planned = _planned(_with(an_autoscaler(minimum=2, maximum=5, status=before), groups=[group]))
    assert statuses(planned)["DaskAutoscaler/simple"]["lastDecision"] == "9 → 5: minimum 2, maximum 5"
    assert [a.message for a in planned if isinstance(a, RecordEvent)] == ["9 → 5: minimum 2, maximum 5"]


@pytest.mark.parametrize(
    ("note", "when"),
    [
        ("garbage simple x", None),
        ("2026-01-01T00+00:00 simple x", "2026-01-01T00:00:00Z"),
        ("20260101T120000Z simple x", NOON_TEXT),
        ("0001-01-01T00:00:00Z simple x", None),
        ("2026-01-01T14:00:00+02:00 simple x", NOON_TEXT),
        (" simple x", None),
        ("\n simple \n", None),
    ],
)
def test_a_note_that_somebody_has_edited_gives_no_time_that_the_api_server_refuses(note: str, when: str | None) -> None:
    planned = _planned(_with(an_autoscaler(), groups=[a_group(scaled=note)], demand=a_demand(3)))
    status = statuses(planned)["DaskAutoscaler/simple"]
    assert (status["lastScaleTime"], status["lastDecision"]) == (when, "x" if when else None)


@pytest.mark.parametrize(
    ("minimum", "maximum", "current", "target", "expected"),
    [
        (1, 10, 3, 99, 10),
        (5, 10, 3, 0, 5),
        (0, None, 3, 99, 99),
        (0, None, 0, 5, 5),
        (4, 4, 3, 99, 4),
        (4, 4, 9, 0, 4),
    ],
)
def test_bounds(minimum: int, maximum: int | None, current: int, target: int, expected: int) -> None:
    autoscaler = an_autoscaler(minimum=minimum, maximum=maximum)
    assert _scaled(_planned(_with(autoscaler, workers=current, demand=a_demand(target)))) == {
        "simple-default": expected
    }


@pytest.mark.parametrize(
    "demand", [None, a_demand(20), a_demand(20, problem=UNREACHABLE), a_demand(20, until=NOON - 60.0)]
)
@pytest.mark.parametrize("scheduler", [None, a_scheduler_pod()])
def test_the_maximum_holds_at_once_and_always(demand: Demand | None, scheduler: Any) -> None:
    planned = _planned(_with(an_autoscaler(maximum=4), workers=20, demand=demand, scheduler=scheduler))
    assert _scaled(planned) == {"simple-default": 4}


@pytest.mark.parametrize(
    ("demand", "reason"),
    [
        (None, "NotAsked"),
        (a_demand(9, until=NOON - 10.0, problem=UNREACHABLE), "SchedulerUnreachable"),
        (a_demand(9, until=NOON - 10.0), "NotAsked"),
    ],
)
def test_without_an_answer_nobody_comes_or_goes_and_that_is_said(demand: Demand | None, reason: str) -> None:
    planned = _planned(_with(an_autoscaler(), demand=demand))
    assert _scaled(planned) == {}
    assert _active(planned) == ("False", reason)


def test_a_group_that_is_missing_is_said() -> None:
    planned = _planned(_with(an_autoscaler(group="simple-gpu"), demand=a_demand(9)))
    assert _scaled(planned) == {}
    assert _active(planned) == ("False", "GroupNotFound")
    told = condition(statuses(planned)["DaskAutoscaler/simple"], "ScalingActive")
    assert 'has no DaskWorkerGroup "simple-gpu"; it has: simple-default' in told["message"]


def test_of_two_on_one_group_the_older_counts() -> None:
    older = an_autoscaler("z-older", maximum=5, created=NOON - 900.0)
    planned = _planned(_with(an_autoscaler(), older, demand=a_demand(99)))
    assert _scaled(planned) == {"simple-default": 5}
    assert _active(planned, "simple") == ("False", "AnotherAutoscaler")
    assert _active(planned, "z-older") == ("True", "FollowsScheduler")


def _two_groups(default: int, gpu: int) -> list[Group]:
    return [a_group(workers=default), a_group("simple-gpu", workers=gpu)]


def test_what_groups_without_autoscaler_have_is_taken_off() -> None:
    demand = a_demand(9)
    demand = Demand(NOON, (demand.samples[0]._replace(replicas={"simple-default": 3, "simple-gpu": 4}),))
    planned = _planned(_with(an_autoscaler(), groups=_two_groups(3, 4), demand=demand))
    assert _scaled(planned) == {"simple-default": 5}


def test_an_autoscaler_of_a_deleted_namesake_harms_nobody() -> None:
    planned = _planned(
        _with(an_autoscaler(owners=("uid-of-a-namesake",), cluster_uid="uid-of-a-namesake"), demand=a_demand(9))
    )
    assert _scaled(planned) == {}


def test_an_autoscaler_that_belongs_to_something_else_as_well_harms_nobody() -> None:
    other = an_autoscaler("other", owners=("uid-of-an-application",), cluster_uid="")
    planned = _planned(_with(an_autoscaler(), other, demand=a_demand(7)))
    assert _scaled(planned) == {"simple-default": 7}


def test_a_scaling_that_was_refused_waits_and_is_no_decision() -> None:
    observed = _with(an_autoscaler(), demand=a_demand(7), failures={GROUP: a_failure(until=NOON + 8.0)})
    planned = _planned(observed)
    assert _scaled(planned) == {}
    assert not [a for a in planned if isinstance(a, RecordEvent)]
    assert statuses(planned)["DaskAutoscaler/simple"]["lastDecision"] is None


def test_an_autoscaler_without_a_cluster_says_so_and_waits() -> None:
    planned = list(plan_without_cluster(an_autoscaler(owners=(), cluster_uid=""), Observed(), NOON))
    assert _active(planned) == ("False", "ClusterNotFound")
    assert list(plan_without_cluster(an_autoscaler(), Observed(), NOON)) == [], "it goes with the cluster it had"


@pytest.mark.parametrize(
    ("target", "reason", "status"),
    [(99, "TooManyReplicas", "True"), (0, "TooFewReplicas", "True"), (5, "WithinBounds", "False")],
)
def test_a_bound_that_limits_is_said(target: int, reason: str, status: str) -> None:
    planned = _planned(_with(an_autoscaler(), demand=a_demand(target)))
    told = condition(statuses(planned)["DaskAutoscaler/simple"], "ScalingLimited")
    assert (told["reason"], told["status"]) == (reason, status)


@pytest.mark.parametrize(
    ("target", "behavior", "reason", "words"),
    [
        (9, {"up": Scaling(0.0, (ScalingPolicy(False, 2, 60.0),))}, "ScaleUpLimit", "the policies of scaleUp allow"),
        (9, {"up": Scaling(select="Disabled")}, "ScaleUpLimit", "scaleUp.selectPolicy is Disabled"),
        (9, {"up": Scaling(120.0)}, "ScaleUpStabilized", "its stabilization window of 120 s"),
        (1, {"down": Scaling(0.0, (ScalingPolicy(False, 1, 60.0),))}, "ScaleDownLimit", "the policies of scaleDown"),
        (1, {"down": Scaling(select="Disabled")}, "ScaleDownLimit", "scaleDown.selectPolicy is Disabled"),
        (1, {"down": Scaling(120.0)}, "ScaleDownStabilized", "its stabilization window of 120 s"),
        (99, {"up": Scaling(0.0, (ScalingPolicy(False, 2, 60.0),))}, "ScaleUpLimit", "asks for more workers"),
    ],
)
def test_a_behavior_that_limits_is_said(target: int, behavior: dict[str, Any], reason: str, words: str) -> None:
    planned = _planned(_with(an_autoscaler(**behavior), demand=a_demand(target, target)))
    told = condition(statuses(planned)["DaskAutoscaler/simple"], "ScalingLimited")
    assert (told["reason"], told["status"]) == (reason, "True")
    assert words in told["message"]


@pytest.mark.parametrize("when", ["garbage", "2026-13-01T00:00:00Z"])
def test_a_note_of_a_scaling_without_a_time_is_as_absent(when: str) -> None:
    groups = [a_group(scaled=f"{when} simple because")]
    status = statuses(_planned(_with(an_autoscaler(), demand=a_demand(3), groups=groups)))["DaskAutoscaler/simple"]
    assert (status["lastScaleTime"], status["lastDecision"]) == (None, None)


def test_a_note_of_a_scaling_is_no_longer_than_a_status_takes() -> None:
    groups = [a_group(scaled=f"2026-01-01 simple {'x' * 9999}")]
    status = statuses(_planned(_with(an_autoscaler(), demand=a_demand(3), groups=groups)))["DaskAutoscaler/simple"]
    assert (status["lastScaleTime"][:10], len(status["lastDecision"])) == ("2026-01-01", 1024)


# Stories


def _world(workers: int = 2, target: int | None = None, **spec: Any) -> World:
    world = World(workers)
    world.target = target
    world.put(raw_autoscaler(**spec))
    world.settle(5.0)
    return world


def _decisions(world: World, since: int = 0) -> list[str]:
    return [a.message for a in world.done[since:] if isinstance(a, RecordEvent) and a.reason == "Scaled"]


def _quiet(world: World, seconds: float = 60.0) -> None:
    """Check that nothing is written once the counts are, though the scheduler is still asked."""
    world.settle(60.0)
    before = world.writes()
    world.settle(seconds)
    assert world.writes() == before
    assert world.lost == []
    assert [name for name, times in world.names.items() if times > 1] == []


def test_up_and_down_with_the_work() -> None:
    world = _world(workers=1, target=1)
    world.target = 8
    world.settle(10.0)
    assert len(world.running()) == 8
    _quiet(world)
    world.held = dict.fromkeys(world.running(), 1000)
    world.target = 1
    world.settle(30.0)
    assert len(world.running()) == 1
    assert sum(world.held.values()) == 8000
    _quiet(world)
    assert _decisions(world) == ["1 → 8: the scheduler asks for 8 workers", "8 → 1: the scheduler asks for 1 workers"]


def test_the_clusters_own_replicas_are_not_copied_back() -> None:
    world = _world(workers=2, target=6)
    assert (world.replicas(), world.cluster.replicas) == (6, 2)
    _quiet(world)


def test_a_pause_between_two_computations_costs_nobody() -> None:
    world = _world(target=8)
    world.target = 0
    world.settle(12.0)
    world.target = 8
    world.settle(LONG)
    assert len(_decisions(world)) == 1


@pytest.mark.parametrize("seed", range(4))
def test_a_noisy_scheduler_does_not_make_workers_come_and_go(seed: int) -> None:
    # Each time it asks for as many again before the window is over.
    chance = random.Random(seed)
    world = _world(target=8, maximum=None)
    before, end = len(world.done), world.now + 600.0
    while world.now < end:
        for world.target, seconds in ((8, 2.0), (chance.randint(0, 7), chance.choice([2.0, 6.0, 12.0]))):
            world.settle(seconds)
    assert _decisions(world, before) == []
    assert sum(world.names.values()) == 8


def test_workers_that_are_pending_are_not_asked_for_twice() -> None:
    world = _world(target=8)
    world.starts = lambda pod: pod.component != "worker"
    world.settle(LONG)
    assert len(world.pods()) == 8
    assert len(_decisions(world)) == 1


def test_a_maximum_that_is_lowered_holds_at_once() -> None:
    world = _world(target=9)
    assert len(world.running()) == 9
    world.edit("DaskAutoscaler", "simple", maximum=3)
    world.settle(0.0)
    assert world.replicas() == 3
    world.settle(5.0)
    assert len(world.running()) == 3


def test_a_minimum_that_is_raised_holds_at_once_and_without_a_scheduler() -> None:
    world = _world(target=None)
    assert world.replicas() == 2
    world.edit("DaskAutoscaler", "simple", minimum=5)
    world.settle(0.0)
    assert len(world.running()) == 5


def test_nulls_are_no_bounds() -> None:
    world = _world(target=40, minimum=None, maximum=None)
    assert len(world.running()) == 40
    world.target = 0
    world.settle(60.0)
    assert world.running() == []
    _quiet(world)


def test_without_a_scheduler_nobody_goes() -> None:
    world = _world(target=8)
    world.target = None
    world.settle(LONG)
    assert len(world.running()) == 8
    told = condition(world.status("DaskAutoscaler"), "ScalingActive")
    assert (told["status"], told["reason"]) == ("False", "SchedulerUnreachable")
    _quiet(world)


def test_after_a_restart_of_the_controller_nobody_goes_until_the_window_is_known() -> None:
    world = _world(target=8)
    world.settle(60.0)
    world.target = 1
    world.restart_controller()
    world.settle(14.0)
    assert len(world.running()) == 8
    world.settle(20.0)
    assert len(world.running()) == 1


def test_after_a_silence_nobody_goes_until_the_window_is_known() -> None:
    world = _world(target=8)
    world.target = None
    world.settle(LONG)
    world.target = 1
    world.settle(14.0)
    assert len(world.running()) == 8


def test_a_cluster_that_comes_late() -> None:
    world = World(None)
    world.target = 5
    world.put(raw_autoscaler())
    world.settle(60.0)
    assert condition(world.status("DaskAutoscaler"), "ScalingActive")["reason"] == "ClusterNotFound"
    _quiet(world)
    world.put(raw_cluster(workers=2))
    world.settle(60.0)
    assert len(world.running()) == 5
    world.remove("DaskCluster", "simple")
    assert not world.has("DaskAutoscaler", "simple"), "it goes with its cluster"
    assert world.plan() == ()


def test_a_group_that_comes_late() -> None:
    world = _world(target=6, workerGroup="simple-gpu", minimum=0)
    assert world.replicas() == 2
    world.add_group("simple-gpu", 0)
    world.settle(30.0)
    assert (world.replicas(), world.replicas("simple-gpu")) == (2, 4)
    _quiet(world)


def test_an_autoscaler_that_is_deleted_leaves_its_workers() -> None:
    world = _world(target=7)
    world.remove("DaskAutoscaler", "simple")
    world.target = 0
    world.settle(LONG)
    assert len(world.running()) == 7
    assert world.plan() == ()


def test_two_autoscalers_share_without_fighting() -> None:
    world = World(1)
    world.add_group("simple-gpu", 1)
    world.put(raw_autoscaler("cpu", maximum=5))
    world.put(raw_autoscaler("gpu", workerGroup="simple-gpu", maximum=10))
    for target, expected in ((2, (1, 1)), (5, (4, 1)), (9, (5, 4)), (40, (5, 10)), (3, (2, 1)), (0, (1, 1))):
        world.target = target
        before = len(world.done)
        world.settle(60.0)
        assert (world.replicas(), world.replicas("simple-gpu")) == expected
        assert len(_decisions(world, before)) <= 2
        _quiet(world)


GPU = (("GPU", 1.0),)


def _world_with_gpus(**gpu: Any) -> World:
    """Build the cluster of docs/dask-cluster.md#autoscaling: a group of GPU workers beside the default one."""
    world = World(1)
    spec = {"containers": [{"name": "worker", "args": ["dask", "worker", "--resources", "GPU=1"]}]}
    world.put(raw_group("simple-gpu", spec={"cluster": "simple", "worker": {"replicas": 0, "spec": spec}}))
    world.put(raw_autoscaler("cpu", maximum=20))
    world.put(raw_autoscaler("gpu", workerGroup="simple-gpu", **{"minimum": 0, "maximum": 2, **gpu}))
    world.target = 0
    world.settle(20.0)
    return world


@pytest.mark.parametrize(("threads", "pods"), [(1, 1), (10, 2)])
def test_tasks_that_need_gpus_get_gpu_workers_from_zero_and_no_others(threads: int, pods: int) -> None:
    world = _world_with_gpus()
    before = len(world.done)
    world.needs = (Need(GPU, threads),)
    world.settle(20.0)
    assert (len(world.running("simple-gpu")), len(world.running())) == (pods, 1)
    wanted = f"{threads} Pod{'s' if threads > 1 else ''}"
    assert _decisions(world, before) == [f"0 → {pods}: tasks that need GPU=1 want {wanted}"]
    limited = condition(world.status("DaskAutoscaler", "gpu"), "ScalingLimited")
    assert (limited["reason"], limited["status"]) == (
        ("TooManyReplicas", "True") if threads > 2 else ("WithinBounds", "False")
    )
    _quiet(world)
    world.needs = ()
    world.settle(30.0)
    assert (len(world.running("simple-gpu")), len(world.running())) == (0, 1)
    _quiet(world)


def test_percents_let_a_group_grow_from_zero_for_what_tasks_need() -> None:
    behavior = {"scaleUp": {"policies": [{"type": "Percent", "value": 50, "periodSeconds": 4}]}}
    world = _world_with_gpus(behavior=behavior)
    world.needs = (Need(GPU, 2),)
    world.settle(30.0)
    assert len(world.running("simple-gpu")) == 2


def test_tasks_of_both_kinds_each_get_their_workers() -> None:
    world = _world_with_gpus()
    world.needs, world.target = (Need(GPU, 2),), 5
    world.settle(20.0)
    assert (world.replicas("simple-gpu"), world.replicas()) == (2, 5)
    assert "1 → 5: the scheduler asks for 5 workers for tasks that need no resources" in _decisions(world)
    assert "0 → 2: tasks that need GPU=1 want 2 Pods, and other tasks want 5 workers" in _decisions(world)
    _quiet(world)


@pytest.mark.parametrize(
    ("need", "words"), [(Need((("GPU", 2.0),), 3), "GPU=2"), (Need((("GPU", 1.0), ("MEM", 0.5)), 3), "GPU=1,MEM=0.5")]
)
def test_what_no_group_offers_is_said_and_buys_nothing(need: Need, words: str) -> None:
    world = _world_with_gpus()
    world.needs = (need,)
    world.settle(60.0)
    assert (world.replicas("simple-gpu"), world.replicas()) == (0, 1)
    for name in ("cpu", "gpu"):
        limited = condition(world.status("DaskAutoscaler", name), "ScalingLimited")
        assert (limited["reason"], limited["status"]) == ("ResourcesNotOffered", "True")
        assert f"tasks need {words}, and no DaskWorkerGroup" in limited["message"]
        assert "--resources" in limited["message"]
    _quiet(world)


def test_very_many_needs_are_few_words() -> None:
    world = _world_with_gpus()
    world.needs = tuple(Need(((f"{n:064}", 1.0),), 1) for n in range(100))
    world.settle(60.0)
    assert len(condition(world.status("DaskAutoscaler", "gpu"), "ScalingLimited")["message"]) < 500


def test_answers_that_are_alike_are_calculated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calculated = mock.Mock(side_effect=scaling.wished)
    monkeypatch.setattr(scaling, "wished", calculated)
    _planned(_with(an_autoscaler(), demand=a_demand(*[3] * 900, *[4] * 900)))
    assert calculated.call_count < 5


def test_two_autoscalers_of_one_group_do_not_fight() -> None:
    world = World(1)
    world.put(raw_autoscaler("a", maximum=4))
    world.put(raw_autoscaler("b", minimum=8, maximum=9))
    world.target = 20
    world.settle(60.0)
    assert world.replicas() == 4
    assert len(_decisions(world)) == 1
    _quiet(world)


def test_policies_and_windows_in_a_story() -> None:
    policies = [{"type": "Pods", "value": 2, "periodSeconds": 60}]
    behavior = {"scaleUp": {"policies": policies}, "scaleDown": {"stabilizationWindowSeconds": 0, "policies": policies}}
    world = _world(workers=1, target=9, behavior=behavior)
    counts = []
    for _ in range(5):
        counts.append(world.replicas())
        world.settle(62.0)
    assert counts == [3, 5, 7, 9, 9]
    world.target = 1
    world.settle(3.0)
    assert world.replicas() == 7


def test_a_scaling_that_the_api_server_refuses_is_not_said_to_be_done_and_is_said() -> None:
    world = _world(target=2)
    webhook = Problem("Forbidden", "admission webhook denied the request")
    world.forbids = lambda write: webhook if isinstance(write, Patch) else None
    world.target = 7
    world.run(120.0)
    assert world.replicas() == 2
    assert _decisions(world) == []
    told = condition(world.status("DaskAutoscaler"), "ScalingActive")
    assert (told["status"], told["message"]) == ("False", webhook.message)
    world.forbids = lambda _: None
    world.run(120.0)
    assert world.replicas() == 7


def test_a_scheduler_that_answers_every_other_time_is_not_a_write_each() -> None:
    world = _world(target=2)
    before = world.writes()
    for n in range(150):
        world.target = 2 if n % 2 else None
        world.settle(2.0)
    assert world.writes() - before <= 2 * 300 / 30, "what flickers is not news each time"


def test_a_group_that_is_rolled_out_and_scaled_has_never_more_than_its_maximum_and_a_quarter() -> None:
    world = _world(target=4, maximum=8)
    world.settle(60.0)
    world.edit_workers("dask:2", "DaskCluster", "simple")
    world.edit("DaskCluster", "simple", worker={"spec": {"containers": [{"name": "worker", "image": "dask:2"}]}})
    world.target = 20
    for _ in range(60):
        world.step()
        world.run_pods()
        assert len(world.pods()) <= 8 + 2
        world.now += 0.5
    world.settle(60.0)
    assert len(world.running()) == 8


@pytest.mark.parametrize("killed_after", range(0, 12, 2))
def test_a_controller_that_is_killed_anywhere_scales_all_the_same(killed_after: int) -> None:
    world = _world(target=2)
    for target in (6, 1):
        world.target = target
        left = killed_after
        for _ in range(80):
            _, left = world.act(left)
            world.run_pods()
            assert len(world.pods()) <= 6
            world.now += 1.0
        assert len(world.running()) == target
    _quiet(world)
    assert not [a for a in world.done if isinstance(a, Delete) and a.subject.kind != "Pod"]
    assert len([a for a in world.done if isinstance(a, Create) and a.manifest["kind"] == "Pod"]) <= 6 + 6


@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens_the_bounds_hold_and_it_ends_well(seed: int) -> None:
    chance = random.Random(seed)
    world = World(chance.randint(0, 4))
    world.add_group("simple-gpu", chance.randint(0, 3))
    world.put(raw_autoscaler("cpu", minimum=1, maximum=6, metadata={"creationTimestamp": "2026-01-01T11:00:00Z"}))
    world.put(raw_autoscaler("gpu", workerGroup="simple-gpu", minimum=0, maximum=5))
    world.settle(10.0)
    for _ in range(40):
        world.target = chance.choice([None, *range(15)])
        if chance.random() < 0.1:
            world.restart_controller()
        if chance.random() < 0.1:
            world.scale(chance.randint(0, 9), name=chance.choice(["simple-default", "simple-gpu"]))
        world.apply(world.plan(), only=chance.choice([None, None, 1, 2]))
        world.settle(chance.choice([0.0, 2.0, 10.0]))
        assert 1 <= world.replicas() <= 6
        assert 0 <= world.replicas("simple-gpu") <= 5
    world.target = 8
    world.settle(120.0)
    assert (world.replicas(), world.replicas("simple-gpu")) == (6, 2)
    assert (len(world.running()), len(world.running("simple-gpu"))) == (6, 2)
    _quiet(world)


def test_a_status_costs_a_write_only_with_news() -> None:
    world = _world(target=5)
    world.settle(60.0)
    written = [a for a in world.done if isinstance(a, SetStatus) and a.subject.kind == "DaskAutoscaler"]
    assert len(written) <= 4
    _quiet(world)
