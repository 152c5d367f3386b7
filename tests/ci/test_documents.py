"""What the documents say of the code is so: the copies of one fact are compared."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "controller" / "dask_operator"


def _modules() -> set[str]:
    found = {path.relative_to(PACKAGE).with_suffix("").as_posix() for path in PACKAGE.rglob("*.py")}
    return {name.removeprefix("plan/") for name in found} - {"__init__"}


def test_the_map_has_every_module_and_every_folder() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    for module in _modules():
        assert re.search(rf"`[^`]*\b{module}\b[^`]*`", text), f"{module} is not in ARCHITECTURE.md"
    for path in re.findall(r"`((?:controller|charts|ci|tests)/[^`*… ]*)`", text):
        assert (ROOT / path).exists(), f"ARCHITECTURE.md names {path}, which is not there"


def test_the_map_fits_on_two_screens() -> None:
    assert len((ROOT / "ARCHITECTURE.md").read_text().splitlines()) <= 120


def test_every_reason_in_the_readme_is_one_the_controller_gives() -> None:
    table = re.findall(r"^\| (`[A-Z].*?) \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    reasons = set(re.findall(r"`([A-Z][A-Za-z]+)`", " ".join(table)))
    assert len(reasons) > 10
    code = "\n".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    # These are the API server's and the Kubernetes scheduler's own, passed on.
    passed_on = {"Forbidden", "Invalid", "Unschedulable"}
    assert {reason for reason in reasons if f'"{reason}"' not in code} <= passed_on


def test_every_verb_of_the_contributing_guide_is_in_the_makefile() -> None:
    verbs = set(re.findall(r"^\| `make ([a-z0-9-]+)`", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE))
    makefile = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert verbs
    assert verbs <= makefile
