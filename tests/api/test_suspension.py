"""Suspended clusters and jobs against a real API server."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.support.controller import Controller
from tests.support.kube import Kube, eventually
from tests.support.manifests import ON_FAKE_NODES, dask_autoscaler, dask_cluster, dask_job

pytestmark = pytest.mark.usefixtures("controller")
# How many times both are suspended and resumed under load: SUSPENSIONS=50 make test-api
SUSPENSIONS = int(os.environ.get("SUSPENSIONS", "2"))
BOTH = {"daskcluster": "rests", "daskjob": "rests-job"}
SERVICES = ("rests-scheduler", "rests-job-scheduler")
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


@contextmanager
def _load(kube: Kube) -> Iterator[threading.Event]:
    """Scale another cluster up and down until the end of the block, which gets the Event that ends it."""
    over = threading.Event()

    def scale() -> None:
        while not over.is_set():
            for workers in (10, 2):
                kube.run("scale", "daskcluster", "busy", f"--replicas={workers}")
                over.wait(1.0)

    kube.apply(dask_cluster("busy", 2, pods=ON_FAKE_NODES))
    thread = threading.Thread(target=scale)
    thread.start()
    try:
        yield over
    finally:
        over.set()
        thread.join()


def _pods_of(kube: Kube, name: str) -> list[dict[str, str]]:
    """Return the name and the role of each Pod of a cluster or a job, whatever its state."""
    pods = (pod["metadata"] for pod in kube.objects("pods", f"dask.org/cluster-name={name}"))
    return [{"name": meta["name"], "role": meta["labels"]["dask.org/component"]} for meta in pods]


def _run(kube: Kube) -> bool:
    """Return whether both are ready, and have the Pods that they are to have and no others."""
    found = {kind: sorted(pod["role"] for pod in _pods_of(kube, name)) for kind, name in BOTH.items()}
    ready = all(kube.condition(kind, name, "Ready").get("status") == "True" for kind, name in BOTH.items())
    cluster = ["scheduler", "worker", "worker"]
    return ready and found == {"daskcluster": cluster, "daskjob": ["job-runner", *cluster]}


def _rest(kube: Kube) -> bool:
    """Return whether both have no Pod, and say that they are suspended."""
    reasons = {kube.condition(kind, name, "Ready").get("reason") for kind, name in BOTH.items()}
    return reasons == {"Suspended"} and not any(_pods_of(kube, name) for name in BOTH.values())


def _uids(kube: Kube) -> list[str]:
    """Return the uids of the Services of both, once they exist."""
    found = [kube.get("service", name) for name in SERVICES]
    return [service["metadata"]["uid"] for service in found if service]


def test_under_load_and_with_a_controller_that_is_killed_it_ends_the_same(kube: Kube, controller: Controller) -> None:
    chance, earlier = random.Random(22), set[str]()
    kube.apply(dask_cluster("rests", 2, pods=ON_FAKE_NODES), dask_job("rests-job", 2, pods=ON_FAKE_NODES))

    def set_while_it_is_killed(over: threading.Event, *, suspended: bool) -> None:
        for kind, name in BOTH.items():
            _suspend(kube, kind, name, suspended=suspended)
        over.wait(chance.uniform(0.0, 1.5))
        controller.kill()
        controller.start()

    with _load(kube) as over:
        eventually(lambda: _run(kube), "both run")
        services = _uids(kube)
        for number in range(SUSPENSIONS):
            workers = {pod["name"] for name in BOTH.values() for pod in _pods_of(kube, name) if pod["role"] == "worker"}
            assert not workers & earlier, "no worker's name is given twice"
            earlier |= workers
            set_while_it_is_killed(over, suspended=True)
            eventually(lambda: _rest(kube), f"both rest, time {number}")
            set_while_it_is_killed(over, suspended=False)
            eventually(lambda: _run(kube), f"both run again, time {number}")
    assert kube.status("daskjob", "rests-job")["failed"] == 0
    assert _uids(kube) == services
    assert kube.names("deployments") == {"busy-scheduler", *SERVICES}
    assert kube.names("daskworkergroups") == {"busy-default", "rests-default", "rests-job-default"}
