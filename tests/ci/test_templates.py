"""The check that templates use only existing values."""

from __future__ import annotations

from pathlib import Path

import pytest
from ci.verify import templates

YAML = """\
image:
  # -- Where it is found
  name: a

# -- CPU and memory
resources:
  limits:
    cpu: 1
"""


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    (tmp_path / "values.yaml").write_text(YAML)
    (tmp_path / "templates/users").mkdir(parents=True)
    (tmp_path / "templates/_a.tpl").write_text("{{ .Values.image.name }} {{ .Values.resources.requests.cpu }}")
    (tmp_path / "templates/users/b.yaml").write_text("{{ $.Values.image }} {{ .Values.resources }}")
    return tmp_path


def test_nothing_is_wrong_where_all_are_there(chart: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert templates.main([str(chart)]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["imgae.name", "image.tag", "other"])
@pytest.mark.parametrize("words", ["{{ .Values.%s }}", "{{ if $.Values.%s }}", "{{ include (.Values.%s) }}"])
def test_template_uses_a_value_that_does_not_exist(
    chart: Path, capsys: pytest.CaptureFixture[str], words: str, name: str
) -> None:
    (chart / "templates/users/b.yaml").write_text(words % name)
    assert templates.main([str(chart)]) == 1
    assert f"templates/users/b.yaml uses {name}, which values.yaml does not have" in capsys.readouterr().err
