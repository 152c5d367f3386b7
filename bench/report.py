"""The tables of the performance page, in Markdown. Pure."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypeVar

from bench.figures import BUDGETS, INCUMBENT, OURS, RAW, REPLICASET, Budget, Figures, Point, Share
from bench.results import Results

_T = TypeVar("_T", Point, Share)
EVERYBODY = (RAW, REPLICASET, OURS, INCUMBENT)
GROWN = ("seconds", "cpu", "memory")
_FUNCTIONS = 10


def rendered(page: str, results: Results) -> str:
    """Return the page with the new tables between its markers. Raises ValueError if a marker is missing."""
    for name, text in tables(results).items():
        begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
        before, found, rest = page.partition(begin)
        _, ended, after = rest.partition(end)
        if not (found and ended):
            raise ValueError(f"the page has no {begin.strip()} … {end}")
        page = f"{before}{begin}\n{text}\n\n{end}{after}"
    return page


def tables(results: Results) -> dict[str, str]:
    """Return the Markdown for each pair of markers."""
    return {
        "machine": table(("what", "which"), results.about.items()),
        "budgets": table(("", "unit", *EVERYBODY, "budget", "met"), (_row(budget, results) for budget in BUDGETS)),
        "growth": "\n\n".join(_growth(kind, points) for kind, points in by_kind(results.growth).items()),
        "profile": "\n\n".join(_profile(kind, shares) for kind, shares in by_kind(results.profile).items()),
    }


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def spread(values: Sequence[float]) -> str:
    """Return the median, and the range if there are several values."""
    if not values:
        return ""
    if len(values) == 1 or min(values) == max(values):
        return number(values[0])
    return f"{number(statistics.median(values))} ({number(min(values))}–{number(max(values))})"


def number(value: float) -> str:
    """Return the value with about three significant digits."""
    if math.isinf(value):
        return "never"
    if value == round(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def exponent(points: Sequence[Point], figure: str) -> float:
    """Return the exponent of a figure's growth with the size: the slope of the regression line of the logarithms."""
    logs = [(math.log(point.size), math.log(value)) for point in points if (value := getattr(point, figure)) > 0]
    return statistics.linear_regression(*zip(*logs, strict=True)).slope


def by_kind(facts: Iterable[_T]) -> dict[str, list[_T]]:
    found: dict[str, list[_T]] = {}
    for fact in facts:
        found.setdefault(fact.kind, []).append(fact)
    return found


def parts(shares: Iterable[Share]) -> list[tuple[str, float]]:
    """Return each part's share of all samples, the largest first."""
    counts = Counter[str]()
    for share in shares:
        counts[share.part] += share.samples
    return [(part, samples / counts.total()) for part, samples in counts.most_common()]


def _row(budget: Budget, results: Results) -> Sequence[str]:
    figures = results.figures(budget.key)
    values = (spread(figures.get(who, ())) for who in EVERYBODY)
    return (budget.title(results.sizes), budget.unit, *values, budget.limit, _met(budget, figures))


def _met(budget: Budget, figures: Figures) -> str:
    if OURS not in figures:
        return "not measured"
    if budget.met is None:
        return ""
    return "yes" if budget.met(figures) else "**no**"


def _growth(kind: str, points: Sequence[Point]) -> str:
    rows = [(number(p.size), number(p.seconds), number(p.cpu), number(p.memory)) for p in points]
    grows = [f"{exponent(points, figure):.2f}" for figure in GROWN]
    head = (kind, "until all Pods are there, s", "CPU, s", "memory above idle, MiB")
    return table(head, [*rows, ("exponent", *grows)])


def _profile(kind: str, shares: Sequence[Share]) -> str:
    total = sum(share.samples for share in shares)
    most = sorted(shares, key=lambda share: -share.samples)[:_FUNCTIONS]
    rows = [(f"`{share.part}`", f"`{share.function}`", f"{100 * share.samples / total:.1f} %") for share in most]
    return table((f"{kind}: part", "function", "of the CPU time"), rows)
