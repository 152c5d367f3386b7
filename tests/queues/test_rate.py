"""A hundred jobs in one queue, beside Kueue's own integration of Kubernetes Jobs: their order and their rate."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from tests.support import kueue
from tests.support.kube import Kube
from tests.support.manifests import dask_job

JOBS = int(os.environ.get("QUEUED_JOBS", "20"))
AT_ONCE = 5
CPU = {"requests": {"cpu": "1"}}
DONE = '{"status": {"phase": "Succeeded"}}'
PATIENCE = 20.0
"""Seconds for each job, many times the need of a quiet machine."""


@pytest.fixture
def cpus(kube: Kube) -> Iterator[Kube]:
    """The queue `team`, strictly in order, with room for the two Pods of `AT_ONCE` jobs."""
    name = kube.namespace
    queue = kueue.cluster_queue(name, 2 * AT_ONCE, name, queueingStrategy="StrictFIFO")
    kube.apply(kueue.flavor(name), queue, kueue.local_queue("team", name))
    yield kube
    kube.run("delete", "clusterqueues.kueue.x-k8s.io,resourceflavors.kueue.x-k8s.io", name, "--wait=false")


def _kubernetes_job(name: str) -> dict[str, Any]:
    container = {"name": "main", "image": "busybox", "resources": CPU}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    spec = {"suspend": True, "parallelism": 2, "completions": 2, "template": template}
    metadata = {"name": name, "labels": {"kueue.x-k8s.io/queue-name": "team"}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def _through(kube: Kube, manifests: Sequence[dict[str, Any]], selector: str, job_of: str) -> tuple[float, list[str]]:
    """Create jobs, and end each program that runs. Return the seconds until all have ended, and the order of starts."""
    began = time.monotonic()
    for manifest in manifests:
        kube.apply(manifest)
    order: list[str] = []
    ended: set[str] = set()
    while len(set(order)) < len(manifests) or len(ended) < len(kube.names("workloads.kueue.x-k8s.io")):
        assert time.monotonic() < began + PATIENCE * len(manifests), f"started {order}"
        for pod in kube.objects("pods", selector):
            job = pod["metadata"]["labels"][job_of]
            if (pod.get("status") or {}).get("phase") == "Running":
                order += [job] if job not in order else []
                kube.run("patch", "pod", pod["metadata"]["name"], "--subresource=status", "--patch", DONE)
        ended = {each["metadata"]["name"] for each in kube.objects("workloads.kueue.x-k8s.io") if _is_finished(each)}
    return time.monotonic() - began, order


def _is_finished(workload: dict[str, Any]) -> bool:
    conditions = (workload.get("status") or {}).get("conditions") or ()
    return any((each["type"], each["status"]) == ("Finished", "True") for each in conditions)


@pytest.mark.usefixtures("controller")
@pytest.mark.timeout(60 + 2 * PATIENCE * JOBS)
def test_jobs_go_through_a_queue_in_their_order(cpus: Kube, figure: Callable[[str], None]) -> None:
    names = [f"job-{number:03}" for number in range(JOBS)]
    plain = [_kubernetes_job(name) for name in names]
    bare, _ = _through(cpus, plain, "batch.kubernetes.io/job-name", "batch.kubernetes.io/job-name")
    cpus.run("delete", "jobs,workloads.kueue.x-k8s.io", "--all")
    jobs = [kueue.queued(dask_job(name, 0), CPU) for name in names]
    took, order = _through(cpus, jobs, "dask.org/component=job-runner", "dask.org/cluster-name")
    figure(f"{JOBS} DaskJobs through a queue with room for {AT_ONCE}: {took:.1f} s; as many Jobs: {bare:.1f} s")
    late = [name for at, name in enumerate(order) if abs(at - names.index(name)) >= AT_ONCE]
    assert late == [], "none is passed by another that came when it did not run yet"
