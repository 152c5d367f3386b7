"""Pictures for the performance page. The same figures give the same files."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib as mpl
from bench.figures import OURS
from bench.report import EVERYBODY, by_kind, exponent, parts
from bench.results import Results
from matplotlib.figure import Figure

COLOURS = {"raw": "#b3b3b3", "ReplicaSet": "#7a7a7a", "ours": "#e4572e", "incumbent": "#4c78a8"}
GROWN = {"seconds": "until all Pods are there, s", "cpu": "CPU, s", "memory": "memory above idle, MiB"}
COMPARED = {"create": "Pods/s", "cpu": "CPU of a cluster of 5, ms", "writes": "API writes of a cluster of 5"}
_PARTS = 12
_SETTINGS: dict[Any, Any] = {
    "svg.hashsalt": "dask-kubernetes",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
}


def draw(results: Results, folder: Path) -> None:
    """Write performance-*.svg into a folder."""
    with mpl.rc_context({**_SETTINGS, "axes.spines.right": False}):
        pictures = {"compared": _compared(results), "growth": _growth(results), "profile": _profile(results)}
        for name, figure in pictures.items():
            file = folder / f"performance-{name}.svg"
            figure.savefig(file, metadata={"Date": None, "Creator": None}, bbox_inches="tight")
            # Editors and commit hooks strip trailing spaces, which would then show as changes.
            file.write_text("\n".join(line.rstrip() for line in file.read_text().splitlines()) + "\n")


def _compared(results: Results) -> Figure:
    """Compare the medians of all operators."""
    figure = Figure(figsize=(9, 2.2))
    for axes, (budget, title) in zip(figure.subplots(1, len(COMPARED)), COMPARED.items(), strict=True):
        figures = results.figures(budget)
        medians = {who: median(figures[who]) for who in EVERYBODY if who in figures}
        medians = {who: value for who, value in medians.items() if math.isfinite(value)}
        bars = axes.barh(list(medians), list(medians.values()), color=[COLOURS[who] for who in medians])
        axes.bar_label(bars, fmt="%.3g", padding=3)
        axes.invert_yaxis()
        axes.set_title(title, fontsize=9)
        axes.margins(x=0.2)
    figure.tight_layout()
    return figure


def _growth(results: Results) -> Figure:
    """Plot time, CPU and memory against the size, on logarithmic scales."""
    kinds = by_kind(results.growth)
    figure = Figure(figsize=(9, 2.6 * len(kinds)))
    for row, (kind, points) in zip(figure.subplots(len(kinds), len(GROWN), squeeze=False), kinds.items(), strict=True):
        for axes, (name, title) in zip(row, GROWN.items(), strict=True):
            sizes, values = [point.size for point in points], [getattr(point, name) for point in points]
            axes.loglog(sizes, values, "o-", color=COLOURS[OURS])
            axes.set_title(f"{title}: ∝ size^{exponent(points, name):.2f}", fontsize=9)
            axes.set_xlabel(kind)
            axes.grid(visible=True, which="major", alpha=0.3)
    figure.tight_layout()
    return figure


def _profile(results: Results) -> Figure:
    """Plot the parts of the controller's CPU time."""
    kinds = by_kind(results.profile)
    figure = Figure(figsize=(9, 3.2))
    for axes, (kind, shares) in zip(figure.subplots(1, len(kinds), squeeze=False)[0], kinds.items(), strict=True):
        largest = parts(shares)[:_PARTS]
        bars = axes.barh([part for part, _ in largest], [100 * share for _, share in largest], color=COLOURS[OURS])
        axes.bar_label(bars, fmt="%.0f", padding=3)
        axes.invert_yaxis()
        axes.set_title(f"{kind}: % of the CPU time", fontsize=9)
        axes.margins(x=0.15)
    figure.tight_layout()
    return figure
