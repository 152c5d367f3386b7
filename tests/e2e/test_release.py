"""A release of dask-cluster is changed field by field while it computes: no result is lost, and each change arrives."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from tests.e2e.conftest import Image, lives
from tests.e2e.session import Session
from tests.support.helm import CHARTS, Helm
from tests.support.kube import Kube, eventually

CHART = str(CHARTS / "dask-cluster")
SMALL = ("--set", "worker.resources.requests.cpu=50m,worker.resources.requests.memory=256Mi")
KINDS = "all,dask,configmaps,serviceaccounts,ingresses,networkpolicies"
RESULTS = 60
PATIENCE = 180.0


def image_of(image: Image, part: str = "image") -> tuple[str, ...]:
    """Arguments of helm by which a part of a release has an image of this repository."""
    return ("--set-string", f"{part}.registry=,{part}.repository={image.name},{part}.tag={image.tag}")


@dataclass(frozen=True)
class Release:
    """One release of the chart, in the namespace of a test."""

    kube: Kube
    helm: Helm
    image: Image
    name: str

    def install(self, *settings: str) -> None:
        """With the images of this repository, and workers that do not need much."""
        self._run("install", *image_of(self.image), *SMALL, *settings)

    def upgrade(self, *settings: str) -> None:
        self._run("upgrade", "--reset-then-reuse-values", *settings)

    def test(self) -> str:
        return self.helm.run("test", self.name, "--namespace", self.kube.namespace)

    def uninstall(self) -> None:
        """Fails if anything of it is left."""
        self.helm.run("uninstall", self.name, "--namespace", self.kube.namespace)
        eventually(lambda: not self.left(), f"nothing of the release {self.name} is left", PATIENCE)

    def left(self) -> list[str]:
        """What there is of the release and of its cluster."""
        mine = (f"app.kubernetes.io/instance={self.name}", f"dask.org/cluster-name={self.name}")
        listed = (self.kube.run("get", KINDS, "--selector", selector, "--output", "name") for selector in mine)
        return [name for lines in listed for name in lines.split()]

    def workers(self, group: str = "default") -> dict[str, dict[str, object]]:
        """The specs of a group's workers by name."""
        return {pod["metadata"]["name"]: pod["spec"] for pod in self.kube.workers(f"{self.name}-{group}")}

    def settles(self, number: int, group: str = "default", fits: Callable[[str], bool] = lambda _: True) -> None:
        """Waits until a group has so many workers and nothing is under way; `fits` looks at the spec of each."""

        def look() -> bool:
            workers = self.workers(group)
            return len(workers) == number and all(fits(str(spec)) for spec in workers.values())

        eventually(look, f"{number} workers of {group} that are as they should be", PATIENCE)
        self.kube.wait_for_condition("daskcluster", self.name, "Progressing", "Settled", PATIENCE)

    def _run(self, verb: str, *settings: str) -> None:
        self.helm.run(verb, self.name, CHART, "--namespace", self.kube.namespace, *settings)


@pytest.fixture(params=["helm", "HELM_4"])
def release(request: pytest.FixtureRequest, kube: Kube, helm: Helm, dask_image: Image) -> Release:
    """By Helm 3, and by Helm 4 as well."""
    program = "helm" if request.param == "helm" else os.environ.get(request.param, "")
    if not program:
        pytest.fail(f"{request.param} is not set: run this by `make test-e2e`")
    return Release(kube, Helm(helm.kubeconfig, program), dask_image, "mine")


@pytest.mark.timeout(900)
def test_a_release_is_changed_while_it_computes(release: Release, session: Callable[[str], Session]) -> None:
    release.install("--set", "worker.replicas=3,workerGroups.more.replicas=2")
    release.settles(3)
    release.settles(2, "more")
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


@pytest.mark.timeout(900)
def test_autoscalers_are_switched_on_and_off_while_it_computes(
    release: Release, session: Callable[[str], Session]
) -> None:
    release.install("--set", "worker.replicas=4,workerGroups.more.replicas=3")
    release.settles(4)
    release.settles(3, "more")
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
    eventually(lambda: numbers() == [3, 3], "there is nothing to do for more than the minimum", PATIENCE)
    dask.begin("squares", number=400, seconds=0.5)
    eventually(lambda: numbers() == [5, 5], "there is enough to do for the maximum", PATIENCE)
    release.upgrade("--set", "idleTimeout=86400")
    assert numbers() == [5, 5]
    assert dask.answer("squares") is True
    assert wanted - {None} <= {3, 4, 5}, "it jumped when Helm took the number away"

    # What an autoscaler has written is its own, which Helm 4 says, and must be told to overrule.
    force = () if release.helm.program == "helm" else ("--force-conflicts",)
    off = "worker.autoscaler.enabled=false,worker.replicas=4,workerGroups.more.replicas=2"
    release.upgrade("--set", off, *force)
    release.settles(4)
    release.settles(2, "more")
    assert not release.kube.names("daskautoscalers")
    assert dask.digests() == held.digests
    release.uninstall()


@pytest.mark.timeout(600)
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
        # As on a drained or a reclaimed node: what is deleted with grace.
        kube.run("delete", "pod", name)
        release.settles(2)
        dask.wait_for_workers(2)
    assert dask.digests() == held.digests
    assert dask.rest() > 1
    release.uninstall()
