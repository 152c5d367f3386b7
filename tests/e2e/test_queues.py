"""Two teams in one quota of a real Kueue, with the operator installed as users do it, and real containers."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import Image, operator_with
from tests.e2e.session import Session
from tests.support import kueue
from tests.support.helm import Helm
from tests.support.kube import Kube, eventually
from tests.support.manifests import dask_cluster, dask_job

CPU = {"requests": {"cpu": "10m"}}
QUOTA = "60m"
"""Room for a scheduler and five workers."""
PROMPT = 30.0
"""Seconds from a job's creation to its start."""
RESULTS = 200
PROGRAM = """
from dask.distributed import Client
assert Client(timeout="240s").submit(sum, range(1000)).result() == 499500
"""


@pytest.fixture(scope="module", autouse=True)
def queues(helm: Helm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Kueue, and the operator with `kueue.enabled`."""
    kubectl = shutil.which("kubectl")
    assert kubectl
    cluster = Kube(kubectl, Path(os.environ["KUBECONFIG"]), "default")
    with kueue.running(cluster, tmp_path_factory.mktemp("kueue")), operator_with(helm, "--set", "kueue.enabled=true"):
        yield


@pytest.fixture
def quota(kube: Kube) -> Iterator[Kube]:
    """The queue `team`, and the class `urgent` of what may take the room of others."""
    name = kube.namespace
    anywhere = kueue.flavor(name) | {"spec": {}}
    preemption = {"preemption": {"withinClusterQueue": "LowerPriority"}}
    urgent = {"apiVersion": kueue.VERSION, "kind": "WorkloadPriorityClass", "metadata": {"name": name}, "value": 100}
    kube.apply(anywhere, kueue.cluster_queue(name, QUOTA, name, **preemption), kueue.local_queue("team", name), urgent)
    yield kube
    kinds = "clusterqueues.kueue.x-k8s.io,resourceflavors.kueue.x-k8s.io,workloadpriorityclasses.kueue.x-k8s.io"
    kube.run("delete", kinds, name, "--wait=false")


def _scale(kube: Kube, number: int) -> None:
    kube.run("scale", f"--replicas={number}", "daskcluster", "simple")


def _phase(kube: Kube, job: str) -> Any:
    return kube.status("daskjob", job).get("jobStatus")


def test_an_urgent_job_takes_a_part_of_a_cluster_which_loses_nothing_and_grows_back(
    quota: Kube, session: Callable[[str], Session], dask_image: Image, figure: Callable[[str], None]
) -> None:
    cluster = kueue.queued(dask_cluster("simple", 2, image=str(dask_image)), CPU)
    quota.apply(cluster)
    quota.wait_for_workers("simple", 2)
    _scale(quota, 5)
    quota.wait_for_workers("simple", 5)
    dask = session("simple")
    dask.wait_for_workers(5)
    dask.count_starts()
    results = dask.hold(RESULTS)
    dask.load(6, 1.0)
    scheduler = quota.names("pods", "dask.org/component=scheduler")
    urgent = {"kueue.x-k8s.io/priority-class": quota.namespace}
    began = time.monotonic()
    quota.apply(kueue.queued(dask_job("urgent", 1, program=PROGRAM, image=str(dask_image)), CPU, **urgent))
    eventually(lambda: _phase(quota, "urgent") in ("Running", "Successful"), "the job runs")
    took = time.monotonic() - began
    figure(f"an urgent job runs {took:.1f} s after its creation, where others have used all of a quota")
    assert quota.names("pods", "dask.org/component=scheduler,dask.org/cluster-name=simple") == scheduler
    assert len(quota.workers("simple-default")) >= 2
    eventually(lambda: _phase(quota, "urgent") == "Successful", "the job ends")
    quota.wait_for_workers("simple", 5)
    assert dask.digests() == results.digests
    assert dask.rest() > 0
    assert dask.run_again() == []
    assert took < PROMPT
    _scale(quota, 2)
    # Those with which the cluster and the job started
    eventually(lambda: len(quota.names("workloads.kueue.x-k8s.io")) == 2, "what it does not need is given back")
