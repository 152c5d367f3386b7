"""Scaling under load with data on the workers: nothing is computed twice and nothing is lost."""

from __future__ import annotations

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
