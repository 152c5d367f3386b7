"""Every value of both charts has an effect, and copies of one fact are equal."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ci.generate import Value, read
from dask.utils import parse_bytes
from tests.charts.conftest import ROOT, Render

DIGEST = "sha256:" + "0" * 64
ENV = {"A": "b"}
NAMED = [{"name": "a"}]
PLACED = {
    "labels": ENV,
    "annotations": ENV,
    "nodeSelector": ENV,
    "tolerations": [{"operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "priorityClassName": "high",
}
SPREAD = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
VOLUMES = {"a": {"mountPath": "/a", "emptyDir": {}}}
PART = {"resources": {"limits": {"cpu": 3}}, "env": ENV, "extraArgs": ["--a"], "volumes": VOLUMES, **PLACED}
PART["image"] = {"tag": "other"}
# A value that every part inherits; each part's own value has the same effect.
PART["topologySpreadConstraints"] = [SPREAD | {"labelSelector": {}}]
PART["podTemplate"] = {"spec": {"hostNetwork": True}}
WORKER = {
    **PART,
    "replicas": 7,
    "threads": 7,
    "memoryLimit": "7GiB",
    "lifetime": "7 hours",
    "lifetimeStagger": "7 minutes",
    "drainTimeoutSeconds": 7,
    "retireOnTermination": True,
    "terminationGracePeriodSeconds": 7,
}
PROBE = ("periodSeconds", "timeoutSeconds", "failureThreshold")

MONITOR = {
    "namespace": "other",
    "additionalLabels": ENV,
    "interval": "7s",
    "jobLabel": "other",
    "metricRelabelings": [{"action": "labeldrop", "regex": "a"}],
}
SELECTED = {"namespaceSelector": {"matchNames": ["a"]}}

# Another value for each, which must change the rendering.
OTHERS: dict[str, dict[str, Any]] = {
    "dask-kubernetes-operator": {
        "global.imageRegistry": "mirror.example.com",
        "scope": "own",
        "watchNodes": True,
        "kueue.enabled": True,
        "replicas": 7,
        "image.name": "other",
        "image.tag": "other",
        "image.digest": DIGEST,
        "image.pullPolicy": "Always",
        "imagePullSecrets": NAMED,
        "nameOverride": "other",
        "fullnameOverride": "other",
        "crds.install": False,
        "crds.keep": False,
        "serviceAccount.create": False,
        "serviceAccount.annotations": ENV,
        "serviceAccount.name": "other",
        "serviceAccount.automount": False,
        "rbac.create": False,
        "rbac.cluster": False,
        "rbac.extraRules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}],
        "rbac.aggregate.kubernetes": False,
        "rbac.aggregate.kubeflow": True,
        "rbac.clientRole.create": True,
        "rbac.clientRole.name": "other",
        "commonLabels": ENV,
        "deploymentAnnotations": ENV,
        "podLabels": ENV,
        "podAnnotations": ENV,
        "podSecurityContext": {"fsGroup": 5},
        "securityContext": {"runAsUser": 5},
        "resources": {"limits": {"cpu": 3}},
        "volumes": [{"name": "a", "emptyDir": {}}],
        "volumeMounts": [{"name": "a", "mountPath": "/a"}],
        "extraEnv": [{"name": "A", "value": "b"}],
        "extraEnvFrom": [{"configMapRef": {"name": "a"}}],
        "extraInitContainers": NAMED,
        "extraContainers": NAMED,
        "extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}],
        "nodeSelector": ENV,
        "tolerations": [{"operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "high",
        "topologySpreadConstraints": [SPREAD],
        "podDisruptionBudget.enabled": True,
        "podDisruptionBudget.minAvailable": 0,
        "podDisruptionBudget.maxUnavailable": "50%",
        "networkPolicy.enabled": True,
        "networkPolicy.metricsFrom": [{"podSelector": {}}],
        "networkPolicy.apiServerPorts": [7],
        "networkPolicy.extraEgress": [{"ports": [{"port": 7}]}],
        **{f"{probe}Probe.{name}": 17 for probe in ("startup", "readiness", "liveness") for name in PROBE},
        "terminationGracePeriodSeconds": 17,
        "revisionHistoryLimit": 17,
        "kopfArgs": ["--verbose"],
        "workerAllocation.size": 7,
        "workerAllocation.delay": 1.5,
        "leaderElection.leaseDuration": 37,
        "leaderElection.renewDeadline": 9.5,
        "leaderElection.retryPeriod": 1.5,
        "metrics.scheduler.enabled": True,
        "metrics.scheduler.serviceMonitor.enabled": True,
        **{f"metrics.scheduler.serviceMonitor.{name}": value for name, value in (MONITOR | SELECTED).items()},
        "metrics.scheduler.serviceMonitor.targetLabels": ["a"],
        "metrics.worker.enabled": True,
        "metrics.worker.podMonitor.enabled": True,
        **{f"metrics.worker.podMonitor.{name}": value for name, value in (MONITOR | SELECTED).items()},
        "metrics.worker.podMonitor.podTargetLabels": ["a"],
        "metrics.worker.serviceMonitor": {"enabled": True},
        "metrics.controller.podMonitor.enabled": True,
        **{f"metrics.controller.podMonitor.{name}": value for name, value in MONITOR.items()},
        "metrics.controller.podMonitor.podTargetLabels": ["a"],
        "metrics.prometheusRule.enabled": True,
        "metrics.prometheusRule.namespace": "other",
        "metrics.prometheusRule.additionalLabels": ENV,
        "metrics.dashboards.enabled": True,
        "metrics.dashboards.namespace": "other",
        "metrics.dashboards.labels": ENV,
        "metrics.dashboards.annotations": ENV,
        "test.image.name": "other",
        "test.image.tag": "other",
        "test.image.digest": DIGEST,
        "test.image.pullPolicy": "Always",
        "test.timeoutSeconds": 7,
        "test.resources": {"limits": {"memory": "3Gi"}},
    },
    "dask-cluster": {
        "global.imageRegistry": "mirror.example.com",
        "nameOverride": "other",
        "fullnameOverride": "other",
        "labels": ENV,
        "annotations": ENV,
        "image.registry": "other.example.com",
        "image.repository": "other",
        "image.tag": "other",
        "image.digest": DIGEST,
        "image.pullPolicy": "Always",
        "imagePullSecrets": NAMED,
        "serviceAccount.create": True,
        "serviceAccount.name": "other",
        "serviceAccount.annotations": ENV,
        "serviceAccount.automount": True,
        "env": ENV,
        "config": ENV,
        "volumes": VOLUMES,
        "podSecurityContext": {"fsGroup": 5},
        "securityContext": {"runAsUser": 5},
        "idleTimeout": 7,
        "suspend": True,
        "jupyter.enabled": True,
        "tls.enabled": True,
        "tls.secretName": "other",
        "tls.certManager.issuerRef.name": "other",
        "tls.certManager.issuerRef.kind": "ClusterIssuer",
        "tls.certManager.issuerRef.group": "example.com",
        "tls.certManager.duration": "7h",
        "tls.certManager.renewBefore": "7h",
        **{f"scheduler.{name}": value for name, value in PART.items()},
        "scheduler.service.type": "NodePort",
        "scheduler.service.ipFamilyPolicy": "PreferDualStack",
        "scheduler.service.annotations": ENV,
        "scheduler.ingress.enabled": True,
        "scheduler.ingress.className": "other",
        "scheduler.ingress.annotations": ENV,
        "scheduler.ingress.host": "other.example.com",
        "scheduler.ingress.tls.secretName": "other",
        "scheduler.httpRoute.enabled": True,
        "scheduler.httpRoute.annotations": ENV,
        "scheduler.httpRoute.parentRefs": [{"name": "other"}],
        "scheduler.httpRoute.hostnames": ["other.example.com"],
        **{f"worker.{name}": value for name, value in WORKER.items()},
        "worker.autoscaler.enabled": True,
        "worker.autoscaler.minimum": 7,
        "worker.autoscaler.maximum": 7,
        "worker.autoscaler.behavior": {"scaleUp": {"selectPolicy": "Min"}},
        "workerGroups": {"a": {}},
        "networkPolicy.enabled": True,
        **{f"networkPolicy.{name}": [{"podSelector": {}}] for name in ("clients", "monitoring", "dashboard")},
        "networkPolicy.controller.namespace": "other",
        "networkPolicy.controller.namespaceSelector": {"matchLabels": ENV},
        "networkPolicy.controller.podSelector": {"matchLabels": ENV},
        "networkPolicy.controller.ipBlock": {"cidr": "10.0.0.0/8"},
        **{f"{kind}Monitor.enabled": True for kind in ("service", "pod")},
        **{f"{kind}Monitor.labels": ENV for kind in ("service", "pod")},
        **{f"{kind}Monitor.interval": "7s" for kind in ("service", "pod")},
        "job.enabled": True,
        "job.script": "print()",
        "job.configMap.name": "other",
        "job.configMap.key": "other.py",
        "job.args": ["--a"],
        "job.env": ENV,
        "job.resources": {"limits": {"cpu": 3}},
        "job.backoffLimit": 7,
        "job.activeDeadlineSeconds": 7,
        "job.ttlSecondsAfterFinished": 7,
        "job.podTemplate": {"spec": {"hostNetwork": True}},
        "test.timeoutSeconds": 7,
        "test.resources": {"limits": {"memory": "3Gi"}},
    },
}

# The values that make a value matter: for all with this prefix, unless they have their own.
GIVEN: dict[str, dict[str, Any]] = {
    "rbac.clientRole.": {"rbac.clientRole.create": True},
    "podDisruptionBudget.": {"podDisruptionBudget.enabled": True},
    "networkPolicy.controller.namespaceSelector": {"networkPolicy.enabled": True},
    "networkPolicy.controller.ipBlock": {"networkPolicy.enabled": True},
    "networkPolicy.": {"networkPolicy.enabled": True},
    "metrics.scheduler.enabled": {"metrics.scheduler.serviceMonitor.enabled": True},
    "metrics.scheduler.serviceMonitor.": {
        "metrics.scheduler.enabled": True,
        "metrics.scheduler.serviceMonitor.enabled": True,
    },
    "metrics.worker.enabled": {"metrics.worker.podMonitor.enabled": True},
    "metrics.worker.podMonitor.": {"metrics.worker.enabled": True, "metrics.worker.podMonitor.enabled": True},
    "metrics.worker.serviceMonitor": {"metrics.worker.enabled": True},
    "metrics.controller.podMonitor.": {"metrics.controller.podMonitor.enabled": True},
    "metrics.prometheusRule.": {"metrics.controller.podMonitor.enabled": True, "metrics.prometheusRule.enabled": True},
    "metrics.dashboards.": {"metrics.dashboards.enabled": True},
    "scheduler.ingress.": {"scheduler.ingress.enabled": True, "scheduler.ingress.host": "dask.example.com"},
    "scheduler.httpRoute.": {"scheduler.httpRoute.enabled": True, "scheduler.httpRoute.parentRefs": NAMED},
    "serviceMonitor.": {"serviceMonitor.enabled": True},
    "podMonitor.": {"podMonitor.enabled": True},
    "job.script": {"job.enabled": True},
    "job.configMap.key": {"job.enabled": True, "job.configMap.name": "given"},
    "job.configMap.": {"job.enabled": True},
    "job.": {"job.enabled": True, "job.script": "pass"},
    "serviceAccount.annotations": {"serviceAccount.create": True},
    "jupyter.": {"env.EXTRA_PIP_PACKAGES": "jupyterlab"},
    "tls.": {"tls.enabled": True, "tls.certManager.issuerRef.name": "authority"},
    "worker.autoscaler.": {"worker.autoscaler.enabled": True},
}

# The same for differences between the charts.
GIVEN_OF: dict[str, dict[str, dict[str, Any]]] = {
    "dask-kubernetes-operator": {},
    "dask-cluster": {
        "networkPolicy.": {"networkPolicy.enabled": True, "networkPolicy.controller.namespace": "operator"},
    },
}


def given(chart: str, path: str) -> dict[str, Any]:
    every = GIVEN | GIVEN_OF[chart]
    values = next((values for prefix, values in every.items() if path.startswith(prefix)), {})
    return {name: value for name, value in values.items() if name != path}


def text_of(path: str) -> str:
    return (ROOT / path).read_text()


def values_of(chart: str) -> Value:
    return read(text_of(f"charts/{chart}/values.yaml"))


def test_every_value_is_tried() -> None:
    for chart, others in OTHERS.items():
        assert set(others) == {value.path for value in values_of(chart).documented()}


@pytest.mark.parametrize(("chart", "path"), [(chart, path) for chart, others in OTHERS.items() for path in others])
def test_value_changes_what_is_rendered(render: Render, chart: str, path: str) -> None:
    before = given(chart, path)
    assert outcome(render, chart, {**before, path: OTHERS[chart][path]}) != outcome(render, chart, before)


def outcome(render: Render, chart: str, values: dict[str, Any]) -> object:
    """Return the rendering, or the reason of the refusal."""
    try:
        return render(chart, values)
    except AssertionError as refused:
        return str(refused)


CLUSTER_LABEL = "dask.org/cluster-name"
_MONITOR_BEFORE: dict[str, Any] = {
    "enabled": False,
    "namespace": "",
    "namespaceSelector": {},
    "additionalLabels": {},
    "interval": "15s",
    "jobLabel": "",
    "metricRelabelings": [],
}
# Values for the chart of the Python package's operator, with that chart's defaults.
BEFORE: dict[str, Any] = {
    "image": {"name": "ghcr.io/dask/dask-kubernetes-operator", "tag": "2026.3.0", "pullPolicy": "IfNotPresent"},
    "imagePullSecrets": [],
    "nameOverride": "",
    "fullnameOverride": "",
    "serviceAccount": {"create": True, "annotations": {}, "name": ""},
    "rbac": {"create": True, "cluster": True},
    "podAnnotations": {},
    "podSecurityContext": {},
    "securityContext": {
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
    },
    "resources": {},
    "volumes": [],
    "volumeMounts": [],
    "extraEnv": [],
    "nodeSelector": {},
    "tolerations": [],
    "affinity": {},
    "priorityClassName": None,
    "livenessProbe": {"timeoutSeconds": 5},
    "kopfArgs": ["--all-namespaces"],
    "metrics": {
        "scheduler": {
            "enabled": False,
            "serviceMonitor": _MONITOR_BEFORE | {"targetLabels": ["dask.org/cluster-name"]},
        },
        "worker": {"enabled": False, "podMonitor": _MONITOR_BEFORE | {"podTargetLabels": ["dask.org/cluster-name"]}},
    },
    "workerAllocation": {"size": None, "delay": None},
}


def sections(chart: str) -> set[str]:
    """Return the maps of values.yaml whose parts are documented one by one."""
    return {value.path for value in values_of(chart).all() if value.path and value.parts}


# Values required for any rendering.
NEEDED = {
    "dask-kubernetes-operator": {
        *("image.name", "test.image.name", "test.timeoutSeconds", "replicas", "rbac.clientRole.name"),
        *("serviceAccount.create", "serviceAccount.automount"),
    },
    "dask-cluster": {
        *("image.repository", "tls.enabled", "job.configMap.key", "test.timeoutSeconds"),
        *("serviceAccount.create", "serviceAccount.automount"),
    },
}


@pytest.mark.parametrize(
    ("chart", "path"), [(chart, path) for chart, needed in NEEDED.items() for path in sorted(needed | sections(chart))]
)
def test_what_is_null_is_missed_by_its_name_where_it_is_needed(render: Render, chart: str, path: str) -> None:
    found = outcome(render, chart, {path: None})
    said = isinstance(found, str)
    assert said or path not in NEEDED[chart]
    assert not said or f"missing property '{path.rpartition('.')[2]}'" in str(found)


def test_template_of_a_pod_that_is_null_adds_nothing(render: Render) -> None:
    nothing = {f"{part}.podTemplate": None for part in ("scheduler", "worker", "job")}
    assert render("dask-cluster", nothing | JOB) == render("dask-cluster", JOB)


def test_values_of_the_operator_before_are_accepted(render: Render) -> None:
    manifests = render("dask-kubernetes-operator", BEFORE)
    (deployment,) = (manifest for manifest in manifests if manifest["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "ghcr.io/dask/dask-kubernetes-operator:2026.3.0"
    assert container["args"].count("--all-namespaces") == 1
    one_namespace = {**BEFORE, "rbac": {"create": True, "cluster": False}, "kopfArgs": ["--namespace=mine"]}
    roles = [m for m in render("dask-kubernetes-operator", one_namespace) if m["kind"].endswith("Role")]
    assert {(m["kind"], m["metadata"]["namespace"]) for m in roles} == {("Role", "mine"), ("Role", "dask")}


@pytest.mark.parametrize("path", list(WORKER))
def test_group_overrides_whatever_workers_have(render: Render, path: str) -> None:
    inherited = render("dask-cluster", {"workerGroups.a": {}})
    overridden = render("dask-cluster", {f"workerGroups.a.{path}": WORKER[path]})
    assert [m for m in inherited if m["kind"] == "DaskCluster"] == [m for m in overridden if m["kind"] == "DaskCluster"]
    assert inherited != overridden


def test_group_is_like_the_workers(render: Render) -> None:
    manifests = render("dask-cluster", {"workerGroups.a": {}, **{f"worker.{path}": WORKER[path] for path in WORKER}})
    (cluster,) = (manifest for manifest in manifests if manifest["kind"] == "DaskCluster")
    (group,) = (manifest for manifest in manifests if manifest["kind"] == "DaskWorkerGroup")
    assert group["spec"]["worker"] == cluster["spec"]["worker"]


def test_charts_and_images_have_one_version_of_dask() -> None:
    cluster = yaml.safe_load(text_of("charts/dask-cluster/Chart.yaml"))
    operator = yaml.safe_load(text_of("charts/dask-kubernetes-operator/values.yaml"))
    assert operator["test"]["image"]["tag"] == f"{cluster['appVersion']}-py3.13"
    required = re.search(r"^dask\[.*\]==(\S+)$", text_of("ci/images/dask/requirements.in"), re.MULTILINE)
    assert required
    assert required[1] == cluster["appVersion"]


def test_the_image_that_is_announced_is_the_one_that_runs(render: Render) -> None:
    chart = yaml.safe_load(text_of("charts/dask-kubernetes-operator/Chart.yaml"))
    (announced,) = yaml.safe_load(chart["annotations"]["artifacthub.io/images"])
    (deployment,) = (m for m in render("dask-kubernetes-operator") if m["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert (announced["name"], announced["image"]) == (container["name"], container["image"])


def test_crds_are_printed_once(render: Render) -> None:
    manifests = render("dask-kubernetes-operator")
    names = [m["metadata"]["name"] for m in manifests if m["kind"] == "CustomResourceDefinition"]
    assert len(names) == len(set(names)) == 4


def test_crds_are_rendered_as_they_are_written(render: Render) -> None:
    rendered = {m["metadata"]["name"]: m["spec"] for m in render("dask-kubernetes-operator") if "Custom" in m["kind"]}
    for path in sorted((ROOT / "charts/dask-kubernetes-operator/files/crds").glob("*.yaml")):
        written = yaml.safe_load(path.read_text())
        assert rendered[written["metadata"]["name"]] == written["spec"]


@pytest.mark.parametrize(
    ("quantity", "size"),
    [
        ("1048576", 2**20),
        ("7k", 7 * 10**3),
        ("7Ki", 7 * 2**10),
        ("7M", 7 * 10**6),
        ("7Mi", 7 * 2**20),
        ("7G", 7 * 10**9),
        ("1.5Gi", 3 * 2**29),
        ("7T", 7 * 10**12),
        ("7Ti", 7 * 2**40),
        ("7P", 7 * 10**15),
        ("7Pi", 7 * 2**50),
        ("7e9", 7 * 10**9),
    ],
)
def test_memory_means_the_same_to_dask_and_kubernetes(render: Render, quantity: str, size: int) -> None:
    manifests = render("dask-cluster", {"worker.resources.limits.memory": quantity})
    (cluster,) = (manifest for manifest in manifests if manifest["kind"] == "DaskCluster")
    args = cluster["spec"]["worker"]["spec"]["containers"][0]["args"]
    assert parse_bytes(args[args.index("--memory-limit") + 1]) == size


JOB: dict[str, Any] = {"job.enabled": True, "job.script": "pass"}


def test_cluster_of_a_job_is_that_of_a_release_without_one(render: Render) -> None:
    (cluster,) = (manifest for manifest in render("dask-cluster") if manifest["kind"] == "DaskCluster")
    (job,) = (manifest for manifest in render("dask-cluster", JOB) if manifest["kind"].startswith("Dask"))
    assert job["kind"] == "DaskJob"
    assert job["spec"]["cluster"]["spec"] == cluster["spec"]


def test_labels_that_reach_pods_do_not_change_with_the_chart(render: Render) -> None:
    for manifest in (*render("dask-cluster", {"workerGroups.a": {}}), *render("dask-cluster", JOB)):
        if manifest["kind"].startswith("Dask"):
            assert not {"helm.sh/chart", "app.kubernetes.io/version"} & set(manifest["metadata"]["labels"])


@pytest.mark.parametrize("chart", list(OTHERS))
def test_release_is_small(chart: str) -> None:
    """Check the size: Helm stores the chart's files and the rendering in a Secret of at most 1 MiB."""
    carried = sum(path.stat().st_size for path in Path(ROOT / "charts" / chart).rglob("*") if path.is_file())
    assert carried < 512 * 1024
