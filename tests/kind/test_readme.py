"""The README's commands for installing from a clone work as written, on kind."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator

import pytest
from docs.included import ROOT
from tests.support.documents import blocks

SECTION = "Install it on your cluster"
TYPED = [block for block in blocks(ROOT / "README.md", "console", section=SECTION) if not block.reason]
CLEAN = (
    "helm uninstall my-cluster --wait",
    "helm uninstall dask-operator --namespace dask-operator --wait",
    "kubectl delete --filename charts/dask-kubernetes-operator/files/crds",
)


def typed(command: str) -> str:
    """Run a command at the root of the clone. Return its output."""
    nothing = subprocess.DEVNULL
    done = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, check=False, capture_output=True, text=True, timeout=600, stdin=nothing
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture
def uninstalled() -> Iterator[None]:
    yield
    for command in CLEAN:
        subprocess.run(shlex.split(command), cwd=ROOT, check=False, capture_output=True, timeout=300)


@pytest.mark.usefixtures("uninstalled")
def test_what_the_readme_says_of_installing_works_as_it_is_typed() -> None:
    printed = {command: typed(command) for block in TYPED for command in block.commands}
    shown = next(text for command, text in printed.items() if command == "kubectl get daskclusters")
    assert re.search(r"^NAME +WORKERS +STATUS +AGE\nmy-cluster +2 +Running +", shown), shown
    programs = [command.split()[0] for command in printed]
    assert programs == ["docker", "kind", "helm", "helm", "kubectl", "kubectl", "helm", "kubectl"]
