from __future__ import annotations

from typing import Any

from tests.support.builders import (
    GROUP_UID,
    NOON,
    a_cluster,
    a_deployment,
    a_failure,
    a_group,
    a_pod,
    a_scheduler_pod,
    a_service,
    a_worker_deployment,
    an_autoscaler,
    condition,
    raw_autoscaler,
    raw_cluster,
    raw_group,
    seen,
)
from tests.support.world import World

from dask_operator import manifests, parse
from dask_operator.actions import Patch, RequeueAt
from dask_operator.model import Cluster, ObjectRef, Observed
from dask_operator.plan.ownership.adoption import folded
from dask_operator.plan.ownership.owners import plan_owners, plan_owners_without_cluster
from dask_operator.plan.view import View

GPU = ObjectRef("DaskWorkerGroup", "simple-gpu")
NOBODYS: dict[str, Any] = {"owners": (), "cluster_uid": ""}
MOVED: dict[str, Any] = {"owners": ("uid-of-another",), "cluster_uid": "", "moved": True}
WORKFLOW = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": "etl", "uid": "w", "controller": True}


def _patches(observed: Observed, cluster: Cluster | None = a_cluster()) -> dict[ObjectRef, Any]:
    planned = plan_owners(View.of(cluster, observed), NOON) if cluster else plan_owners_without_cluster(observed, NOON)
    return {a.subject: a.body for a in planned if isinstance(a, Patch)}


def _owners(patch: Any) -> list[str]:
    return [owner["name"] for owner in patch["metadata"]["ownerReferences"]]


def test_groups_and_autoscalers_go_with_their_cluster() -> None:
    groups = [a_group(), a_group("simple-gpu", owner=None), a_group("simple-old", owner=None, deleting=True)]
    autoscalers = (an_autoscaler(**NOBODYS), an_autoscaler("going", deleting=True, **NOBODYS))
    assert _patches(seen(groups=groups, autoscalers=autoscalers)) == {
        GPU: manifests.owners_patch(a_cluster()),
        ObjectRef("DaskAutoscaler", "simple"): manifests.owners_patch(a_cluster()),
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
    (wake,) = plan_owners(View.of(a_cluster(), observed), NOON)
    assert isinstance(wake, RequeueAt)
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


def test_what_has_no_owner_gets_it_back() -> None:
    lost = a_pod(0, owners=())
    of_the_group_alone = a_pod(1, owners=(GROUP_UID,))
    observed = seen(
        [lost, of_the_group_alone, a_pod(2)],
        deployment=a_deployment(owners=()),
        service=a_service(owners=()),
    )
    patches = _patches(observed)
    scheduler = manifests.owners_patch(a_cluster())
    assert patches == {
        ObjectRef("Deployment", "simple-scheduler"): scheduler,
        ObjectRef("Service", "simple-scheduler"): scheduler,
        ObjectRef("Pod", lost.name): manifests.worker_owners_patch(a_cluster(), a_group()),
        ObjectRef("Pod", of_the_group_alone.name): manifests.worker_owners_patch(a_cluster(), a_group()),
    }
    ((made,), owners) = manifests.worker_manifests(a_cluster(), a_group(), [0], 0), patches[ObjectRef("Pod", lost.name)]
    assert owners["metadata"]["ownerReferences"] == made["metadata"]["ownerReferences"]


def test_what_is_somebody_elses_or_goes_keeps_its_owners() -> None:
    pods = [
        a_pod(0, owners=("uid-of-another-group",)),
        a_pod(1, owners=(), deleting=True),
        a_pod(2, owners=(), group="another"),
        a_pod(3, owners=(GROUP_UID, "uid-of-a-workflow")),
        a_scheduler_pod(owners=()),
    ]
    deployment, service = a_deployment(owners=("x",)), a_service(owners=(), deleting=True)
    assert _patches(seen(pods, deployment=deployment, service=service)) == {}
    assert _patches(seen([a_pod(0, owners=())], groups=[a_group(deleting=True)])) == {}


def test_a_worker_of_another_operator_gets_one_owner_where_it_has_none() -> None:
    lost, whole = a_worker_deployment(0, owners=()), a_worker_deployment(1)
    observed = folded(seen(0, worker_deployments=(lost, whole)))
    assert list(_patches(observed)) == [ObjectRef("Deployment", lost.name)]


def test_a_cluster_takes_over_what_was_orphaned_and_takes_it_along() -> None:
    world = World(3)
    world.settle()
    before = {name: world.raw("Pod", name)["metadata"]["uid"] for name in world.running()}
    cluster = world.raw("DaskCluster", "simple")
    uid = cluster["metadata"]["uid"]
    orphans = [
        ("Deployment", "simple-scheduler"),
        ("Service", "simple-scheduler"),
        ("DaskWorkerGroup", "simple-default"),
    ]
    orphans += [("Pod", name) for name in before]
    for kind, name in orphans:
        raw = world.raw(kind, name)
        owners = raw["metadata"]["ownerReferences"]
        raw["metadata"]["ownerReferences"] = [owner for owner in owners if owner["uid"] != uid]
        world.put(raw)
    world.remove("DaskCluster", "simple")
    anew = raw_cluster(workers=3)
    anew["metadata"]["uid"] = "uid-of-simple-anew"
    world.put(anew)
    world.settle()
    assert {name: world.raw("Pod", name)["metadata"]["uid"] for name in world.running()} == before, "nothing restarts"
    for kind, name in orphans:
        owners = world.raw(kind, name)["metadata"]["ownerReferences"]
        assert "uid-of-simple-anew" in [owner["uid"] for owner in owners], (kind, name)
    assert world.plan() == ()
