"""A release with several versions, or with surplus files, is refused."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from ci.verify.packages import Package, controller_version, main, problems, read, tag_problems

FILES = frozenset({"Chart.yaml", "README.md", "values.yaml", "values.schema.json", "templates/NOTES.txt"})
OPERATOR = Package("dask-kubernetes-operator", "1.2.3", "1.2.3", FILES | {"templates/tests/pod.yaml"})
CLUSTER = Package("dask-cluster", "1.2.3", "2026.8.0", FILES)
CHARTS = [CLUSTER.name, OPERATOR.name]


def _archive(path: Path, package: Package) -> None:
    described = f"name: {package.name}\nversion: {package.version}\nappVersion: {package.app_version}\n".encode()
    with tarfile.open(path, "w:gz") as archive:
        for file in sorted(package.files):
            member = tarfile.TarInfo(f"{package.name}/{file}")
            content = described if file == "Chart.yaml" else b""
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def test_a_release_of_one_version_is_right() -> None:
    assert list(problems([OPERATOR, CLUSTER], CHARTS, "1.2.3")) == []


@pytest.mark.parametrize(
    ("packages", "problem"),
    [
        ([OPERATOR], "the packages are of ['dask-kubernetes-operator']"),
        ([OPERATOR, CLUSTER._replace(version="1.2.4")], "dask-cluster has the version 1.2.4"),
        ([OPERATOR._replace(app_version="1.2.2"), CLUSTER], "has the appVersion 1.2.2"),
        ([OPERATOR, CLUSTER._replace(files=FILES - {"README.md"})], "dask-cluster has no README.md"),
        ([OPERATOR, CLUSTER._replace(files=FILES | {"tests/a_test.yaml"})], "contains tests/a_test.yaml"),
        ([OPERATOR, CLUSTER._replace(files=FILES | {"ci/a-values.yaml"})], "contains ci/a-values.yaml"),
    ],
)
def test_what_is_wrong_is_said(packages: list[Package], problem: str) -> None:
    (found,) = problems(packages, CHARTS, "1.2.3")
    assert problem in found


def test_a_tag_is_the_version_s_and_the_changelog_has_its_day() -> None:
    assert list(tag_problems("v1.2.3", "1.2.3", "# Changelog\n\n## 1.2.3 (2026-11-21)\n")) == []
    (wrong,) = tag_problems("v1.2.4", "1.2.3", "## 1.2.3 (2026-11-21)\n")
    assert "it must be v1.2.3" in wrong
    (undated,) = tag_problems("v1.2.3", "1.2.3", "## 1.2.3 (unreleased)\n")
    assert "no '## 1.2.3 (DATE)'" in undated


def test_packages_are_read_and_the_exit_code_says_whether_all_is_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    version = controller_version()
    for package in (OPERATOR._replace(version=version, app_version=version), CLUSTER._replace(version=version)):
        _archive(tmp_path / f"{package.name}.tgz", package)
        assert read(tmp_path / f"{package.name}.tgz") == package
    assert main([str(tmp_path)]) == 0
    assert main([str(tmp_path), "--tag", "v0.0.0"]) == 1
    assert "the tag is v0.0.0" in capsys.readouterr().err
