"""A release of dask-cluster: the commands a person would type, and checks of the result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.e2e.conftest import Image
from tests.support.helm import CHARTS, Helm
from tests.support.kube import Kube, eventually

CHART = str(CHARTS / "dask-cluster")
EXAMPLES = CHARTS / "dask-cluster" / "examples"
SMALL = ("--set", "worker.resources.requests.cpu=50m,worker.resources.requests.memory=256Mi")
KINDS = "all,dask,configmaps,serviceaccounts,ingresses,networkpolicies"


def image_of(image: Image, part: str = "image") -> tuple[str, ...]:
    """Return helm's arguments for a part of a release with an image of this repository."""
    return ("--set-string", f"{part}.registry=,{part}.repository={image.name},{part}.tag={image.tag}")


@dataclass(frozen=True)
class Release:
    """A release of the chart in the namespace of a test."""

    kube: Kube
    helm: Helm
    image: Image
    name: str

    def install(self, *settings: str) -> None:
        """Install or upgrade it with this repository's images and small workers."""
        self._run("install", *image_of(self.image), *SMALL, *settings)

    def upgrade(self, *settings: str) -> None:
        self._run("upgrade", "--reset-then-reuse-values", *settings)

    def test(self) -> str:
        return self.helm.run("test", self.name, "--namespace", self.kube.namespace)

    def uninstall(self) -> None:
        """Remove it by Helm. Fail if anything of it is left."""
        self.helm.run("uninstall", self.name, "--namespace", self.kube.namespace)
        eventually(lambda: not self.left(), f"nothing of the release {self.name} is left")

    def left(self) -> set[str]:
        """Return the remaining objects of the release and its cluster."""
        mine = (f"app.kubernetes.io/instance={self.name}", f"dask.org/cluster-name={self.name}")
        return {name for selector in mine for name in self.kube.names(KINDS, selector)}

    def workers(self, group: str = "default") -> dict[str, dict[str, object]]:
        """Return the specs of a group's workers by name."""
        return {pod["metadata"]["name"]: pod["spec"] for pod in self.kube.workers(f"{self.name}-{group}")}

    def settles(self, number: int, group: str = "default", fits: Callable[[str], bool] = lambda _: True) -> None:
        """Wait until a group has so many ready workers and nothing is in progress; `fits` checks the spec of each."""

        def look() -> bool:
            pods = self.kube.workers(f"{self.name}-{group}")
            return len(pods) == number and all(_is_ready(pod) and fits(str(pod["spec"])) for pod in pods)

        eventually(look, f"{number} workers of {group} that are as they should be")
        self.kube.wait_for_condition("daskcluster", self.name, "Progressing", "Settled")

    def _run(self, verb: str, *settings: str) -> None:
        self.helm.run(verb, self.name, CHART, "--namespace", self.kube.namespace, *settings)


def _is_ready(pod: dict[str, Any]) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
