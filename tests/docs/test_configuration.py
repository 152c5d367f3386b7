"""The configuration's table has every key of the schema, with its default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docs.configuration import Key, expanded, keys, table

SCHEMA: dict[str, Any] = {
    "properties": {
        "kubernetes": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "description": "A name,\nwith a | b\n\nMore\n"},
                "count": {"type": "object", "properties": {"start": {"type": ["integer", "null"]}}},
                "mode": {"type": "string", "enum": ["A", "B"]},
            },
        }
    }
}
DEFAULTS = {"kubernetes": {"name": "dask-{uuid}", "count": {"start": None}}}


def test_a_key_is_named_in_dots_with_what_it_is_and_its_default() -> None:
    assert list(keys(SCHEMA, DEFAULTS)) == [
        Key("kubernetes.name", ("string",), "A name,\nwith a | b\n\nMore\n", ("dask-{uuid}",)),
        Key("kubernetes.count.start", ("integer", "null"), "", (None,)),
        Key("kubernetes.mode", ('`"A"`', '`"B"`'), "", ()),
    ]


def test_a_row_is_one_line_whatever_the_text_has() -> None:
    rows = table(keys(SCHEMA, DEFAULTS)).splitlines()
    assert rows[2:] == [
        '| `kubernetes.name` | string | `"dask-{uuid}"` | A name, with a \\| b<br>More |',
        "| `kubernetes.count.start` | integer or null | `null` |  |",
        '| `kubernetes.mode` | `"A"` or `"B"` |  |  |',
    ]


def test_the_table_stands_where_the_page_asks_for_it(tmp_path: Path) -> None:
    (tmp_path / "schema.yaml").write_text("properties: {a: {type: string, description: Says a.}}")
    (tmp_path / "defaults.yaml").write_text("a: b")
    text = "before\n\n```{configuration} schema.yaml\n:defaults: defaults.yaml\n```\n\nafter\n"
    shown = expanded(text, tmp_path / "page.md")
    head = "| key | value | default | description |\n|---|---|---|---|"
    assert shown == f'before\n\n{head}\n| `a` | string | `"b"` | Says a. |\n\nafter\n'
