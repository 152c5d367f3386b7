"""The controller and the client share no code: one table of cases holds both to the same answers."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from docs.included import ROOT
from tests.support.builders import a_cluster, a_group, a_scheduler_pod

from dask_kubernetes.operator.diagnosis import facts, listening, problems
from dask_kubernetes.operator.diagnosis.status import uses_tls
from dask_kubernetes.operator.manifests import names as client_names
from dask_operator import manifests, names, parse
from dask_operator.parse import pod_problems

CASES = ROOT / "tests/cases"
PROTOCOLS: list[dict[str, Any]] = yaml.safe_load((CASES / "protocols.yaml").read_text())
PORTS: list[dict[str, Any]] = yaml.safe_load((CASES / "ports.yaml").read_text())
PODS: dict[str, dict[str, Any]] = yaml.safe_load((CASES / "pods.yaml").read_text())
SCHEDULER = [
    {
        "args": ["dask", "scheduler"],
        "ports": [{"name": "tcp-comm", "containerPort": 8786}, {"name": "http-dashboard", "containerPort": 8787}],
    }
]


@pytest.mark.parametrize("case", PROTOCOLS, ids=lambda case: case["name"])
def test_both_see_the_same_protocol(case: dict[str, Any]) -> None:
    port = {"name": "tcp-comm", "port": 8786, "appProtocol": case.get("appProtocol")}
    cluster = _cluster(case["containers"], {"ports": [port]})
    assert manifests.scheduler_address(parse.cluster(cluster)).partition("://")[0] == case["protocol"]
    assert listening.protocol(cluster) == case["protocol"]
    assert uses_tls(cluster) is (case["protocol"] in ("tls", "wss"))


@pytest.mark.parametrize("case", PORTS, ids=lambda case: case["name"])
def test_both_find_the_same_ports(case: dict[str, Any]) -> None:
    raw = _cluster(case.get("containers", SCHEDULER), case["service"])
    cluster, ip = parse.cluster(raw), case["service"].get("clusterIP", "10.96.0.7")
    pod = a_scheduler_pod()
    service = parse.service({"metadata": {}, "spec": {**case["service"], "clusterIP": ip}})
    url, address = manifests.scheduler_endpoint(cluster, service, pod)
    at_pod = [f"{pod.ip}:{port}" for port in case.get("pod", (8786, 8787))]
    at_service = [ip != "None" and port and f"{ip}:{port}" for port in (case["comm"], case["dashboard"])]
    assert [address.partition("://")[2], url.partition("://")[2]] == [
        service or pod for service, pod in zip(at_service, at_pod, strict=True)
    ]
    assert manifests.leads_nowhere(cluster) is (case["comm"] is None)
    if case["comm"]:
        assert manifests.scheduler_address(cluster) == f"tcp://mine-scheduler.default.svc:{case['comm']}"
    named = listening.with_known_names({"metadata": {}, "spec": case["service"]}, raw)
    assert _clients_port(named, "tcp-comm") == (case["comm"] if case["service"].get("ports") else None)
    assert _clients_port(named, "http-dashboard") == (case["dashboard"] if case["service"].get("ports") else None)


@pytest.mark.parametrize("name", PODS["recorded"])
def test_both_have_the_same_reason_for_a_recorded_pod(name: str) -> None:
    pod = json.loads((CASES / f"pods/{name}.json").read_text())
    expected = PODS["recorded"][name]
    assert _reasons(pod) == (expected["reason"], expected.get("client", expected["reason"]))


@pytest.mark.parametrize("place", ["initContainerStatuses", "containerStatuses"])
@pytest.mark.parametrize("reason", PODS["waiting"])
def test_both_have_the_same_reason_for_a_waiting_container(reason: str, place: str) -> None:
    container = {"name": "worker", "image": "dask", "state": {"waiting": {"reason": reason, "message": "m"}}}
    pod = {
        "metadata": {"name": "w", "namespace": "default"},
        "spec": {"containers": [{"name": "worker", "image": "dask"}]},
        "status": {"phase": "Pending", place: [container]},
    }
    assert _reasons(pod) == (PODS["waiting"][reason],) * 2


def test_the_tables_have_every_case() -> None:
    assert set(pod_problems._STUCK) == {*problems._STUCK, problems.CRASHED}
    assert {reason for reason, problem in PODS["waiting"].items() if problem} == set(pod_problems._STUCK)
    assert {path.stem for path in (CASES / "pods").iterdir()} == set(PODS["recorded"])
    for cases in (PROTOCOLS, PORTS):
        assert len({case["name"] for case in cases}) == len(cases)


def test_the_client_finds_what_the_controller_makes() -> None:
    cluster, group = a_cluster(), a_group()
    deployment = manifests.deployment_manifest(cluster)
    scheduler = deployment["spec"]["template"]
    (worker,) = manifests.worker_manifests(cluster, group, [0], 0)
    default = manifests.group_manifest(cluster)
    snapshot = facts.Snapshot({"metadata": {"name": cluster.name}}, (default,), None, (scheduler, worker))
    assert facts.scheduler_pod(snapshot) == scheduler
    assert facts.workers(snapshot) == facts.of_group(snapshot, default) == [worker]
    assert facts.is_default(default, snapshot)


@pytest.mark.parametrize("name", [name for name in vars(client_names) if name.isupper() and hasattr(names, name)])
def test_both_have_the_same_names(name: str) -> None:
    assert getattr(client_names, name) == getattr(names, name)


def _cluster(containers: Any, service: dict[str, Any]) -> dict[str, Any]:
    return {
        "metadata": {"name": "mine", "namespace": "default"},
        "spec": {"scheduler": {"spec": {"containers": containers}, "service": service}},
    }


def _clients_port(service: Any, name: str) -> int | None:
    """Return the port that the client takes, which is the first of this name."""
    ports = [port for port in service["spec"]["ports"] if port.get("name") == name]
    return ports[0]["port"] if ports else None


def _reasons(pod: dict[str, Any]) -> tuple[str | None, str | None]:
    """Return the reason of a Pod's problem according to the controller, and according to the client."""
    controllers, clients = parse.pod(pod).problem, problems.pod_problem(pod)
    return controllers.reason if controllers else None, clients.reason if clients else None
