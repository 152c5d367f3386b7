from __future__ import annotations

from dataclasses import replace

import pytest
from tests.support.builders import (
    NOON,
    SCHEDULER_SPEC,
    SERVICE_SPEC,
    a_cluster,
    a_deployment,
    a_failure,
    a_group,
    a_service,
    condition,
    seen,
)
from tests.support.world import World

from dask_operator import manifests
from dask_operator.actions import Create, Delete, Patch, RequeueAt
from dask_operator.model import Group, Metadata, ObjectRef, Observed, Problem
from dask_operator.plan.cluster import plan_cluster
from dask_operator.plan.view import View

SERVICE = ObjectRef("Service", "simple-scheduler")
DEPLOYMENT = ObjectRef("Deployment", "simple-scheduler")
GROUP = ObjectRef("DaskWorkerGroup", "simple-default")
MISSING = "the cluster has none"


def _drained(seconds: float, name: str = "simple-default") -> Group:
    return a_group(name, drain_timeout=seconds, drain_timeout_unset=False)


def _planned(observed: Observed, workers: int = 3) -> list[object]:
    return list(plan_cluster(View.of(a_cluster(workers=workers), observed), NOON))


def test_a_new_cluster_gets_its_service_scheduler_and_group() -> None:
    cluster = a_cluster()
    assert _planned(Observed()) == [
        Create(manifests.service_manifest(cluster), SERVICE, MISSING),
        Create(manifests.deployment_manifest(cluster), DEPLOYMENT, MISSING),
        Create(manifests.group_manifest(cluster), GROUP, MISSING),
    ]


def test_a_cluster_that_has_all_gets_nothing() -> None:
    assert _planned(seen()) == []


@pytest.mark.parametrize(
    ("observed", "subject"),
    [
        (seen(service=None), SERVICE),
        (seen(deployment=None), DEPLOYMENT),
        (seen(groups=[]), GROUP),
        (seen(groups=[a_group(deleting=True)]), GROUP),
        (seen(service=a_service(owners=("uid-of-a-namesake",))), SERVICE),
        (seen(deployment=a_deployment(owners=("uid-of-a-namesake",))), DEPLOYMENT),
        (seen(groups=[a_group(owner="uid-of-a-namesake")]), GROUP),
    ],
)
def test_what_is_missing_or_anothers_is_made(observed: Observed, subject: ObjectRef) -> None:
    (create,) = _planned(observed)
    assert isinstance(create, Create)
    assert create.subject == subject


@pytest.mark.parametrize("subject", [SERVICE, DEPLOYMENT, GROUP])
def test_what_was_refused_waits_for_its_time_and_holds_up_nothing_else(subject: ObjectRef) -> None:
    failures = {subject: a_failure("Forbidden", until=NOON + 8.0)}
    planned = _planned(Observed(failures=failures))
    because = f"{subject.kind} {subject.name}: the API server says Forbidden"
    assert [action for action in planned if isinstance(action, RequeueAt)] == [
        RequeueAt(NOON + 8.0, because, holds=subject)
    ]
    created = {action.subject for action in planned if isinstance(action, Create)}
    assert created == {SERVICE, DEPLOYMENT, GROUP} - {subject}
    later = list(plan_cluster(View.of(a_cluster(), Observed(failures=failures)), NOON + 8.0))
    assert len([action for action in later if isinstance(action, Create)]) == 3


def test_a_change_of_the_clusters_replicas_is_copied_once() -> None:
    (patch,) = _planned(seen(groups=[a_group(workers=3)]), workers=5)
    assert patch == Patch(
        GROUP, manifests.copied_replicas_patch(a_cluster(workers=5)), "the cluster's replicas went from 3 to 5"
    )
    assert _planned(seen(groups=[a_group(workers=5)]), workers=5) == []


def test_a_direct_scale_of_the_group_stays() -> None:
    assert _planned(seen(groups=[a_group(workers=9, copied="3")]), workers=3) == []


def test_replicas_of_zero_are_copied() -> None:
    (patch,) = _planned(seen(groups=[a_group(workers=3)]), workers=0)
    assert patch == Patch(
        GROUP, manifests.copied_replicas_patch(a_cluster(workers=0)), "the cluster's replicas went from 3 to 0"
    )


def test_a_default_group_of_another_operator_keeps_its_replicas() -> None:
    # An autoscaler may have scaled it; the replicas of both are recorded when it is taken over.
    assert _planned(seen(groups=[a_group(workers=9, copied="", template="")])) == []


@pytest.mark.parametrize(
    ("seconds", "group", "because"),
    [
        (600, a_group(), "the drain timeout of the cluster's workers is 600 s"),
        (0, a_group(), "the drain timeout of the cluster's workers is 0 s"),
        # As if unset, but for the grace period of new Pods.
        (3600, a_group(), "the drain timeout of the cluster's workers is 3600 s"),
        (600, _drained(60.0), "the drain timeout of the cluster's workers is 600 s"),
        (None, _drained(60.0), "the drain timeout of the cluster's workers is none"),
    ],
)
def test_a_change_of_the_clusters_drain_timeout_is_copied(seconds: int | None, group: Group, because: str) -> None:
    cluster = a_cluster(drain_timeout=seconds)
    planned = list(plan_cluster(View.of(cluster, seen(groups=[group])), NOON))
    assert planned == [Patch(GROUP, manifests.drain_timeout_patch(cluster), because)]


@pytest.mark.parametrize(
    "group", [_drained(600.0), a_group(unread="has 5000 finalizers"), a_group(deleting=True, owner="another")]
)
def test_a_drain_timeout_that_need_not_be_copied(group: Group) -> None:
    planned = plan_cluster(View.of(a_cluster(drain_timeout=600), seen(groups=[group])), NOON)
    assert [action for action in planned if isinstance(action, Patch)] == []


def test_other_groups_keep_their_drain_timeout() -> None:
    assert _planned(seen(groups=[a_group(), _drained(60.0, "simple-gpu")])) == []


def test_a_change_of_the_drain_timeout_restarts_no_worker_and_holds_for_later_pods() -> None:
    world = World(2)
    world.settle()
    before = world.running()
    for seconds in (600, 0, None):
        world.edit("DaskCluster", "simple", worker={"drainTimeoutSeconds": seconds})
        done = world.settle()
        assert [action.subject.kind for action in done if isinstance(action, Patch | Create | Delete)] == [GROUP.kind]
        worker = world.raw("DaskWorkerGroup", "simple-default")["spec"]["worker"]
        assert worker.get("drainTimeoutSeconds") == seconds
        assert world.running() == before
    world.edit("DaskCluster", "simple", worker={"drainTimeoutSeconds": 600, "replicas": 3})
    world.settle()
    (new,) = {*world.running()} - {*before}
    assert world.raw("Pod", new)["spec"]["terminationGracePeriodSeconds"] == 610
    assert {"terminationGracePeriodSeconds"} & {
        key for name in before for key in world.raw("Pod", name)["spec"]
    } == set()


def test_other_groups_keep_their_replicas() -> None:
    assert _planned(seen(groups=[a_group(), a_group("simple-gpu", workers=1)])) == []


@pytest.mark.parametrize(
    ("observed", "subject"),
    [
        (seen(groups=[a_group(workers=9)]), GROUP),
        (seen(groups=[a_group(template="older")]), GROUP),
        (seen(service=a_service(template="older")), SERVICE),
        (seen(deployment=a_deployment(template="older")), DEPLOYMENT),
    ],
)
def test_a_patch_that_was_refused_waits_for_its_time(observed: Observed, subject: ObjectRef) -> None:
    refused = replace(observed, failures={subject: a_failure(until=NOON + 8.0)})
    assert [type(action) for action in _planned(refused)] == [RequeueAt]
    again = list(plan_cluster(View.of(a_cluster(), refused), NOON + 8.0))
    assert [(type(action), action.subject) for action in again if isinstance(action, Patch)] == [(Patch, subject)]


@pytest.mark.parametrize(
    ("observed", "subject", "body"),
    [
        (seen(groups=[a_group(template="older")]), GROUP, manifests.group_patch(a_cluster(), a_group())),
        (seen(service=a_service(template="older")), SERVICE, manifests.service_patch(a_cluster(), a_service())),
        (
            seen(deployment=a_deployment(template="older")),
            DEPLOYMENT,
            manifests.deployment_patch(a_cluster(), a_deployment()),
        ),
    ],
)
def test_what_was_made_from_an_older_template_is_edited(
    observed: Observed, subject: ObjectRef, body: list[dict[str, object]]
) -> None:
    pod = manifests.scheduler_pod_manifest(a_cluster()) if subject == DEPLOYMENT else None
    assert _planned(observed) == [Patch(subject, body, "its template was edited", pod)]


def test_a_scheduler_is_not_stopped_for_one_that_is_refused() -> None:
    world = World(2)
    world.settle()
    (scheduler,) = (pod.uid for pod in world.observed().pods if pod.component == "scheduler")
    policy = Problem("Forbidden", "violates PodSecurity: privileged")
    world.refuses = lambda raw: policy if raw["kind"] == "Pod" and "scheduler" in raw["metadata"]["name"] else None
    pod = {**SCHEDULER_SPEC, "hostNetwork": True}
    world.edit("DaskCluster", "simple", scheduler={"spec": pod, "service": SERVICE_SPEC})
    world.run(120.0)
    assert [pod.uid for pod in world.observed().pods if pod.component == "scheduler"] == [scheduler]
    degraded = condition(world.status("DaskCluster"), "Degraded")
    assert (degraded["status"], degraded["reason"]) == ("True", "Forbidden")
    world.refuses = lambda _: None
    world.run(120.0)
    (after,) = (pod.uid for pod in world.observed().pods if pod.component == "scheduler")
    assert after != scheduler
    assert condition(world.status("DaskCluster"), "Degraded")["status"] == "False"


def test_the_pod_that_is_tried_is_what_the_deployment_makes() -> None:
    cluster = a_cluster(metadata=Metadata(labels={"team": "a"}), scheduler_metadata=Metadata(annotations={"b": "c"}))
    tried, template = (
        manifests.scheduler_pod_manifest(cluster),
        manifests.deployment_manifest(cluster)["spec"]["template"],
    )
    assert tried["spec"] == template["spec"]
    for field in ("labels", "annotations"):
        assert tried["metadata"][field] == template["metadata"][field]


@pytest.mark.parametrize(
    "observed",
    [
        seen(service=a_service(template="older", deleting=True)),
        seen(deployment=a_deployment(template="older", deleting=True)),
        seen(service=a_service(template="")),
        seen(deployment=a_deployment(template="")),
    ],
)
def test_what_is_going_or_anothers_is_not_edited(observed: Observed) -> None:
    assert _planned(observed) == []
