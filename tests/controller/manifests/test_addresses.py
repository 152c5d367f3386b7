from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.support.builders import (
    a_cluster,
    a_scheduler_pod,
    a_service,
)

from dask_operator import manifests
from dask_operator.model import Endpoint, Service, ServicePort

COMM, WEB = ServicePort("dask", 1, 8786), ServicePort("http-dashboard", 80, 8080)


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
        (a_service(ports=(COMM, WEB)), "http://10.96.0.7:80", "tcp://10.96.0.7:1"),
        (a_service(ports=(COMM,)), "http://10.0.1.1:8787", "tcp://10.96.0.7:1"),
        (a_service(ports=()), "http://10.0.1.1:8787", "tcp://10.0.1.1:8786"),
        (a_service(cluster_ip="None", ports=(COMM, WEB)), "http://10.0.1.1:8080", "tcp://10.0.1.1:8786"),
        (a_service(cluster_ip="fd00::7"), "http://[fd00::7]:8787", "tcp://[fd00::7]:8786"),
        (a_service(cluster_ip="None"), "http://10.0.1.1:8787", "tcp://10.0.1.1:8786"),
        (a_service(type="ExternalName", cluster_ip=""), "http://10.0.1.1:8787", "tcp://10.0.1.1:8786"),
        (None, "http://10.0.1.1:8787", "tcp://10.0.1.1:8786"),
    ],
)
def test_where_the_controller_finds_a_scheduler(service: Service | None, url: str, address: str) -> None:
    assert manifests.scheduler_endpoint(a_cluster(), service, a_scheduler_pod()) == Endpoint(url, address)


def test_a_pods_address_of_ipv6_has_brackets() -> None:
    pod = replace(a_scheduler_pod(), ip="fd00::2")
    assert manifests.scheduler_endpoint(a_cluster(), a_service(cluster_ip="None"), pod) == Endpoint(
        "http://[fd00::2]:8787", "tcp://[fd00::2]:8786"
    )


def test_a_scheduler_with_a_prefix_is_asked_below_it() -> None:
    spec = {"containers": [{"args": ["dask", "scheduler", "--dashboard-prefix", "/x/y/", "--port", "9000"]}]}
    cluster = a_cluster(scheduler_spec=spec)
    assert manifests.scheduler_endpoint(cluster, None, a_scheduler_pod()) == Endpoint(
        "http://10.0.1.1:8787/x/y", "tcp://10.0.1.1:9000"
    )


def test_a_scheduler_with_an_address_of_ipv6_is_told_to_pods_by_it() -> None:
    # From a name, Dask would find its own address in networks of IPv4 only, and announce 127.0.0.1.
    dual = a_service(cluster_ip="fd00::7", ports=(COMM,))
    assert manifests.scheduler_address_from(a_cluster(), dual, {}) == "tcp://[fd00::7]:8786"


@pytest.mark.parametrize(
    ("spec", "by_name"),
    [
        ({}, True),
        ({"dnsPolicy": None, "hostNetwork": None}, True),
        ({"dnsPolicy": "ClusterFirst"}, True),
        ({"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"}, True),
        ({"hostNetwork": True}, False),
        ({"hostNetwork": True, "dnsPolicy": "ClusterFirst"}, False),
        ({"dnsPolicy": "Default"}, False),
        ({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1"]}}, False),
    ],
)
def test_pods_that_do_not_ask_the_clusters_dns_get_an_ip_address(spec: dict[str, Any], by_name: bool) -> None:
    named, numbered = "tcp://simple-scheduler.default.svc:8786", "tcp://10.96.0.7:8786"
    assert manifests.scheduler_address_from(a_cluster(), a_service(), spec) == (named if by_name else numbered)
    for without in (None, a_service(cluster_ip="None"), a_service(cluster_ip="")):
        assert manifests.scheduler_address_from(a_cluster(), without, spec) == named


@pytest.mark.parametrize(
    ("service", "nowhere"),
    [
        ({"ports": [{"name": "web", "port": 80}]}, True),
        ({"ports": None}, True),
        ({"ports": [{"name": "web", "port": 80, "targetPort": 8786}]}, False),
        ({"clusterIP": "None"}, False),
        ({"type": "ExternalName", "externalName": "elsewhere.example.com"}, False),
    ],
)
def test_a_service_that_leads_nowhere(service: dict[str, Any], nowhere: bool) -> None:
    assert manifests.leads_nowhere(a_cluster(service_spec=service)) is nowhere


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
