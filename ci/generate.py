"""Write two files from each chart's values.yaml: its values.schema.json, and the table of values in its README.md.

    generate.py            writes them
    generate.py --check    names those that are out of date

A comment `# -- text` above a value describes it and all of its contents. A map without one is a section, whose parts
have their own. A line `# @schema` below the text adds to the default's type, as keywords of JSON Schema with commas
between. Beyond JSON Schema, it may use

    type: NAME                a type of charts/types.yaml; a value without keywords gets the type with its own name
    like: PATH                everything that the section at that path accepts, none of it required
    required: true | false    whether to refuse a null. By default sections are required, and values are not

The table is between the lines `<!-- values -->` and `<!-- /values -->`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CHARTS = Path(__file__).parents[1] / "charts"
BEGIN, END = "<!-- values -->", "<!-- /values -->"

Schema = dict[str, Any]

_KINDS = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}
_TYPES = frozenset({*_KINDS.values(), "null"})
# Keywords of JSON Schema that contain no schema
_PLAIN = frozenset({"enum", "pattern", "required"}) | {
    f"{bound}{what}" for bound in ("min", "max") for what in ("imum", "Length", "Items", "Properties")
}
# Kubernetes reads integers of 32 bits.
_LARGEST: Schema = {"maximum": 2**31 - 1}
# Every chart has these in Helm: `global`, an open map shared by subcharts, and a subchart's condition.
_GLOBAL, _CONDITION = "global", {"enabled": {"type": "boolean"}}


class ValuesError(Exception):
    """Invalid contents of values.yaml, types.yaml or README.md."""


@dataclass(frozen=True)
class Value:
    """A value, or a section, which has parts by name instead of a text. `said`: the keywords of its `# @schema`."""

    path: str
    default: Any
    text: str
    said: Schema
    parts: Mapping[str, Value]

    @property
    def required(self) -> bool:
        said = self.said.get("required")
        return said if isinstance(said, bool) else bool(self.parts)

    @property
    def keywords(self) -> Schema:
        """The keywords about the value itself, without `required`."""
        return {keyword: it for keyword, it in self.said.items() if (keyword, type(it)) != ("required", bool)}

    def all(self) -> Iterator[Value]:
        """Yield the value and everything below it, in their order."""
        yield self
        for part in self.parts.values():
            yield from part.all()

    def documented(self) -> list[Value]:
        """Return the same without sections."""
        return [value for value in self.all() if value.text]


def read(values_yaml: str) -> Value:
    """Return the contents of a values.yaml as one section."""
    values = yaml.safe_load(values_yaml)
    return Value("", values, "", {}, _parts(yaml.compose(values_yaml), values, values_yaml.splitlines(), ""))


def _parts(node: Any, values: Mapping[str, Any], lines: list[str], prefix: str) -> dict[str, Value]:
    found = {}
    for key, below in node.value:
        path, default = f"{prefix}{key.value}", values[key.value]
        text, said = _comment_above(lines, key.start_mark.line)
        is_section = not text and isinstance(below, yaml.MappingNode) and below.value
        if not (text or is_section):
            raise ValuesError(f"{path} has no comment that begins with `# --`")
        parts = _parts(below, default, lines, f"{path}.") if is_section else {}
        found[key.value] = Value(path, default, text, _keywords(path, said), parts)
    return found


def _comment_above(lines: list[str], line: int) -> tuple[str, str]:
    """Return the description in the comment above a line, and its keywords for the schema."""
    comment: list[str] = []
    for text in map(str.strip, reversed(lines[:line])):
        if not text.startswith("#"):
            break
        comment.insert(0, text.removeprefix("#").strip())
        if text.startswith("# --"):
            break
    text, _, said = " ".join(comment).partition("@schema ")
    return text.removeprefix("--").strip() if text.startswith("--") else "", said


def _keywords(path: str, said: str) -> Schema:
    try:
        keywords: Schema = yaml.safe_load(f"{{{said}}}")
    except yaml.YAMLError as error:
        raise ValuesError(f"{path}: `@schema {said}` has no keywords with commas between") from error
    return keywords


def schema(values: Value, types: Mapping[str, Any]) -> Schema:
    """Return the JSON schema of a values.yaml."""
    made = _Schemas(values, types).of(values)
    head = {"$schema": "http://json-schema.org/draft-07/schema#", "$comment": "Made of values.yaml by `make generate`"}
    return {**head, **made, "properties": _CONDITION | made["properties"]}


class _Schemas:
    """Schemas of values, with types written out, since Helm reports only one of two faults behind a reference."""

    def __init__(self, values: Value, types: Mapping[str, Any]) -> None:
        self._sections = {value.path: value for value in values.all() if value.parts}
        self._types = types

    def of(self, value: Value) -> Schema:
        try:
            keywords: Schema = self._made(value.keywords if value.parts else self._with_type(value))
        except ValuesError as error:
            raise ValuesError(f"{value.path}: {error}") from error
        if value.parts:
            return self._section(value) | keywords
        return {"description": value.text, **keywords, "default": value.default}

    def _section(self, value: Value) -> Schema:
        made: Schema = {"type": "object"}
        if value.path != _GLOBAL:
            made["additionalProperties"] = False
        if required := [name for name, part in value.parts.items() if part.required]:
            made["required"] = required
        return made | {"properties": {name: self.of(part) for name, part in value.parts.items()}}

    def _with_type(self, value: Value) -> Schema:
        """Return a value's keywords, with the type of its default if they have none."""
        said, name = value.keywords, value.path.rpartition(".")[2]
        if not said and name in self._types:
            return {"type": name}
        if said.keys() & {"type", "like", "enum"}:
            return said
        kind = _KINDS.get(type(value.default))
        if kind is None or (kind == "array" and "items" not in said):
            raise ValuesError("neither its default nor a `# @schema` gives its type")
        return {"type": kind, **said}

    def _made(self, said: Any) -> Any:
        """Return the JSON schema of keywords, or of a type alone."""
        if isinstance(said, bool):
            return said
        made: Schema = {}
        for keyword, it in (said if isinstance(said, dict) else {"type": said}).items():
            made |= self._keyword(keyword, it)
        return made

    def _keyword(self, keyword: str, it: Any) -> Schema:
        match keyword:
            case "type":
                return self._type(it)
            case "like":
                return self._like(it)
            case "properties":
                it = {name: self._made(part) for name, part in it.items()}
            case "anyOf":
                it = [self._made(part) for part in it]
            case "items" | "additionalProperties" | "propertyNames" | "if" | "else":
                it = self._made(it)
            case _ if keyword not in _PLAIN:
                raise ValuesError(f"unknown keyword {keyword}")
        return {keyword: it}

    def _type(self, kind: Any) -> Schema:
        if isinstance(kind, list):
            return {"type": [one or "null" for one in kind], **(_LARGEST if "integer" in kind else {})}
        if kind is None or kind in _TYPES:
            return {"type": kind or "null", **(_LARGEST if kind == "integer" else {})}
        if kind not in self._types:
            raise ValuesError(f"charts/types.yaml has no type {kind}")
        made: Schema = self._made(self._types[kind])
        return made

    def _like(self, path: str) -> Schema:
        if path not in self._sections:
            raise ValuesError(f"no section {path}")
        return {keyword: it for keyword, it in self._section(self._sections[path]).items() if keyword != "required"}


def table(values: Value) -> str:
    """Return the values as a Markdown table."""
    rows = [f"| `{it.path}` | {_cell(it.text)} | `{_cell(json.dumps(it.default))}` |" for it in values.documented()]
    return "\n".join(["| Value | What it is | Default |", "|---|---|---|", *rows])


def with_table(readme: str, values: Value) -> str:
    """Return the README with its table of values renewed."""
    before, marker, rest = readme.partition(BEGIN)
    _, end_marker, after = rest.partition(END)
    if not (marker and end_marker):
        raise ValuesError(f"README.md needs the lines {BEGIN} and {END} around its table of values")
    return f"{before}{BEGIN}\n{table(values)}\n{END}{after}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def generated(charts: Path) -> dict[Path, str]:
    """Return the contents of each generated file."""
    types, found = yaml.safe_load((charts / "types.yaml").read_text()), {}
    for path in sorted(charts.glob("*/values.yaml")):
        readme = path.with_name("README.md")
        try:
            values = read(path.read_text())
            made = json.dumps(schema(values, types), indent=2, ensure_ascii=False)
            found[path.with_name("values.schema.json")] = f"{made}\n"
            found[readme] = with_table(readme.read_text(), values)
        except ValuesError as error:
            raise ValuesError(f"{path}: {error}") from error
    return found


def main(arguments: list[str], charts: Path = CHARTS) -> int:
    try:
        files = generated(charts)
    except ValuesError as error:
        print(error, file=sys.stderr)
        return 1
    stale = {path: text for path, text in files.items() if not path.exists() or path.read_text() != text}
    for path, text in stale.items():
        if "--check" in arguments:
            print(f"{path} does not match values.yaml and types.yaml: run `make generate`", file=sys.stderr)
        else:
            path.write_text(text)
    return bool(stale) and "--check" in arguments


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
