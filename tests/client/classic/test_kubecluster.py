"""The classic class as old programs call it: its calls of the operator's class, and its warnings."""

from __future__ import annotations

import logging
import warnings
from operator import attrgetter
from pathlib import Path
from typing import Any

import dask.config
import pytest
import yaml
from distributed import Security

import dask_kubernetes
from dask_kubernetes import classic, operator
from dask_kubernetes.classic.arguments import operator_arguments
from dask_kubernetes.classic.pods import make_pod_spec
from dask_kubernetes.exceptions import ValidationError

SECURITY = Security()
POD = make_pod_spec("dask:1")
Calls = list[tuple[str, tuple[Any, ...], dict[str, Any]]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Arguments of the operator's class, in place of a cluster that it would start."""
    told: Calls = []

    def tell(method: str) -> Any:
        return lambda _, *args, **kwargs: told.append((method, args, kwargs))

    for method in ("__init__", "scale", "adapt"):
        monkeypatch.setattr(operator.KubeCluster, method, tell(method))
    return told


@pytest.fixture
def cluster(calls: Calls) -> Any:
    with pytest.warns(DeprecationWarning, match="is deprecated"):
        made = classic.KubeCluster(POD)
    calls.clear()
    return made


def test_arguments(calls: Calls) -> None:
    with pytest.warns(DeprecationWarning, match="is deprecated") as caught:
        made = classic.KubeCluster(
            POD,
            "c",
            "dask",
            3,
            env={"A": "1"},
            idle_timeout=60,
            deploy_mode="remote",
            scheduler_pod_template=POD,
            scheduler_service_wait_timeout=5,
            apply_default_affinity="none",
            security=SECURITY,
            asynchronous=True,
            shutdown_on_close=False,
        )
    expected = operator_arguments(POD, "c", "dask", 3, {"A": "1"}, 60, POD, "none", 5)
    assert calls == [
        ("__init__", (), expected | {"security": SECURITY, "asynchronous": True, "shutdown_on_close": False})
    ]
    assert isinstance(made, operator.KubeCluster)
    assert len(caught) == 1


@pytest.mark.parametrize("create", ["KubeCluster", "KubeCluster.from_yaml", "KubeCluster.from_dict"])
def test_the_warning_says_what_to_write_and_where(create: str, calls: Calls, tmp_path: Path) -> None:
    file = tmp_path / "worker-spec.yml"
    file.write_text(yaml.safe_dump(POD))
    callable_ = attrgetter(create)(classic)
    with pytest.warns(DeprecationWarning, match="from dask_kubernetes.operator import KubeCluster") as caught:
        callable_(POD if create.endswith("dict") else str(file), name="c")
    assert [warning.filename for warning in caught] == [__file__]
    assert calls == [("__init__", (), operator_arguments(POD, "c") | {"security": None})]


def test_what_has_no_effect_is_said(calls: Calls) -> None:
    with warnings.catch_warnings(record=True, action="always") as caught:
        classic.KubeCluster(POD, host="0.0.0.0", deploy_mode="local", interface="eth0")
    deprecated, ignored = caught
    assert deprecated.category is DeprecationWarning
    assert "takes host, deploy_mode, interface without effect" in str(ignored.message)
    assert ignored.filename == __file__
    assert len(calls) == 1


def test_tls_is_refused_where_the_templates_do_not_talk_it(calls: Calls) -> None:
    with_tls = make_pod_spec("dask:1")
    with_tls["spec"]["containers"][0]["args"] = ["dask", "scheduler", "--tls-cert", "/tls/tls.crt"]
    with warnings.catch_warnings(record=True, action="always") as caught:
        with pytest.raises(ValidationError, match="would not use TLS"):
            classic.KubeCluster(POD, protocol="tls://")
        assert calls == []
        classic.KubeCluster(POD, scheduler_pod_template=with_tls, protocol="tls://")
    assert len(calls) == 1
    assert {warning.category for warning in caught} == {DeprecationWarning}, "it has an effect"


def test_another_protocol_is_said_to_have_no_effect(calls: Calls) -> None:
    with warnings.catch_warnings(record=True, action="always") as caught:
        classic.KubeCluster(POD, protocol="tcp://")
    assert "takes protocol without effect" in str(caught[-1].message)
    assert len(calls) == 1


def test_scale_and_adapt(cluster: Any, calls: Calls, caplog: pytest.LogCaptureFixture) -> None:
    cluster.scale(20)
    cluster.scale(20, "highmem")
    cluster.adapt()
    cluster.adapt(minimum=0, maximum=100)
    with dask.config.set({"kubernetes.count.max": 10}), caplog.at_level(logging.WARNING):
        cluster.scale(20)
        cluster.adapt(minimum=1)
        cluster.adapt(1, 100)
    scaled = [("default",), ("highmem",)]
    assert calls == [
        *(("scale", (20, *group), {}) for group in scaled),
        ("adapt", (None, None), {}),
        ("adapt", (0, 100), {}),
        ("scale", (10, "default"), {}),
        ("adapt", (1, 10), {}),
        ("adapt", (1, 10), {}),
    ]
    assert caplog.messages == ["20 workers were requested, but kubernetes.count.max allows only 10."]


def test_options_of_adaptive_scaling_here_are_said_to_have_no_effect(cluster: Any, calls: Calls) -> None:
    with pytest.warns(UserWarning, match="adapt takes interval, wait_count without effect"):
        cluster.adapt(minimum=1, maximum=2, interval="1s", wait_count=3)
    assert calls == [("adapt", (1, 2), {})]


def test_logs_are_those_of_the_operators_class() -> None:
    assert classic.KubeCluster.logs is operator.KubeCluster.get_logs


def test_a_cluster_that_is_there_needs_no_pod(calls: Calls) -> None:
    connected = classic.KubeCluster.from_name("c")
    assert type(connected) is operator.KubeCluster
    assert calls[0][2]["name"] == "c"


def test_the_old_import() -> None:
    assert dask_kubernetes.KubeCluster is classic.KubeCluster
