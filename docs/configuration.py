"""A Sphinx extension: `{configuration}` becomes a table of Dask's configuration, from its JSON schema and its defaults.

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
    """A configuration key, in dots. `values`: types, or all possible values; `default`: empty if it has none."""

    name: str
    values: tuple[str, ...]
    description: str
    default: tuple[Any, ...]


def keys(schema: Mapping[str, Any], defaults: Any, parents: str = "") -> Iterator[Key]:
    """Yield every leaf key, in the order of the schema."""
    known = defaults if isinstance(defaults, Mapping) else {}
    for name, part in schema["properties"].items():
        path = f"{parents}{name}"
        if part.get("properties"):
            yield from keys(part, known.get(name), f"{path}.")
        else:
            yield Key(path, _values(part), part.get("description", ""), (known[name],) if name in known else ())


def table(found: Iterator[Key]) -> str:
    """Return the keys as a Markdown table."""
    rows = (f"| {' | '.join(map(_cell, _columns(key)))} |" for key in found)
    return "\n".join(["| key | value | default | description |", "|---|---|---|---|", *rows])


def expanded(text: str, page: Path) -> str:
    """Return a page with its directives expanded into tables."""

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
    """Join each paragraph into one line of the cell."""
    paragraphs = (" ".join(paragraph.split()) for paragraph in text.strip().split("\n\n"))
    return "<br>".join(paragraphs).replace("|", "\\|")


def setup(app: Any) -> dict[str, bool]:
    """Register the Sphinx extension."""

    def _expand(_: Any, name: str, source: list[str]) -> None:
        source[0] = expanded(source[0], _DOCS / f"{name}.md")

    app.connect("source-read", _expand)
    return {"parallel_read_safe": True}
