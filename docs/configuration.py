"""A table of Dask's configuration on a page: `{configuration}`, made from its JSON schema and its file of defaults.

```{configuration} schema.yaml
:defaults: defaults.yaml
```
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

_DOCS = Path(__file__).parent
_DIRECTIVE = re.compile(
    r"^```\{configuration\} (?P<schema>\S+)\n:defaults: (?P<defaults>\S+)\n```$",
    re.MULTILINE,
)


class Key(NamedTuple):
    """A key of the configuration, in dots. `values`: types, or all there are; `default`: empty where there is none."""

    name: str
    values: tuple[str, ...]
    description: str
    default: tuple[Any, ...]


def keys(schema: Mapping[str, Any], defaults: Any, parents: str = "") -> Iterator[Key]:
    """Every key that has none below it, in the order of the schema."""
    known = defaults if isinstance(defaults, Mapping) else {}
    for name, part in schema["properties"].items():
        path = f"{parents}{name}"
        if part.get("properties"):
            yield from keys(part, known.get(name), f"{path}.")
        else:
            yield Key(path, _values(part), part.get("description", ""), (known[name],) if name in known else ())


def table(found: Iterator[Key]) -> str:
    """The keys in Markdown."""
    rows = (f"| {' | '.join(map(_cell, _columns(key)))} |" for key in found)
    return "\n".join(["| key | value | default | what it says |", "|---|---|---|---|", *rows])


def expanded(text: str, page: Path) -> str:
    """A page with the tables that it asks for."""

    def _table(directive: re.Match[str]) -> str:
        schema, defaults = (
            yaml.safe_load((page.parent / directive[part]).read_text()) for part in ("schema", "defaults")
        )
        return table(keys(schema, defaults))

    return _DIRECTIVE.sub(_table, text)


def _values(part: Mapping[str, Any]) -> tuple[str, ...]:
    if "enum" in part:
        return tuple(map(_code, part["enum"]))
    types = part.get("type", ())
    return (types,) if isinstance(types, str) else tuple(types)


def _columns(key: Key) -> tuple[str, str, str, str]:
    return f"`{key.name}`", " or ".join(key.values), "".join(map(_code, key.default)), key.description


def _code(value: Any) -> str:
    return f"`{json.dumps(value)}`"


def _cell(text: str) -> str:
    """Each paragraph is a line of the cell."""
    paragraphs = (" ".join(paragraph.split()) for paragraph in text.strip().split("\n\n"))
    return "<br>".join(paragraphs).replace("|", "\\|")


def setup(app: Any) -> dict[str, bool]:
    """Makes it an extension of Sphinx."""

    def _expand(_: Any, name: str, source: list[str]) -> None:
        source[0] = expanded(source[0], _DOCS / f"{name}.md")

    app.connect("source-read", _expand)
    return {"parallel_read_safe": True}
