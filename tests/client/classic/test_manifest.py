"""A worker's Pod in, the operator's DaskCluster out."""

from __future__ import annotations

import copy
from typing import Any

import dask.config
import pytest
from tests.client.classic.objects import WORKER, made, pod, scheduler_container, worker_container

from dask_kubernetes.classic import make_pod_from_dict, make_pod_spec
from dask_kubernetes.exceptions import ValidationError
from dask_kubernetes.operator.manifests.fields import without_nulls
from dask_kubernetes.operator.manifests.spec import (
    make_cluster_spec,
    make_scheduler_spec,
    make_worker_spec,
    scheduler_ports_and_probes,
)


def tolerations(purpose: str) -> list[dict[str, str]]:
    common = {"operator": "Equal", "value": purpose, "effect": "NoSchedule"}
    return [{"key": key, **common} for key in ("k8s.dask.org/dedicated", "k8s.dask.org_dedicated")]


def affinity(purpose: str) -> dict[str, Any]:
    term = {"matchExpressions": [{"key": "k8s.dask.org/node-purpose", "operator": "In", "values": [purpose]}]}
    return {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"preference": term, "weight": 100}]}}


def test_the_documented_pod() -> None:
    before = copy.deepcopy(WORKER)
    cluster = made(WORKER, seek="preferred", n_workers=2, idle_timeout="1 minute", drain_timeout="1 hour")
    (given,) = WORKER["spec"]["containers"]
    args = "dask worker --nthreads 2 --no-dashboard --memory-limit 6GB --death-timeout 60 --name $(DASK_WORKER_NAME)"
    scheduler = make_scheduler_spec("c", env=given["env"], image="dask:1", restricted=False)
    (container,) = without_nulls(scheduler["spec"]["containers"])
    assert cluster == {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskCluster",
        "metadata": {"name": "c"},
        "spec": {
            "idleTimeout": 60,
            "worker": {
                "replicas": 2,
                "drainTimeoutSeconds": 3600,
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


@pytest.mark.parametrize(
    "template",
    [
        make_pod_spec("scheduler:1", memory_limit="4G", extra_pod_config={"activeDeadlineSeconds": 60}),
        make_pod_from_dict({"spec": {"restartPolicy": "OnFailure", "containers": [{"image": "scheduler:1"}]}}),
        make_worker_spec("scheduler:1"),
        make_scheduler_spec("c", image="scheduler:1"),
    ],
    ids=["make_pod_spec", "make_pod_from_dict", "make_worker_spec", "make_scheduler_spec"],
)
def test_what_every_maker_makes_is_a_schedulers_and_a_workers_pod(template: dict[str, Any]) -> None:
    """Check every maker's Pods in a Deployment, which refuses a Pod that does not restart."""
    cluster = made(template, template)
    assert not cluster["spec"]["scheduler"]["spec"].keys() & {"activeDeadlineSeconds", "restartPolicy"}
    assert scheduler_container(cluster)["args"] == ["dask", "scheduler"]
    assert scheduler_container(cluster)["image"] == worker_container(cluster)["image"] == "scheduler:1"
    assert {port["name"] for port in scheduler_container(cluster)["ports"]} == {"tcp-comm", "http-dashboard"}
    given = template["spec"].get("restartPolicy")
    assert cluster["spec"]["worker"]["spec"].get("restartPolicy") == given


def test_jupyter_and_the_type_of_service_are_configured() -> None:
    with dask.config.set({"kubernetes.scheduler-jupyter": True, "kubernetes.scheduler-service-type": "NodePort"}):
        cluster = made(pod())
    assert scheduler_container(cluster)["args"] == ["dask", "scheduler", "--jupyter"]
    assert cluster["spec"]["scheduler"]["service"]["type"] == "NodePort"
