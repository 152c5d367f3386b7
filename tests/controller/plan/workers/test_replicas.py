"""Groups without `replicas`."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.builders import NOON, a_cluster, a_group, a_pod, an_autoscaler, raw_autoscaler, raw_group, seen
from tests.support.world import World

from dask_operator.actions import Patch
from dask_operator.model import ObjectRef, Observed
from dask_operator.plan.view import View
from dask_operator.plan.workers.replicas import plan_replicas

GROUP = ObjectRef("DaskWorkerGroup", "simple-default")
CLUSTER = "DaskCluster"


def _planned(observed: Observed) -> list[object]:
    return list(plan_replicas(View.of(a_cluster(), observed), 0.0))


def test_as_many_as_there_are_is_written_down() -> None:
    observed = seen(groups=[a_group(workers=1, replicas_unset=True)], pods=[a_pod(n) for n in range(4)])
    (patch,) = _planned(observed)
    assert isinstance(patch, Patch)
    assert (patch.subject, patch.body) == (GROUP, {"spec": {"worker": {"replicas": 4}}})


def test_at_first_there_is_one() -> None:
    (patch,) = _planned(seen(groups=[a_group(workers=1, replicas_unset=True)]))
    assert isinstance(patch, Patch)
    assert patch.body == {"spec": {"worker": {"replicas": 1}}}


@pytest.mark.parametrize("minimum", [0, 3])
def test_where_an_autoscaler_is_to_decide_it_starts_with_its_minimum(minimum: int) -> None:
    unset = a_group(workers=1, replicas_unset=True)
    autoscalers = (an_autoscaler(minimum=minimum), an_autoscaler(group="simple-gpu", minimum=1))
    (patch,) = _planned(seen(groups=[unset], autoscalers=autoscalers))
    assert isinstance(patch, Patch)
    assert patch.body == {"spec": {"worker": {"replicas": minimum}}}


@pytest.mark.parametrize(
    "without_say",
    [{"cluster_uid": "uid-of-a-namesake"}, {"deleting": True}, {"unread": "it is too large"}],
    ids=["of another cluster", "deleted", "too large to be read"],
)
def test_an_autoscaler_that_scales_nothing_does_not_say_how_many_it_starts_with(without_say: dict[str, Any]) -> None:
    autoscaler = an_autoscaler(minimum=3, **without_say)
    (patch,) = _planned(seen(groups=[a_group(workers=1, replicas_unset=True)], autoscalers=(autoscaler,)))
    assert isinstance(patch, Patch)
    assert patch.body == {"spec": {"worker": {"replicas": 1}}}


def test_the_oldest_of_several_autoscalers_says_how_many_it_starts_with() -> None:
    autoscalers = (an_autoscaler("later", minimum=1, created=NOON), an_autoscaler("first", minimum=3, created=1.0))
    (patch,) = _planned(seen(groups=[a_group(workers=1, replicas_unset=True)], autoscalers=autoscalers))
    assert isinstance(patch, Patch)
    assert patch.body == {"spec": {"worker": {"replicas": 3}}}


def test_what_is_said_stays() -> None:
    observed = seen(groups=[a_group(workers=2)], pods=[a_pod(n) for n in range(4)])
    assert _planned(observed) == []


def test_a_group_that_is_being_deleted_is_not_written_to() -> None:
    assert _planned(seen(groups=[a_group(workers=1, replicas_unset=True, deleting=True)])) == []


def test_taken_away_from_a_group_nobody_comes_or_goes() -> None:
    world = World(workers=1)
    world.add_group("simple-gpu", 5)
    world.settle()
    before = world.running("simple-gpu")
    world.edit("DaskWorkerGroup", "simple-gpu", worker={"replicas": None})
    world.settle()
    assert world.running("simple-gpu") == before
    assert world.replicas("simple-gpu") == 5


def test_taken_away_where_an_autoscaler_is_to_decide_it_goes_on_from_there() -> None:
    world = World(workers=5)
    world.target = 5
    world.settle()
    before = world.running()
    world.edit(CLUSTER, "simple", worker={"replicas": None})
    world.put(raw_autoscaler(minimum=2, maximum=8))
    world.settle(60.0)
    assert world.running() == before
    world.target = 8
    world.settle(60.0)
    assert len(world.running()) == 8
    world.remove("DaskAutoscaler", "simple")
    world.scale_cluster(5)
    world.settle(60.0)
    assert len(world.running()) == 5, "what is said again holds, though it is what was said before"


def test_a_group_of_which_nothing_was_ever_said_follows_its_autoscaler() -> None:
    world = World(workers=1)
    raw = raw_group("simple-gpu")
    del raw["spec"]["worker"]["replicas"]
    world.put(raw)
    world.put(raw_autoscaler(workerGroup="simple-gpu", minimum=3, maximum=8))
    world.target = 0
    world.settle(60.0)
    assert len(world.running("simple-gpu")) == 3
