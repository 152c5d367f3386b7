from __future__ import annotations

from typing import Any

from tests.support.builders import (
    NOON,
    a_cluster,
    a_failure,
    a_group,
    an_autoscaler,
    condition,
    raw_autoscaler,
    raw_group,
    seen,
)
from tests.support.world import World

from dask_operator import build, parse
from dask_operator.actions import Patch, Wake
from dask_operator.model import Cluster, Observed, Subject
from dask_operator.plan.owners import plan_owners

GPU = Subject("DaskWorkerGroup", "simple-gpu")
NOBODYS: dict[str, Any] = {"owners": (), "cluster_uid": ""}
MOVED: dict[str, Any] = {"owners": ("uid-of-another",), "cluster_uid": "", "moved": True}
WORKFLOW = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": "etl", "uid": "w", "controller": True}


def _patches(observed: Observed, cluster: Cluster | None = a_cluster()) -> dict[Subject, Any]:
    return {a.subject: a.body for a in plan_owners(cluster, observed, NOON) if isinstance(a, Patch)}


def _owners(patch: Any) -> list[str]:
    return [owner["name"] for owner in patch["metadata"]["ownerReferences"]]


def test_groups_and_autoscalers_go_with_their_cluster() -> None:
    groups = [a_group(), a_group("simple-gpu", owner=None), a_group("simple-old", owner=None, deleting=True)]
    autoscalers = (an_autoscaler(**NOBODYS), an_autoscaler("going", deleting=True, **NOBODYS))
    assert _patches(seen(groups=groups, autoscalers=autoscalers)) == {
        GPU: build.owned_by(a_cluster()),
        Subject("DaskAutoscaler", "simple"): build.owned_by(a_cluster()),
    }
    assert _patches(seen(groups=groups[1:]), None) == {}


def test_what_names_another_cluster_than_before_goes_with_that_one() -> None:
    group, autoscaler = a_group("simple-gpu", **MOVED), an_autoscaler(**MOVED)
    patches = _patches(seen(groups=[group], autoscalers=[autoscaler]))
    assert [_owners(patch) for patch in patches.values()] == [["simple"], ["simple"]]
    patches = _patches(seen(groups=[group], autoscalers=[autoscaler]), None)
    assert [_owners(patch) for patch in patches.values()] == [[], []]


def test_it_keeps_the_owners_that_are_no_clusters() -> None:
    patches = _patches(seen(groups=[a_group("simple-gpu", **MOVED, other_owners=(WORKFLOW,))]))
    assert _owners(patches[GPU]) == ["simple", "etl"]
    assert [owner["controller"] for owner in patches[GPU]["metadata"]["ownerReferences"]] == [False, True]


def test_a_refusal_is_waited_for() -> None:
    observed = seen(groups=[a_group("simple-gpu", owner=None)], failures={GPU: a_failure(until=NOON + 8.0)})
    (wake,) = plan_owners(a_cluster(), observed, NOON)
    assert isinstance(wake, Wake)
    assert wake.at == NOON + 8.0


def test_who_has_moved_is_read_from_the_owners() -> None:
    before = [{"kind": "DaskCluster", "name": "another", "uid": "a"}]
    moved = parse.group(raw_group("simple-gpu", metadata={"ownerReferences": [*before, WORKFLOW]}))
    assert (moved.cluster_uid, moved.moved, moved.other_owners) == ("", True, (WORKFLOW,))
    now = [{"kind": "DaskCluster", "name": "simple", "uid": "s"}]
    stays = parse.group(raw_group("simple-gpu", metadata={"ownerReferences": now}))
    assert (stays.cluster_uid, stays.moved, stays.other_owners) == ("s", False, ())


def test_the_workers_of_a_group_that_moves_away_leave_and_it_says_what_it_waits_for() -> None:
    world = World(workers=1)
    world.put(raw_group("simple-gpu", workers=2))
    world.put(raw_autoscaler(workerGroup="simple-gpu"))
    world.target = 3
    world.settle()
    world.held = dict.fromkeys(world.running("simple-gpu"), 1000)
    world.edit(*GPU, cluster="another")
    world.edit("DaskAutoscaler", "simple", cluster="another")
    world.settle()
    assert world.running("simple-gpu") == []
    assert sum(world.held.get(name, 0) for name in world.running()) == 2000
    assert condition(world.status(*GPU), "Degraded")["reason"] == "ClusterNotFound"
    assert "replicas" not in world.status(*GPU)
    assert condition(world.status("DaskAutoscaler", "simple"), "ScalingActive")["reason"] == "ClusterNotFound"
    world.remove("DaskCluster", "simple")
    assert world.has(*GPU), "it does not go with the cluster that it was of"
    assert world.has("DaskAutoscaler", "simple")
