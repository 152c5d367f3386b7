from __future__ import annotations

import pytest
from tests.support.builders import (
    SERVICE_SPEC,
    raw_deployment,
    raw_service,
)

from dask_operator import parse
from dask_operator.model import Problem


@pytest.mark.parametrize(
    ("status", "rolling"),
    [
        ({"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1}, True),
        ({"observedGeneration": 2, "replicas": 1, "updatedReplicas": 0}, True),
        ({"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1}, False),
        ({"observedGeneration": 2}, False),
        ({}, False),
    ],
    ids=["edit not seen", "older Pod", "its Pod", "no Pod", "new"],
)
def test_a_deployment_rolls_while_its_pod_is_not_of_its_latest_template(status: dict[str, int], rolling: bool) -> None:
    assert parse.deployment(raw_deployment(metadata={"generation": 2}, status=status)).rolling is rolling


def test_a_deployment_whose_pod_is_refused() -> None:
    conditions = [
        {"type": "Progressing", "status": "True", "reason": "NewReplicaSetCreated"},
        {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota"},
    ]
    deployment = parse.deployment(raw_deployment(status={"conditions": conditions}))
    assert (deployment.cluster, deployment.problem) == ("simple", Problem("FailedCreate", "exceeded quota"))
    conditions[1]["status"] = "False"
    assert parse.deployment(raw_deployment(status={"conditions": conditions})).problem is None


def test_a_service() -> None:
    service = parse.service(raw_service())
    assert (service.cluster, service.type, service.cluster_ip) == ("simple", "ClusterIP", "10.96.0.7")
    assert (service.ports, service.ingress) == (parse.service_ports(SERVICE_SPEC), False)


def test_a_service_whose_type_was_not_given_is_as_kubernetes_makes_it() -> None:
    assert parse.service(raw_service(spec={"type": None})).type == "ClusterIP"


def test_a_load_balancer_with_and_without_an_address() -> None:
    spec = {"type": "LoadBalancer", "clusterIP": "10.96.0.7"}
    assert not parse.service(raw_service(spec=spec, status={"loadBalancer": {}})).ingress
    status = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}
    assert parse.service(raw_service(spec=spec, status=status)).ingress
