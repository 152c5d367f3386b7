"""Every block of Python in the documentation runs as printed, outside the cluster, as on a user's machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dask
import pytest
from distributed import Client
from distributed.core import Status
from distributed.deploy.cluster import Cluster
from tests.e2e.conftest import TLS_FILES, Image, put_tls_secret
from tests.e2e.release import Release
from tests.support.documents import PAGES, Block, Page
from tests.support.helm import Helm
from tests.support.kube import Kube

import dask_kubernetes  # noqa: F401 - sets its defaults, which a block then overrides

_GENERATE = "dask kubernetes gen "


@dataclass(frozen=True)
class Reader:
    """A reader who does the steps of a page, block by block. `images`: ours, by patterns of those on the page."""

    kube: Kube
    folder: Path
    images: Mapping[str, str]
    names: dict[str, Any] = field(default_factory=lambda: {"__name__": "__main__"})
    opened: dict[int, Client | Cluster] = field(default_factory=dict)

    def follow(self, block: Block, closing: ExitStack) -> None:
        text = self._with_our_images(block.text)
        if block.language == "python":
            # Starts at its line of the page, which a traceback then shows.
            program = compile("\n" * (block.line - 1) + text, str(block.document), "exec", dont_inherit=True)
            try:
                exec(program, self.names)
            finally:
                self._remember(closing)
        elif block.language == "yaml" and block.file:
            (self.folder / block.file).write_text(text)
        elif block.language == "console":
            self._type(block._replace(text=text).commands)

    def _with_our_images(self, text: str) -> str:
        for pattern, image in self.images.items():
            text = re.sub(pattern, image, text)
        return text

    def _remember(self, closing: ExitStack) -> None:
        """Close what a block leaves open at the end, the last first, since a later cluster may take its name."""
        values = list(self.names.values())
        behind = [value.cluster for value in values if isinstance(value, Client)]
        for value in [*behind, *values]:
            if isinstance(value, Client | Cluster) and id(value) not in self.opened:
                self.opened[id(value)] = value
                closing.callback(_close, value)

    def _type(self, commands: list[str]) -> None:
        """Run commands of `dask kubernetes gen`; Kubernetes must accept their output."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        for line in commands:
            if line.startswith(_GENERATE):
                command = ["bash", "-c", line]
                subprocess.run(command, cwd=self.folder, env=os.environ | {"PATH": path}, check=True, timeout=180)
                _, file = line.split(" > ")
                self.kube.run("apply", "--dry-run=server", "--filename", str(self.folder / file))


def _close(opened: Client | Cluster) -> None:
    if opened.status not in ("closed", Status.closed):
        opened.close()


@pytest.fixture
def reader(
    kube: Kube, dask_image: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, certificates: Path
) -> Iterator[Reader]:
    """A reader in a folder with the files of a user of a cluster with TLS."""
    monkeypatch.chdir(tmp_path)
    for name, file in TLS_FILES.items():
        (tmp_path / name).write_bytes((certificates / file).read_bytes())
    images = {
        r"ghcr\.io/dask/dask-notebook:[\w.-]+": str(Image.from_environment("NOTEBOOK_IMAGE")),
        r"(ghcr\.io/dask|registry\.example\.com/team)/dask:[\w.-]+": str(dask_image),
    }
    with dask.config.set({"kubernetes.namespace": kube.namespace, "kubernetes.resource-timeout": 240}):
        yield Reader(kube, tmp_path, images)


# The release of dask-cluster that a page requires, and its settings.
_GIVEN = {
    "charts/dask-cluster/README.md": ("my-cluster",),
    "docs/python.md": ("my-secure-cluster", "--set", "tls.enabled=true,tls.secretName=my-secure-cluster-tls"),
}


# A user has the Python of the image.
@pytest.mark.filterwarnings("ignore:Mismatched versions found")
# The page on it says so.
@pytest.mark.filterwarnings("default:.*dask_kubernetes.operator:DeprecationWarning")
@pytest.mark.parametrize("page", PAGES, ids=str)
def test_a_page_can_be_followed_from_beginning_to_end(
    reader: Reader, helm: Helm, dask_image: Image, certificates: Path, page: Page
) -> None:
    if given := _GIVEN.get(str(page)):
        name, *settings = given
        put_tls_secret(reader.kube, f"{name}-tls", certificates)
        Release(reader.kube, helm, dask_image, name).install("--set", "worker.replicas=1", *settings)
    with ExitStack() as closing:
        for block in page.blocks("python", "yaml", "console"):
            if not block.reason:
                reader.follow(block, closing)
