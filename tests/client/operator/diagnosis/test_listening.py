"""Cases that the operator decides likewise are in tests/cases (tests/ci/test_one_truth.py)."""

from __future__ import annotations

from tests.client.operator.objects import a_cluster, a_service

from dask_kubernetes.operator.diagnosis import listening


def test_ports_get_our_names_and_the_others_stay() -> None:
    service = a_service()
    web = {"name": "web", "port": 80}
    service["spec"]["ports"] = [web, {"name": "dask", "port": 9786, "targetPort": 8786, "nodePort": 30786}]
    named = listening.with_known_names(service, a_cluster())["spec"]["ports"]
    assert named[0] == {"name": "tcp-comm", "port": 9786, "targetPort": 8786, "nodePort": 30786}
    assert web in named
    assert service["spec"]["ports"][1]["name"] == "dask", "the Service itself is as it was"


def test_nothing_is_known_of_nothing() -> None:
    assert listening.protocol({}) == "tcp"
    assert listening.with_known_names({}, {}) == {"spec": {"ports": []}}
