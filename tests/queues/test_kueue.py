"""DaskClusters and DaskJobs in queues of a real Kueue."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from tests.support import kueue
from tests.support.controller import Controller
from tests.support.kube import Kube, eventually
from tests.support.manifests import dask_cluster, dask_job
from tests.support.tools import ROOT

from dask_operator.names import QUEUE_LABEL

ONE_CPU = {"requests": {"cpu": "1"}}


@pytest.fixture
def cpus(kube: Kube) -> Iterator[Kube]:
    """The queue `team`, with four CPUs of the fake nodes."""
    name = kube.namespace
    kube.apply(kueue.flavor(name), kueue.cluster_queue(name, 4, name), kueue.local_queue("team", name))
    yield kube
    kube.run("delete", "clusterqueues.kueue.x-k8s.io,resourceflavors.kueue.x-k8s.io", name, "--wait=false")


def queued(manifest: dict[str, Any], **labels: str) -> dict[str, Any]:
    return kueue.queued(manifest, ONE_CPU, **labels)


def runs(kube: Kube, name: str, workers: int) -> None:
    kube.wait_for_condition("daskcluster", name, "SchedulerReady", "SchedulerReady")
    kube.wait_for_workers(name, workers)


def pods(kube: Kube, cluster: str) -> set[str]:
    return kube.names("pods", f"dask.org/cluster-name={cluster}")


@pytest.mark.usefixtures("controller")
def test_a_cluster_waits_until_there_is_room_and_runs_where_its_queue_says(cpus: Kube) -> None:
    cpus.apply(queued(dask_cluster("first", 3)))
    runs(cpus, "first", 3)
    placed = {pod["spec"]["nodeName"][:5] for pod in cpus.objects("pods")}
    assert placed == {"fake-"}, "the flavor has their labels and tolerations, and the cluster has none"
    cpus.apply(queued(dask_cluster("second", 1)))
    message = cpus.wait_for_condition("daskcluster", "second", "Suspended", "Queued")
    eventually(lambda: "insufficient" in cpus.condition("daskcluster", "second", "Suspended")["message"], "why")
    assert message.startswith("it ")
    assert pods(cpus, "second") == set()
    cpus.run("delete", "daskcluster", "first")
    runs(cpus, "second", 1)


@pytest.mark.usefixtures("controller")
def test_a_job_goes_through_its_queue(cpus: Kube) -> None:
    cpus.apply(queued(dask_job("simple", 2)))
    eventually(lambda: cpus.status("daskjob", "simple").get("jobStatus") == "Running", "it runs")
    kueue.workload_condition(cpus, "PodsReady")
    cpus.run("patch", "pod", "simple-runner", "--subresource=status", "--patch", '{"status": {"phase": "Succeeded"}}')
    eventually(lambda: cpus.status("daskjob", "simple").get("jobStatus") == "Successful", "it ends")
    assert "the program ended" in kueue.workload_condition(cpus, "Finished")


@pytest.mark.usefixtures("controller")
def test_a_more_urgent_cluster_takes_the_room_of_another_which_comes_back(cpus: Kube) -> None:
    name = cpus.namespace
    urgent = {"apiVersion": kueue.VERSION, "kind": "WorkloadPriorityClass", "metadata": {"name": name}, "value": 100}
    cpus.apply(urgent)
    preempting = {"preemption": {"withinClusterQueue": "LowerPriority"}}
    cpus.apply(kueue.cluster_queue(name, 4, name, **preempting))
    cpus.apply(queued(dask_cluster("usual", 3)))
    runs(cpus, "usual", 3)
    cpus.apply(queued(dask_cluster("urgent", 2), **{"kueue.x-k8s.io/priority-class": name}))
    runs(cpus, "urgent", 2)
    assert "preempted" in cpus.wait_for_condition("daskcluster", "usual", "Suspended", "Queued").lower()
    eventually(lambda: not pods(cpus, "usual"), "it has no Pods")
    cpus.run("delete", "daskcluster", "urgent")
    runs(cpus, "usual", 3)
    cpus.run("delete", "workloadpriorityclass.kueue.x-k8s.io", name, "--wait=false")


@pytest.mark.usefixtures("controller")
def test_a_queue_that_does_not_exist_is_said_until_it_does(cpus: Kube) -> None:
    cluster = queued(dask_cluster("lost", 1))
    cluster["metadata"]["labels"][QUEUE_LABEL] = "nowhere"
    cpus.apply(cluster)
    eventually(
        lambda: "nowhere doesn't exist" in cpus.condition("daskcluster", "lost", "Suspended").get("message", ""),
        "its condition says so",
    )
    cpus.apply(kueue.local_queue("nowhere", cpus.namespace))
    runs(cpus, "lost", 1)


def _stop(kube: Kube, policy: str) -> None:
    patch = f'{{"spec": {{"stopPolicy": "{policy}"}}}}'
    kube.run("patch", "clusterqueue.kueue.x-k8s.io", kube.namespace, "--type=merge", "--patch", patch)


def test_a_controller_that_is_killed_again_and_again_gives_back_what_it_was_given(
    cpus: Kube, controller: Controller
) -> None:
    for _ in range(3):
        cpus.apply(queued(dask_cluster("first", 2)))
        controller.kill()
        controller.start()
        runs(cpus, "first", 2)
        controller.kill()
        _stop(cpus, "HoldAndDrain")
        kueue.workload_condition(cpus, "Evicted")
        controller.start()
        kueue.workload_condition(cpus, "QuotaReserved", "False")
        assert pods(cpus, "first") == set()
        _stop(cpus, "None")
        runs(cpus, "first", 2)
        cpus.run("delete", "daskcluster", "first")
        eventually(lambda: not cpus.names("pods,workloads.kueue.x-k8s.io"), "nothing is left")


@pytest.mark.usefixtures("controller")
def test_a_cluster_grows_in_parts_as_there_is_room(cpus: Kube) -> None:
    cpus.apply(queued(dask_cluster("growing", 1)))
    runs(cpus, "growing", 1)
    # In parts of three, of which the first gets two.
    cpus.run("scale", "daskcluster", "growing", "--replicas=25")
    eventually(lambda: len(cpus.workers("growing-default")) == 3, "as many as there is room for")
    eventually(
        lambda: "has not admitted 22 of them" in cpus.condition("daskcluster", "growing", "Progressing")["message"],
        "its condition says why it has no more",
    )
    assert len(pods(cpus, "growing")) == 4
    cpus.apply(kueue.cluster_queue(cpus.namespace, 10, cpus.namespace))
    eventually(lambda: len(cpus.workers("growing-default")) == 9, "as many as there is room for now")


def test_the_documented_queue_is_taken(kube: Kube) -> None:
    manifests = list(yaml.safe_load_all((ROOT / "tests/examples/sharing/queue.yaml").read_text()))
    for manifest in manifests:
        manifest["metadata"] |= {"namespace": kube.namespace} if "namespace" in manifest["metadata"] else {}
    kube.apply(*manifests)
    queue = manifests[-1]["metadata"]["name"]
    eventually(
        lambda: kube.condition("localqueues.kueue.x-k8s.io", queue, "Active").get("status") == "True", "it is active"
    )
    kube.run("delete", "clusterqueue.kueue.x-k8s.io/team", "resourceflavor.kueue.x-k8s.io/default", "--wait=false")
