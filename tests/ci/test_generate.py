"""Files made from the charts' values.yaml: the schema of the values, and their table in README.md."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
import yaml

from ci import generate

TYPES = """\
texts: {type: object, additionalProperties: string}
labels: texts
port: {type: [integer, null], minimum: 1}
server:
  type: object
  properties: {port: port, type: {enum: [a, b]}, more: texts}
  additionalProperties: {if: null, else: {anyOf: [object, [string, null]]}}
"""
VALUES = """\
# The chart's values
image:
  # -- Where it is
  # found | or not
  # @schema minLength: 1, required: true
  name: a
  # -- Version
  tag: ""

# -- CPU and memory
resources:
  limits:
    cpu: 1
"""
# Kubernetes reads integers of 32 bits.
INTEGER = {"type": "integer", "maximum": 2147483647}
TABLE = """\
| Value | What it is | Default |
|---|---|---|
| `image.name` | Where it is found \\| or not | `"a"` |
| `image.tag` | Version | `""` |
| `resources` | CPU and memory | `{"limits": {"cpu": 1}}` |"""


@pytest.fixture
def charts(tmp_path: Path) -> Path:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/values.yaml").write_text(VALUES)
    (tmp_path / "a/README.md").write_text("Before\n<!-- values -->\nold\n<!-- /values -->\nAfter\n")
    (tmp_path / "types.yaml").write_text(TYPES)
    return tmp_path


def schema_of(value: str, said: str = "") -> Any:
    """Return the schema of one value, without its description and its default."""
    comment = f"# -- Text\n# @schema {said}\n" if said else "# -- Text\n"
    made = generate.schema(generate.read(comment + value), yaml.safe_load(TYPES))["properties"]
    assert made.pop("enabled") == {"type": "boolean"}
    ((_, found),) = made.items()
    return {keyword: it for keyword, it in found.items() if keyword not in {"description", "default"}}


def test_what_is_committed_is_what_values_yaml_says() -> None:
    files = generate.generated(generate.CHARTS)
    assert len(files) == 4
    for path, text in files.items():
        assert path.read_text() == text, f"{path} is old: run `make generate`"


def test_no_type_is_without_use() -> None:
    types = yaml.safe_load((generate.CHARTS / "types.yaml").read_text())
    charts = [generate.read(path.read_text()) for path in generate.CHARTS.glob("*/values.yaml")]
    whole = [generate.schema(chart, types) for chart in charts]
    for name in types:
        fewer = {other: it for other, it in types.items() if other != name}
        with contextlib.suppress(generate.ValuesError):
            assert [generate.schema(chart, fewer) for chart in charts] != whole, name


def test_table() -> None:
    assert generate.table(generate.read(VALUES)) == TABLE


def test_schema() -> None:
    assert generate.schema(generate.read(VALUES), {}) == {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$comment": "Made of values.yaml by `make generate`",
        "type": "object",
        "additionalProperties": False,
        "required": ["image"],
        "properties": {
            "enabled": {"type": "boolean"},
            "image": {
                "type": "object",
                "additionalProperties": False,
                "required": ["name"],
                "properties": {
                    "name": {
                        "description": "Where it is found | or not",
                        "type": "string",
                        "minLength": 1,
                        "default": "a",
                    },
                    "tag": {"description": "Version", "type": "string", "default": ""},
                },
            },
            "resources": {"description": "CPU and memory", "type": "object", "default": {"limits": {"cpu": 1}}},
        },
    }


@pytest.mark.parametrize(
    ("value", "said", "found"),
    [
        ("a: x", "", {"type": "string"}),
        ("a: true", "", {"type": "boolean"}),
        ("a: 1", "minimum: 0", {**INTEGER, "minimum": 0}),
        ("a: 1", "maximum: 9", {**INTEGER, "maximum": 9}),
        ("a: 1.5", "", {"type": "number"}),
        ("a: null", "type: [integer, null]", {**INTEGER, "type": ["integer", "null"]}),
        ("a: b", "enum: [b, c]", {"enum": ["b", "c"]}),
        ("a: []", "items: string", {"type": "array", "items": {"type": "string"}}),
        (
            "a: []",
            "items: {type: object, required: [b]}",
            {"type": "array", "items": {"type": "object", "required": ["b"]}},
        ),
        ("a: {}", "type: labels", {"type": "object", "additionalProperties": {"type": "string"}}),
        ("labels: {}", "", {"type": "object", "additionalProperties": {"type": "string"}}),
        ("labels: {}", "required: true", {"type": "object", "additionalProperties": {"type": "string"}}),
        ("labels: {}", "type: object", {"type": "object"}),
        ("port: 1", "", {**INTEGER, "type": ["integer", "null"], "minimum": 1}),
        ("port: 1", "type: port, minimum: 7", {**INTEGER, "type": ["integer", "null"], "minimum": 7}),
        (
            "server: {}",
            "",
            {
                "type": "object",
                "properties": {
                    "port": {**INTEGER, "type": ["integer", "null"], "minimum": 1},
                    "type": {"enum": ["a", "b"]},
                    "more": {"type": "object", "additionalProperties": {"type": "string"}},
                },
                "additionalProperties": {
                    "if": {"type": "null"},
                    "else": {"anyOf": [{"type": "object"}, {"type": ["string", "null"]}]},
                },
            },
        ),
    ],
)
def test_schema_of_a_value(value: str, said: str, found: Any) -> None:
    assert schema_of(value, said) == found


def test_what_is_like_a_section_may_be_any_part_of_it() -> None:
    made = generate.schema(generate.read(f"{VALUES}# -- Other\n# @schema like: image\nother: {{}}"), {})["properties"]
    like = {keyword: it for keyword, it in made["image"].items() if keyword != "required"}
    assert made["other"] == {"description": "Other", **like, "default": {}}


def test_section_may_be_null_where_it_says_so() -> None:
    made = generate.schema(generate.read(VALUES.replace("image:", "# @schema required: false\nimage:")), {})
    assert "required" not in made


def test_what_is_global_is_open_for_other_charts() -> None:
    made = generate.schema(generate.read("global:\n  # -- Text\n  a: x"), {})["properties"]["global"]
    assert made.keys() == {"type", "properties"}


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ("a: x", "a has no comment that begins with `# --`"),
        ("a:\n  b: {}", "a.b has no comment that begins with `# --`"),
        ("# -- Text\na: null", "a: neither its default nor a `# @schema` gives its type"),
        ("# -- Text\na: []", "a: neither its default nor a `# @schema` gives its type"),
        ("# -- Text\n# @schema type: none\na: x", "a: charts/types.yaml has no type none"),
        ("# -- Text\n# @schema like: none\na: {}", "a: no section none"),
        ("# -- Text\n# @schema minumum: 1\na: 1", "a: unknown keyword minumum"),
        ("# @schema requird: false\na:\n  # -- Text\n  b: 1", "a: unknown keyword requird"),
        ("# -- Text\n# @schema items: [\na: []", "a: `@schema items: [` has no keywords with commas between"),
    ],
)
def test_what_cannot_be_understood_is_named(
    charts: Path, capsys: pytest.CaptureFixture[str], values: str, says: str
) -> None:
    (charts / "a/values.yaml").write_text(values)
    assert generate.main([], charts) == 1
    assert f"a/values.yaml: {says}" in capsys.readouterr().err


def test_what_is_stale_is_named_and_left(charts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (charts / "a/README.md").read_text()
    assert generate.main(["--check"], charts) == 1
    said = capsys.readouterr().err
    assert "a/README.md does not match values.yaml and types.yaml" in said
    assert "a/values.schema.json does not match values.yaml and types.yaml" in said
    assert (charts / "a/README.md").read_text() == before
    assert not (charts / "a/values.schema.json").exists()


def test_what_is_written_is_fine_and_the_rest_is_kept(charts: Path) -> None:
    assert generate.main([], charts) == 0
    assert (charts / "a/README.md").read_text() == f"Before\n<!-- values -->\n{TABLE}\n<!-- /values -->\nAfter\n"
    assert generate.main(["--check"], charts) == 0


def test_readme_without_a_place_for_the_table(charts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (charts / "a/README.md").write_text("Before\n<!-- values -->\n")
    assert generate.main([], charts) == 1
    assert "needs the lines" in capsys.readouterr().err
