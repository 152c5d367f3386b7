"""Checks that a chart's values.yaml, its values.schema.json and its templates know the same values.

    values.py CHART...

Every value is documented, every documented value is in the schema, the schema has no others, and templates use no value
that values.yaml does not have. What is documented as a whole, such as `resources`, is one value.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

# Helm gives these to subcharts; `enabled` is a chart's condition in its parent.
_FOREIGN = frozenset({"enabled"})
_REFERENCE = re.compile(r"\.Values((?:\.[A-Za-z]\w*)+)")
_NO_VALUE = object()


class Value(NamedTuple):
    """A documented value: its path, its default and what its comment says."""

    path: str
    default: Any
    text: str


class UndocumentedError(Exception):
    """A value has no `# --` comment."""


def documented(values_yaml: str) -> list[Value]:
    """The values of a values.yaml in its order. A comment `# -- text` above a key documents all that is below it."""
    root = yaml.compose(values_yaml)
    return list(_documented(root, yaml.safe_load(values_yaml), values_yaml.splitlines(), ""))


def _documented(node: Any, values: Mapping[str, Any], lines: list[str], prefix: str) -> Iterator[Value]:
    for key, value in node.value:
        path = f"{prefix}{key.value}"
        text = _comment_above(lines, key.start_mark.line)
        if text:
            yield Value(path, values[key.value], text)
        elif isinstance(value, yaml.MappingNode) and value.value:
            yield from _documented(value, values[key.value], lines, f"{path}.")
        else:
            raise UndocumentedError(f"{path} has no comment that begins with `# --`")


def _comment_above(lines: list[str], line: int) -> str:
    comment: list[str] = []
    for text in map(str.strip, reversed(lines[:line])):
        if not text.startswith("#"):
            return ""
        comment.insert(0, text.removeprefix("#").strip())
        if text.startswith("# --"):
            return " ".join(comment).removeprefix("--").strip()
    return ""


def allows(schema: Mapping[str, Any], path: str) -> Mapping[str, Any] | None:
    """The part of a schema that is about a value, or None where the schema has no such value."""
    part = _resolved(schema, schema)
    for name in path.split("."):
        if name not in part.get("properties", {}):
            return None
        part = _resolved(schema, part["properties"][name])
    return part


def paths(schema: Mapping[str, Any], whole: frozenset[str]) -> Iterator[str]:
    """The values that a schema names, down to those in `whole`."""
    yield from _paths(schema, _resolved(schema, schema), "", whole)


def _paths(root: Mapping[str, Any], part: Mapping[str, Any], prefix: str, whole: frozenset[str]) -> Iterator[str]:
    for name, value in part.get("properties", {}).items():
        path, below = f"{prefix}{name}", _resolved(root, value)
        if path in whole or "properties" not in below:
            yield path
        else:
            yield from _paths(root, below, f"{path}.", whole)


def _resolved(root: Mapping[str, Any], part: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in part:
        target: Any = root
        for name in part["$ref"].removeprefix("#/").split("/"):
            target = target[name]
        part = target
    return part


def problems(values_yaml: str, schema: Mapping[str, Any], templates: Mapping[str, str]) -> Iterator[str]:
    try:
        values = documented(values_yaml)
    except UndocumentedError as error:
        yield f"values.yaml: {error}"
        return
    known = frozenset(value.path for value in values)
    for path in known:
        if allows(schema, path) is None:
            yield f"values.schema.json does not know {path}, which values.yaml has"
    for path in paths(schema, known):
        if path not in known | _FOREIGN:
            yield f"values.yaml does not have {path}, which values.schema.json knows"
    defaults = yaml.safe_load(values_yaml)
    for name, text in templates.items():
        for path in _REFERENCE.findall(text):
            if not _has(defaults, path[1:], known):
                yield f"{name} uses {path[1:]}, which values.yaml does not have"


def _has(values: Any, path: str, known: frozenset[str]) -> bool:
    at = values
    names = path.split(".")
    for depth, name in enumerate(names):
        if ".".join(names[:depth]) in known:
            return True
        at = at.get(name, _NO_VALUE) if isinstance(at, dict) else _NO_VALUE
        if at is _NO_VALUE:
            return False
    return True


def main(charts: list[str]) -> int:
    failed = False
    for chart in map(Path, charts):
        templates = {str(path): path.read_text() for path in chart.glob("templates/**/*") if path.is_file()}
        schema = json.loads((chart / "values.schema.json").read_text())
        for problem in problems((chart / "values.yaml").read_text(), schema, templates):
            failed = True
            print(f"{chart.name}: {problem}", file=sys.stderr)
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
