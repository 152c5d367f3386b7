"""A release of dask-cluster changes field by field while it computes: no result is lost, and each change arrives."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from tests.e2e.conftest import Image, lives
from tests.e2e.release import Release, image_of
from tests.e2e.session import Session
from tests.support.helm import Helm
from tests.support.kube import Kube, eventually

RESULTS = 60


@pytest.fixture(params=["helm", "HELM_4"])
def release(request: pytest.FixtureRequest, kube: Kube, helm: Helm, dask_image: Image) -> Release:
    """A release by Helm 3, and one by Helm 4."""
    program = "helm" if request.param == "helm" else os.environ.get(request.param, "")
    if not program:
        pytest.fail(f"{request.param} is not set: run this by `make test-e2e`")
    return Release(kube, Helm(helm.kubeconfig, program), dask_image, "mine")


def _install(release: Release, workers: int, more: int) -> None:
    release.install("--set", f"worker.replicas={workers},workerGroups.more.replicas={more}")
    release.settles(workers)
    release.settles(more, "more")


def test_a_release_is_changed_while_it_computes(release: Release, session: Callable[[str], Session]) -> None:
    _install(release, 3, 2)
    dask = session("mine")
    dask.wait_for_workers(5)
    held = dask.hold(RESULTS)
    dask.load()
    scheduler = {name: life for name, life in lives(release.kube).items() if "scheduler" in name}

    release.upgrade("--set", "worker.replicas=6")
    release.settles(6)
    release.upgrade("--set", "workerGroups.more=null")
    release.settles(0, "more")
    assert not release.kube.get("daskworkergroup", "mine-more")
    release.upgrade("--set", "workerGroups.other.replicas=1", "--set-string", "worker.env.CHANGED=yes")
    release.settles(1, "other")
    release.settles(6, fits=lambda spec: "CHANGED" in spec)
    other = Image.from_environment("NOTEBOOK_IMAGE")
    release.upgrade(*image_of(other, "worker.image"))
    release.settles(6, fits=lambda spec: str(other) in spec)
    release.settles(1, "other", fits=lambda spec: str(other) in spec)

    assert dask.digests() == held.digests
    assert dask.rest() > 1
    assert {name: life for name, life in lives(release.kube).items() if "scheduler" in name} == scheduler
    release.uninstall()


def test_autoscalers_are_switched_on_and_off_while_it_computes(
    release: Release, session: Callable[[str], Session]
) -> None:
    _install(release, 4, 3)
    dask = session("mine")
    dask.wait_for_workers(7)
    held = dask.hold(RESULTS)
    wanted: set[int | None] = set()

    def numbers() -> list[int | None]:
        groups = (release.kube.get("daskworkergroup", f"mine-{group}") or {} for group in ("default", "more"))
        found = [group["spec"]["worker"].get("replicas") for group in groups]
        wanted.update(found)
        return found

    # The group takes its autoscaler from `worker`.
    on = ",".join(f"worker.autoscaler.{bound}" for bound in ("enabled=true", "minimum=3", "maximum=5"))
    release.upgrade("--set", f"{on},worker.replicas=null,workerGroups.more.replicas=null")
    eventually(lambda: numbers() == [3, 3], "there is nothing to do for more than the minimum")
    # From now on no worker is deleted by itself, until Helm sets other numbers or switches the autoscalers off.
    release.upgrade("--set", "worker.autoscaler.behavior.scaleDown.stabilizationWindowSeconds=3600")
    dask.load(400, 0.5)
    busy = lambda: _autoscalers_are_seen(release) and numbers() == [5, 5]  # noqa: E731
    eventually(busy, "there is enough to do for the maximum")
    _wait_until_asked_for(release, "TooManyReplicas")
    release.upgrade("--set", "idleTimeout=86400")
    assert numbers() == [5, 5]
    assert dask.rest() > 0
    # The last target, from when there was enough work, would override Helm's number.
    _wait_until_asked_for(release, "ScaleDownStabilized")
    assert wanted - {None} <= {3, 4, 5}, "it jumped when Helm took the number away"

    # An autoscaler owns the fields that it has written. Helm 4 reports the conflict, and must be told to override.
    force = () if release.helm.program == "helm" else ("--force-conflicts",)
    off = "worker.autoscaler.enabled=false,worker.replicas=4,workerGroups.more.replicas=3"
    release.upgrade("--set", off, *force)
    release.settles(4)
    release.settles(3, "more")
    assert not release.kube.names("daskautoscalers")
    # Helm writes numbers before it deletes autoscalers, which may still enforce their bounds.
    release.upgrade("--set", "workerGroups.more.replicas=2")
    release.settles(2, "more")
    assert dask.digests() == held.digests
    release.uninstall()


def _autoscalers_are_seen(release: Release) -> bool:
    return all(
        each.get("status", {}).get("observedGeneration") == each["metadata"]["generation"]
        for each in release.kube.objects("daskautoscalers")
    )


def _wait_until_asked_for(release: Release, reason: str) -> None:
    """Wait until the scheduler has answered each autoscaler with a number that is limited for this reason."""
    for name in release.kube.names("daskautoscalers"):
        release.kube.wait_for_condition("daskautoscaler", name, "ScalingLimited", reason)


def test_a_worker_that_kubernetes_ends_hands_its_results_over(
    kube: Kube, helm: Helm, dask_image: Image, session: Callable[[str], Session]
) -> None:
    release = Release(kube, helm, dask_image, "mine")
    release.install("--set", "worker.replicas=2,worker.retireOnTermination=true")
    release.settles(2)
    dask = session("mine")
    dask.wait_for_workers(2)
    held = dask.hold(RESULTS)
    dask.load()
    for name in release.workers():
        # As on a drained or reclaimed node: deletion with grace.
        kube.run("delete", "pod", name)
        release.settles(2)
        dask.wait_for_workers(2)
    assert dask.digests() == held.digests
    assert dask.rest() > 0
    release.uninstall()
