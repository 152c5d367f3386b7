"""Documents agree with the code: the copies of one fact are compared."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.support.pins import PINS

from dask_operator.process import settings

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "controller" / "dask_operator"


def _row_of(folder: str, text: str) -> str:
    """Return the row of ARCHITECTURE.md's table about a folder of the controller, empty if there is none."""
    name = re.escape(f"{Path(folder).name}/" if folder != "." else "controller/dask_operator/")
    found = re.search(rf"^\| [│├└ ]*`{name}` \|.*$", text, re.MULTILINE)
    return found.group() if found else ""


def test_the_map_has_every_module_and_every_folder() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    for path in PACKAGE.rglob("*.py"):
        module = path.relative_to(PACKAGE)
        named = re.findall(r"`(\w+)`", _row_of(str(module.parent), text))
        assert module.stem in named or module.stem == "__init__", f"{module} is not in ARCHITECTURE.md"
    for path in re.findall(r"`((?:controller|charts|ci|docs|tests)/[^`*… ]*)`", text):
        assert (ROOT / path).exists(), f"ARCHITECTURE.md names {path}, which is not there"


def test_the_map_fits_on_two_screens() -> None:
    assert len((ROOT / "ARCHITECTURE.md").read_text().splitlines()) <= 120


def test_every_documented_reason_is_one_the_controller_gives() -> None:
    table = re.findall(r"^\| (`[A-Z].*?) \|", (ROOT / "docs/troubleshooting.md").read_text(), re.MULTILINE)
    reasons = set(re.findall(r"`([A-Z][A-Za-z]+)`", " ".join(table)))
    assert len(reasons) > 10
    code = "\n".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    # These are the words of the API server, the Kubernetes scheduler and kubelets, passed on.
    passed_on = {"Forbidden", "Invalid", "Unschedulable", "ContainersNotReady", "ReadinessGatesNotReady", "NodeLost"}
    assert {reason for reason in reasons if f'"{reason}"' not in code} <= passed_on


def test_the_charts_ask_for_the_oldest_kubernetes_that_is_tested() -> None:
    minor = ".".join(PINS["KUBERNETES_OLDEST"].split(".")[:2])
    for chart in ROOT.glob("charts/*/Chart.yaml"):
        assert f'kubeVersion: ">={minor}.0-0"' in chart.read_text(), chart


def test_one_version_of_dask_is_used_and_tested() -> None:
    (version,) = re.findall(r"^dask\S*==(\S+)", (ROOT / "ci/images/dask/requirements.in").read_text(), re.MULTILINE)
    assert f"appVersion: {version}\n" in (ROOT / "charts/dask-cluster/Chart.yaml").read_text()
    assert f"tag: {version}-py" in (ROOT / "charts/dask-kubernetes-operator/values.yaml").read_text()


def test_the_images_run_the_versions_of_the_development_environment() -> None:
    locked = set(re.findall(r"^\S+==\S+", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    for image in ("controller", "ci/images/dask"):
        pins = set(re.findall(r"^\S+==\S+", (ROOT / image / "requirements.txt").read_text(), re.MULTILINE))
        assert pins
        assert pins <= locked, image


def test_the_build_backend_is_the_one_of_the_development_environment() -> None:
    (pin,) = re.findall(r"hatchling==[0-9.]+", (ROOT / "controller/pyproject.toml").read_text())
    assert f"\n{pin} " in (ROOT / "constraints.txt").read_text()


def test_the_chart_sets_the_variables_that_the_controller_reads() -> None:
    read = {value for value in vars(settings).values() if isinstance(value, str) and value.startswith("DASK_")}
    template = (ROOT / "charts/dask-kubernetes-operator/templates/controller/_env.tpl").read_text()
    assert set(re.findall(r"name: (DASK_\S+)", template)) == read


def test_every_verb_of_the_contributing_guide_is_in_the_makefile() -> None:
    verbs = set(re.findall(r"^\| `make ([a-z0-9-]+)`", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE))
    makefile = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert verbs
    assert verbs <= makefile


@pytest.mark.parametrize(("page", "least"), [("promises.md", 30), ("security.md", 15)])
def test_every_test_that_proves_a_promise_is_there(page: str, least: int) -> None:
    # A whole file, or one test of it.
    named = re.findall(r"`(tests/[^`:]*\.py)(?:::(\w+))?`", (ROOT / "docs" / page).read_text())
    assert len(named) > least
    for path, test in named:
        assert f"def {test}" in (ROOT / path).read_text(), f"{path} has no {test}"


def test_every_problem_that_the_controller_reports_is_documented() -> None:
    code = "\n".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    problems = set(re.findall(r'Problem\(\s*"([A-Z]\w+)"', code))
    # Of these none asks for anything to be done.
    usual = {"AsExpected", "Completed", "FollowsScheduler", "NotAsked", "SchedulerStarting", "Unfinished"}
    text = (ROOT / "docs/troubleshooting.md").read_text()
    assert usual < problems
    assert not [reason for reason in problems - usual if f"`{reason}`" not in text]
