"""The users' packages: the wheel and the sdist have all of the package, nothing else, and its requirements."""

from __future__ import annotations

import ast
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "client"
PROJECT = tomllib.loads((CLIENT / "pyproject.toml").read_text())["project"]
STEM = f"dask_kubernetes-{PROJECT['version']}"
METADATA = f"{STEM}.dist-info"
MODULES = {str(path.relative_to(CLIENT)) for path in CLIENT.glob("dask_kubernetes/**/*.py")}
PACKAGE = MODULES | {f"dask_kubernetes/{name}" for name in ("py.typed", "kubernetes.yaml", "kubernetes-schema.yaml")}
# A notebook has it, and the package imports it only there.
IN_NOTEBOOKS = {"IPython"}


def built(source: Path, folder: Path) -> Path:
    """Build the wheel and the sdist of a source into the folder, and return it."""
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(CLIENT, tmp_path_factory.mktemp("dist"))


def files_of_wheel(folder: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(folder / f"{STEM}-py3-none-any.whl") as wheel:
        return {name: wheel.read(name) for name in wheel.namelist()}


@pytest.fixture(scope="module")
def wheel(distributions: Path) -> dict[str, bytes]:
    return files_of_wheel(distributions)


@pytest.fixture(scope="module")
def metadata(wheel: dict[str, bytes]) -> Message:
    return message_from_bytes(wheel[f"{METADATA}/METADATA"])


def test_the_wheel_has_the_package_and_nothing_else(wheel: dict[str, bytes]) -> None:
    assert {name for name in wheel if not name.startswith(METADATA)} == PACKAGE
    assert {name: wheel[name] for name in PACKAGE} == {name: (CLIENT / name).read_bytes() for name in PACKAGE}
    assert wheel[f"{METADATA}/licenses/LICENSE"] == (ROOT / "LICENSE").read_bytes()


def test_dask_finds_the_commands_and_the_clusters(wheel: dict[str, bytes]) -> None:
    entry_points = wheel[f"{METADATA}/entry_points.txt"].decode().split("\n\n")
    assert {each.strip() for each in entry_points} == {
        "[dask_cli]\nkubernetes = dask_kubernetes.cli:main",
        "[dask_cluster_discovery]\nkubecluster = dask_kubernetes.operator:discover",
    }


def test_what_is_needed_is_said(metadata: Message) -> None:
    assert metadata["Requires-Python"] == PROJECT["requires-python"] == ">=3.11"
    assert sorted(metadata.get_all("Requires-Dist", [])) == sorted(PROJECT["dependencies"])
    assert metadata["License-Expression"] == "BSD-3-Clause"


def test_the_sdist_makes_the_same_wheel(distributions: Path, wheel: dict[str, bytes], tmp_path: Path) -> None:
    with tarfile.open(distributions / f"{STEM}.tar.gz") as sdist:
        names = {name.removeprefix(f"{STEM}/") for name in sdist.getnames()}
        sdist.extractall(tmp_path, filter="data")
    assert names - {".gitignore"} == PACKAGE | {"LICENSE", "pyproject.toml", "PKG-INFO"}
    assert files_of_wheel(built(tmp_path / STEM, tmp_path / "again")) == wheel


def test_whatever_is_imported_is_declared_and_the_other_way_round() -> None:
    distributions = packages_distributions()
    imported = {module for path in MODULES for module in imports(CLIENT / path)}
    third_party = imported - sys.stdlib_module_names - {"dask_kubernetes"} - IN_NOTEBOOKS
    needed = {name.lower() for module in third_party for name in distributions[module]}
    assert needed == {dependency.partition(">=")[0] for dependency in PROJECT["dependencies"]}


def imports(path: Path) -> Iterator[str]:
    """Yield the top-level names of the modules that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.module
            yield node.module.partition(".")[0]
