"""How a cluster that starts is shown: a panel in a terminal or a notebook, lines in a log, rows in a cluster's repr."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import escape
from types import TracebackType
from typing import Any, Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.spinner import Spinner
from rich.style import Style
from rich.table import Table
from rich.text import Text

from dask_kubernetes.operator.status import NOT_FOLLOWED, NOT_TAKEN_UP, NOT_THERE, Mood, Row, Startup

_STYLES: dict[Mood, str] = {"good": "green", "waiting": "yellow", "bad": "red", "none": "dim"}
_COLOURS: dict[Mood, str] = {"good": "#2e7d32", "waiting": "#b26a00", "bad": "#c62828", "none": "#9d9d9d"}


class Progress:
    """Shows how far a cluster has come, as long as it starts.

    A terminal and a notebook have a panel that changes in its place. It gives way to one line when the cluster is
    ready, and stays as it was at last when it is not. What else takes the output has one line per change.

    Parameters
    ----------
    title
        What is being done, and to which cluster.
    quiet
        Whether nothing at all is shown.
    console
        Where; standard output, or the notebook, if nothing is said.

    Examples
    --------
    >>> with Progress("Creating cluster mine", quiet=False) as progress:  # doctest: +SKIP
    ...     progress.update(startup(snapshot, registered=0), "Waiting for the scheduler")
    ...     progress.ready("mine", "http://localhost:8787/status")
    """

    def __init__(self, title: str, quiet: bool, console: Console | None = None) -> None:
        self._screen = _Nowhere() if quiet else _screen(title, console or Console())
        self._last: tuple[Startup, str] | None = None
        self._ready: Text | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._screen.end(self._ready)

    def update(self, startup: Startup, note: str) -> None:
        """Shows how far a cluster has come, and by `note` what is being done or waited for."""
        if (startup, note) != self._last:
            self._screen.show(startup, note)
            self._last = startup, note

    def done(self, line: str) -> None:
        """Says what has been waited for, once it is there."""
        self._ready = Text(line)

    def ready(self, name: str, dashboard_link: str) -> None:
        """Says, when all is done, that a cluster can be used."""
        link = Text(dashboard_link, Style(link=dashboard_link))
        self._ready = Text.assemble("Cluster ", name, " is ready: dashboard ", link)


def panel(startup: Startup, title: str, note: str) -> Panel:
    """The parts of a cluster and how far they have come, what is in the way, and what is being done."""
    table = Table.grid(padding=(0, 3))
    for row in startup.rows:
        table.add_row(Text(row.label), Text(row.status, _STYLES[row.mood]))
    parts: list[RenderableType] = [table]
    if problem := _problem(startup):
        parts += [Text(), Text(problem, "red")]
    if note:
        parts += [Text(), _spinner(note)]
    return Panel(Group(*parts), title=Text(title), title_align="left", padding=(1, 2), expand=False)


def html(startup: Startup) -> str:
    """The same as rows of the table that `distributed` shows for a cluster in a notebook (`cluster.html.j2`)."""
    pairs = [startup.rows[i : i + 2] for i in range(0, len(startup.rows), 2)]
    rows = [f"<tr>{''.join(map(_cell, pair))}</tr>" for pair in pairs]
    if problem := _problem(startup):
        style = f"text-align: left; color: {_COLOURS['bad']};"
        rows.append(f'<tr><td colspan="2" style="{style}">{escape(problem)}</td></tr>')
    return "\n".join(rows)


class _Screen(Protocol):
    def show(self, startup: Startup, note: str) -> None: ...

    def end(self, ready: Text | None) -> None:
        """Leaves behind `ready`, or without it what was shown at last."""


class _Nowhere:
    def show(self, startup: Startup, note: str) -> None:
        pass

    def end(self, ready: Text | None) -> None:
        pass


class _Terminal:
    def __init__(self, title: str, console: Console) -> None:
        self._title, self._console = title, console
        # It takes back what it has drawn, so that the last word is printed only once, and by nobody but `end`.
        self._live = Live(console=console, transient=True)
        self._last: Panel | None = None

    def show(self, startup: Startup, note: str) -> None:
        self._last = panel(startup, self._title, "")
        self._live.update(panel(startup, self._title, note))
        self._live.start(refresh=True)

    def end(self, ready: Text | None) -> None:
        self._live.stop()
        if left := ready or self._last:
            self._console.print(left, soft_wrap=left is ready)


class _Notebook:
    """By a display of IPython's that is updated: rich's own way there needs ipywidgets, and a cell that still runs."""

    def __init__(self, title: str, display: Callable[..., Any]) -> None:
        self._title, self._display = title, display
        self._last: Panel | None = None
        self._shown: Any = None

    def show(self, startup: Startup, note: str) -> None:
        self._last = panel(startup, self._title, "")
        self._put(panel(startup, self._title, note))

    def end(self, ready: Text | None) -> None:
        if left := ready or self._last:
            self._put(left)

    def _put(self, what: Panel | Text) -> None:
        if self._shown:
            self._shown.update(what)
        else:
            self._shown = self._display(what, display_id=True)


class _Lines:
    def __init__(self, title: str, console: Console) -> None:
        self._title, self._console = title, console
        self._said: dict[str, str] = {}

    def show(self, startup: Startup, note: str) -> None:
        for about, text in _lines(startup, note):
            if text and self._said.get(about) != text:
                self._print(f"{self._title}: {about and f'{about}: '}{text}")
            self._said[about] = text

    def end(self, ready: Text | None) -> None:
        if ready:
            self._print(ready.plain)

    def _print(self, line: str) -> None:
        self._console.print(Text(line), soft_wrap=True)


def _screen(title: str, console: Console) -> _Screen:
    if console.is_jupyter:
        from IPython.display import display  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415

        return _Notebook(title, display)
    # Where colours are forced upon a log file it counts as a terminal, but nothing can be taken back there.
    if console.is_interactive and console.file.isatty():
        return _Terminal(title, console)
    return _Lines(title, console)


def _lines(startup: Startup, note: str) -> Iterator[tuple[str, str]]:
    """What there is to say, and about what; of what is not there yet there is nothing."""
    yield "", note
    for row in startup.rows:
        yield row.label, "" if row.status == NOT_THERE else row.status
    yield "Problem", _problem(startup)


def _problem(startup: Startup) -> str:
    # That an operator has not answered is so at first each time, and the rows say it.
    unanswered = startup.problem and startup.problem.reason in (NOT_FOLLOWED, NOT_TAKEN_UP)
    return startup.problem.message if startup.problem and not unanswered else ""


def _spinner(note: str) -> Spinner:
    spinner = Spinner("dots", Text(note))
    # A panel is made anew with each change; all turn by one clock, so that nobody sees it.
    spinner.start_time = 0.0
    return spinner


def _cell(row: Row) -> str:
    status = f'<span style="color: {_COLOURS[row.mood]};">{escape(row.status)}</span>'
    return f'<td style="text-align: left;"><strong>{escape(row.label)}:</strong> {status}</td>'
