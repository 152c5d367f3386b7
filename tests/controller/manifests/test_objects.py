from __future__ import annotations

import re
from typing import Any

import distributed  # noqa: F401  (its import loads its configuration)
import pytest
from tests.support.builders import (
    NOON_TEXT,
    OWNED_BY_CLUSTER,
    RUNNER_SPEC,
    SCHEDULER_SPEC,
    SERVICE_SPEC,
    WORKER_SPEC,
    WORKER_TEMPLATE,
    a_cluster,
    a_group,
    a_job,
)

from dask_operator import agent, manifests
from dask_operator.model import Cluster, Metadata, Template

TEMPLATE, GIVEN = "kubernetes.dask.org/template", "kubernetes.dask.org/given"


SCHEDULER_LABELS = {
    "sidecar.istio.io/inject": "false",
    "dask.org/cluster-name": "simple",
    "dask.org/component": "scheduler",
}


AGENT = [
    {"name": "KUBERNETES_DASK_AGENT", "value": agent.TEXT},
    {"name": "DASK_DISTRIBUTED__SCHEDULER__PRELOAD", "value": repr([agent.PRELOAD])},
]


def test_the_scheduler_deployment() -> None:
    assert manifests.deployment_manifest(a_cluster()) == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "simple-scheduler",
            "namespace": "default",
            "labels": SCHEDULER_LABELS,
            "annotations": {TEMPLATE: Template.of(SCHEDULER_SPEC, Metadata()).hash},
            "ownerReferences": OWNED_BY_CLUSTER,
        },
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": {"dask.org/cluster-name": "simple", "dask.org/component": "scheduler"}},
            "template": {
                "metadata": {"labels": SCHEDULER_LABELS, "annotations": {}},
                "spec": {
                    "containers": [{"name": "scheduler", "image": "dask", "args": ["dask", "scheduler"], "env": AGENT}],
                    "enableServiceLinks": False,
                },
            },
        },
    }


def test_where_pods_may_have_addresses_of_ipv6_only_their_http_servers_listen_there() -> None:
    cluster = a_cluster(ipv6=True)
    (worker,) = manifests.worker_manifests(cluster, a_group(), [0], 0)
    scheduler = manifests.deployment_manifest(cluster)["spec"]["template"]
    for pod in (worker, scheduler, manifests.scheduler_pod_manifest(cluster)):
        assert pod["spec"]["hostAliases"] == [{"ip": "::", "hostnames": ["any-ipv6"]}]
    assert scheduler["spec"]["containers"][0]["args"][2:] == ["--dashboard-address", ":8787,any-ipv6:8787"]


def test_the_scheduler_service() -> None:
    assert manifests.service_manifest(a_cluster()) == {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "simple-scheduler",
            "namespace": "default",
            "labels": SCHEDULER_LABELS,
            "annotations": {TEMPLATE: Template.of(SERVICE_SPEC, Metadata()).hash},
            "ownerReferences": OWNED_BY_CLUSTER,
        },
        "spec": SERVICE_SPEC,
    }


@pytest.mark.parametrize("selector", [{}, {"selector": None}, {"selector": {}}])
def test_a_service_without_a_selector_reaches_the_scheduler(selector: dict[str, Any]) -> None:
    made = manifests.service_manifest(a_cluster(service_spec={"type": "ClusterIP", **selector}))
    deployment = manifests.deployment_manifest(a_cluster())
    assert made["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"]


def test_the_default_group() -> None:
    assert manifests.group_manifest(a_cluster(workers=4)) == {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskWorkerGroup",
        "metadata": {
            "name": "simple-default",
            "namespace": "default",
            "labels": {"dask.org/cluster-name": "simple", "dask.org/component": "workergroup"},
            "annotations": {"kubernetes.dask.org/replicas": "4", TEMPLATE: WORKER_TEMPLATE},
            "ownerReferences": OWNED_BY_CLUSTER,
        },
        "spec": {"cluster": "simple", "worker": {"replicas": 4, "spec": WORKER_SPEC}},
    }


@pytest.mark.parametrize("seconds", [0, 600])
def test_the_default_group_has_its_clusters_drain_timeout(seconds: int) -> None:
    worker = manifests.group_manifest(a_cluster(workers=4, drain_timeout=seconds))["spec"]["worker"]
    assert worker == {"replicas": 4, "drainTimeoutSeconds": seconds, "spec": WORKER_SPEC}


ADDRESS = {"name": "DASK_SCHEDULER_ADDRESS", "value": "tcp://simple-scheduler.default.svc:8786"}
POD = "KUBERNETES_DASK_POD"
DRAIN = {"name": "KUBERNETES_DASK_DRAIN_SECONDS", "value": "20"}


def test_a_worker() -> None:
    assert manifests.worker_manifests(a_cluster(), a_group(), [2], attempt=0) == [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": "simple-default-worker-cd1e974d05",
                "namespace": "default",
                "labels": {
                    "sidecar.istio.io/inject": "false",
                    "dask.org/cluster-name": "simple",
                    "dask.org/component": "worker",
                    "dask.org/workergroup-name": "simple-default",
                },
                "annotations": {"kubernetes.dask.org/ordinal": "2", TEMPLATE: WORKER_TEMPLATE},
                "ownerReferences": [
                    {
                        "apiVersion": "kubernetes.dask.org/v1",
                        "kind": "DaskWorkerGroup",
                        "name": "simple-default",
                        "uid": "uid-of-simple-default",
                        "controller": True,
                        "blockOwnerDeletion": True,
                    },
                    {**OWNED_BY_CLUSTER[0], "controller": False},
                ],
            },
            "spec": {
                "restartPolicy": "OnFailure",
                "enableServiceLinks": False,
                "containers": [
                    {
                        "name": "worker",
                        "image": "dask",
                        "args": ["dask", "worker"],
                        "env": [
                            {"name": "DASK_WORKER_NAME", "value": "simple-default-worker-cd1e974d05"},
                            ADDRESS,
                            {"name": POD, "value": "simple-default-worker-cd1e974d05"},
                            DRAIN,
                        ],
                    }
                ],
            },
        }
    ]


def test_workers_differ_in_name_and_ordinal_alone() -> None:
    first, second = manifests.worker_manifests(a_cluster(), a_group(), [0, 1], attempt=0)
    for pod in (first, second):
        del pod["metadata"]["annotations"]["kubernetes.dask.org/ordinal"], pod["metadata"]["name"]
        for variable in pod["spec"]["containers"][0]["env"]:
            if variable["name"] in ("DASK_WORKER_NAME", POD):
                del variable["value"]
    assert first == second


def test_a_worker_after_failures_says_how_many() -> None:
    (pod,) = manifests.worker_manifests(a_cluster(), a_group(), [9], attempt=3)
    assert pod["metadata"]["annotations"] == {
        "kubernetes.dask.org/ordinal": "9",
        "kubernetes.dask.org/attempt": "3",
        TEMPLATE: WORKER_TEMPLATE,
    }


@pytest.mark.parametrize("policy", ["Always", "OnFailure", "Never"])
def test_the_users_restart_policy_wins(policy: str) -> None:
    group = a_group(worker_spec={**WORKER_SPEC, "restartPolicy": policy})
    (pod,) = manifests.worker_manifests(a_cluster(), group, [0], attempt=0)
    assert pod["spec"]["restartPolicy"] == policy
    runner = manifests.runner_manifest(a_job(runner_spec={**RUNNER_SPEC, "restartPolicy": policy}), a_cluster(), 0)
    assert runner["spec"]["restartPolicy"] == policy


def test_a_restart_policy_of_null_is_one_that_was_not_given() -> None:
    # Always, the API server's default, would bring back a retired worker.
    group = a_group(worker_spec={**WORKER_SPEC, "restartPolicy": None})
    (pod,) = manifests.worker_manifests(a_cluster(), group, [0], attempt=0)
    assert pod["spec"]["restartPolicy"] == "OnFailure"


def test_every_container_gets_the_variables_unless_the_user_set_them() -> None:
    own = {"name": "DASK_SCHEDULER_ADDRESS", "value": "tls://elsewhere:8786"}
    containers = [{"name": "worker", "env": [own]}, {"name": "sidecar", "env": None}, {"name": "plain"}]
    (pod,) = manifests.worker_manifests(a_cluster(), a_group(worker_spec={"containers": containers}), [0], attempt=0)
    name = {"name": "DASK_WORKER_NAME", "value": pod["metadata"]["name"]}
    assert [container["env"] for container in pod["spec"]["containers"]] == [
        [own, name, {**name, "name": POD}, DRAIN],
        [name, ADDRESS, {**name, "name": POD}, DRAIN],
        [name, ADDRESS, {**name, "name": POD}, DRAIN],
    ]


def test_the_users_variables_may_refer_to_ours() -> None:
    # Kubernetes knows only the variables before one that refers to them. All others of the user's come first.
    first, secret = {"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "b", "key": "b"}}}
    own = [first, secret, {"name": "LOG_PREFIX", "value": "$(DASK_WORKER_NAME)-$(A)"}, {"name": "C"}, None]
    spec = {"containers": [{"name": "worker", "env": own}]}
    (pod,) = manifests.worker_manifests(a_cluster(), a_group(worker_spec=spec), [0], attempt=0)
    name = {"name": "DASK_WORKER_NAME", "value": pod["metadata"]["name"]}
    assert pod["spec"]["containers"][0]["env"] == [*own[:2], name, ADDRESS, {**name, "name": POD}, DRAIN, *own[2:]]


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
    cluster = _with_metadata()
    deployment = manifests.deployment_manifest(cluster)
    for metadata, note in (
        (deployment["metadata"], {TEMPLATE: cluster.scheduler.hash, GIVEN: "team;fizz team"}),
        (deployment["spec"]["template"]["metadata"], {}),
        (
            manifests.service_manifest(cluster)["metadata"],
            {TEMPLATE: cluster.service.hash, GIVEN: "team;fizz team"},
        ),
    ):
        assert (metadata["labels"], metadata["annotations"]) == (labels, annotations | note)


def test_group_metadata_is_the_clusters_then_the_workers_then_reserved() -> None:
    metadata = manifests.group_manifest(_with_metadata())["metadata"]
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
        TEMPLATE: _with_metadata().worker.hash,
        GIVEN: "team;foo team",
    }


def test_worker_metadata_is_the_groups_then_its_own_then_reserved() -> None:
    group = a_group(
        metadata=Metadata(
            labels={"team": "worker", "everywhere": "yes", "dask.org/component": "workergroup"},
            annotations={"hello": "world", "foo": "bar", "kubernetes.dask.org/replicas": "3"},
        ),
        worker_metadata=Metadata(labels={"team": "mine", "dask.org/workergroup-name": "x"}, annotations={"foo": "baz"}),
    )
    (pod,) = manifests.worker_manifests(a_cluster(), group, [0], attempt=0)
    assert pod["metadata"]["labels"] == {
        "team": "mine",
        "everywhere": "yes",
        "sidecar.istio.io/inject": "false",
        "dask.org/cluster-name": "simple",
        "dask.org/component": "worker",
        "dask.org/workergroup-name": "simple-default",
    }
    assert pod["metadata"]["annotations"] == {
        "hello": "world",
        "foo": "baz",
        "kubernetes.dask.org/ordinal": "0",
        TEMPLATE: group.worker.hash,
    }


@pytest.mark.parametrize("where", ["metadata", "scheduler_metadata"])
def test_the_users_sidecar_label_wins(where: str) -> None:
    metadata: dict[str, Any] = {where: Metadata(labels={"sidecar.istio.io/inject": "true"})}
    cluster = a_cluster(**metadata)
    for manifest in (manifests.deployment_manifest(cluster), manifests.service_manifest(cluster)):
        assert manifest["metadata"]["labels"]["sidecar.istio.io/inject"] == "true"


@pytest.mark.parametrize("spec", [{}, {"containers": None}, {"containers": [{"name": "a", "env": None}]}])
def test_a_half_valid_pod_spec_is_left_to_the_api_server_to_refuse(spec: dict[str, Any]) -> None:
    template = manifests.deployment_manifest(a_cluster(scheduler_spec=spec))["spec"]["template"]
    (pod,) = manifests.worker_manifests(a_cluster(), a_group(worker_spec=spec), [0], attempt=0)
    for made in (template["spec"], pod["spec"]):
        assert len(made.get("containers") or ()) == len(spec.get("containers") or ())


def test_manifests_do_not_share_what_the_cluster_has() -> None:
    cluster = a_cluster(service_spec={"ports": [{"name": "tcp-comm", "port": 1}]})
    manifests.service_manifest(cluster)["spec"]["ports"][0]["port"] = 2
    assert cluster.service.spec["ports"][0]["port"] == 1
    manifests.deployment_manifest(cluster)
    assert "env" not in SCHEDULER_SPEC["containers"][0]


def test_an_event() -> None:
    regarding = {"kind": "DaskCluster", "namespace": "default", "name": "simple", "uid": "u"}
    event = manifests.event_manifest(regarding, "Warning", "Unschedulable", "no" * 1000, NOON_TEXT)
    assert event["metadata"]["name"].startswith("simple.")
    assert event["metadata"]["namespace"] == "default"
    assert event["involvedObject"] == regarding
    assert (event["type"], event["reason"], event["count"]) == ("Warning", "Unschedulable", 1)
    assert (event["firstTimestamp"], event["lastTimestamp"]) == (NOON_TEXT, NOON_TEXT)
    assert len(event["message"]) == 1024, "the API server takes no more"


@pytest.mark.parametrize("name", ["a" * 253, "a." * 126 + "a", f"{'a' * 235}-b.c", "a" * 236, "a" * 237])
def test_an_event_about_an_object_with_a_long_name_has_a_name_that_is_accepted(name: str) -> None:
    regarding = {"kind": "DaskAutoscaler", "namespace": "default", "name": name, "uid": "u"}
    event = manifests.event_manifest(regarding, "Warning", "GroupNotFound", "none", NOON_TEXT)
    assert event["involvedObject"]["name"] == name
    assert len(event["metadata"]["name"]) <= 253
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", event["metadata"]["name"])
    other = manifests.event_manifest(regarding, "Warning", "GroupNotFound", "another", NOON_TEXT)
    assert other["metadata"]["name"] != event["metadata"]["name"]


def _made(metadata: Metadata, **spec: Any) -> dict[str, Any]:
    """Return every kind of object that comes of resources with this metadata, by name."""
    scheduler, worker, runner = ({**each, **spec} for each in (SCHEDULER_SPEC, WORKER_SPEC, RUNNER_SPEC))
    cluster = a_cluster(metadata=metadata, scheduler_spec=scheduler, worker_spec=worker)
    job, group = a_job(metadata=metadata, runner_spec=runner), a_group(metadata=metadata, worker_spec=worker)
    return {
        "Deployment": manifests.deployment_manifest(cluster),
        "Service": manifests.service_manifest(cluster),
        "default group": manifests.group_manifest(cluster),
        "worker": manifests.worker_manifests(cluster, group, [0], attempt=0)[0],
        "job's cluster": manifests.job_cluster_manifest(job),
        "runner": manifests.runner_manifest(job, cluster, 0),
        "scheduler": manifests.scheduler_pod_manifest(cluster),
    }


@pytest.mark.parametrize(
    "mark",
    [
        "applyset.kubernetes.io/part-of",
        "argocd.argoproj.io/instance",
        "tanka.dev/environment",
        "objectset.rio.cattle.io/hash",
        "kustomize.toolkit.fluxcd.io/name",
        "helm.toolkit.fluxcd.io/name",
        "kapp.k14s.io/app",
        "config.k8s.io/owning-inventory",
    ],
)
def test_what_a_deployment_tool_owns_and_prunes_are_no_children_of_ours(mark: str) -> None:
    both = {mark: "x", "team": "a"}
    for name, manifest in _made(Metadata(both, both)).items():
        for field in ("labels", "annotations"):
            assert mark not in manifest["metadata"][field], name
            assert manifest["metadata"][field]["team"] == "a", name
    pod = manifests.deployment_manifest(a_cluster(metadata=Metadata(both)))["spec"]["template"]["metadata"]
    assert (mark in pod["labels"], pod["labels"]["team"]) == (False, "a")


def test_a_mark_that_a_user_writes_for_the_workers_reaches_them() -> None:
    group = a_group(worker_metadata=Metadata(annotations={"argocd.argoproj.io/compare-options": "IgnoreExtraneous"}))
    (worker,) = manifests.worker_manifests(a_cluster(), group, [0], attempt=0)
    assert worker["metadata"]["annotations"]["argocd.argoproj.io/compare-options"] == "IgnoreExtraneous"


@pytest.mark.parametrize("policy", ["Never", "OnFailure", "Always", None])
def test_a_schedulers_restart_policy_is_the_one_that_a_deployment_may_have(policy: str | None) -> None:
    cluster = a_cluster(scheduler_spec={**SCHEDULER_SPEC, "restartPolicy": policy})
    assert "restartPolicy" not in manifests.deployment_manifest(cluster)["spec"]["template"]["spec"]
    assert "restartPolicy" not in manifests.scheduler_pod_manifest(cluster)["spec"]


def test_no_pod_has_a_variable_for_every_service_of_its_namespace_unless_its_user_wants_them() -> None:
    def links(**spec: Any) -> dict[str, Any]:
        made = _made(Metadata(), **spec)
        made["Deployment"] = made["Deployment"]["spec"]["template"]
        return {
            name: made[name]["spec"]["enableServiceLinks"] for name in ("Deployment", "scheduler", "worker", "runner")
        }

    assert set(links().values()) == {False}
    assert set(links(enableServiceLinks=None).values()) == {False}
    assert set(links(enableServiceLinks=True).values()) == {True}


def test_the_selector_of_a_groups_workers() -> None:
    expected = "dask.org/cluster-name=c,dask.org/component=worker,dask.org/workergroup-name=g"
    assert manifests.worker_selector("c", "g") == expected


def test_a_jobs_cluster() -> None:
    job = a_job(
        metadata=Metadata({"team": "a", "everywhere": "yes"}, {"hello": "world", "meta.helm.sh/release-name": "x"}),
        cluster_metadata=Metadata({"team": "b"}, {"foo": "bar"}),
    )
    made = manifests.job_cluster_manifest(job)
    assert (made["apiVersion"], made["kind"], made["spec"]) == (
        "kubernetes.dask.org/v1",
        "DaskCluster",
        job.cluster.spec,
    )
    metadata = made["metadata"]
    assert (metadata["name"], metadata["namespace"]) == ("simple", "default")
    assert metadata["labels"] == {"team": "b", "everywhere": "yes", "dask.org/cluster-name": "simple"}
    assert metadata["annotations"] == {"hello": "world", "foo": "bar"}
    (owner,) = metadata["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("DaskJob", job.uid, True)


def test_a_jobs_runner() -> None:
    job = a_job(
        metadata=Metadata({"team": "a", "dask.org/component": "mine"}, {"hello": "world"}),
        runner_metadata=Metadata({"sidecar.istio.io/inject": "true"}, {"foo": "bar"}),
    )
    pod = manifests.runner_manifest(job, a_cluster(), 0)
    assert pod["metadata"]["name"] == "simple-runner"
    assert pod["metadata"]["labels"] == {
        "team": "a",
        "sidecar.istio.io/inject": "true",
        "dask.org/cluster-name": "simple",
        "dask.org/component": "job-runner",
    }
    assert pod["metadata"]["annotations"] == {"hello": "world", "foo": "bar"}
    assert pod["metadata"]["ownerReferences"][0]["kind"] == "DaskJob"
    assert pod["spec"]["restartPolicy"] == "OnFailure"
    assert pod["spec"]["containers"][0]["env"] == [ADDRESS]
    assert (
        manifests.runner_manifest(a_job(), a_cluster(), 0)["metadata"]["labels"]["sidecar.istio.io/inject"] == "false"
    )
    later = manifests.runner_manifest(a_job(runner_spec={"restartPolicy": "Never"}), a_cluster(), 2)
    assert later["metadata"]["annotations"] == {"kubernetes.dask.org/attempt": "2"}
    assert later["spec"]["restartPolicy"] == "Never"


def test_the_runners_own_address_wins() -> None:
    own = {"name": "DASK_SCHEDULER_ADDRESS", "value": "tcp://elsewhere:1"}
    job = a_job(runner_spec={"containers": [{"name": "job", "env": [own]}]})
    assert manifests.runner_manifest(job, a_cluster(), 0)["spec"]["containers"][0]["env"] == [own]


@pytest.mark.parametrize("odd", [-1, True, 1.5, [], {}, "x", None, [None], [[]], [-1]])
@pytest.mark.parametrize("field", ["containers", "env", "command", "args", "name"])
def test_no_half_valid_container_is_an_error(field: str, odd: Any) -> None:
    container = {"name": "main", "env": [{"name": "A", "value": "b"}]}
    spec: dict[str, Any] = {"containers": [container | {field: odd}]}
    if field == "containers":
        spec = {"containers": odd}
    elif field == "name":
        spec = {"containers": [{"name": "main", "env": [{"name": odd}]}]}
    cluster = a_cluster(scheduler_spec=spec)
    manifests.deployment_manifest(cluster)
    manifests.scheduler_address(cluster)
    manifests.worker_manifests(cluster, a_group(worker_spec=spec), [0], 0)
    manifests.runner_manifest(a_job(runner_spec=spec), cluster, 0)
