"""The controller and the client share no code: one table of cases holds both to the same answers."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from docs.included import ROOT
from tests.support.builders import a_cluster, a_group

from dask_kubernetes.operator.diagnosis import facts, problems
from dask_kubernetes.operator.diagnosis.status import uses_tls
from dask_kubernetes.operator.manifests import names as client_names
from dask_operator import manifests, names, parse
from dask_operator.parse import pod_problems

CASES = ROOT / "tests/cases"
TLS: list[dict[str, Any]] = yaml.safe_load((CASES / "tls.yaml").read_text())
PODS: dict[str, dict[str, Any]] = yaml.safe_load((CASES / "pods.yaml").read_text())


@pytest.mark.parametrize("case", TLS, ids=lambda case: case["name"])
def test_both_see_the_same_schedulers_use_tls(case: dict[str, Any]) -> None:
    cluster = {
        "metadata": {"name": "mine", "namespace": "default"},
        "spec": {"scheduler": {"spec": {"containers": case["containers"]}}},
    }
    assert manifests.scheduler_address(parse.cluster(cluster)).partition("://")[0] == ("tls" if case["tls"] else "tcp")
    assert uses_tls(cluster) is case["tls"]


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
    assert len({case["name"] for case in TLS}) == len(TLS)


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


def _reasons(pod: dict[str, Any]) -> tuple[str | None, str | None]:
    """Return the reason of a Pod's problem according to the controller, and according to the client."""
    controllers, clients = parse.pod(pod).problem, problems.pod_problem(pod)
    return controllers.reason if controllers else None, clients.reason if clients else None
