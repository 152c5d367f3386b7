from __future__ import annotations

import ast
from typing import Any

import dask
import distributed  # noqa: F401  (its import loads its configuration)
import pytest
from tests.support.builders import NOON_TEXT, SCHEDULER_SPEC, SERVICE_SPEC, WORKER_SPEC, a_cluster, a_group

from dask_operator import build
from dask_operator.model import Cluster, Metadata

OWNED_BY_CLUSTER = [
    {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskCluster",
        "name": "simple",
        "uid": "uid-of-simple",
        "controller": True,
        "blockOwnerDeletion": True,
    }
]
SCHEDULER_LABELS = {
    "sidecar.istio.io/inject": "false",
    "dask.org/cluster-name": "simple",
    "dask.org/component": "scheduler",
}
ROUTES = {"name": "DASK_DISTRIBUTED__SCHEDULER__HTTP__ROUTES", "value": repr(list(build.HTTP_ROUTES))}
ADDRESS = {"name": "DASK_SCHEDULER_ADDRESS", "value": "tcp://simple-scheduler.default.svc:8786"}


def test_the_scheduler_deployment() -> None:
    assert build.scheduler_deployment(a_cluster()) == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "simple-scheduler",
            "namespace": "default",
            "labels": SCHEDULER_LABELS,
            "annotations": {},
            "ownerReferences": OWNED_BY_CLUSTER,
        },
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": {"dask.org/cluster-name": "simple", "dask.org/component": "scheduler"}},
            "template": {
                "metadata": {"labels": SCHEDULER_LABELS, "annotations": {}},
                "spec": {
                    "containers": [
                        {"name": "scheduler", "image": "dask", "args": ["dask", "scheduler"], "env": [ROUTES]}
                    ]
                },
            },
        },
    }


def test_the_scheduler_service() -> None:
    assert build.scheduler_service(a_cluster()) == {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "simple-scheduler",
            "namespace": "default",
            "labels": SCHEDULER_LABELS,
            "annotations": {},
            "ownerReferences": OWNED_BY_CLUSTER,
        },
        "spec": SERVICE_SPEC,
    }


def test_the_default_group() -> None:
    assert build.default_group(a_cluster(workers=4)) == {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskWorkerGroup",
        "metadata": {
            "name": "simple-default",
            "namespace": "default",
            "labels": {"dask.org/cluster-name": "simple", "dask.org/component": "workergroup"},
            "annotations": {"kubernetes.dask.org/replicas": "4"},
            "ownerReferences": OWNED_BY_CLUSTER,
        },
        "spec": {"cluster": "simple", "worker": {"replicas": 4, "spec": WORKER_SPEC}},
    }


def test_a_worker() -> None:
    assert build.workers(a_cluster(), a_group(), [2], attempt=0) == [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": "simple-default-worker-cd1e974d05",
                "namespace": "default",
                "labels": {
                    "dask.org/cluster-name": "simple",
                    "dask.org/component": "worker",
                    "dask.org/workergroup-name": "simple-default",
                },
                "annotations": {"kubernetes.dask.org/ordinal": "2"},
                "ownerReferences": [
                    {
                        "apiVersion": "kubernetes.dask.org/v1",
                        "kind": "DaskWorkerGroup",
                        "name": "simple-default",
                        "uid": "uid-of-simple-default",
                        "controller": True,
                        "blockOwnerDeletion": True,
                    }
                ],
            },
            "spec": {
                "restartPolicy": "OnFailure",
                "containers": [
                    {
                        "name": "worker",
                        "image": "dask",
                        "args": ["dask", "worker"],
                        "env": [
                            {"name": "DASK_WORKER_NAME", "value": "simple-default-worker-cd1e974d05"},
                            ADDRESS,
                        ],
                    }
                ],
            },
        }
    ]


def test_workers_differ_in_name_and_ordinal_alone() -> None:
    first, second = build.workers(a_cluster(), a_group(), [0, 1], attempt=0)
    for pod in (first, second):
        del pod["metadata"]["annotations"]["kubernetes.dask.org/ordinal"], pod["metadata"]["name"]
        pod["spec"]["containers"][0]["env"][0].pop("value")
    assert first == second


def test_a_worker_after_failures_says_how_many() -> None:
    (pod,) = build.workers(a_cluster(), a_group(), [9], attempt=3)
    assert pod["metadata"]["annotations"] == {
        "kubernetes.dask.org/ordinal": "9",
        "kubernetes.dask.org/attempt": "3",
    }


def test_the_users_restart_policy_wins() -> None:
    group = a_group(worker_spec={**WORKER_SPEC, "restartPolicy": "Never"})
    (pod,) = build.workers(a_cluster(), group, [0], attempt=0)
    assert pod["spec"]["restartPolicy"] == "Never"


def test_a_restart_policy_of_null_is_one_that_was_not_given() -> None:
    # Always, which the API server would make of it, brings back a worker that has been retired.
    group = a_group(worker_spec={**WORKER_SPEC, "restartPolicy": None})
    (pod,) = build.workers(a_cluster(), group, [0], attempt=0)
    assert pod["spec"]["restartPolicy"] == "OnFailure"


def test_every_container_gets_the_variables_unless_the_user_set_them() -> None:
    own = {"name": "DASK_SCHEDULER_ADDRESS", "value": "tls://elsewhere:8786"}
    containers = [{"name": "worker", "env": [own]}, {"name": "sidecar", "env": None}, {"name": "plain"}]
    (pod,) = build.workers(a_cluster(), a_group(worker_spec={"containers": containers}), [0], attempt=0)
    name = {"name": "DASK_WORKER_NAME", "value": pod["metadata"]["name"]}
    assert [container["env"] for container in pod["spec"]["containers"]] == [
        [name, own],
        [name, ADDRESS],
        [name, ADDRESS],
    ]


def test_the_users_variables_may_refer_to_ours() -> None:
    own = {"name": "LOG_PREFIX", "value": "$(DASK_WORKER_NAME)"}
    spec = {"containers": [{"name": "worker", "env": [own]}]}
    (pod,) = build.workers(a_cluster(), a_group(worker_spec=spec), [0], attempt=0)
    assert [variable["name"] for variable in pod["spec"]["containers"][0]["env"]][-1] == "LOG_PREFIX"


def test_the_users_routes_win() -> None:
    own = {**ROUTES, "value": "['distributed.http.health']"}
    spec = {"containers": [{"name": "scheduler", "env": [own]}]}
    deployment = build.scheduler_deployment(a_cluster(scheduler_spec=spec))
    assert deployment["spec"]["template"]["spec"]["containers"][0]["env"] == [own]


def test_the_routes_are_distributeds_own_and_the_api() -> None:
    defaults: list[str] = dask.config.get("distributed.scheduler.http.routes")
    assert list(build.HTTP_ROUTES) == [*defaults, "distributed.http.scheduler.api"]


def test_dask_reads_the_routes_from_the_environment() -> None:
    (container,) = build.scheduler_deployment(a_cluster())["spec"]["template"]["spec"]["containers"]
    environment = {variable["name"]: variable["value"] for variable in container["env"]}
    configured = dask.config.collect_env(environment)
    assert configured["distributed"]["scheduler"]["http"]["routes"] == list(build.HTTP_ROUTES)
    assert ast.literal_eval(environment[ROUTES["name"]]) == list(build.HTTP_ROUTES)


def test_the_comm_port_is_that_of_the_service() -> None:
    ports = [{"name": "tcp-comm", "port": 9000}, {"name": "http-dashboard", "port": 80}]
    assert (
        build.scheduler_address(a_cluster(service_spec={"ports": ports})) == "tcp://simple-scheduler.default.svc:9000"
    )
    assert build.scheduler_address(a_cluster(service_spec={"ports": None})).endswith(":8786")


def test_the_dashboard_port_is_found_by_name() -> None:
    assert build.dashboard_port({"tcp-comm": 1, "http-dashboard": 80}) == 80
    assert build.dashboard_port({}) == 8787


def _with_metadata() -> Cluster:
    return a_cluster(
        metadata=Metadata(
            labels={"team": "cluster", "everywhere": "yes", "dask.org/component": "mine"},
            annotations={
                "hello": "world",
                "team": "cluster",
                "kubectl.kubernetes.io/last-applied-configuration": "{}",
                "kopf.zalando.org/last-handled-configuration": "{}",
                "kubernetes.dask.org/cooldown-until": "1",
            },
        ),
        scheduler_metadata=Metadata(
            labels={"team": "scheduler", "dask.org/cluster-name": "mine"},
            annotations={"fizz": "buzz", "team": "scheduler"},
        ),
        worker_metadata=Metadata(
            labels={"team": "worker", "dask.org/component": "superworker"},
            annotations={"foo": "bar", "team": "worker", "kubectl.kubernetes.io/restartedAt": "now"},
        ),
    )


def test_scheduler_metadata_is_the_clusters_then_its_own_then_reserved() -> None:
    labels = {**SCHEDULER_LABELS, "team": "scheduler", "everywhere": "yes"}
    annotations = {"hello": "world", "fizz": "buzz", "team": "scheduler"}
    deployment = build.scheduler_deployment(_with_metadata())
    for metadata in (
        deployment["metadata"],
        deployment["spec"]["template"]["metadata"],
        build.scheduler_service(_with_metadata())["metadata"],
    ):
        assert (metadata["labels"], metadata["annotations"]) == (labels, annotations)


def test_group_metadata_is_the_clusters_then_the_workers_then_reserved() -> None:
    metadata = build.default_group(_with_metadata())["metadata"]
    assert metadata["labels"] == {
        "team": "worker",
        "everywhere": "yes",
        "dask.org/cluster-name": "simple",
        "dask.org/component": "workergroup",
    }
    assert metadata["annotations"] == {
        "hello": "world",
        "foo": "bar",
        "team": "worker",
        "kubernetes.dask.org/replicas": "3",
    }


def test_worker_metadata_is_the_groups_then_its_own_then_reserved() -> None:
    group = a_group(
        metadata=Metadata(
            labels={"team": "worker", "everywhere": "yes", "dask.org/component": "workergroup"},
            annotations={"hello": "world", "foo": "bar", "kubernetes.dask.org/replicas": "3"},
        ),
        worker_metadata=Metadata(labels={"team": "mine", "dask.org/workergroup-name": "x"}, annotations={"foo": "baz"}),
    )
    (pod,) = build.workers(a_cluster(), group, [0], attempt=0)
    assert pod["metadata"]["labels"] == {
        "team": "mine",
        "everywhere": "yes",
        "dask.org/cluster-name": "simple",
        "dask.org/component": "worker",
        "dask.org/workergroup-name": "simple-default",
    }
    assert pod["metadata"]["annotations"] == {
        "hello": "world",
        "foo": "baz",
        "kubernetes.dask.org/ordinal": "0",
    }


@pytest.mark.parametrize("where", ["metadata", "scheduler_metadata"])
def test_the_users_sidecar_label_wins(where: str) -> None:
    metadata: dict[str, Any] = {where: Metadata(labels={"sidecar.istio.io/inject": "true"})}
    cluster = a_cluster(**metadata)
    for manifest in (build.scheduler_deployment(cluster), build.scheduler_service(cluster)):
        assert manifest["metadata"]["labels"]["sidecar.istio.io/inject"] == "true"


@pytest.mark.parametrize("spec", [{}, {"containers": None}, {"containers": [{"name": "a", "env": None}]}])
def test_a_half_valid_pod_spec_is_left_to_the_api_server_to_refuse(spec: dict[str, Any]) -> None:
    template = build.scheduler_deployment(a_cluster(scheduler_spec=spec))["spec"]["template"]
    (pod,) = build.workers(a_cluster(), a_group(worker_spec=spec), [0], attempt=0)
    for made in (template["spec"], pod["spec"]):
        assert len(made["containers"]) == len(spec.get("containers") or ())


def test_manifests_do_not_share_what_the_cluster_has() -> None:
    cluster = a_cluster(service_spec={"ports": [{"name": "tcp-comm", "port": 1}]})
    build.scheduler_service(cluster)["spec"]["ports"][0]["port"] = 2
    assert cluster.service_spec["ports"][0]["port"] == 1
    build.scheduler_deployment(cluster)
    assert "env" not in SCHEDULER_SPEC["containers"][0]


def test_a_groups_owner_is_its_cluster() -> None:
    assert build.group_owner(a_cluster()) == {"metadata": {"ownerReferences": OWNED_BY_CLUSTER}}


def test_copied_replicas_are_noted() -> None:
    assert build.group_replicas(a_cluster(workers=7)) == {
        "metadata": {"annotations": {"kubernetes.dask.org/replicas": "7"}},
        "spec": {"worker": {"replicas": 7}},
    }


def test_an_event() -> None:
    regarding = {"kind": "DaskCluster", "namespace": "default", "name": "simple", "uid": "u"}
    event = build.event(regarding, "Warning", "Unschedulable", "no" * 1000, NOON_TEXT)
    assert event["metadata"]["name"].startswith("simple.")
    assert event["metadata"]["namespace"] == "default"
    assert event["involvedObject"] == regarding
    assert (event["type"], event["reason"], event["count"]) == ("Warning", "Unschedulable", 1)
    assert (event["firstTimestamp"], event["lastTimestamp"]) == (NOON_TEXT, NOON_TEXT)
    assert len(event["message"]) == 1024, "the API server takes no more"


def test_the_selector_of_a_groups_workers() -> None:
    expected = "dask.org/cluster-name=c,dask.org/component=worker,dask.org/workergroup-name=g"
    assert build.worker_selector("c", "g") == expected
