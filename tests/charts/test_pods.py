"""Every Pod that comes of a chart may run where the release's own Pods may run."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from tests.charts.conftest import ROOT, Render
from tests.charts.renderings import CLUSTER, OPERATOR

from dask_operator import manifests, parse

Pod = dict[str, Any]
NODES = {
    "nodeSelector": {"pool": "dask"},
    "tolerations": [{"key": "dedicated", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
    "priorityClassName": "high",
}
SECRETS = [{"name": "regcred"}]
IDS = {"runAsUser": 1000650000, "runAsGroup": 1000650000, "fsGroup": 1000650000}
QUOTA = {"limits": {"cpu": 1, "memory": "1Gi"}, "requests": {"cpu": 1, "memory": "1Gi"}}
JOB: dict[str, Any] = {"job.enabled": True, "job.script": "pass", "job.resources": QUOTA}
GIVEN: dict[str, dict[str, Any]] = {
    CLUSTER: {
        **{f"{part}.{name}": value for part in ("scheduler", "worker") for name, value in NODES.items()},
        **{f"{part}.resources": QUOTA for part in ("scheduler", "worker", "test")},
        "workerGroups.a": {},
        "imagePullSecrets": SECRETS,
        "podSecurityContext": IDS,
    },
    OPERATOR: {
        **NODES,
        "resources": QUOTA,
        "test.resources": QUOTA,
        "imagePullSecrets": SECRETS,
        "podSecurityContext": IDS,
        "securityContext.runAsUser": None,
    },
}


def pods(manifest: Any) -> list[Pod]:
    """Return every Pod spec within a manifest, at any depth, also as JSON in a ConfigMap."""
    if isinstance(manifest, list):
        return [pod for item in manifest for pod in pods(item)]
    if isinstance(manifest, str) and manifest.startswith("{"):
        return pods(json.loads(manifest))
    if not isinstance(manifest, dict):
        return []
    below = [pod for value in manifest.values() for pod in pods(value)]
    return [manifest, *below] if "containers" in manifest else below


def rendered(render: Render, chart: str, values: dict[str, Any]) -> list[Pod]:
    return [pod for m in render(chart, values) if m["kind"] != "CustomResourceDefinition" for pod in pods(m)]


@pytest.mark.parametrize(("chart", "more"), [(CLUSTER, {}), (CLUSTER, JOB), (OPERATOR, {})])
def test_every_pod_may_run_where_the_release_may(render: Render, chart: str, more: dict[str, Any]) -> None:
    found = rendered(render, chart, GIVEN[chart] | more)
    assert len(found) == 4
    for pod in found:
        assert {name: pod.get(name) for name in NODES} == NODES
        assert pod["imagePullSecrets"] == SECRETS
        assert IDS.items() <= pod["securityContext"].items()
        for container in pod["containers"]:
            assert container["resources"] == QUOTA
            assert "runAsUser" not in container["securityContext"]


@pytest.mark.parametrize(
    ("chart", "values"),
    [
        (CLUSTER, {"podSecurityContext.runAsUser": None, "podSecurityContext.runAsGroup": None}),
        (OPERATOR, {"securityContext.runAsUser": None}),
    ],
)
def test_no_pod_has_an_id_where_ids_are_removed(render: Render, chart: str, values: dict[str, Any]) -> None:
    for more in ({}, JOB) if chart == CLUSTER else ({},):
        for pod in rendered(render, chart, values | more):
            contexts = (pod["securityContext"], *(it["securityContext"] for it in pod["containers"]))
            assert not {key for context in contexts for key in context} & {"runAsUser", "runAsGroup"}


@pytest.mark.parametrize("chart", [CLUSTER, OPERATOR])
def test_no_pod_of_helm_has_variables_for_each_service(render: Render, chart: str) -> None:
    # The controller does the same for the Pods of Dask resources, where an upgrade of the chart would restart them.
    helms = [m for m in render(chart, {}) if m["kind"] in ("Pod", "Job", "Deployment", "ConfigMap")]
    assert {pod.get("enableServiceLinks") for pod in pods(helms)} == {False}


@pytest.mark.parametrize(
    ("chart", "values", "count"),
    [(OPERATOR, {}, 4), (CLUSTER, {"workerGroups.a": {}}, 4), (CLUSTER, {"workerGroups.a": {}, **JOB}, 4)],
)
def test_every_pod_is_restricted(render: Render, chart: str, values: dict[str, Any], count: int) -> None:
    found = rendered(render, chart, values)
    assert len(found) == count
    for pod in found:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_a_pod_that_is_asked_to_has_its_account(render: Render) -> None:
    """Try what decides on the policies that admit a Pod, as on OpenShift."""
    for values in ({}, JOB):
        found = rendered(render, CLUSTER, {"serviceAccount.name": "mine", **values})
        assert {pod["serviceAccountName"] for pod in found} == {"mine"}


def test_node_autoscalers_are_told_which_pods_they_may_move(render: Render) -> None:
    """Try the values that the documentation shows, as far as the Pods that the controller makes of them."""
    page = (ROOT / "docs/dask-cluster.md").read_text().partition("## Nodes that come and go")[2]
    values = yaml.safe_load(page.partition("```yaml")[2].partition("```")[0])
    (manifest,) = (m for m in render(CLUSTER, values) if m["kind"] == "DaskCluster")
    stored = {"uid": "1", "resourceVersion": "1", "creationTimestamp": "2026-01-01T00:00:00Z"}
    cluster = parse.cluster(manifest | {"metadata": manifest["metadata"] | stored})
    group = manifests.group_manifest(cluster)
    group["metadata"] |= stored
    scheduler = manifests.deployment_manifest(cluster)["spec"]["template"]
    (worker,) = manifests.worker_manifests(cluster, parse.group(group), (0,), attempt=0)
    (job,) = (m["spec"]["job"] for m in render(CLUSTER, values | JOB) if m["kind"] == "DaskJob")
    evict = "cluster-autoscaler.kubernetes.io/safe-to-evict"
    found = [pod["metadata"]["annotations"][evict] for pod in (worker, scheduler, job)]
    assert found == ["true", "false", "false"]
