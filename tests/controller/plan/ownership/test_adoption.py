"""Remains of an older operator: a running cluster with a Deployment for each worker."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.builders import (
    GROUP_UID,
    NOON,
    WORKER_TEMPLATE,
    a_cluster,
    a_deployment,
    a_deployments_pod,
    a_failure,
    a_group,
    a_pod,
    a_service,
    a_worker_deployment,
    condition,
    raw_autoscaler,
    raw_cluster,
    raw_deployment,
    raw_group,
    raw_job,
    raw_service,
    seen,
)
from tests.support.world import DECLARED, WRITES, World

from dask_operator import names
from dask_operator.actions import Create, Delete, Patch, RequeueAt, Retire, SetStatus
from dask_operator.model import Cluster, ObjectRef, Observed
from dask_operator.plan.ownership.adoption import folded, plan_adoption, plan_finalizers
from dask_operator.plan.view import View

FINALIZER = "kopf.zalando.org/KopfFinalizerMarker"
GPU, DEFAULT = ObjectRef("DaskWorkerGroup", "simple-gpu"), ObjectRef("DaskWorkerGroup", "simple-default")
SCHEDULER, SERVICE = ObjectRef("Deployment", "simple-scheduler"), ObjectRef("Service", "simple-scheduler")
HOUR = 3600.0


def _patches(observed: Observed, cluster: Cluster = a_cluster()) -> dict[ObjectRef, Any]:
    return {a.subject: a.body for a in plan_adoption(View.of(cluster, observed), NOON) if isinstance(a, Patch)}


# One plan


def test_what_this_operator_made_is_left_alone() -> None:
    assert list(plan_adoption(View.of(a_cluster(), seen(3)), NOON)) == []
    assert list(plan_finalizers(a_cluster(), seen(3), NOON)) == []


def test_a_worker_that_is_a_deployment_counts_as_one_pod() -> None:
    deployment, pod = a_worker_deployment(0), a_deployments_pod(0)
    observed = folded(seen([pod, a_pod(1)], worker_deployments=(deployment,)))
    _, other, worker = observed.pods
    assert other == a_pod(1)
    assert (worker.name, worker.uid, worker.owners) == (deployment.name, deployment.uid, (GROUP_UID,))
    assert (worker.phase, worker.ready, worker.ip) == ("Running", True, pod.ip)
    assert worker.resource_version == deployment.resource_version


def test_of_a_deployments_pods_the_newest_that_lives_counts() -> None:
    dying = a_deployments_pod(0, name="x", uid="x", deleting=True, created=NOON)
    failed = a_deployments_pod(0, name="y", uid="y", phase="Failed", created=NOON)
    younger = a_deployments_pod(0, name="z", uid="z", created=NOON - 1.0, ip="10.0.0.99")
    pods = [dying, failed, younger, a_deployments_pod(0)]
    worker = folded(seen(pods, worker_deployments=(a_worker_deployment(0),))).pods[-1]
    assert worker.ip == "10.0.0.99"
    without = folded(seen([dying], worker_deployments=(a_worker_deployment(0),))).pods[-1]
    assert (without.phase, without.ready) == ("Pending", False)


def test_what_another_operator_made_is_noted_and_nothing_else() -> None:
    groups = [a_group(workers=9, copied="", template="")]
    observed = seen(3, groups=groups, service=a_service(template=""), deployment=a_deployment(template=""))
    assert _patches(observed) == {
        SCHEDULER: {"metadata": {"annotations": {names.TEMPLATE_ANNOTATION: a_deployment().template}}},
        SERVICE: {"metadata": {"annotations": {names.TEMPLATE_ANNOTATION: a_service().template}}},
        DEFAULT: {
            "metadata": {"annotations": {names.TEMPLATE_ANNOTATION: WORKER_TEMPLATE, names.REPLICAS_ANNOTATION: "3"}}
        },
    }


def test_what_its_workers_were_made_from_is_noted_on_every_group_that_has_some() -> None:
    groups = [a_group(), a_group("simple-gpu")]
    observed = seen(0, groups=groups, worker_deployments=(a_worker_deployment(0, group="simple-gpu"),))
    assert _patches(observed) == {GPU: {"metadata": {"annotations": {names.ADOPTED_ANNOTATION: WORKER_TEMPLATE}}}}
    noted = [a_group(), a_group("simple-gpu", adopted_template="anything")]
    assert _patches(seen(0, groups=noted, worker_deployments=observed.worker_deployments)) == {}
    for group in (a_group("simple-gpu", deleting=True), a_group("simple-gpu", unread="it is too large")):
        groups = [a_group(), group]
        assert _patches(seen(0, groups=groups, worker_deployments=observed.worker_deployments)) == {}


def test_what_is_somebody_elses_or_going_is_not_noted() -> None:
    for others in ({"owners": ("another",)}, {"deleting": True}):
        observed = seen(3, service=a_service(template="", **others), deployment=a_deployment(template="", **others))
        assert _patches(observed) == {}


def test_a_note_that_was_refused_waits_for_its_time() -> None:
    observed = seen(3, service=a_service(template=""), failures={SERVICE: a_failure(until=NOON + 8.0)})
    (wake,) = plan_adoption(View.of(a_cluster(), observed), NOON)
    assert isinstance(wake, RequeueAt)
    assert wake.at == NOON + 8.0


@pytest.mark.parametrize("deleting", [True, False])
def test_an_old_operators_finalizer_is_taken_away_and_others_stay(deleting: bool) -> None:
    cluster = a_cluster(finalizers=(FINALIZER, "somebodys/own"), deleting=deleting, resource_version=7)
    (patch,) = plan_finalizers(cluster, Observed(), NOON)
    assert isinstance(patch, Patch)
    assert patch.subject == ObjectRef("DaskCluster", "simple")
    note = {"kubernetes.dask.org/removed-finalizer": FINALIZER}
    assert patch.body == {"metadata": {"finalizers": ["somebodys/own"], "annotations": note, "resourceVersion": "7"}}


# Stories


def _older(workers: int = 3, *, replicas: int | None = None, keeps: Any = None, autoscaled: bool = False) -> World:
    """Build a cluster as an older operator leaves it. `replicas`: of the cluster, if its group was scaled."""
    world = World(None)
    world.keeps = keeps
    owner = [{"kind": "DaskCluster", "name": "simple", "uid": "uid-of-simple"}]
    labels = {"dask.org/cluster-name": "simple", "dask.org/component": "scheduler"}
    kept: dict[str, Any] = {"status": {"phase": "Running"}}
    finalizers = {"finalizers": [FINALIZER], "generation": 4}
    world.put(raw_cluster(workers=workers if replicas is None else replicas, metadata=dict(finalizers), **kept))
    template = {"metadata": {"labels": labels}, "spec": raw_cluster()["spec"]["scheduler"]["spec"]}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    meta = {"labels": labels, "ownerReferences": owner}
    world.put(raw_deployment(metadata=meta | {"uid": "uid-of-deployment"}, spec=spec))
    world.put(raw_service(metadata=meta | {"uid": "uid-of-service"}))
    group = {"ownerReferences": owner, "labels": {"dask.org/cluster-name": "simple"}, **finalizers}
    world.put(raw_group(workers=workers, metadata=group))
    if autoscaled:
        world.put(raw_autoscaler(metadata={"ownerReferences": owner, **finalizers}))
    world.add_worker_deployments(workers)
    while world.run_pods():
        pass
    world.now += HOUR
    world.held = {pod.deployment: 1000 * n for n, pod in enumerate(world.pods(), 1)}
    return world


def _pods(world: World) -> dict[str, str]:
    """Return, by name, the running Pods, which must not restart."""
    return {pod.name: pod.uid for pod in world.observed().pods}


def _prune(_: Any) -> dict[str, Any]:
    return {}


def _keep_phase(status: Any) -> dict[str, Any]:
    return {"phase": status["phase"]} if "phase" in status else {}


DEFINITIONS = [
    pytest.param(None, id="with a status subresource"),
    pytest.param(dict, id="that keep all of a status"),
    pytest.param(_keep_phase, id="that keep its phase"),
    pytest.param(_prune, id="that keep nothing"),
]


@pytest.mark.parametrize("keeps", DEFINITIONS)
@pytest.mark.parametrize("workers", [0, 3])
def test_a_running_cluster_is_taken_over_as_it_is(keeps: Any, workers: int) -> None:
    world = _older(workers, keeps=keeps)
    before, deployments = _pods(world), world.raw("Deployment", "simple-scheduler")["spec"]
    world.settle(HOUR)
    assert _pods(world) == before
    assert world.raw("Deployment", "simple-scheduler")["spec"] == deployments
    assert not [action for action in world.done if isinstance(action, Create | Delete | Retire)]
    assert {FINALIZER} & {each for kind in DECLARED for each in _finalizers(world, kind)} == set()
    assert world.plan() == ()


def _finalizers(world: World, kind: str) -> list[str]:
    name = "simple-default" if kind == "DaskWorkerGroup" else "simple"
    return world.raw(kind, name)["metadata"].get("finalizers", []) if world.has(kind, name) else []


@pytest.mark.parametrize("keeps", DEFINITIONS)
def test_taking_over_costs_few_writes_and_a_restart_fewer(keeps: Any) -> None:
    world = _older(keeps=keeps)
    world.settle(HOUR)
    assert world.writes() <= 11, [(type(a).__name__, a.subject) for a in world.done if isinstance(a, WRITES)]
    before = world.writes()
    world.run(HOUR, 60.0)
    assert world.writes() == before
    for _ in range(3):
        world.restart_controller()
        world.settle(HOUR)
    assert world.writes() - before <= (6 if keeps else 0), "one status each"


@pytest.mark.parametrize("keeps", DEFINITIONS)
def test_a_new_cluster_under_older_definitions_is_not_written_without_end(keeps: Any) -> None:
    world = World(None)
    world.keeps = keeps
    world.put(raw_cluster(workers=3))
    world.settle(HOUR)
    assert len(world.running()) == 3
    assert world.writes() <= 3 + 8
    before = world.writes()
    world.run(HOUR, 60.0)
    assert world.writes() == before
    assert world.plan() == ()


@pytest.mark.parametrize("keeps", DEFINITIONS)
def test_no_ordinal_is_given_twice_under_older_definitions(keeps: Any) -> None:
    world = World(None)
    world.keeps = keeps
    world.put(raw_cluster(workers=3))
    world.settle()
    for wanted in (1, 5, 0, 4):
        world.scale(wanted)
        world.settle(120.0)
        assert len(world.running()) == wanted
        world.restart_controller()
    assert [name for name, times in world.names.items() if times > 1] == []


@pytest.mark.parametrize("keeps", DEFINITIONS)
def test_a_job_under_older_definitions_ends(keeps: Any) -> None:
    world = World(None)
    world.keeps = keeps
    world.put(raw_job(runner={"restartPolicy": "Never"}, backoffLimit=1))
    world.settle()
    for _ in range(2):
        world.end("simple-runner", "Failed")
        world.settle(120.0)
    assert not world.has("DaskCluster", "simple")
    assert world.names["simple-runner"] == 2
    before = world.writes()
    world.run(600.0, 10.0)
    assert world.writes() == before


def test_a_group_that_was_scaled_stays_as_it_is_until_the_cluster_is_edited() -> None:
    world = _older(3, replicas=7)
    world.settle(HOUR)
    assert len(world.running()) == 3
    world.scale_cluster(5)
    world.settle()
    assert len(world.running()) == 5
    assert world.lost == []


def test_what_comes_besides_is_a_bare_pod() -> None:
    world = _older(2)
    world.settle()
    before = _pods(world)
    world.scale(5)
    world.settle()
    assert len(world.running()) == 5
    assert before.items() <= _pods(world).items()
    assert len([action for action in world.done if isinstance(action, Create)]) == 3
    assert world.plan() == ()


def test_a_scale_down_retires_and_then_deletes_the_deployment() -> None:
    world = _older(4)
    world.settle()
    held = sum(world.held.values())
    world.scale(1)
    world.settle()
    done = [action for action in world.done if isinstance(action, Retire | Delete)]
    assert [type(action) for action in done] == [Retire, Delete, Delete, Delete]
    assert {action.subject.kind for action in done if isinstance(action, Delete)} == {"Deployment"}
    assert len(world.running()) == 1
    assert sum(world.held.values()) == held
    assert world.lost == []
    assert world.plan() == ()


def test_an_edit_rolls_them_to_bare_pods() -> None:
    world = _older(4)
    world.settle()
    held = sum(world.held.values())
    world.edit_workers("dask:2", "DaskCluster", "simple")
    for _ in range(200):
        world.step()
        world.run_pods()
        assert 4 <= len(world.running()) <= 5
        world.now += 1.0
    images = [world.raw("Pod", name)["spec"]["containers"][0]["image"] for name in world.running()]
    assert images == ["dask:2"] * 4
    assert sum(world.held.values()) == held
    assert world.lost == []
    assert [raw["metadata"]["name"] for raw in world.objects("Deployment")] == ["simple-scheduler"]
    assert world.plan() == ()


def test_an_edit_of_the_scheduler_is_rolled_out() -> None:
    world = _older(1)
    world.settle()
    world.edit("DaskCluster", "simple", scheduler={"spec": {"containers": [{"name": "scheduler", "image": "dask:2"}]}})
    world.settle()
    spec = world.raw("Deployment", "simple-scheduler")["spec"]
    assert spec["template"]["spec"]["containers"][0]["image"] == "dask:2"
    assert spec.get("strategy") == {"type": "Recreate"}, "two schedulers at once would split the workers"
    assert condition(world.status(), "Degraded")["status"] == "False"
    assert world.plan() == ()


def test_an_autoscaler_goes_on() -> None:
    world = _older(3, replicas=1, autoscaled=True)
    world.target = 3
    world.settle(60.0)
    assert len(world.running()) == 3
    world.target = 1
    world.settle(60.0)
    assert len(world.running()) == 1
    assert world.lost == []


def test_a_deployment_that_loses_its_pod_is_left_to_kubernetes() -> None:
    world = _older(2)
    world.settle()
    world.remove("Pod", world.running()[0])
    world.settle()
    assert len(world.running()) == 2
    assert not [action for action in world.done if isinstance(action, Create)]


def test_what_an_older_operator_left_in_deletion_goes() -> None:
    world = _older(2)
    world.raw("DaskCluster", "simple")["metadata"]["deletionTimestamp"] = "2026-01-01T12:00:00Z"
    world.restart_controller()
    world.settle()
    assert not world.raw("DaskCluster", "simple")["metadata"].get("finalizers")


def test_somebody_elses_finalizer_does_not_come_and_go() -> None:
    """Check it with other programs made with kopf, which put the same one there, and put it back."""
    world = World(1)
    world.settle()
    before = world.writes()
    for _ in range(20):
        meta = world.raw("DaskCluster", "simple")["metadata"]
        if not meta.get("finalizers"):
            meta["finalizers"] = [FINALIZER]
            world.put(world.raw("DaskCluster", "simple"))
        world.run(5.0)
    assert world.writes() - before <= 2


@pytest.mark.parametrize("killed_after", range(0, 15, 2))
@pytest.mark.parametrize("keeps", DEFINITIONS[1:])
def test_a_controller_that_is_killed_anywhere_takes_over_all_the_same(keeps: Any, killed_after: int) -> None:
    world = _older(3, replicas=7, keeps=keeps)
    before = _pods(world)
    left = killed_after
    for _ in range(60):
        _, left = world.act(left)
        world.run_pods()
        world.now += 1.0
    world.settle(HOUR)
    assert _pods(world) == before
    assert not [action for action in world.done if isinstance(action, Create | Delete | Retire)]
    assert len([action for action in world.done if isinstance(action, SetStatus)]) <= 8


def test_an_edit_reaches_a_group_that_has_no_labels() -> None:
    world = _older(2)
    del world.raw("DaskWorkerGroup", "simple-default")["metadata"]["labels"]
    world.restart_controller()
    world.settle()
    world.edit("DaskCluster", "simple", worker={"metadata": {"labels": {"team": "b"}}})
    world.edit_workers("dask:2", "DaskCluster", "simple")
    world.run(120.0)
    assert world.raw("DaskWorkerGroup", "simple-default")["metadata"]["labels"]["team"] == "b"
    assert not [pod for pod in world.pods() if pod.deployment], "all are new"
