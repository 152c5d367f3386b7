"""Messages of the charts' `helm test` about a broken cluster. Real clusters test the success."""

from __future__ import annotations

import importlib.util
import inspect
import ssl
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.charts.conftest import ROOT
from tests.support.dask import make_certificates
from tests.support.server import verify_strictly

CLUSTER_TEST = ROOT / "charts/dask-kubernetes-operator/files/test/cluster.py"
COMPUTE_TEST = ROOT / "charts/dask-cluster/files/test/compute.py"
CLUSTER: dict[str, Any] = {"metadata": {"name": "c"}}
WAITING = {
    "metadata": {"name": "c-scheduler-1"},
    "status": {
        "conditions": [
            {"type": "PodScheduled", "status": "True", "message": "fine"},
            {"type": "Ready", "status": "False", "message": "containers with unready status: [scheduler]"},
        ],
        "containerStatuses": [
            {"name": "scheduler", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}},
            {"name": "sidecar", "state": {"running": {}}},
        ],
    },
}


class Answers:
    """An API with one DaskCluster, or none, and Pods."""

    def __init__(self, cluster: dict[str, Any] | None, *pods: dict[str, Any]) -> None:
        self._cluster = cluster
        self._pods = list(pods)

    def call(self, method: str, group: str, path: str, body: Any = None) -> Any:
        return self._cluster if path.startswith("daskclusters/") else {"items": self._pods}


def loaded(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return loaded(CLUSTER_TEST)


def test_an_authority_without_key_usage_is_trusted(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    make_certificates(tmp_path)
    (tmp_path / "ca.pem").rename(tmp_path / "ca.crt")
    monkeypatch.setattr(script, "ACCOUNT", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    verify_strictly(monkeypatch)
    context = script.Api("default")._tls
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT


def test_says_that_no_operator_is_there(script: ModuleType) -> None:
    (line,) = script.explanations(Answers(CLUSTER), "c")
    assert line.startswith("No operator has taken the DaskCluster up")


def test_says_what_the_cluster_and_its_pods_say(script: ModuleType) -> None:
    condition = {"type": "Degraded", "status": "True", "reason": "ImagePullBackOff", "message": "see the Pod"}
    lines = list(script.explanations(Answers({**CLUSTER, "status": {"conditions": [condition]}}, WAITING), "c"))
    assert lines == [
        "Degraded is True: ImagePullBackOff: see the Pod",
        "Pod c-scheduler-1: containers with unready status: [scheduler]",
        "Pod c-scheduler-1, container scheduler: ImagePullBackOff: no such image",
    ]


def test_says_nothing_of_a_cluster_that_was_not_made(script: ModuleType) -> None:
    assert list(script.explanations(Answers(None), "c")) == []


def test_waiting_ends_and_says_for_what(script: ModuleType) -> None:
    with pytest.raises(script.UnmetError, match=r"the sky is not green after \d+ s"):
        script.wait(0.0, "the sky is not green", lambda: False)


def test_phase_of_a_cluster_without_a_status(script: ModuleType) -> None:
    assert script.phase(Answers(CLUSTER), "c") == ""
    assert script.phase(Answers({**CLUSTER, "status": {"phase": "Running"}}), "c") == "Running"


def test_one_worker_is_not_several() -> None:
    script = loaded(COMPUTE_TEST)
    assert [script.number_of(range(number)) for number in range(3)] == ["0 workers", "1 worker", "2 workers"]


def test_both_charts_connect_alike() -> None:
    one, other = loaded(CLUSTER_TEST), loaded(COMPUTE_TEST)
    for name in ("connected", "left"):
        assert inspect.getsource(getattr(one, name)) == inspect.getsource(getattr(other, name))
    assert one.ATTEMPT == other.ATTEMPT


@pytest.mark.parametrize("module", [CLUSTER_TEST, COMPUTE_TEST], ids=["operator", "cluster"])
def test_a_connection_that_was_lost_is_tried_again_until_the_time_is_over(
    module: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = loaded(module)
    given: list[float] = []

    def client(address: str, timeout: float) -> str:
        given.append(timeout)
        if len(given) < 3:
            raise OSError("nobody answers")
        return address

    monkeypatch.setattr(script, "Client", client)
    assert script.connected("tcp://a:1", time.monotonic() + 300.0) == "tcp://a:1"
    assert given == [script.ATTEMPT] * 3
    given.clear()
    with pytest.raises(OSError, match="nobody answers"):
        script.connected("tcp://a:1", time.monotonic() - 1.0)
    assert given == [1.0]
