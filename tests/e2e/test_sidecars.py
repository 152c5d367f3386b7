"""Pods with other containers beside Dask's, as from log shippers, proxies and the webhooks of meshes."""

from __future__ import annotations

from typing import Any

from tests.e2e.conftest import Image
from tests.support.kube import Kube, eventually
from tests.support.manifests import WORKER, dask_cluster, dask_job

AT_ONCE = {"terminationGracePeriodSeconds": 0}
LIFETIME = "LIFETIME"


def _sidecar(image: Image) -> dict[str, Any]:
    """Return a sidecar of the old kind, which never ends and whose name sorts before the main container's."""
    return {"name": "a-proxy", "image": str(image), "command": ["sleep", "infinity"]}


def _lifetime(value: str) -> dict[str, Any]:
    """Return the values for workers that start from now on."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "workers"}, "data": {LIFETIME: value}}


def test_a_worker_that_has_ended_beside_another_container_is_replaced(kube: Kube, dask_image: Image) -> None:
    cluster = dask_cluster("shipped", 2, image=str(dask_image), pods=AT_ONCE)
    containers = cluster["spec"]["worker"]["spec"]["containers"]
    containers[0]["args"] = [*WORKER, "--lifetime", f"$({LIFETIME})"]
    containers[0]["env"] = [{"name": LIFETIME, "valueFrom": {"configMapKeyRef": {"name": "workers", "key": LIFETIME}}}]
    containers.append(_sidecar(dask_image))
    kube.apply(_lifetime("20 seconds"), cluster)

    def started() -> set[str]:
        pods = [pod for pod in kube.workers("shipped-default") if pod["status"].get("phase") != "Pending"]
        return {pod["metadata"]["name"] for pod in pods} if len(pods) == 2 else set()

    before = eventually(started, "two workers have started")
    # So that both exist long enough to be seen.
    kube.apply(_lifetime("7 days"))
    eventually(lambda: not before & kube.names("pods"), "the workers whose lifetime is over are gone")
    kube.wait_for_workers("shipped", 2)


def test_a_job_ends_with_its_program_whatever_runs_beside_it(kube: Kube, dask_image: Image) -> None:
    for name, program, phase in (("well", "pass", "Successful"), ("badly", "raise SystemExit(7)", "Failed")):
        job = dask_job(name, 0, program=program, image=str(dask_image), pods=AT_ONCE, backoffLimit=0)
        job["spec"]["job"]["spec"]["containers"].append(_sidecar(dask_image))
        kube.apply(job)
        ended = _ended(kube, name)
        assert ended["jobStatus"] == phase
        eventually(lambda: not kube.names("pods"), "the sidecar is stopped")


def test_an_init_container_that_keeps_failing_fails_the_job(kube: Kube, dask_image: Image) -> None:
    job = dask_job("unready", 0, image=str(dask_image), pods=AT_ONCE, backoffLimit=1)
    failing = {"name": "fetch", "image": str(dask_image), "command": ["sh", "-c", "exit 7"]}
    job["spec"]["job"]["spec"]["initContainers"] = [failing]
    kube.apply(job)
    assert _ended(kube, "unready")["jobStatus"] == "Failed"
    message = kube.wait_for_condition("daskjob", "unready", "Failed", "BackoffLimitExceeded")
    assert 'container "fetch"' in message


def _ended(kube: Kube, job: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        status = kube.status("daskjob", job)
        return status if status.get("endTime") else None

    return eventually(look, f"DaskJob {job} has ended") or {}
