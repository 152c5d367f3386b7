"""Pictures of dashboards."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest
from ci.picture import Series, drawn, largest_first, legend, with_unit


def panel(kind: str = "timeseries", *, unit: str = "short", stacked: bool = False) -> dict[str, Any]:
    custom = {"stacking": {"mode": "normal"}} if stacked else {}
    return {
        "type": kind,
        "title": "Workers & tasks",
        "gridPos": {"x": 0, "y": 0, "w": 8, "h": 7},
        "targets": [{"expr": "workers", "legendFormat": "{{state}}"}],
        "fieldConfig": {"defaults": {"unit": unit, "custom": custom}},
    }


def picture(shown: dict[str, Any], *series: Series) -> str:
    return drawn({"title": "Dask", "panels": [shown]}, lambda _query, _name: list(series))


def points(svg: str, shape: str) -> list[str]:
    root = ElementTree.fromstring(svg)
    return [str(found.get("points")) for found in root.iter(f"{{http://www.w3.org/2000/svg}}{shape}")]


IDLE = Series("idle", [(0.0, 1.0), (10.0, 2.0)])
BUSY = Series("busy", [(0.0, 1.0), (10.0, 2.0)])


def test_a_panel_has_its_title_its_lines_and_their_names() -> None:
    svg = picture(panel(), IDLE)
    assert all(text in svg for text in ("Dask", "Workers &amp; tasks", "idle"))
    (line,) = points(svg, "polyline")
    (left, low), (right, high) = (map(float, point.split(",")) for point in line.split())
    assert left < right
    assert low > high


def test_stacked_areas_stand_on_each_other() -> None:
    alone = points(picture(panel(stacked=True), IDLE), "polygon")
    both = points(picture(panel(stacked=True), IDLE, BUSY), "polygon")
    assert len(both) == 2
    assert both[0] == alone[0], "as high as all that there is"
    assert both[1] != alone[0], "half as high, and drawn above"


def test_a_number_is_the_last_one() -> None:
    assert ">2<" in picture(panel("stat"), IDLE)
    assert "no data" in picture(panel("stat"))


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0, "short", "0"),
        (1500.0, "short", "1.5 k"),
        (1536.0, "bytes", "1.5 KiB"),
        (1010 * 1024.0, "bytes", "1010 KiB"),
        (2e6, "Bps", "2 MB/s"),
        (0.25, "ops", "0.25 /s"),
        (0.0031, "s", "3.1 ms"),
        (90.0, "s", "90 s"),
    ],
)
def test_numbers_are_as_a_person_reads_them(value: float, unit: str, text: str) -> None:
    assert with_unit(value, unit) == text


def test_a_line_is_named_by_its_labels() -> None:
    assert legend({"state": "idle"}, "{{state}} workers") == "idle workers"


def test_the_largest_comes_first() -> None:
    small, large = Series("small", [(0.0, 1.0)]), Series("large", [(0.0, 2.0)])
    assert largest_first([small, large]) == [large, small]
