"""The check that values, schema and templates of a chart know the same."""

from __future__ import annotations

from typing import Any

import pytest
from ci.verify import values

YAML = """\
# The chart's values
image:
  # -- Where it is
  # found
  name: a

# -- CPU and memory
resources:
  limits:
    cpu: 1
"""
SCHEMA: dict[str, Any] = {
    "properties": {
        "enabled": {"type": "boolean"},
        "image": {"$ref": "#/definitions/image"},
        "resources": {"type": "object"},
    },
    "definitions": {"image": {"properties": {"name": {"type": "string"}}}},
}
TEMPLATES = {"a.yaml": "{{ .Values.image.name }} {{ .Values.resources.limits.cpu }} {{ $.Values.image }}"}


def test_documented_values_have_a_path_a_default_and_a_text() -> None:
    assert values.documented(YAML) == [
        values.Value("image.name", "a", "Where it is found"),
        values.Value("resources", {"limits": {"cpu": 1}}, "CPU and memory"),
    ]


def test_nothing_is_wrong_where_all_agree() -> None:
    assert list(values.problems(YAML, SCHEMA, TEMPLATES)) == []


def test_value_without_a_comment() -> None:
    assert list(values.problems(YAML + "tag: x\n", SCHEMA, TEMPLATES)) == [
        "values.yaml: tag has no comment that begins with `# --`"
    ]


def test_value_that_the_schema_does_not_know() -> None:
    assert list(values.problems(YAML + "# -- Tag\ntag: x\n", SCHEMA, TEMPLATES)) == [
        "values.schema.json does not know tag, which values.yaml has"
    ]


def test_value_that_only_the_schema_knows() -> None:
    schema = {**SCHEMA, "definitions": {"image": {"properties": {"name": {}, "tag": {}}}}}
    assert list(values.problems(YAML, schema, TEMPLATES)) == [
        "values.yaml does not have image.tag, which values.schema.json knows"
    ]


@pytest.mark.parametrize("reference", [".Values.imgae.name", "$.Values.image.tag", "(.Values.other)"])
def test_template_uses_a_value_that_does_not_exist(reference: str) -> None:
    (problem,) = values.problems(YAML, SCHEMA, {"a.yaml": f"{{{{ {reference} }}}}"})
    assert problem.startswith("a.yaml uses ")
    assert "which values.yaml does not have" in problem
