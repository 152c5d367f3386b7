"""The arguments of old programs in, those of the operator's class out."""

from __future__ import annotations

import math
from typing import Any

import dask.config
import pytest
from tests.client.classic.objects import WORKER, made, pod

from dask_kubernetes.classic.arguments import bounded, ignored, is_tls, operator_arguments
from dask_kubernetes.exceptions import ValidationError

TLS = ["--tls-ca-file", "/tls/ca.crt", "--tls-cert", "/tls/tls.crt", "--tls-key", "/tls/tls.key"]


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


def test_without_a_pod_it_is_the_configured_one() -> None:
    with dask.config.set({"kubernetes.worker-template": pod()}):
        assert operator_arguments(name="c")["custom_cluster_spec"] == made(pod(), seek="preferred")


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


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [("tls://", True), ("tls", True), ("wss://", True), ("tcp://", False), ("", False), (None, False)],
)
def test_protocols_that_are_tls(protocol: str | None, expected: bool) -> None:
    assert is_tls(protocol) is expected


@pytest.mark.parametrize("protocol", ["tls://", "tls", "wss://"])
def test_nothing_is_computed_in_the_clear_where_tls_is_asked_for(protocol: str) -> None:
    workers = pod(args=["dask", "worker", *TLS])
    for scheduler in (None, pod(), pod(args=["dask", "scheduler"])):
        with pytest.raises(ValidationError, match=f"'{protocol}'.*scheduler_pod_template.*--tls-ca-file"):
            operator_arguments(workers, scheduler_pod=scheduler, protocol=protocol)
    scheduler = pod(args=["dask", "scheduler", *TLS])
    with_tls = operator_arguments(workers, "c", scheduler_pod=scheduler, protocol=protocol)
    assert with_tls == operator_arguments(workers, "c", scheduler_pod=scheduler)


@pytest.mark.parametrize("protocol", ["tcp://", None])
def test_another_protocol_is_not_refused(protocol: str | None) -> None:
    assert operator_arguments(pod(), "c", protocol=protocol) == operator_arguments(pod(), "c")
