"""Objects on a real API server, and what the library of Helm 4 and Flux takes them for."""

from __future__ import annotations

import json
import subprocess

import pytest
from tests.support.kube import Kube, eventually
from tests.support.manifests import ON_FAKE_NODES, dask_cluster, dask_job, worker_group
from tests.support.tools import tool

NOWHERE = {"nodeSelector": {"type": "kwok", "there": "no"}, "tolerations": [{"operator": "Exists"}]}


def _kstatus(kube: Kube, kind: str, name: str) -> tuple[str, str]:
    found = json.dumps(kube.get(kind, name))
    ran = subprocess.run([tool("kstatus")], input=found, capture_output=True, text=True, check=True)
    said = json.loads(ran.stdout)
    return said["Status"], said["Message"]


def _is(kube: Kube, kind: str, name: str, status: str) -> str:
    eventually(lambda: _kstatus(kube, kind, name)[0] == status, f"{kind} {name} is {status}")
    return _kstatus(kube, kind, name)[1]


def test_nothing_that_the_operator_has_not_seen_is_current(kube: Kube) -> None:
    autoscaler = {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskAutoscaler",
        "metadata": {"name": "unseen"},
        "spec": {"cluster": "unseen"},
    }
    kube.apply(dask_cluster("unseen", 1), dask_job("unseen", 1), worker_group("unseen", "unseen", 1), autoscaler)
    for kind in ("daskcluster", "daskjob", "daskworkergroup", "daskautoscaler"):
        assert _kstatus(kube, kind, "unseen")[0] == "InProgress", kind


@pytest.mark.usefixtures("controller")
def test_a_good_cluster_is_current_when_its_workers_are_ready(kube: Kube) -> None:
    kube.apply(dask_cluster("good", 2, pods=ON_FAKE_NODES))
    _is(kube, "daskcluster", "good", "Current")
    kube.wait_for_workers("good", 2)
    _is(kube, "daskworkergroup", "good-default", "Current")


@pytest.mark.usefixtures("controller")
def test_a_cluster_without_a_node_is_in_progress(kube: Kube) -> None:
    kube.apply(dask_cluster("slow", 1, pods=NOWHERE))
    kube.wait_for_condition("daskcluster", "slow", "Degraded", "Unschedulable")
    assert _kstatus(kube, "daskcluster", "slow")[0] == "InProgress"


@pytest.mark.usefixtures("controller")
def test_a_cluster_that_is_refused_has_failed(kube: Kube) -> None:
    broken = dask_cluster("broken", 1, pods=ON_FAKE_NODES)
    broken["spec"]["scheduler"]["spec"]["containers"][0]["imagePullPolicy"] = "typo"
    kube.apply(broken)
    assert "typo" in _is(kube, "daskcluster", "broken", "Failed")
