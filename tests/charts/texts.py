"""Places for text in a chart: every place of its schema that accepts any text, and values with text at each."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

Path = tuple[str, ...]
Values = dict[str, Any]

# Switches turned on in `Places.values`, so that every text is rendered.
_SWITCHES: Final = ("enabled", "create")
_MARK: Final = re.compile(r"zz\d{4}zz")
_NOTHING: Final = object()


@dataclass
class Places:
    """
    The places of one schema, each with a mark of its own by its path.

    `without`: paths to leave out with everything below them, because another value excludes them.
    """

    schema: Mapping[str, Any]
    without: frozenset[str] = frozenset()
    marks: dict[str, str] = field(default_factory=dict)
    # Places without a mark, because they take an object.
    hidden: set[str] = field(default_factory=set)
    # The text before the mark, and the pattern of the whole.
    _shapes: dict[str, tuple[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.values()

    def values(self) -> Values:
        """Return values with a mark at each place, and with all switches on."""
        values: Values = self._value(self.schema, ())
        return values

    def takes(self, path: str, text: str) -> bool:
        """Return whether the schema accepts a text at one of the places."""
        prefix, pattern = self._shapes[path]
        return bool(re.search(pattern, prefix + text))

    def _value(self, node: Mapping[str, Any], path: Path) -> Any:
        # A map's parts that may be null as well.
        node = node.get("else", node)
        if "enum" in node or ".".join(path) in self.without:
            return _NOTHING
        kinds = node.get("type", "object")
        if "object" in kinds or "properties" in node:
            if "string" in kinds:
                self.hidden.add(".".join(path))
            return dict(self._entries(node, path)) or _NOTHING
        if kinds == "array" or "array" in kinds:
            item = self._value(node["items"], (*path, "0"))
            return _NOTHING if item is _NOTHING else [item]
        if "string" in kinds:
            return self._text(node, path)
        return True if kinds == "boolean" and path[-1] in _SWITCHES else _NOTHING

    def _entries(self, node: Mapping[str, Any], path: Path) -> Iterator[tuple[str, Any]]:
        properties = node.get("properties", {})
        parts = {**{name: {"type": "string"} for name in node.get("required", ())}, **properties}
        more = node.get("additionalProperties", True)
        if isinstance(more, Mapping):
            # Unique names, since maps are merged.
            name = "-".join((*path, "x")).lower()
            parts |= {f"{name}{number}": part for number, part in enumerate(more.get("anyOf", [more]))}
        elif more and not parts:
            parts["any"] = {"type": "string"}
        for name, part in parts.items():
            value = self._value(part, (*path, name))
            if value is not _NOTHING:
                yield name, value

    def _text(self, node: Mapping[str, Any], path: Path) -> Any:
        """Return a mark that the schema accepts, perhaps as an absolute path."""
        place, pattern = ".".join(path), node.get("pattern", "")
        for prefix in ("", "/"):
            if re.search(pattern, f"{prefix}zz0000zz"):
                self._shapes[place] = (prefix, pattern)
                return prefix + self.marks.setdefault(place, f"zz{len(self.marks):04}zz")
        return _NOTHING


def replaced(value: Any, texts: Mapping[str, str]) -> Any:
    """Return a value with texts in place of marks, at any depth."""
    if isinstance(value, dict):
        return {replaced(key, texts): replaced(item, texts) for key, item in value.items()}
    if isinstance(value, list):
        return [replaced(item, texts) for item in value]
    if isinstance(value, str):
        return _MARK.sub(lambda found: texts.get(found[0], found[0]), value)
    return value


def written(values: Values) -> str:
    """Return values as a file whose texts any parser reads as they are: Helm refuses some that JSON may escape."""
    return yaml.safe_dump(values, default_style='"')


def marks(value: Any) -> set[str]:
    """Return the marks in a value, at any depth."""
    return set(_MARK.findall(json.dumps(value)))


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[str, Any]]:
    """Yield the leaves of a value with their paths."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if not items:
        yield ".".join(path), value
    for key, item in items:
        yield from leaves(item, (*path, str(key)))
