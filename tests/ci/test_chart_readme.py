"""The table of values in a chart's README.md."""

from __future__ import annotations

from pathlib import Path

import pytest
from ci.verify import chart_readme

VALUES = "# -- One | two\nname: a\n# -- Many\nnames: []\n"
TABLE = """\
| Value | What it is | Default |
|---|---|---|
| `name` | One \\| two | `"a"` |
| `names` | Many | `[]` |"""


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    (tmp_path / "values.yaml").write_text(VALUES)
    (tmp_path / "README.md").write_text("Before\n<!-- values -->\nold\n<!-- /values -->\nAfter\n")
    return tmp_path


def test_table() -> None:
    assert chart_readme.table(VALUES) == TABLE


def test_stale_readme_is_named_and_left(chart: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (chart / "README.md").read_text()
    assert chart_readme.main([str(chart)]) == 1
    assert "is not what values.yaml says" in capsys.readouterr().err
    assert (chart / "README.md").read_text() == before


def test_written_readme_is_fine_and_keeps_the_rest(chart: Path) -> None:
    assert chart_readme.main(["--write", str(chart)]) == 0
    assert (chart / "README.md").read_text() == f"Before\n<!-- values -->\n{TABLE}\n<!-- /values -->\nAfter\n"
    assert chart_readme.main([str(chart)]) == 0


def test_readme_without_a_place_for_the_table() -> None:
    with pytest.raises(ValueError, match="needs the lines"):
        chart_readme.with_table("Before\n<!-- values -->\n", VALUES)
