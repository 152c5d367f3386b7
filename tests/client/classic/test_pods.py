"""A worker's Pod in, the operator's DaskCluster out."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import dask.config
import pytest
import yaml
from ci.verify import crds
from ci.verify.schemas import crd_kinds
from jsonschema import Draft202012Validator

import dask_kubernetes
from dask_kubernetes import classic
from dask_kubernetes.classic import pods
from dask_kubernetes.classic.pods import (
    bounded,
    configured_template,
    ignored,
    make_pod_from_dict,
    make_pod_spec,
    manifest,
    operator_arguments,
    pod_template,
)
from dask_kubernetes.exceptions import ValidationError
from dask_kubernetes.operator.settings import Settings
from dask_kubernetes.operator.spec import make_cluster_spec, make_scheduler_spec, scheduler_ports_and_probes

SCHEMAS = {kind.kind: kind.schema for crd in crds.load().values() for kind in crd_kinds(crd)}
# The documentation's worker-spec.yml
WORKER = yaml.safe_load("""
kind: Pod
metadata:
  labels:
    foo: bar
spec:
  restartPolicy: Never
  containers:
  - image: dask:1
    imagePullPolicy: IfNotPresent
    args: [dask-worker, --nthreads, '2', --no-dashboard, --memory-limit, 6GB, --death-timeout, '60']
    name: dask
    env:
      - name: EXTRA_PIP_PACKAGES
        value: git+https://github.com/dask/distributed
    resources:
      limits: {cpu: "2", memory: 6G}
      requests: {cpu: "2", memory: 6G}
""")


def tolerations(purpose: str) -> list[dict[str, str]]:
    common = {"operator": "Equal", "value": purpose, "effect": "NoSchedule"}
    return [{"key": key, **common} for key in ("k8s.dask.org/dedicated", "k8s.dask.org_dedicated")]


def affinity(purpose: str) -> dict[str, Any]:
    term = {"matchExpressions": [{"key": "k8s.dask.org/node-purpose", "operator": "In", "values": [purpose]}]}
    return {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"preference": term, "weight": 100}]}}


def made(template: Any, scheduler: Any = None, seek: str = "none", **arguments: Any) -> dict[str, Any]:
    cluster = manifest(template, Settings.of(**{"name": "c"} | arguments), scheduler, seek)
    errors = [error.message for error in Draft202012Validator(SCHEMAS["DaskCluster"]).iter_errors(cluster)]
    assert errors == []
    return cluster


def pod(**container: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"image": "dask:1", **container}]}}


def worker_container(cluster: dict[str, Any]) -> dict[str, Any]:
    return dict(cluster["spec"]["worker"]["spec"]["containers"][0])


def scheduler_container(cluster: dict[str, Any]) -> dict[str, Any]:
    return dict(cluster["spec"]["scheduler"]["spec"]["containers"][0])


def test_the_documented_pod() -> None:
    before = copy.deepcopy(WORKER)
    cluster = made(WORKER, seek="preferred", n_workers=2, idle_timeout="1 minute")
    (given,) = WORKER["spec"]["containers"]
    args = "dask worker --nthreads 2 --no-dashboard --memory-limit 6GB --death-timeout 60 --name $(DASK_WORKER_NAME)"
    scheduler = make_scheduler_spec("c", env=given["env"], image="dask:1")
    (container,) = scheduler["spec"]["containers"]
    assert cluster == {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskCluster",
        "metadata": {"name": "c"},
        "spec": {
            "idleTimeout": 60,
            "worker": {
                "replicas": 2,
                "metadata": {"labels": {"foo": "bar"}},
                "spec": {
                    "restartPolicy": "Never",
                    "containers": [{**given, "args": args.split()}],
                    "tolerations": tolerations("worker"),
                    "affinity": affinity("worker"),
                },
            },
            "scheduler": {
                "spec": {
                    "containers": [{**container, "imagePullPolicy": "IfNotPresent"}],
                    "tolerations": tolerations("scheduler"),
                    "affinity": affinity("scheduler"),
                },
                "service": scheduler["service"],
            },
        },
    }
    assert before == WORKER


@pytest.mark.parametrize(
    ("container", "command", "args"),
    [
        (
            {},
            None,
            "dask worker --name $(DASK_WORKER_NAME) --dashboard --dashboard-address 8788 --death-timeout 60",
        ),
        ({"args": ["dask-worker"]}, None, "dask worker --name $(DASK_WORKER_NAME) --death-timeout 60"),
        (
            {"args": ["dask-worker", "--nthreads", 2, "--no-bokeh"]},
            None,
            "dask worker --nthreads 2 --no-dashboard --name $(DASK_WORKER_NAME) --death-timeout 60",
        ),
        (
            {"args": ["dask-worker", "--name", "dask-worker", "--death-timeout=5"]},
            None,
            "dask worker --name dask-worker --death-timeout=5",
        ),
        ({"args": ["dask", "worker", "--name=x"]}, None, "dask worker --name=x --death-timeout 60"),
        ({"command": ["dask-worker"]}, "dask worker", "--name $(DASK_WORKER_NAME) --death-timeout 60"),
        (
            {"command": ["dask-worker"], "args": ["--nthreads", "2"]},
            "dask worker",
            "--nthreads 2 --name $(DASK_WORKER_NAME) --death-timeout 60",
        ),
        (
            {"command": ["tini", "-g", "--"], "args": ["dask-worker"]},
            "tini -g --",
            "dask worker --name $(DASK_WORKER_NAME) --death-timeout 60",
        ),
        (
            {"args": ["conda", "run", "-n", "env", "dask-worker"]},
            None,
            "conda run -n env dask worker --name $(DASK_WORKER_NAME) --death-timeout 60",
        ),
        (
            {"args": ["dask-cuda-worker", "--no-dashboard"]},
            None,
            "dask-cuda-worker --no-dashboard --name $(DASK_WORKER_NAME) --death-timeout 60",
        ),
        (
            {"command": ["python", "-m", "distributed.cli.dask_worker"]},
            "python -m distributed.cli.dask_worker",
            "--name $(DASK_WORKER_NAME) --death-timeout 60",
        ),
        ({"command": ["./start.sh"], "args": ["--fast"]}, "./start.sh", "--fast"),
        ({"command": ["./start.sh"]}, "./start.sh", None),
    ],
)
def test_how_workers_are_started(container: dict[str, Any], command: str | None, args: str | None) -> None:
    worker = worker_container(made(pod(**container)))
    assert worker.get("command") == (command and command.split())
    assert worker.get("args") == (args and args.split())
    assert "readinessProbe" not in worker, "a worker without a dashboard would never pass it"


def test_containers_get_names_and_images() -> None:
    containers = [{}, {"name": "sidecar", "image": "x"}, {"image": "y"}]
    worker = made({"spec": {"containers": containers}})["spec"]["worker"]["spec"]["containers"]
    assert [container["name"] for container in worker] == ["dask-0", "sidecar", "dask-2"]
    assert worker[0]["image"] == make_cluster_spec("c")["spec"]["worker"]["spec"]["containers"][0]["image"]


def test_environment_is_for_workers_and_scheduler() -> None:
    env = {"A": 1, "B": {"valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}}
    given = [{"name": "A", "value": "0"}, {"name": "C", "value": 3}]
    cluster = made(pod(env=given), env=env)
    expected = [{"name": "A", "value": "1"}, {"name": "C", "value": "3"}, {"name": "B", **env["B"]}]  # type: ignore[dict-item]
    assert worker_container(cluster)["env"] == scheduler_container(cluster)["env"] == expected
    cluster["spec"]["worker"]["spec"]["containers"][0]["env"][0]["value"] = "2"
    assert scheduler_container(cluster)["env"] == expected


def test_what_lets_a_scheduler_run_is_as_for_workers() -> None:
    shared = {
        "imagePullSecrets": [{"name": "regcred"}],
        "serviceAccountName": "dask",
        "nodeSelector": {"pool": "dask"},
        "tolerations": [{"key": "x", "operator": "Exists"}],
    }
    template = pod(resources={"limits": {"nvidia.com/gpu": 1}, "requests": {"cpu": 0.5}})
    template["spec"] |= shared
    cluster = made(template)
    worker, scheduler = cluster["spec"]["worker"]["spec"], cluster["spec"]["scheduler"]["spec"]
    assert worker["tolerations"] == [*shared["tolerations"], *tolerations("worker")]
    assert scheduler["tolerations"] == [*shared["tolerations"], *tolerations("scheduler")]
    assert {key: scheduler[key] for key in shared if key != "tolerations"} == {
        key: value for key, value in shared.items() if key != "tolerations"
    }
    assert "resources" not in scheduler_container(cluster)
    assert worker_container(cluster)["resources"] == {"limits": {"nvidia.com/gpu": 1}, "requests": {"cpu": "0.5"}}


def test_tolerations_are_not_repeated() -> None:
    template = pod()
    template["spec"]["tolerations"] = tolerations("worker")
    assert made(template)["spec"]["worker"]["spec"]["tolerations"] == tolerations("worker")


def test_affinity_is_added() -> None:
    own = {"podAffinity": {}, "nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1}]}}
    template = pod()
    template["spec"]["affinity"] = own
    worker = made(template, seek="preferred")["spec"]["worker"]["spec"]["affinity"]
    ours = affinity("worker")["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert worker["podAffinity"] == {}
    assert worker["nodeAffinity"] == {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1}, *ours]}
    required = made(pod(), seek="required")["spec"]["scheduler"]["spec"]["affinity"]["nodeAffinity"]
    (term,) = required["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term["matchExpressions"][0]["values"] == ["scheduler"]
    assert "affinity" not in made(pod())["spec"]["worker"]["spec"]
    with pytest.raises(ValidationError, match="one of none, preferred, required"):
        made(pod(), seek="often")


def test_metadata() -> None:
    template = pod() | {"metadata": {"name": "x", "namespace": "y", "labels": {"a": 1}, "annotations": {"b": "c"}}}
    cluster = made(template)
    assert cluster["metadata"] == {"name": "c"}
    assert cluster["spec"]["worker"]["metadata"] == {"labels": {"a": "1"}, "annotations": {"b": "c"}}
    assert "metadata" not in cluster["spec"]["scheduler"]


@pytest.mark.parametrize(
    ("container", "command", "args"),
    [
        ({}, None, "dask scheduler"),
        ({"args": ["dask-worker", "--nthreads", "2"]}, None, "dask scheduler"),
        ({"args": ["dask-scheduler", "--preload", "x"]}, None, "dask scheduler --preload x"),
        ({"command": ["dask-scheduler"]}, "dask scheduler", None),
        ({"command": ["tini", "--"], "args": ["dask-worker"]}, "tini --", "dask scheduler"),
    ],
)
def test_a_scheduler_of_its_own(container: dict[str, Any], command: str | None, args: str | None) -> None:
    template = pod(image="scheduler:1", env=[{"name": "B", "value": "b"}], **container)
    template["metadata"] = {"labels": {"a": "b"}}
    cluster = made(pod(), template, env={"A": "a"})
    scheduler = scheduler_container(cluster)
    assert scheduler.pop("command", None) == (command and command.split())
    assert scheduler.pop("args", None) == (args and args.split())
    env = [{"name": "B", "value": "b"}, {"name": "A", "value": "a"}]
    assert scheduler == {"name": "dask-0", "image": "scheduler:1", "env": env, **scheduler_ports_and_probes()}
    assert cluster["spec"]["scheduler"]["metadata"] == {"labels": {"a": "b"}}
    assert cluster["spec"]["scheduler"]["spec"]["tolerations"] == tolerations("scheduler")


def test_a_scheduler_keeps_what_it_says_of_ports_and_probes() -> None:
    ports = [{"name": "old", "containerPort": 8787}, {"name": "extra", "containerPort": 1}]
    scheduler = scheduler_container(made(pod(), pod(ports=ports, readinessProbe={"tcpSocket": {"port": 8786}})))
    assert scheduler["ports"] == [ports[1], *scheduler_ports_and_probes()["ports"]]
    assert scheduler["readinessProbe"] == {"tcpSocket": {"port": 8786}}


def test_jupyter_and_the_type_of_service_are_configured() -> None:
    with dask.config.set({"kubernetes.scheduler-jupyter": True, "kubernetes.scheduler-service-type": "NodePort"}):
        cluster = made(pod())
    assert scheduler_container(cluster)["args"] == ["dask", "scheduler", "--jupyter"]
    assert cluster["spec"]["scheduler"]["service"]["type"] == "NodePort"


def test_make_pod_spec() -> None:
    env = {"EXTRA_PIP_PACKAGES": "fastparquet"}
    assert make_pod_spec(
        "dask:1",
        labels={"a": "b"},
        threads_per_worker=4,
        env=env,
        extra_container_config={"securityContext": {"runAsUser": 1}, "env": [{"name": "B", "value": "c"}]},
        extra_pod_config={"nodeSelector": {"pool": "x"}, "restartPolicy": "OnFailure"},
        resources="GPU=2 MEM=10e9",
        memory_limit="4G",
        memory_request=1000.5,
        cpu_limit=0.5,
        cpu_request="250m",
        gpu_limit=2,
        annotations={"c": "d"},
    ) == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}},
        "spec": {
            "restartPolicy": "OnFailure",
            "nodeSelector": {"pool": "x"},
            "containers": [
                {
                    "name": "dask-worker",
                    "image": "dask:1",
                    "args": [
                        *[
                            "dask",
                            "worker",
                            "--name",
                            "$(DASK_WORKER_NAME)",
                            "--nthreads",
                            "4",
                            "--death-timeout",
                            "60",
                        ],
                        *["--memory-limit", "4G", "--resources", "GPU=2 MEM=10e9"],
                    ],
                    "env": [{"name": "EXTRA_PIP_PACKAGES", "value": "fastparquet"}, {"name": "B", "value": "c"}],
                    "resources": {
                        "limits": {"cpu": "0.5", "memory": "4G", "nvidia.com/gpu": 2},
                        "requests": {"cpu": "250m", "memory": "1000.5"},
                    },
                    "securityContext": {"runAsUser": 1},
                }
            ],
        },
    }
    assert env == {"EXTRA_PIP_PACKAGES": "fastparquet"}


def test_a_pod_spec_of_an_image_alone_is_edited_and_used() -> None:
    template = make_pod_spec("dask:1", memory_limit="auto")
    assert "resources" not in template["spec"]["containers"][0]
    template["metadata"]["labels"]["a"] = "b"
    template["spec"]["containers"][0]["args"].append("--no-nanny")
    args = worker_container(made(template))["args"]
    assert args == [*make_pod_spec("dask:1", memory_limit="auto")["spec"]["containers"][0]["args"], "--no-nanny"]
    assert make_pod_spec("dask:1")["metadata"]["labels"] == {}


def test_the_documented_merge_of_a_pod_into_a_cluster() -> None:
    cluster = make_cluster_spec(name="merge-example")
    cluster["spec"]["worker"]["spec"] = make_pod_spec("dask:1", cpu_limit=0.5)["spec"]
    assert list(Draft202012Validator(SCHEMAS["DaskCluster"]).iter_errors(cluster)) == []
    assert "$(DASK_WORKER_NAME)" in worker_container(cluster)["args"]


def test_make_pod_from_dict() -> None:
    given = {"metadata": {}, "spec": {"containers": [{"command": None, "image": "dask:1"}], "volumes": None}}
    before = copy.deepcopy(given)
    assert make_pod_from_dict(given) == {
        "metadata": {},
        "spec": {"containers": [{"image": "dask:1", "name": "dask-0"}]},
    }
    assert given == before


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ({"kind": "DaskCluster", "spec": {"containers": [{}]}}, "must be the manifest of a Pod"),
        (7, "must be the manifest of a Pod"),
        ({}, "at least one"),
        ({"spec": {"containers": []}}, "at least one"),
        ({"spec": {"containers": ["dask:1"]}}, "at least one"),
        ({"spec": "x"}, "at least one"),
    ],
)
def test_pods_that_are_none(template: Any, problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        pod_template(template)


@dataclass
class Container:
    """An object as Kubernetes clients that are generated have it."""

    attribute_map: ClassVar = {"image": "image", "image_pull_policy": "imagePullPolicy", "args": "args"}
    image: str
    image_pull_policy: str
    args: list[str] | None = None


@dataclass
class Spec:
    attribute_map: ClassVar = {"containers": "containers", "node_selector": "nodeSelector"}
    containers: list[Container]
    node_selector: dict[str, str]


@dataclass
class Pod:
    attribute_map: ClassVar = {"api_version": "apiVersion", "kind": "kind", "spec": "spec"}
    spec: Spec
    api_version: str = "v1"
    kind: str = "Pod"

    def to_dict(self) -> dict[str, Any]:
        return {"spec": {"containers": [{"image_pull_policy": "Always"}]}}


@dataclass
class Wrapped:
    """An object as other Kubernetes clients have it."""

    raw: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return self.raw


def test_objects_of_kubernetes_clients() -> None:
    expected = {
        "apiVersion": "v1",
        "kind": "Pod",
        "spec": {
            "containers": [{"image": "dask:1", "imagePullPolicy": "Always", "name": "dask-0"}],
            "nodeSelector": {"node_pool": "x"},
        },
    }
    assert pod_template(Pod(Spec([Container("dask:1", "Always")], {"node_pool": "x"}))) == expected
    assert pod_template(Wrapped(expected)) == expected


def test_a_template_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "worker.yaml"
    file.write_text("spec: {containers: [{image: '${REGISTRY}/dask:1', args: [$(DASK_SCHEDULER_ADDRESS)]}]}")
    monkeypatch.setenv("REGISTRY", "example.com")
    monkeypatch.setenv("FOLDER", str(tmp_path))
    expected = make_pod_from_dict(pod(image="example.com/dask:1", args=["$(DASK_SCHEDULER_ADDRESS)"]))
    assert pod_template(file) == pod_template(str(file)) == expected
    both = {"kubernetes.worker-template-path": "{FOLDER}/worker.yaml", "kubernetes.worker-template": pod()}
    with dask.config.set(both):
        assert configured_template() == expected


def test_a_configured_template() -> None:
    with dask.config.set({"kubernetes.worker-template": pod()}):
        assert operator_arguments(name="c")["custom_cluster_spec"] == made(pod(), seek="preferred")
    with pytest.raises(ValidationError, match="There is no pod template"):
        configured_template()
    with (
        dask.config.set({"kubernetes.worker-template-path": "{NO_SUCH_VARIABLE}/x"}),
        pytest.raises(ValidationError, match="NO_SUCH_VARIABLE"),
    ):
        configured_template()


@pytest.mark.parametrize(("text", "problem"), [(None, "cannot be read"), ("a: [", "is not YAML")])
def test_files_that_are_no_templates(text: str | None, problem: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "pod.yaml").write_text(text)
    with pytest.raises(ValidationError, match=problem):
        pod_template(tmp_path / "pod.yaml")


def test_arguments_of_the_operator() -> None:
    arguments = operator_arguments(pod(), "My_Cluster", "dask", 3, {"A": 1}, "1 hour", WORKER, "none", 5)
    assert arguments == {
        "custom_cluster_spec": made(
            pod(), WORKER, name="my-cluster", n_workers=3, env={"A": 1}, idle_timeout=3600, seek="none"
        ),
        "namespace": "dask",
        "resource_timeout": 5,
    }
    assert operator_arguments(pod(), scheduler_timeout=0)["resource_timeout"] == 60


def test_names_come_from_the_template_for_names() -> None:
    def name() -> Any:
        return operator_arguments(pod())["custom_cluster_spec"]["metadata"]["name"]

    with dask.config.set({"kubernetes.name": "general", "kubernetes.worker-name": "classic"}):
        assert name() == "classic"
    with dask.config.set({"kubernetes.name": "general"}):
        assert name() == "general"


def test_arguments_without_effect() -> None:
    assert ignored(host=None, port=None) is None
    sentence = ignored(host="0.0.0.0", port=0, interface=None)
    assert sentence is not None
    assert "takes host, port without effect" in sentence


@pytest.mark.parametrize(
    ("number", "most", "expected"),
    [(5, None, 5), (5, 3, 3), (2, 3, 2), (None, 3, 3), (None, None, None), (math.inf, None, None), (math.inf, 3, 3)],
)
def test_bounded(number: float | None, most: int | None, expected: int | None) -> None:
    assert bounded(number, most) == expected


def test_what_is_there_under_the_old_names() -> None:
    assert dask_kubernetes.make_pod_spec is classic.make_pod_spec is pods.make_pod_spec
    assert dask_kubernetes.make_pod_from_dict is classic.make_pod_from_dict is pods.make_pod_from_dict
    with pytest.raises(AttributeError, match="has no attribute 'HelmCluster'"):
        _ = classic.HelmCluster
