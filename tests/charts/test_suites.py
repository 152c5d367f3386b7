"""Every template has cases of helm-unittest."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from tests.support.helm import CHARTS

TEMPLATES = sorted(CHARTS.glob("*/templates/**/*.yaml"))


def _tried(chart: Path) -> set[str]:
    """Return the templates about whose rendering a suite asserts anything."""
    found: set[str] = set()
    for suite in chart.glob("tests/**/*_test.yaml"):
        content = yaml.safe_load(suite.read_text())
        parts = (content, *content["tests"])
        found |= {name for part in parts for name in (*part.get("templates", []), part.get("template"))}
    return found


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: str(path.relative_to(CHARTS)))
def test_a_template_has_cases(template: Path) -> None:
    chart = CHARTS / template.relative_to(CHARTS).parts[0]
    assert str(template.relative_to(chart)) in {name.removeprefix("./") for name in _tried(chart) if name}
