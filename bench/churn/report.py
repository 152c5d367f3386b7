"""A run's table and plot for the documentation."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence

import matplotlib as mpl
from bench.churn.result import LASTING, MOST_FILES, MOST_MEMORY, Event, Result, Sample
from docs.included import DOCS
from matplotlib import pyplot
from matplotlib.axes import Axes

PLOT = DOCS / "images/churn.svg"
PAGE = DOCS / "reliability.md"
_TABLE = re.compile(r"(?<=<!-- figures of churn -->\n).*?(?=<!-- end of figures -->)", re.DOTALL)
_POINTS = 600
"""Most points of a line in the plot."""
_COLOURS = {"first": "tab:orange", LASTING: "tab:blue"}


def write(result: Result, clusters: int, seed: int) -> None:
    """Write the table into the page, and the plot beside it."""
    page = PAGE.read_text()
    PAGE.write_text(_TABLE.sub(lambda _: f"\n{table(result, clusters, seed)}\n\n", page))
    plot(result)


def table(result: Result, clusters: int, seed: int) -> str:
    """Return the figures as a Markdown table."""
    rows = "\n".join(f"| {what} | {value} |" for what, value in _rows(result, clusters, seed))
    return f"| what | figure |\n|---|---|\n{rows}"


def _rows(result: Result, clusters: int, seed: int) -> Iterator[tuple[str, str]]:
    yield "time, clusters at a time, seed", f"{result.seconds / 60:.0f} min, about {clusters}, {seed}"
    yield "what users did", _counted(result.deeds)
    yield "what befell the controllers", _counted(result.troubles)
    yield "workers created, Pods at most at a time", f"{result.workers:,}, {result.most_pods}"
    yield "worker names given twice, workers lost with what they held, errors of the controllers' own", "0, 0, 0"
    took = [seconds for _, seconds in result.calms]
    yield "calms; the longest until all was as declared", f"{len(took)}; {max(took):.0f} s"
    ages = [row.queue_age for row in result.samples if row.queue_age is not None]
    yield "the queue's oldest entry, at most", f"{max(ages):.1f} s"
    lasting = [row for row in result.samples if row.replica == LASTING]
    memory = [row.memory for row in lasting]
    yield "memory of the lasting controller at the end, at most", f"{memory[-1]:.1f} MiB, {max(memory):.1f} MiB"
    yield "its memory by the straight line after the first quarter", f"{result.slope():+.1f} MiB an hour"
    for what, unit, most in (("memory", " MiB", MOST_MEMORY), ("files", "", MOST_FILES), ("threads", "", MOST_FILES)):
        yield (
            f"its {what} at rest, last quarter of the calms against the second",
            f"{result.growth(what):+.1f}{unit}, at most {most:+.0f}{unit}",
        )


def _counted(events: Sequence[Event]) -> str:
    counts = Counter(event.what for event in events)
    return f"{len(events):,}: " + ", ".join(f"{what} {number}" for what, number in counts.most_common())


def plot(result: Result) -> None:
    mpl.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "churn", "font.family": "sans-serif"}
    figure, (memory, age, queue) = pyplot.subplots(
        3, 1, sharex=True, figsize=(10, 7), height_ratios=(3, 1, 1), layout="constrained"
    )
    for replica, colour in _COLOURS.items():
        rows = [row for row in result.samples if row.replica == replica]
        _line(memory, rows, "memory", colour, f"{replica}{', never ended' if replica == LASTING else ''}")
        _line(age, rows, "queue_age", colour)
        _line(queue, rows, "queue_depth", colour)
    for at, what, _ in result.troubles:
        ended = any(end in what for end in ("killed", "told to go"))
        memory.axvline(at / 60, ymax=0.04, color="tab:red" if ended else "grey", linewidth=0.8)
    for at, _ in result.calms:
        for axes in (memory, age, queue):
            axes.axvline(at / 60, color="tab:green", linewidth=0.6, alpha=0.5)
    memory.set(ylabel="resident memory, MiB", ylim=(0, None), title="troubles: red where it ended; green: calm")
    memory.legend(loc="lower right")
    age.set(ylabel="queue's oldest, s")
    queue.set(ylabel="queue's depth", xlabel="minutes")
    figure.savefig(PLOT, metadata={"Date": None, "Creator": None})
    pyplot.close(figure)


def _line(axes: Axes, rows: Sequence[Sample], what: str, colour: str, label: str = "") -> None:
    """Plot a line of the highest value in each interval, with gaps for missing values."""
    step = math.ceil(len(rows) / _POINTS)
    points: list[tuple[float, float]] = []
    for start in range(0, len(rows), step):
        values = [value for row in rows[start : start + step] if (value := getattr(row, what)) is not None]
        points.append((rows[start].at / 60, max(values, default=math.nan)))
    axes.plot(*zip(*points, strict=True), color=colour, linewidth=1.0, label=label or None)
