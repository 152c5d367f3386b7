"""SVG pictures of a Grafana dashboard, with a Prometheus' answers to its queries, for the monitoring tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

COLUMN, ROW, GAP = 42, 30, 6
_COLOURS = (
    "#3274d9",
    "#e0752d",
    "#56a64b",
    "#a352cc",
    "#e02f44",
    "#1f9ea3",
    "#c4a000",
    "#8a6d4b",
    "#5f6b7a",
    "#d683ce",
)
_STYLE = (
    "text{font:11px sans-serif;fill:#444}.t{font-weight:bold;fill:#111}.v{font-size:26px;fill:#3274d9}"
    ".p{fill:#fff;stroke:#d8dbe0}.a{stroke:#e4e6ea}polyline{fill:none;stroke-width:1.5}"
)
# By Grafana's unit: the factor between prefixes, and their names.
_UNITS: Mapping[str, tuple[int, Sequence[str]]] = {
    "bytes": (1024, ("B", "KiB", "MiB", "GiB", "TiB")),
    "Bps": (1000, ("B/s", "kB/s", "MB/s", "GB/s")),
    "ops": (1000, ("/s", "k/s")),
    "reqps": (1000, ("/s", "k/s")),
    "short": (1000, ("", "k", "M")),
}


class Series(NamedTuple):
    """A line of a panel: its name in the legend, and times with values, the earliest first."""

    name: str
    points: Sequence[tuple[float, float]]


Ask = Callable[[str, str], list[Series]]
"""Series of a query, named by a legend's format."""


class Box(NamedTuple):
    x: float
    y: float
    width: float
    height: float


def drawn(dashboard: Mapping[str, Any], ask: Ask) -> str:
    panels = dashboard["panels"]
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels) * ROW + 40
    parts = [part for panel in panels for part in _panel(panel, ask)]
    size = f'width="{24 * COLUMN}" height="{height}" viewBox="0 0 {24 * COLUMN} {height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size}><style>{_STYLE}</style>'
    ground = '<rect width="100%" height="100%" fill="#f4f5f7"/>'
    title = f'<text class="t" x="{GAP}" y="24" style="font-size:16px">{escape(dashboard["title"])}</text>'
    return "\n".join([head, ground, title, *parts, "</svg>\n"])


def _panel(panel: Mapping[str, Any], ask: Ask) -> Iterator[str]:
    at = panel["gridPos"]
    box = Box(at["x"] * COLUMN + GAP, at["y"] * ROW + 36 + GAP, at["w"] * COLUMN - 2 * GAP, at["h"] * ROW - 2 * GAP)
    yield f'<rect class="p" x="{box.x}" y="{box.y}" width="{box.width}" height="{box.height}" rx="2"/>'
    yield f'<text class="t" x="{box.x + 8}" y="{box.y + 16}">{escape(panel["title"])}</text>'
    series = [found for target in panel["targets"] for found in ask(target["expr"], target["legendFormat"])]
    series = [each for each in series if each.points]
    unit = panel["fieldConfig"]["defaults"]["unit"]
    if panel["type"] == "stat":
        value = with_unit(series[0].points[-1][1], unit) if series else "no data"
        yield f'<text class="v" x="{box.x + 8}" y="{box.y + box.height / 2 + 18}">{value}</text>'
    elif series:
        stacked = "stacking" in panel["fieldConfig"]["defaults"]["custom"]
        yield from _chart(Box(box.x + 62, box.y + 26, box.width - 72, box.height - 56), series, unit, stacked=stacked)
        yield from _legend(box, series)


def _chart(box: Box, series: Sequence[Series], unit: str, *, stacked: bool) -> Iterator[str]:
    # The last of a stack is the highest, and is drawn first, below the others.
    lines = list(enumerate(_stacked(series) if stacked else series))
    top = max((value for _, line in lines for _, value in line.points), default=0.0) or 1.0
    start = min(line.points[0][0] for _, line in lines)
    end = max(line.points[-1][0] for _, line in lines)

    def place(time: float, value: float) -> str:
        x = box.x + box.width * (time - start) / ((end - start) or 1.0)
        return f"{x:.0f},{box.y + box.height * (1 - value / top):.1f}"

    for part in (0.0, 0.5, 1.0):
        y = box.y + box.height * (1 - part)
        yield f'<line class="a" x1="{box.x}" x2="{box.x + box.width}" y1="{y}" y2="{y}"/>'
        yield f'<text x="{box.x - 5}" y="{y + 4}" text-anchor="end">{with_unit(top * part, unit)}</text>'
    for number, line in reversed(lines):
        colour, points = _COLOURS[number % len(_COLOURS)], " ".join(place(*point) for point in line.points)
        if stacked:
            corners = f"{place(line.points[0][0], 0)} {points} {place(line.points[-1][0], 0)}"
            yield f'<polygon fill="{colour}" points="{corners}"/>'
        else:
            yield f'<polyline stroke="{colour}" points="{points}"/>'


def _stacked(series: Sequence[Series]) -> Iterator[Series]:
    below: dict[float, float] = {}
    for each in series:
        for time, value in each.points:
            below[time] = below.get(time, 0.0) + value
        yield Series(each.name, [(time, below[time]) for time, _ in each.points])


def _legend(box: Box, series: Sequence[Series]) -> Iterator[str]:
    x, y = box.x + 8, box.y + box.height - 8
    for number, each in enumerate(series):
        width = 26 + 6.5 * len(each.name)
        if x + width > box.x + box.width - 12:
            yield f'<text x="{x:.0f}" y="{y}">…</text>'
            return
        yield f'<rect x="{x:.0f}" y="{y - 8}" width="9" height="9" fill="{_COLOURS[number % len(_COLOURS)]}"/>'
        yield f'<text x="{x + 13:.0f}" y="{y}">{escape(each.name)}</text>'
        x += width


def with_unit(value: float, unit: str) -> str:
    """Return a number as a person reads it."""
    if unit == "s":
        return f"{value:.3g} s" if value >= 1 or not value else f"{value * 1000:.3g} ms"
    base, names = _UNITS[unit]
    power = 0
    while abs(value) >= base and power < len(names) - 1:
        value, power = value / base, power + 1
    digits = f"{value:.0f}" if value >= 100 else f"{value:.3g}"
    return f"{digits} {names[power]}".rstrip()


def legend(labels: Mapping[str, str], pattern: str) -> str:
    """Return a legend's format with the values of its labels."""
    for name, value in labels.items():
        pattern = pattern.replace(f"{{{{{name}}}}}", value)
    return pattern


def largest_first(series: Iterable[Series]) -> list[Series]:
    return sorted(series, key=lambda each: -max((value for _, value in each.points), default=0.0))
