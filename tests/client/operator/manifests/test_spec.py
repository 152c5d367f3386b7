"""Arguments in, whole manifests out; each passes the schemas of the operator's chart."""

from __future__ import annotations

import copy
import functools
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ci.verify import crds
from ci.verify.schemas import crd_kinds
from jsonschema import Draft202012Validator
from tests.client.operator.manifests.objects import WORKER_ARGS, container

from dask_kubernetes.exceptions import ValidationError
from dask_kubernetes.operator.manifests import fields, spec
from dask_kubernetes.operator.manifests import names as agreed
from dask_kubernetes.operator.manifests.spec import (
    make_autoscaler,
    make_cluster_spec,
    make_scheduler_spec,
    make_worker_group,
    make_worker_spec,
)
from dask_operator import manifests, names, parse

CHARTS = Path(__file__).parents[4] / "charts"
CRDS = crds.load()
SCHEMAS = {kind.kind: kind.schema for crd in CRDS.values() for kind in crd_kinds(crd)}


def errors(manifest: dict[str, Any]) -> list[str]:
    return [error.message for error in Draft202012Validator(SCHEMAS[manifest["kind"]]).iter_errors(manifest)]


def nulls(value: Any) -> bool:
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return value is None or any(nulls(child) for child in children)


def test_a_whole_cluster() -> None:
    made = make_cluster_spec(
        "example",
        image="dask:1",
        n_workers=2,
        resources={"requests": {"memory": "2Gi"}, "limits": {"memory": "64Gi"}},
        env={"FOO": "bar"},
        scheduler_service_type="NodePort",
        idle_timeout=60,
        jupyter=True,
        restricted=False,
    )
    health = {"httpGet": {"path": "/health", "port": "http-dashboard"}, "timeoutSeconds": 10}
    common = {
        "image": "dask:1",
        "env": [{"name": "FOO", "value": "bar"}],
        "resources": {"requests": {"memory": "2Gi"}, "limits": {"memory": "64Gi"}},
    }
    worker = {
        "name": "worker",
        **common,
        "args": ["dask", "worker", *WORKER_ARGS],
        "ports": [{"name": "http-dashboard", "containerPort": 8788, "protocol": "TCP"}],
        "readinessProbe": {**health, "periodSeconds": 1, "failureThreshold": 30},
    }
    scheduler = {
        "name": "scheduler",
        **common,
        "args": ["dask", "scheduler", "--jupyter"],
        "ports": [
            {"name": "tcp-comm", "containerPort": 8786, "protocol": "TCP"},
            {"name": "http-dashboard", "containerPort": 8787, "protocol": "TCP"},
        ],
        "readinessProbe": {**health, "initialDelaySeconds": 0, "periodSeconds": 1, "failureThreshold": 30},
        "livenessProbe": {
            **health,
            "initialDelaySeconds": 600,
            "timeoutSeconds": 30,
            "periodSeconds": 30,
            "failureThreshold": 10,
        },
    }
    service = {
        "type": "NodePort",
        "selector": {"dask.org/cluster-name": "example", "dask.org/component": "scheduler"},
        "ports": [
            {"name": "tcp-comm", "protocol": "TCP", "port": 8786, "targetPort": "tcp-comm"},
            {"name": "http-dashboard", "protocol": "TCP", "port": 8787, "targetPort": "http-dashboard"},
        ],
    }
    assert made == {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskCluster",
        "metadata": {"name": "example"},
        "spec": {
            "idleTimeout": 60,
            "worker": {"replicas": 2, "spec": {"containers": [worker]}},
            "scheduler": {"spec": {"containers": [scheduler]}, "service": service},
        },
    }


@pytest.mark.parametrize(
    "manifest",
    [
        make_cluster_spec("c"),
        make_cluster_spec("c", drain_timeout=0),
        make_worker_group("c", "highmem", make_worker_spec(drain_timeout=31_536_000)),
        make_cluster_spec("c", n_workers=0, resources={"cpu": 0.5}, env={"A": 1}, idle_timeout=None),
        make_cluster_spec("c", env=[{"name": "A", "value": 1}], resources={"limits": {"nvidia.com/gpu": 1}}),
        make_worker_group("c", "highmem", make_worker_spec()),
        make_worker_group("c", "highmem", make_worker_spec(n_workers=None, env={}, resources={})),
        make_autoscaler("c", None, None),
        make_autoscaler("c", 1, 10),
    ],
    ids=lambda manifest: manifest["kind"],
)
def test_manifests_pass_the_schemas_and_have_no_nulls_as_they_are_sent(manifest: dict[str, Any]) -> None:
    sent = fields.without_nulls(manifest)
    assert errors(sent) == []
    assert not nulls(sent)
    if manifest["kind"] != "DaskCluster":
        assert manifest == sent


def of_operator(cluster: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the Pods that the operator makes of a DaskCluster and of another group of it."""
    sent = fields.without_nulls(cluster)
    sent["metadata"] |= {"namespace": "n", "uid": "u"}
    more = spec.make_additional_group(sent, "more", env={"A": "1"})
    more["metadata"] |= {"namespace": "n", "uid": "w"}
    parsed = parse.cluster(sent)
    default = parse.group(manifests.group_manifest(parsed) | {"metadata": {"name": "c-default", "uid": "v"}})
    return {
        "scheduler": manifests.deployment_manifest(parsed)["spec"]["template"]["spec"],
        "worker": manifests.worker_manifests(parsed, default, [0], 0)[0]["spec"],
        "more": manifests.worker_manifests(parsed, parse.group(more), [0], 0)[0]["spec"],
    }


@pytest.mark.parametrize("env", [None, {"EXTRA_PIP_PACKAGES": "s3fs"}])
def test_pods_comply_with_the_restricted_standard_and_have_no_token(env: Any) -> None:
    values = yaml.safe_load((CHARTS / "dask-cluster/values.yaml").read_text())
    for name, pod in of_operator(make_cluster_spec("c", env=env)).items():
        (only,) = pod["containers"]
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["securityContext"] == values["podSecurityContext"]
        assert only["securityContext"] == values["securityContext"]
        assert not {"hostNetwork", "hostPID", "hostIPC", "volumes"} & pod.keys()
        assert not any("hostPort" in port for port in only["ports"])
        home = [each["value"] for each in only["env"] if each["name"] == "HOME"]
        assert home == ([] if env is None and name != "more" else ["/tmp"])


def test_pods_are_as_the_user_says() -> None:
    """Check Pods with another user, which another group inherits, and with the image's own user."""
    cluster = make_cluster_spec("c", env={"HOME": "/home/rapids", "A": "1"})
    assert [each["name"] for each in container(cluster["spec"]["worker"])["env"]] == ["HOME", "A"]
    for part in ("worker", "scheduler"):
        cluster["spec"][part]["spec"]["securityContext"] |= {"runAsUser": 1001}
    assert {pod["securityContext"]["runAsUser"] for pod in of_operator(cluster).values()} == {1001}
    for pod in of_operator(make_cluster_spec("c", env={"A": "1"}, restricted=False)).values():
        assert not {"automountServiceAccountToken", "securityContext"} & pod.keys()
        assert "securityContext" not in pod["containers"][0]
        assert "HOME" not in [each["name"] for each in pod["containers"][0]["env"]]


# The keys of those that dask-kubernetes 2026.3.0 makes, where programs look for what to extend.
OF_WORKER = ("args", "env", "image", "name", "ports", "resources")
OF_SCHEDULER = (*OF_WORKER, "livenessProbe", "readinessProbe")


@pytest.mark.parametrize("given", [{}, {"n_workers": None}, {"env": {}, "resources": {}, "n_workers": 0}])
def test_programs_find_the_keys_that_they_extend(given: dict[str, Any]) -> None:
    cluster = make_cluster_spec("c", **given)["spec"]
    assert cluster.keys() >= {"idleTimeout", "scheduler", "worker"}
    assert cluster["worker"] == make_worker_spec(**{"n_workers": None} | given)
    assert cluster["worker"]["replicas"] == given.get("n_workers")
    assert container(cluster["worker"]).keys() >= set(OF_WORKER)
    assert container(cluster["scheduler"]).keys() >= set(OF_SCHEDULER)
    assert container(cluster["scheduler"])["readinessProbe"]["initialDelaySeconds"] == 0
    for part in ("worker", "scheduler"):
        only = container(cluster[part])
        assert (only["env"], only["resources"]) == (([], {}) if "env" in given else (None, None))
        only["env"] = (only["env"] or []) + [{"name": "A", "value": "1"}]
        only["resources"] = (only["resources"] or {}) | {"limits": {"nvidia.com/gpu": 1}}
        cluster[part]["spec"]["containers"] = [only]
    changed = make_cluster_spec("c", **given) | {"spec": cluster}
    assert errors(fields.without_nulls(changed)) == []
    assert container(fields.without_nulls(changed)["spec"]["worker"])["env"] == [{"name": "A", "value": "1"}]


def test_the_users_variables_come_first_and_in_their_order() -> None:
    names_in_order = ["Z", "A", "M"]
    for part in make_cluster_spec("c", env=dict.fromkeys(names_in_order, "x"))["spec"].values():
        if isinstance(part, dict):
            assert [each["name"] for each in container(part)["env"]][:3] == names_in_order


@pytest.mark.parametrize("number", ["10", 2.5, True, -1, 10_001])
def test_a_number_of_workers_that_cannot_be(number: Any) -> None:
    for make in (make_worker_spec, functools.partial(make_cluster_spec, "c")):
        with pytest.raises(ValidationError, match="n_workers is"):
            make(n_workers=number)


def test_probes_are_those_of_the_chart_of_clusters() -> None:
    text = (CHARTS / "dask-cluster/templates/pod/_containers.tpl").read_text()
    (part,) = re.findall(r'define "dask-cluster.schedulerPorts" -}}\n(.*?){{- end }}', text, re.DOTALL)
    (health,) = re.findall(r'define "dask-cluster.health" }}\n(.*?){{- end }}', text, re.DOTALL)
    rendered = yaml.safe_load(re.sub(r'{{ include "dask-cluster.health" \. }}', f"\n{health.rstrip()}", part))
    # The chart allows the same time to start by a startup probe, which would delay the waiting user by a second.
    startup = rendered.pop("startupProbe")
    rendered["livenessProbe"]["initialDelaySeconds"] = startup["periodSeconds"] * startup["failureThreshold"]
    rendered["readinessProbe"]["initialDelaySeconds"] = 0
    assert rendered == spec.scheduler_ports_and_probes()


def test_labels_are_those_of_the_operator() -> None:
    group = make_worker_group("c", "highmem", {})
    assert group["metadata"] == {
        "name": "c-highmem",
        "labels": {names.CLUSTER_LABEL: "c", names.COMPONENT_LABEL: names.WORKER_GROUP},
    }
    selector = make_scheduler_spec("c")["service"]["selector"]
    assert selector == {names.CLUSTER_LABEL: "c", names.COMPONENT_LABEL: names.SCHEDULER}
    assert names.default_group("c") == make_worker_group("c", "default", {})["metadata"]["name"]
    assert (agreed.COMM_PORT, agreed.DASHBOARD_PORT) == (names.COMM_PORT, names.DASHBOARD_PORT)
    assert f"$({names.WORKER_NAME_ENV})" in container(make_worker_spec())["args"]


def test_rule_for_names_is_that_of_the_definitions() -> None:
    rules = " ".join(rule["rule"] for rule in crds.schema(CRDS["daskcluster"])["x-kubernetes-validations"])
    assert re.findall(r"size\(self\.metadata\.name\) <= (\d+)", rules) == [str(fields.LONGEST_CLUSTER_NAME)]
    assert re.findall(r"matches\('\^(.*?)\$'\)", rules) == [fields.CLUSTER_NAME.pattern]
    (rule,) = crds.schema(CRDS["daskworkergroup"])["x-kubernetes-validations"]
    assert rule["rule"].endswith(f"size(self.metadata.name) <= {fields.LONGEST_GROUP_NAME}")


@pytest.mark.parametrize("name", ["", "High", "a_b", "a" * 62, "x-", "a.-b"])
def test_groups_that_cannot_be(name: str) -> None:
    with pytest.raises(ValidationError, match="cannot be called"):
        make_worker_group("c", name, {})


def test_what_a_user_edits_is_theirs_alone() -> None:
    env = [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]
    resources = {"limits": {"cpu": 1}}
    command = ["dask", "worker"]
    given = copy.deepcopy((env, resources, command))
    made = make_cluster_spec("c", env=env, resources=resources, worker_command=command)
    worker, scheduler = made["spec"]["worker"]["spec"], made["spec"]["scheduler"]["spec"]
    worker["nodeSelector"] = {"disktype": "ssd"}
    worker["imagePullSecrets"] = [{"name": "regcred"}]
    scheduler["containers"][0]["args"].append("--jupyter")
    worker["containers"][0]["env"][0]["valueFrom"]["secretKeyRef"]["key"] = "other"
    worker["containers"][0]["resources"]["limits"]["cpu"] = 2
    worker["containers"][0]["args"].append("--nthreads=2")
    worker["containers"][0]["readinessProbe"]["httpGet"]["path"] = "/other"
    assert scheduler["containers"][0] == container(
        make_scheduler_spec("c", env=given[0], resources=given[1], jupyter=True)
    )
    assert (env, resources, command) == given
    assert container(make_worker_spec())["readinessProbe"]["httpGet"]["path"] == "/health"


def test_a_group_shares_nothing_with_its_spec() -> None:
    workers = make_worker_spec(cluster_name="has no effect", n_workers=2, resources={"limits": {"nvidia.com/gpu": 1}})
    workers["spec"]["nodeSelector"] = {"pool": "gpu"}
    group = make_worker_group("c", "gpu", workers)
    assert group["spec"] == {"cluster": "c", "worker": fields.without_nulls(workers)}
    group["spec"]["worker"]["spec"]["nodeSelector"]["pool"] = "other"
    assert workers["spec"]["nodeSelector"] == {"pool": "gpu"}


def test_a_cluster_name_changes_nothing_in_workers() -> None:
    assert make_worker_spec(cluster_name="c") == make_worker_spec()


def test_an_autoscaler() -> None:
    assert make_autoscaler("c", 1, None) == {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskAutoscaler",
        "metadata": {"name": "c", "labels": {"dask.org/cluster-name": "c", "dask.org/component": "autoscaler"}},
        "spec": {"cluster": "c", "minimum": 1},
    }


@pytest.mark.parametrize(
    ("minimum", "maximum", "problem"),
    [(2, 1, "minimum must not be greater"), (-1, None, "minimum is -1"), (0, 1.5, "maximum is 1.5")],
)
def test_an_autoscaler_that_cannot_be(minimum: Any, maximum: Any, problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        make_autoscaler("c", minimum, maximum)


def test_an_additional_group_is_as_the_default_group_but_for_what_is_said() -> None:
    cluster = make_cluster_spec(
        "c", image="dask:1", resources={"cpu": 1}, env={"A": "1"}, worker_command="dask-cuda-worker --x"
    )
    before = copy.deepcopy(cluster)
    same = spec.make_additional_group(cluster, "more")
    assert same == make_worker_group("c", "more", {"replicas": 3, "spec": cluster["spec"]["worker"]["spec"]})
    same["spec"]["worker"]["spec"]["containers"][0]["args"].append("--y")
    same["spec"]["worker"]["spec"]["containers"][0]["env"][0]["value"] = "2"
    assert cluster == before
    other: dict[str, Any] = {"image": "dask:2", "resources": {}, "env": {}, "worker_command": "dask worker"}
    assert spec.make_additional_group(cluster, "other", 5, **other) == make_worker_group(
        "c", "other", make_worker_spec("dask:2", 5, {}, {})
    )


def test_an_additional_group_of_a_cluster_that_has_a_command() -> None:
    cluster = make_cluster_spec("c", n_workers=7)
    (worker,) = cluster["spec"]["worker"]["spec"]["containers"]
    worker |= {"command": ["tini", "--"], "args": None}
    assert container(spec.make_additional_group(cluster, "x")["spec"]["worker"])["command"] == ["tini", "--"]
    assert "command" not in container(
        spec.make_additional_group(cluster, "x", worker_command="dask worker")["spec"]["worker"]
    )
    assert spec.make_additional_group(cluster, "x", None)["spec"]["worker"]["replicas"] == 7


@pytest.mark.parametrize(
    ("clusters", "own", "seconds"), [(600, None, 600), (600, 0, 0), (None, 60, 60), (None, None, None)]
)
def test_an_additional_group_has_the_clusters_time_to_drain_or_its_own(
    clusters: int | None, own: int | None, seconds: int | None
) -> None:
    cluster = make_cluster_spec("c", drain_timeout=clusters)
    worker = spec.make_additional_group(cluster, "x", drain_timeout=own)["spec"]["worker"]
    assert worker.get("drainTimeoutSeconds") == seconds


def test_the_operator_gives_workers_the_time_to_drain() -> None:
    pods = of_operator(make_cluster_spec("c", drain_timeout=600))
    assert pods["more"]["terminationGracePeriodSeconds"] == pods["worker"]["terminationGracePeriodSeconds"] == 610
    assert "terminationGracePeriodSeconds" not in pods["scheduler"]


def test_an_additional_group_of_its_own() -> None:
    workers = make_worker_spec(n_workers=1)
    assert spec.make_additional_group(make_cluster_spec("c"), "x", custom_spec=workers) == make_worker_group(
        "c", "x", workers
    )


def test_an_additional_group_that_cannot_be() -> None:
    with pytest.raises(ValidationError, match="n_workers is -1"):
        spec.make_additional_group(make_cluster_spec("c"), "x", -1)
