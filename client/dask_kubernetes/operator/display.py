"""Progress of a starting cluster: a panel in a terminal or a notebook, lines in a log, rows in a cluster's repr."""

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

from dask_kubernetes.operator.diagnosis.problems import NOT_FOLLOWED, NOT_TAKEN_UP
from dask_kubernetes.operator.diagnosis.status import NOT_THERE, Mood, Row, Startup

_STYLES: dict[Mood, str] = {"good": "green", "waiting": "yellow", "bad": "red", "none": "dim"}
_COLOURS: dict[Mood, str] = {"good": "#2e7d32", "waiting": "#b26a00", "bad": "#c62828", "none": "#9d9d9d"}


class Progress:
    """The progress of a cluster, shown while it starts.

    In a terminal or a notebook, a panel is updated in place. One line replaces it when the cluster is ready; if the
    start fails, the last panel stays. Any other output gets one line for each change.

    Parameters
    ----------
    title
        The heading, with the cluster's name.
    quiet
        Whether to show nothing.
    console
        The output. By default standard output, or the notebook.

    Examples
    --------
    >>> with Progress("Creating cluster mine", quiet=False) as progress:  # doctest: +SKIP
    ...     progress.update(startup(snapshot, registered=0), "Waiting for the scheduler")
    ...     progress.ready("mine", "http://localhost:8787/status")
    """

    def __init__(self, title: str, quiet: bool, console: Console | None = None) -> None:
        self._screen = _Silence() if quiet else _screen(title, console or Console())
        self._last: tuple[Startup, str] | None = None
        self._ready: Text | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._screen.end(self._ready)

    def update(self, startup: Startup, note: str) -> None:
        """Show the state of the cluster, with a `note` on the current step."""
        if (startup, note) != self._last:
            self._screen.show(startup, note)
            self._last = startup, note

    def done(self, line: str) -> None:
        """Set the line to leave behind at the end."""
        self._ready = Text(line)

    def ready(self, name: str, dashboard_link: str) -> None:
        """Set the line that says that the cluster is ready, with a link to its dashboard."""
        link = Text(dashboard_link, Style(link=dashboard_link))
        self._ready = Text.assemble("Cluster ", name, " is ready: dashboard ", link)


def panel(startup: Startup, title: str, note: str) -> Panel:
    """Return a panel with the state of each part of a cluster, its problem if any, and a note on the current step."""
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
    """Return rows for the table by which `distributed` shows a cluster in a notebook (`cluster.html.j2`)."""
    pairs = [startup.rows[i : i + 2] for i in range(0, len(startup.rows), 2)]
    rows = [f"<tr>{''.join(map(_cell, pair))}</tr>" for pair in pairs]
    if problem := _problem(startup):
        style = f"text-align: left; color: {_COLOURS['bad']};"
        rows.append(f'<tr><td colspan="2" style="{style}">{escape(problem)}</td></tr>')
    return "\n".join(rows)


class _Screen(Protocol):
    def show(self, startup: Startup, note: str) -> None: ...

    def end(self, ready: Text | None) -> None:
        """Leave `ready` behind, or the last state if None."""


class _Silence:
    def show(self, startup: Startup, note: str) -> None:
        pass

    def end(self, ready: Text | None) -> None:
        pass


class _Terminal:
    def __init__(self, title: str, console: Console) -> None:
        self._title, self._console = title, console
        # Transient, as `end` prints the last panel itself.
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
    """An IPython display that is updated in place: rich's `Live` needs ipywidgets and a cell that is still running."""

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
        self._printed: dict[str, str] = {}

    def show(self, startup: Startup, note: str) -> None:
        for label, text in _lines(startup, note):
            if text and self._printed.get(label) != text:
                self._print(f"{self._title}: {label and f'{label}: '}{text}")
            self._printed[label] = text

    def end(self, ready: Text | None) -> None:
        if ready:
            self._print(ready.plain)

    def _print(self, line: str) -> None:
        self._console.print(Text(line), soft_wrap=True)


def _screen(title: str, console: Console) -> _Screen:
    if console.is_jupyter:
        from IPython.display import display  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415

        return _Notebook(title, display)
    # rich takes a log file with forced colours for a terminal, but lines in a file cannot be replaced.
    if console.is_interactive and console.file.isatty():
        return _Terminal(title, console)
    return _Lines(title, console)


def _lines(startup: Startup, note: str) -> Iterator[tuple[str, str]]:
    """Yield labels and their texts; the text of a part that does not exist yet is empty."""
    yield "", note
    for row in startup.rows:
        yield row.label, "" if row.status == NOT_THERE else row.status
    yield "Problem", _problem(startup)


def _problem(startup: Startup) -> str:
    # Every start begins without an answer of the operator, and the rows show that already.
    unanswered = startup.problem and startup.problem.reason in (NOT_FOLLOWED, NOT_TAKEN_UP)
    return startup.problem.message if startup.problem and not unanswered else ""


def _spinner(note: str) -> Spinner:
    spinner = Spinner("dots", Text(note))
    # Each change makes a new panel; a common start time keeps the spinner turning evenly.
    spinner.start_time = 0.0
    return spinner


def _cell(row: Row) -> str:
    status = f'<span style="color: {_COLOURS[row.mood]};">{escape(row.status)}</span>'
    return f'<td style="text-align: left;"><strong>{escape(row.label)}:</strong> {status}</td>'
