"""The operator is upgraded, rolled back, uninstalled and installed again while a cluster computes, by Helm 3 and 4."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from tests.e2e.conftest import OPERATOR_NAMESPACE, Image, lives, operator_settings
from tests.e2e.session import Held, Session
from tests.support.helm import CHARTS, Helm
from tests.support.kube import CommandError, Kube, eventually
from tests.support.manifests import dask_cluster

CHART = CHARTS / "dask-kubernetes-operator"
CRDS = CHART / "files" / "crds"
RELEASE, OTHER_RELEASE = "dask-operator", "another-operator"
RESULTS = 60


def _given(variable: str) -> str:
    """Return an environment variable of the tier."""
    value = os.environ.get(variable)
    if not value:
        pytest.fail(f"{variable} is not set: run this by `make test-upgrade`")
    return value


@dataclass(frozen=True)
class Operator:
    """The operator's releases. `before`: installs the previous version; `helm`: does everything else."""

    before: Helm
    helm: Helm
    dask_image: Image

    def install_previous(self) -> None:
        chart = f"{_given('PREVIOUS')}/charts/dask-kubernetes-operator"
        self._apply(self.before, "install", RELEASE, chart, "PREVIOUS_OPERATOR_IMAGE", "--create-namespace")

    def install(self, release: str, *flags: str) -> None:
        self._apply(self.helm, "install", release, str(CHART), "OPERATOR_IMAGE", *flags)

    def upgrade(self) -> None:
        self._apply(self.helm, "upgrade", RELEASE, str(CHART), "OPERATOR_IMAGE")

    def roll_back(self) -> None:
        self.helm.run("rollback", RELEASE, "--namespace", OPERATOR_NAMESPACE, "--wait")

    def uninstall(self, release: str = RELEASE) -> None:
        self.helm.run("uninstall", release, "--namespace", OPERATOR_NAMESPACE, "--ignore-not-found", "--wait")

    def _apply(self, helm: Helm, verb: str, release: str, chart: str, image: str, *flags: str) -> None:
        settings = operator_settings(Image.from_environment(image), self.dask_image)
        helm.run(verb, release, chart, "--namespace", OPERATOR_NAMESPACE, *settings, *flags, "--wait")


@pytest.fixture(autouse=True, params=[(3, 3), (4, 4), (3, 4)], ids=lambda helms: "Helm {}, then Helm {}".format(*helms))
def operator(request: pytest.FixtureRequest, kube: Kube, helm: Helm, dask_image: Image) -> Iterator[Operator]:
    """The previous version, by the first Helm. At the end it is deleted with the CRDs."""
    helms = {3: helm, 4: Helm(helm.kubeconfig, _given("HELM_4"))}
    first, then = request.param
    operator = Operator(helms[first], helms[then], dask_image)
    operator.install_previous()
    yield operator
    for release in (RELEASE, OTHER_RELEASE):
        operator.uninstall(release)
    kube.run("delete", "--filename", str(CRDS), "--ignore-not-found")


@dataclass(frozen=True)
class Computation:
    """A cluster that computes, and holds results that cannot be computed again."""

    kube: Kube
    dask: Session
    results: Held
    pods: dict[str, tuple[str, int]]

    def goes_on(self) -> None:
        """Check that no Pod was created, deleted or restarted, and no result is lost."""
        assert lives(self.kube) == self.pods
        assert self.dask.digests() == self.results.digests

    def scales_to(self, number: int) -> None:
        self.kube.run("scale", f"--replicas={number}", "daskcluster", "computing")
        self.kube.wait_for_workers("computing", number)
        assert self.dask.digests() == self.results.digests
        scheduler = {name: life for name, life in self.pods.items() if "scheduler" in name}
        assert scheduler.items() <= lives(self.kube).items()


@pytest.fixture
def computation(operator: Operator, kube: Kube, session: Callable[[str], Session], dask_image: Image) -> Computation:
    kube.apply(dask_cluster("computing", 3, image=str(dask_image)))
    dask = session("computing")
    dask.wait_for_workers(3)
    results = dask.hold(RESULTS)
    dask.load()
    return Computation(kube, dask, results, lives(kube))


def _crds_are_those_of(kube: Kube, folder: Path) -> None:
    for file in folder.iterdir():
        wanted = yaml.safe_load(file.read_text())
        found = kube.get("crd", wanted["metadata"]["name"]) or {}
        assert found["spec"]["versions"][0]["schema"] == wanted["spec"]["versions"][0]["schema"], file.name


def test_a_computation_goes_on_whatever_becomes_of_the_operator(operator: Operator, computation: Computation) -> None:
    kube = computation.kube
    operator.upgrade()
    _crds_are_those_of(kube, CRDS)
    computation.goes_on()
    computation.scales_to(4)
    operator.roll_back()
    _crds_are_those_of(kube, Path(_given("PREVIOUS")) / CRDS.relative_to(CHARTS.parent))
    computation.scales_to(3)
    operator.upgrade()
    computation = Computation(kube, computation.dask, computation.results, lives(kube))
    operator.uninstall()
    computation.goes_on()
    operator.install(RELEASE)
    computation.goes_on()
    operator.uninstall()
    with pytest.raises(CommandError, match=r"meta\.helm\.sh/release-name"):
        operator.install(OTHER_RELEASE)
    operator.uninstall(OTHER_RELEASE)
    operator.install(OTHER_RELEASE, "--take-ownership")
    computation.goes_on()
    computation.scales_to(2)
    assert computation.dask.rest() > 1
    kube.run("delete", "daskcluster", "computing")
    eventually(lambda: not kube.names("pods", "dask.org/cluster-name=computing"), "nothing is left of the cluster")
