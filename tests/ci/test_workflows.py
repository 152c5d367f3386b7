"""Workflows run pinned actions, have the least permissions, and publish to the documented places."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.pins import PINS

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yaml"))
ACTIONS = sorted((ROOT / ".github/actions").glob("*/action.yaml"))
RELEASE = yaml.safe_load((ROOT / ".github/workflows/release.yaml").read_text())
# The write permissions of each job of a release.
WRITES = {
    "test": set(),
    "package": set(),
    "image": {"packages", "id-token", "attestations"},
    "charts": {"packages", "id-token", "attestations"},
    "release": {"contents", "id-token", "attestations"},
    "pages": {"pages", "id-token"},
}


def _steps() -> Iterator[dict[str, Any]]:
    for job in RELEASE["jobs"].values():
        yield from job.get("steps", ())


def test_actions_are_pinned_by_commit_and_each_has_one_version() -> None:
    used: dict[str, set[str]] = {}
    for path in (*WORKFLOWS, *ACTIONS):
        for name, pin in re.findall(r"uses: (?!\./)([^@\s]+)@(.*)$", path.read_text(), re.MULTILINE):
            assert re.fullmatch(r"[0-9a-f]{40} # v\d+\.\d+\.\d+", pin), f"{path.name}: {name}@{pin}"
            used.setdefault(name, set()).add(pin)
    assert len(used) > 5
    assert {name: pins for name, pins in used.items() if len(pins) > 1} == {}


@pytest.mark.parametrize("job", ["cluster", "install"])
def test_every_supported_kubernetes_is_tried_on_kind(job: str) -> None:
    ci = yaml.safe_load((ROOT / ".github/workflows/ci.yaml").read_text())
    tried = ci["jobs"][job]["strategy"]["matrix"]["kubernetes"]
    nodes = [image.partition("@")[0] for pin, image in PINS.items() if pin.startswith("KIND_NODE_")]
    assert tried == nodes
    minors = [version.rpartition(".")[0] for version in nodes]
    assert minors[0] == PINS["KUBERNETES_OLDEST"].rpartition(".")[0]
    assert minors[-1] == PINS["KUBERNETES_VERSION"].rpartition(".")[0]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_jobs_are_bounded_and_verbs_are_in_the_makefile(path: Path) -> None:
    makefile = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for name, job in yaml.safe_load(path.read_text())["jobs"].items():
        assert "uses" in job or job["timeout-minutes"] <= 120, name
        for step in job.get("steps", ()):
            for line in step.get("run", "").splitlines():
                if line.startswith("make "):
                    assert {word for word in line.split()[1:] if re.fullmatch(r"[a-z0-9-]+", word)} <= makefile, line


def test_a_job_of_a_release_may_write_what_it_writes() -> None:
    assert RELEASE["permissions"] == {}
    for name, job in RELEASE["jobs"].items():
        assert {scope for scope, access in job["permissions"].items() if access == "write"} == WRITES[name], name


def test_a_release_is_tested_and_checked_before_anything_is_pushed() -> None:
    jobs = RELEASE["jobs"]
    assert jobs["test"]["uses"] == "./.github/workflows/ci.yaml"
    order = ["test", "package", "image", "charts"]
    assert [jobs[job]["needs"] for job in order[1:]] == order[:-1]
    assert jobs["release"]["needs"] == jobs["pages"]["needs"] == "charts"
    assert any('ci/package.sh dist "$GITHUB_REF_NAME"' in step.get("run", "") for step in jobs["package"]["steps"])


def test_whatever_is_pushed_is_signed_and_attested() -> None:
    attested = [
        step["with"]["subject-name"].removeprefix("${{ env.REGISTRY }}/")
        for step in _steps()
        if "attest-build-provenance" in step.get("uses", "") and "subject-name" in step["with"]
    ]
    charts = sorted(path.parent.name for path in ROOT.glob("charts/*/Chart.yaml"))
    assert sorted(attested) == sorted(["dask-kubernetes-operator", *(f"charts/{chart}" for chart in charts)])
    signed = " ".join(step["run"] for step in _steps() if "cosign sign" in step.get("run", ""))
    assert '"$REGISTRY/dask-kubernetes-operator@$DIGEST"' in signed
    assert '"$REGISTRY/charts/$chart@$digest"' in signed
    assert all(chart in signed for chart in charts)


def test_an_image_is_checked_and_scanned_before_it_is_signed_and_has_its_bill_of_materials() -> None:
    steps = RELEASE["jobs"]["image"]["steps"]
    said = [f"{step.get('uses', '')} {step.get('run', '')}" for step in steps]
    order = ["docker/build-push-action@", "ci/sbom.sh", "anchore/scan-action@", "cosign sign", "actions/attest-sbom@"]
    places = [next(place for place, text in enumerate(said) if part in text) for part in order]
    assert places == sorted(places)
    built, written, scanned, _, attested = (steps[place] for place in places)
    assert written["run"].split()[1:] == ['"registry:$REGISTRY/dask-kubernetes-operator@$DIGEST"', "sbom.spdx.json"]
    assert scanned["with"]["sbom"] == attested["with"]["sbom-path"] == "sbom.spdx.json"
    digest = f"${{{{ steps.{built['id']}.outputs.digest }}}}"
    assert written["env"]["DIGEST"] == attested["with"]["subject-digest"] == digest


def test_a_release_with_dependencies_that_are_known_to_be_vulnerable_is_none() -> None:
    (audit,) = (step for step in RELEASE["jobs"]["package"]["steps"] if "pip-audit" in step.get("uses", ""))
    audited = {ROOT / path for path in audit["with"]["inputs"].split()}
    assert audited == {ROOT / "controller/requirements.txt", ROOT / "client/requirements.txt"}
    assert all(path.exists() for path in audited)


def test_a_release_on_github_has_all_packages_and_they_are_attested() -> None:
    jobs = RELEASE["jobs"]
    (uploaded,) = (step["with"] for step in jobs["package"]["steps"] if "upload-artifact" in step.get("uses", ""))
    steps = jobs["release"]["steps"]
    (downloaded,) = (step["with"] for step in steps if "download-artifact" in step.get("uses", ""))
    assert (uploaded["path"], downloaded) == ("dist/*", {"name": uploaded["name"], "path": "dist"})
    attest, create = steps[-2:]
    assert attest["uses"].startswith("actions/attest-build-provenance@")
    assert attest["with"] == {"subject-path": "dist/*"}
    assert 'gh release create "$GITHUB_REF_NAME" dist/* ' in create["run"]
    # tests/client/test_distribution.py checks these names.
    assert 'hatchling build --directory "$folder"' in (ROOT / "ci/package.sh").read_text()


def test_the_documentation_says_where_releases_are() -> None:
    text = (ROOT / "docs/install.md").read_text()
    image = yaml.safe_load((ROOT / "charts/dask-kubernetes-operator/values.yaml").read_text())["image"]["name"]
    assert f"`{image}`" in text
    registry = image.rpartition("/")[0]
    assert f"oci://{registry}/charts/dask-kubernetes-operator --version" in text
    assert "/.github/workflows/release.yaml@refs/tags/v" in text
