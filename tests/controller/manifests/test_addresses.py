from __future__ import annotations

from typing import Any

import pytest
from tests.support.builders import (
    a_cluster,
    a_scheduler_pod,
    a_service,
)

from dask_operator import manifests
from dask_operator.model import Endpoint, Service

TEMPLATE, GIVEN = "kubernetes.dask.org/template", "kubernetes.dask.org/given"


def test_the_comm_port_is_that_of_the_service() -> None:
    ports = [{"name": "tcp-comm", "port": 9000}, {"name": "http-dashboard", "port": 80}]
    assert (
        manifests.scheduler_address(a_cluster(service_spec={"ports": ports}))
        == "tcp://simple-scheduler.default.svc:9000"
    )
    assert manifests.scheduler_address(a_cluster(service_spec={"ports": None})).endswith(":8786")


@pytest.mark.parametrize(
    ("service", "url", "address"),
    [
        (a_service(), "http://10.96.0.7:8787", "tcp://10.96.0.7:8786"),
        (a_service(ports={"tcp-comm": 1, "http-dashboard": 80}), "http://10.96.0.7:80", "tcp://10.96.0.7:1"),
        (a_service(ports={}), "http://10.96.0.7:8787", "tcp://10.96.0.7:8786"),
        (a_service(cluster_ip="fd00::7"), "http://[fd00::7]:8787", "tcp://[fd00::7]:8786"),
        (a_service(cluster_ip="None"), "http://10.0.1.1:8787", "tcp://10.0.1.1:8786"),
        (a_service(type="ExternalName", cluster_ip=""), "http://10.0.1.1:8787", "tcp://10.0.1.1:8786"),
        (None, "http://10.0.1.1:8787", "tcp://10.0.1.1:8786"),
    ],
)
def test_where_the_controller_finds_a_scheduler(service: Service | None, url: str, address: str) -> None:
    assert manifests.scheduler_endpoint(a_cluster(), service, a_scheduler_pod()) == Endpoint(url, address)


@pytest.mark.parametrize(
    "container",
    [
        {"args": ["dask", "scheduler", "--protocol", "tls"]},
        {"args": ["dask", "scheduler", "--protocol=tls"]},
        {"command": ["dask", "scheduler"], "args": ["--tls-cert", "/tls/cert.pem"]},
        {"command": ["sh", "-c", "exec dask scheduler --tls-ca-file=/tls/ca.pem"]},
    ],
)
def test_a_scheduler_that_is_told_to_speak_tls_is_found_by_tls(container: dict[str, Any]) -> None:
    cluster = a_cluster(scheduler_spec={"containers": [{"name": "scheduler", **container}]})
    assert manifests.scheduler_address(cluster) == "tls://simple-scheduler.default.svc:8786"
    assert manifests.scheduler_endpoint(cluster, a_service(), a_scheduler_pod()).address == "tls://10.96.0.7:8786"
    assert manifests.scheduler_endpoint(cluster, a_service(), a_scheduler_pod()).url.startswith("http://"), (
        "its HTTP server has no TLS"
    )
