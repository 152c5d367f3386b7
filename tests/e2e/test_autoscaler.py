"""An adaptive cluster grows with its work and shrinks after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.e2e.conftest import Image
from tests.e2e.session import Session
from tests.support.kube import Kube, eventually
from tests.support.manifests import dask_autoscaler, dask_cluster

TASKS, SECONDS = 600, 0.4


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
        number = int((kube.get("daskworkergroup", "adaptive-default") or {})["spec"]["worker"]["replicas"])
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
