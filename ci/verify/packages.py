"""Check the charts' packages: a release has one version, and contains no tests and no examples.

    packages.py FOLDER [--tag TAG]

Both charts have the version of the controller. The operator's appVersion is that version too, the tag of the image. The
other chart's is the version of Dask.
"""

from __future__ import annotations

import argparse
import re
import sys
import tarfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import yaml

ROOT = Path(__file__).parents[2]
OPERATOR = "dask-kubernetes-operator"
_NEEDED = frozenset({"Chart.yaml", "README.md", "values.yaml", "values.schema.json", "templates/NOTES.txt"})
_NOT_CARRIED = ("ci/", "tests/", "examples/")


class Package(NamedTuple):
    """A packaged chart. `files` are relative to its folder."""

    name: str
    version: str
    app_version: str
    files: frozenset[str]


def read(path: Path) -> Package:
    with tarfile.open(path) as archive:
        names = archive.getnames()
        folder = names[0].split("/")[0]
        described = archive.extractfile(f"{folder}/Chart.yaml")
        chart = yaml.safe_load(described) if described else {}
    files = frozenset(name.removeprefix(f"{folder}/") for name in names)
    return Package(chart["name"], str(chart["version"]), str(chart["appVersion"]), files)


def controller_version() -> str:
    project = tomllib.loads((ROOT / "controller/pyproject.toml").read_text())
    return str(project["project"]["version"])


def problems(packages: list[Package], charts: list[str], version: str) -> Iterator[str]:
    if sorted(package.name for package in packages) != sorted(charts):
        yield f"the packages are of {[package.name for package in packages]}, and the charts {charts}"
    for package in packages:
        yield from _package_problems(package, version)


def tag_problems(tag: str, version: str, changelog: str) -> Iterator[str]:
    if tag != f"v{version}":
        yield f"the tag is {tag}, and the controller's version {version}: it must be v{version}"
    if not re.search(rf"^## {re.escape(version)} \(\d{{4}}-\d\d-\d\d\)$", changelog, re.MULTILINE):
        yield f"CHANGELOG.md has no '## {version} (DATE)' with the day of the release"


def _package_problems(package: Package, version: str) -> Iterator[str]:
    if package.version != version:
        yield f"{package.name} has the version {package.version}, and the controller {version}"
    if package.name == OPERATOR and package.app_version != version:
        yield f"{package.name} has the appVersion {package.app_version}, and the image is tagged {version}"
    for missing in sorted(_NEEDED - package.files):
        yield f"{package.name} has no {missing}"
    for surplus in sorted(file for file in package.files if file.startswith(_NOT_CARRIED)):
        yield f"{package.name} contains {surplus}, which .helmignore must leave out"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tag", default="")
    options = parser.parse_args(arguments)
    packages = [read(path) for path in sorted(options.folder.glob("*.tgz"))]
    charts = sorted(path.parent.name for path in ROOT.glob("charts/*/Chart.yaml"))
    found = list(problems(packages, charts, controller_version()))
    if options.tag:
        found += tag_problems(options.tag, controller_version(), (ROOT / "CHANGELOG.md").read_text())
    for problem in found:
        print(problem, file=sys.stderr)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
