"""Scaling under load with data on the workers: nothing is computed twice and nothing is lost."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import pytest
from tests.e2e.conftest import Image
from tests.e2e.session import Session
from tests.support.kube import Kube, eventually
from tests.support.manifests import dask_cluster

# Two scale-downs each: LOSSLESS_ROUNDS=25 make test-e2e
ROUNDS = int(os.environ.get("LOSSLESS_ROUNDS", "4"))
RESULTS = 200
# Departures of each kind: DEPARTURES=100 make test-e2e
DEPARTURE_ROUNDS = int(os.environ.get("DEPARTURES", "2"))
WORKERS = 3


def _scale(kube: Kube, number: int) -> None:
    kube.run("scale", f"--replicas={number}", "daskworkergroup", "simple-default")
    eventually(lambda: len(kube.workers("simple-default")) == number, f"{number} workers")


@pytest.mark.timeout(300 + 180 * ROUNDS)
def test_scaled_down_under_load_every_result_is_still_there(
    kube: Kube, session: Callable[[str], Session], dask_image: Image
) -> None:
    kube.apply(dask_cluster("simple", 5, image=str(dask_image)))
    kube.wait_for_workers("simple", 5)
    dask = session("simple")
    dask.load()
    for number in range(ROUNDS):
        _scale(kube, 5)
        dask.wait_for_workers(5)
        results = dask.hold(RESULTS)
        assert len(results.holders) == 5
        for workers in (4, 2):
            _scale(kube, workers)
            assert dask.digests() == results.digests, f"round {number}, {workers} workers"
    assert dask.rest() > ROUNDS


def test_a_worker_whose_pod_is_deleted_ends_its_task(
    kube: Kube, session: Callable[[str], Session], dask_image: Image
) -> None:
    kube.apply(dask_cluster("simple", 2, image=str(dask_image), pods={"terminationGracePeriodSeconds": 120}))
    kube.wait_for_workers("simple", 2)
    dask = session("simple")
    dask.wait_for_workers(2)
    results = dask.hold(RESULTS)
    # The file is in the Pod of one worker: on another the task would never end.
    dask.occupy("/tmp/free")
    before = {pod["metadata"]["name"] for pod in kube.workers("simple-default")}
    (busy,) = [name for name in before if name in dask.ask("busy")]
    kube.run("delete", "pod", busy, "--wait=false")
    kube.wait_for_workers("simple", 2)
    kube.run("exec", busy, "--", "touch", "/tmp/free")
    assert dask.free()
    eventually(lambda: kube.get("pod", busy) is None, f"{busy} is gone", 60)
    assert dask.digests() == results.digests


def test_a_worker_that_is_deleted_before_it_can_know_drains_when_it_has_registered(
    kube: Kube, session: Callable[[str], Session], dask_image: Image
) -> None:
    cluster = dask_cluster("simple", 2, image=str(dask_image))
    worker = cluster["spec"]["worker"]
    worker["drainTimeoutSeconds"] = 600
    (container,) = worker["spec"]["containers"]
    # A shell that is the first process of its container does not get the signal.
    container["command"] = ["sh", "-c", 'sleep 10; exec "$@"', "sh", *container.pop("args")]
    kube.apply(cluster)
    kube.wait_for_workers("simple", 2)
    dask = session("simple")
    dask.wait_for_workers(2)
    before = _names(kube)
    kube.run("scale", "--replicas=3", "daskworkergroup", "simple-default")
    eventually(lambda: _names(kube) - before, "another worker")
    (new,) = _names(kube) - before
    kube.run("wait", "pod", new, "--for=jsonpath={.status.phase}=Running", "--timeout=60s")
    kube.run("delete", "pod", new, "--wait=false")
    eventually(lambda: new in kube.run("logs", "deployment/simple-scheduler"), f"{new} registers", 120)
    # Its grace period is ten minutes.
    eventually(lambda: kube.get("pod", new) is None, f"{new} is gone", 120)
    assert "Retired worker" in kube.run("logs", "deployment/simple-scheduler")


def _edit(kube: Kube, number: int) -> None:
    edition = f"e{number}"
    body = {"spec": {"worker": {"metadata": {"labels": {"edition": edition}}}}}
    kube.run("patch", "daskcluster", "simple", "--type=merge", "--patch", json.dumps(body))
    eventually(lambda: _labelled(kube, edition) == WORKERS, f"{edition} has rolled out", 240)
    kube.wait_for_workers("simple", WORKERS)


def _labelled(kube: Kube, edition: str) -> int:
    return sum(pod["metadata"]["labels"].get("edition") == edition for pod in kube.workers("simple-default"))


def _delete_one(kube: Kube, number: int) -> None:
    name = sorted(_names(kube))[number % WORKERS]
    kube.run("delete", "pod", name, "--wait=false")
    _are_replaced(kube, {name})


def _delete_one_that_starts(kube: Kube, number: int) -> None:
    """Delete a worker, and its replacement while the nanny of that starts it."""
    before = _names(kube)
    name = sorted(before)[number % WORKERS]
    kube.run("delete", "pod", name, "--wait=false")
    eventually(lambda: _names(kube) - before, f"the replacement of {name}")
    (new,) = _names(kube) - before
    kube.run("wait", "pod", new, "--for=jsonpath={.status.phase}=Running", "--timeout=120s")
    eventually(lambda: "Start Nanny at" in kube.run("logs", new), f"the nanny of {new} starts")
    kube.run("delete", "pod", new, "--wait=false")
    _are_replaced(kube, {name, new})


def _evict_all(kube: Kube, number: int) -> None:
    """Evict all workers at once, as `kubectl drain` does."""
    before = _names(kube)
    for name in before:
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
        where = f"/api/v1/namespaces/{kube.namespace}/pods/{name}/eviction"
        kube.run("create", "--raw", where, "--filename", "-", stdin=json.dumps(eviction))
    _are_replaced(kube, before)


def _names(kube: Kube) -> set[str]:
    return {pod["metadata"]["name"] for pod in kube.workers("simple-default")}


def _are_replaced(kube: Kube, before: set[str]) -> None:
    eventually(lambda: not any(kube.get("pod", name) for name in before), f"{before} are gone", 240)
    kube.wait_for_workers("simple", WORKERS)


DEPARTURES = {
    "rollout": _edit,
    "delete": _delete_one,
    "delete at the start": _delete_one_that_starts,
    "drain": _evict_all,
}


@pytest.mark.timeout(300 + 300 * DEPARTURE_ROUNDS)
@pytest.mark.parametrize("departure", DEPARTURES.values(), ids=DEPARTURES)
def test_whoever_ends_workers_no_task_runs_again_and_no_shuffle_restarts(
    kube: Kube, session: Callable[[str], Session], dask_image: Image, departure: Callable[[Kube, int], None]
) -> None:
    cluster = dask_cluster("simple", WORKERS, image=str(dask_image))
    cluster["spec"]["worker"]["drainTimeoutSeconds"] = 120
    kube.apply(cluster)
    kube.wait_for_workers("simple", WORKERS)
    dask = session("simple")
    dask.wait_for_workers(WORKERS)
    dask.count_starts()
    results = dask.hold(RESULTS)
    dask.load(6, 1.0, shuffles=True)
    for number in range(DEPARTURE_ROUNDS):
        departure(kube, number)
    assert dask.digests() == results.digests
    assert dask.rest() > 0
    assert dask.run_again() == []
    scheduler = kube.run("logs", "deployment/simple-scheduler")
    assert " initialized by task" in scheduler
    assert " restarted due to" not in scheduler
