"""An adaptive cluster grows with its work and shrinks after it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import Image
from tests.e2e.release import Release
from tests.e2e.session import Session
from tests.support.helm import Helm
from tests.support.kube import Kube, eventually
from tests.support.manifests import dask_autoscaler, dask_cluster

TASKS, SECONDS = 600, 0.4
# As in docs/dask-cluster.md
GPU_GROUP = """
worker:
  autoscaler: {enabled: true, minimum: 1, maximum: 20}
workerGroups:
  gpu:
    extraArgs: [--resources, GPU=1]
    autoscaler: {minimum: 0, maximum: 2}
"""


def _scales_down_after(seconds: int) -> dict[str, Any]:
    behavior = {"scaleDown": {"stabilizationWindowSeconds": seconds}}
    return dask_autoscaler("adaptive", "adaptive", 1, 8, behavior=behavior)


def test_a_cluster_goes_from_one_to_eight_and_back_with_every_result(
    kube: Kube, session: Callable[[str], Session], dask_image: Image
) -> None:
    kube.apply(dask_cluster("adaptive", 1, image=str(dask_image)))
    # Until results are on the workers, however long these take to start.
    kube.apply(_scales_down_after(3600))
    kube.wait_for_workers("adaptive", 1)
    dask = session("adaptive")
    wanted: set[int] = set()

    def replicas() -> int:
        number = _replicas(kube, "adaptive-default")
        wanted.add(number)
        return number

    def said() -> dict[str, Any]:
        return kube.status("daskautoscaler", "adaptive")

    dask.begin("squares", number=TASKS, seconds=SECONDS)
    eventually(lambda: replicas() == 8, "eight workers are wanted")
    eventually(lambda: said().get("desiredReplicas") == 8, "and the autoscaler says so")
    row = kube.run("get", "daskautoscaler", "adaptive")
    head, values = (line.split() for line in row.splitlines())
    assert head[:5] == ["NAME", "CLUSTER", "MINIMUM", "MAXIMUM", "CURRENT"]
    assert values[:4] == ["adaptive", "adaptive", "1", "8"]
    assert 1 <= int(values[4]) <= 8
    assert dask.answer("squares") is True
    dask.wait_for_workers(4)
    results = dask.hold(100)
    assert len(results.holders) >= 4
    kube.apply(_scales_down_after(15))
    eventually(lambda: replicas() == 1 and len(kube.workers("adaptive-default")) == 1, "one worker")
    assert dask.digests() == results.digests
    assert min(wanted) == 1
    assert max(wanted) == 8
    eventually(lambda: "→ 1" in (said().get("lastDecision") or ""), "the autoscaler says what it has decided")
    status = said()
    assert status["desiredReplicas"] == 1
    assert status["lastScaleTime"]
    assert "→ 1" in kube.run("get", "daskautoscaler", "adaptive", "--no-headers")


@pytest.mark.parametrize(("tasks", "seconds"), [(8, 3.0), (100, 0.3)])
def test_tasks_that_need_a_gpu_grow_the_group_that_has_them_from_zero_and_no_other(
    kube: Kube,
    helm: Helm,
    session: Callable[[str], Session],
    dask_image: Image,
    tmp_path: Path,
    tasks: int,
    seconds: float,
) -> None:
    values = tmp_path / "values.yaml"
    values.write_text(GPU_GROUP)
    Release(kube, helm, dask_image, "kinds").install("--values", str(values))
    kube.wait_for_workers("kinds", 1)
    assert _replicas(kube, "kinds-gpu") == 0
    dask = session("kinds")
    dask.begin("squares", number=tasks, seconds=seconds, resources={"GPU": 1})
    eventually(lambda: _replicas(kube, "kinds-gpu") == 2, "two GPU workers are wanted")
    assert dask.answer("squares") is True
    assert _replicas(kube, "kinds-default") == 1
    decisions = kube.status("daskautoscaler", "kinds")
    assert decisions.get("desiredReplicas") in (None, 1)
    assert not decisions.get("lastScaleTime"), "the default group was never scaled"


def _replicas(kube: Kube, group: str) -> int:
    return int((kube.get("daskworkergroup", group) or {})["spec"]["worker"]["replicas"])
