"""An edited template reaches the running Pods, while they compute."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.e2e.conftest import Image
from tests.e2e.session import Session
from tests.support.kube import Kube, eventually
from tests.support.manifests import dask_cluster

WORKERS, SURGE = 10, 3


def _edit(kube: Kube, cluster: str, role: str) -> None:
    env = {"op": "add", "path": f"/spec/{role}/spec/containers/0/env", "value": [{"name": "EDITED", "value": "yes"}]}
    kube.run("patch", "daskcluster", cluster, "--type=json", "--patch", json.dumps([env]))


def _edited(pod: dict[str, Any]) -> bool:
    return {"name": "EDITED", "value": "yes"} in pod["spec"]["containers"][0].get("env", [])


def _ready(pod: dict[str, Any]) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))


def test_ten_workers_are_replaced_under_a_computation_whose_answer_stays_right(
    kube: Kube, session: Callable[[str], Session], dask_image: Image
) -> None:
    kube.apply(dask_cluster("rolled", WORKERS, image=str(dask_image)))
    kube.wait_for_workers("rolled", WORKERS)
    dask = session("rolled")
    dask.wait_for_workers(WORKERS)
    results = dask.hold(100)
    assert len(results.holders) == WORKERS
    dask.load()
    fewest, most = WORKERS, WORKERS
    # A worker that was ready once: a busy machine may answer a probe too late.
    started: set[str] = set()

    def rolled() -> bool:
        nonlocal fewest, most
        # A released worker ends by itself, and is deleted a moment later.
        ended = ("Succeeded", "Failed")
        pods = [pod for pod in kube.workers("rolled-default") if pod["status"].get("phase") not in ended]
        started.update(pod["metadata"]["uid"] for pod in pods if _ready(pod))
        working = [pod for pod in pods if pod["metadata"]["uid"] in started]
        fewest, most = min(fewest, len(working)), max(most, len(pods))
        return len(pods) == WORKERS and all(_edited(pod) and _ready(pod) for pod in pods)

    _edit(kube, "rolled", "worker")
    eventually(rolled, "all workers are of the new template")
    assert fewest == WORKERS
    assert WORKERS < most <= WORKERS + SURGE
    assert dask.digests() == results.digests
    assert dask.rest() > 1
    kube.wait_for_workers("rolled", WORKERS)


def test_an_edited_scheduler_restarts_and_computes_with_the_same_service(
    kube: Kube, session: Callable[[str], Session], dask_image: Image
) -> None:
    kube.apply(dask_cluster("edited", 1, image=str(dask_image)))
    kube.wait_for_workers("edited", 1)
    service = (kube.get("service", "edited-scheduler") or {})["metadata"]["uid"]
    _edit(kube, "edited", "scheduler")

    def restarted() -> bool:
        pods = kube.objects("pods", "dask.org/component=scheduler")
        return len(pods) == 1 and _edited(pods[0]) and _ready(pods[0])

    eventually(restarted, "the scheduler is of the new template")
    dask = session("edited")
    dask.wait_for_workers(1)
    assert dask.ask("squares", number=3, seconds=0.0) is True
    kube.wait_for_workers("edited", 1)
    assert (kube.get("service", "edited-scheduler") or {})["metadata"]["uid"] == service
