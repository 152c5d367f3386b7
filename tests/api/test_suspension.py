"""Suspended clusters and jobs against a real API server."""

from __future__ import annotations

import pytest
from tests.support.kube import Kube, eventually
from tests.support.manifests import ON_FAKE_NODES, dask_autoscaler, dask_cluster, dask_job

pytestmark = pytest.mark.usefixtures("controller")
CLUSTER_PODS = "dask.org/component in (scheduler, worker)"


def _suspend(kube: Kube, kind: str, name: str, *, suspended: bool = True) -> None:
    patch = f'{{"spec": {{"suspend": {str(suspended).lower()}}}}}'
    kube.run("patch", kind, name, "--type=merge", "--patch", patch)


def _reasons(kube: Kube, kind: str, name: str) -> list[str]:
    return [reason for _, reason, _ in kube.events(kind, name)]


def test_a_cluster_is_suspended_and_resumed(kube: Kube) -> None:
    kube.apply(dask_cluster("rests", 2, pods=ON_FAKE_NODES), dask_autoscaler("rests", "rests", 1, 5))
    kube.wait_for_workers("rests", 2)
    before = kube.names("pods")
    _suspend(kube, "daskcluster", "rests")
    message = kube.wait_for_condition("daskcluster", "rests", "Suspended", "Suspended")
    assert message.startswith("spec.suspend is true, set by kubectl-patch: ")
    eventually(lambda: not kube.names("pods", CLUSTER_PODS), "it has no Pods")
    assert kube.names("services") == {"rests-scheduler"}
    eventually(lambda: "Suspended" in kube.run("get", "daskcluster", "rests"), "its column says so")
    kube.wait_for_condition("daskautoscaler", "rests", "ScalingActive", "ClusterSuspended")
    eventually(lambda: "Suspended" in _reasons(kube, "DaskCluster", "rests"), "an Event tells of it")
    _suspend(kube, "daskcluster", "rests", suspended=False)
    kube.wait_for_workers("rests", 2)
    assert not kube.names("pods") & before
    eventually(lambda: "Resumed" in _reasons(kube, "DaskCluster", "rests"), "an Event tells of it")


def test_a_job_is_suspended_and_resumed(kube: Kube) -> None:
    job = dask_job("rests", 1, pods=ON_FAKE_NODES, suspend=True)
    kube.apply(job)
    kube.wait_for_condition("daskjob", "rests", "Suspended", "Suspended")
    kube.wait_for_condition("daskcluster", "rests", "Suspended", "Suspended")
    assert not kube.names("pods")
    _suspend(kube, "daskjob", "rests", suspended=False)
    runs = lambda: kube.status("daskjob", "rests").get("jobStatus") == "Running"  # noqa: E731
    eventually(runs, "it runs")
    _suspend(kube, "daskjob", "rests")
    kube.wait_for_condition("daskjob", "rests", "Suspended", "Suspended")
    eventually(lambda: not kube.names("pods"), "it has no Pods")
    assert "Suspended" in kube.run("get", "daskjob", "rests")
    _suspend(kube, "daskjob", "rests", suspended=False)
    eventually(runs, "it runs again")
    assert kube.status("daskjob", "rests")["failed"] == 0
