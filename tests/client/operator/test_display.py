from __future__ import annotations

import sys
import types
from io import StringIO
from typing import Any

import pytest
from distributed.deploy.cluster import Cluster
from rich.console import Console

from dask_kubernetes.operator.diagnosis.problems import NOT_FOLLOWED, NOT_TAKEN_UP, Problem
from dask_kubernetes.operator.diagnosis.status import Row, Startup
from dask_kubernetes.operator.display import Progress, html, panel

NOTHING = Startup((Row("DaskCluster", "-", "none"), Row("Scheduler Pod", "-", "none")), False, None)
STARTING = Startup((Row("DaskCluster", "Pending", "waiting"), Row("Scheduler Pod", "-", "none")), False, None)
FAILING = Startup(
    (Row("DaskCluster", "Pending", "waiting"), Row("Scheduler Pod", "ImagePullBackOff", "bad")),
    False,
    Problem("ImagePullBackOff", 'Pod a cannot pull image "dask[complete]:1".'),
)
RUNNING = Startup((Row("DaskCluster", "Running", "good"), Row("Scheduler Pod", "Running", "good")), True, None)
UNANSWERED = Startup(NOTHING.rows, False, Problem(NOT_TAKEN_UP, "No operator has taken it up."))
LINK = "http://localhost:8787/status"
READY = f"Cluster mine is ready: dashboard {LINK}"
ESCAPE = "\x1b"


class Screen(StringIO):
    """The output to a terminal."""

    def isatty(self) -> bool:
        return True


def a_console(file: StringIO, **options: Any) -> Console:
    return Console(file=file, width=100, color_system="standard", **options)


def left_on(screen: Screen) -> str:
    """Return the lines left on a terminal after the last erased one."""
    return screen.getvalue().rpartition(f"{ESCAPE}[2K")[2]


class Notebook:
    """IPython's displays, each in its last state."""

    def __init__(self) -> None:
        self.displays: list[list[Any]] = []

    def display(self, what: Any, *, display_id: bool) -> Any:
        assert display_id
        states = [what]
        self.displays.append(states)
        return types.SimpleNamespace(update=states.append)

    def texts(self) -> list[list[str]]:
        return [[as_text(state) for state in states] for states in self.displays]


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Notebook:
    made = Notebook()
    package, module = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    module.display = made.display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", package)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return made


def as_text(what: Any) -> str:
    console = Console(file=StringIO(), width=100, record=True)
    console.print(what)
    return console.export_text()


def test_a_panel_has_the_rows_the_problem_and_the_note() -> None:
    text = as_text(panel(FAILING, "Creating cluster mine", "Waiting for the scheduler"))
    lines = [line.strip("│ ╭╰─╮╯\n") for line in text.splitlines()]
    told = [line for line in lines if line]
    assert told[0] == "Creating cluster mine"
    assert told[1].split() == ["DaskCluster", "Pending"]
    assert told[2].split() == ["Scheduler", "Pod", "ImagePullBackOff"]
    # Brackets are no markup.
    assert told[3] == 'Pod a cannot pull image "dask[complete]:1".'
    assert told[4].endswith("Waiting for the scheduler")


def test_a_panel_has_colours_by_mood() -> None:
    screen = Screen()
    console = a_console(screen, force_terminal=True)
    console.print(panel(FAILING, "Creating cluster mine", ""))
    assert f"{ESCAPE}[33mPending" in screen.getvalue()
    assert f"{ESCAPE}[31mImagePullBackOff" in screen.getvalue()
    assert f"{ESCAPE}[31mPod a cannot pull" in screen.getvalue()
    console.print(panel(RUNNING, "Creating cluster mine", ""))
    assert f"{ESCAPE}[32mRunning" in screen.getvalue()


def test_the_spinner_turns_by_one_clock() -> None:
    now = [100.0]
    frames = []
    for at in (100.0, 100.1, 100.2):
        now[0] = at
        console = Console(file=StringIO(), width=100, record=True, get_time=lambda: now[0])
        console.print(panel(STARTING, "", "Waiting"))
        frames.append(console.export_text())
    assert len(set(frames)) == 3


def test_that_no_operator_has_answered_yet_is_no_news() -> None:
    assert "No operator" not in as_text(panel(UNANSWERED, "Creating cluster mine", ""))
    assert "No operator" not in html(UNANSWERED)
    assert "not acted" not in html(Startup(RUNNING.rows, True, Problem(NOT_FOLLOWED, "It has not acted.")))


def test_a_terminal_is_left_with_one_line_when_the_cluster_is_ready() -> None:
    screen = Screen()
    with Progress("Creating cluster mine", quiet=False, console=a_console(screen, force_terminal=True)) as progress:
        progress.update(STARTING, "Waiting for the scheduler")
        assert "Waiting for the scheduler" in screen.getvalue()
        progress.update(RUNNING, "Connecting")
        progress.ready("mine", LINK)
    left = left_on(screen)
    assert left.count("Cluster mine is ready: dashboard ") == 1
    assert "Creating cluster mine" not in left


def test_a_terminal_keeps_the_panel_once_when_the_cluster_does_not_start() -> None:
    screen = Screen()
    with Progress("Creating cluster mine", quiet=False, console=a_console(screen, force_terminal=True)) as progress:
        progress.update(FAILING, "Waiting for the scheduler")
    left = left_on(screen)
    assert left.count("Creating cluster mine") == 1
    assert left.count("cannot pull image") == 1
    assert "Waiting for the scheduler" not in left


def test_what_fails_before_anything_is_shown_leaves_nothing() -> None:
    screen = Screen()
    with Progress("Creating cluster mine", quiet=False, console=a_console(screen, force_terminal=True)):
        pass
    assert screen.getvalue() == ""


def test_a_notebook_has_one_display_that_changes(notebook: Notebook) -> None:
    console = a_console(StringIO(), force_jupyter=True)
    with Progress("Creating cluster mine", quiet=False, console=console) as progress:
        progress.update(STARTING, "Waiting for the scheduler")
        progress.update(STARTING, "Waiting for the scheduler")
        progress.update(RUNNING, "Connecting")
        progress.ready("mine", LINK)
    (states,) = notebook.texts()
    assert len(states) == 3
    assert "Waiting for the scheduler" in states[0]
    assert "Connecting" in states[1]
    assert states[2].strip() == READY
    bundle = notebook.displays[0][-1]._repr_mimebundle_(include=(), exclude=())
    assert f'<a href="{LINK}" target="_blank">' in bundle["text/html"]


def test_a_notebook_keeps_the_panel_when_the_cluster_does_not_start(notebook: Notebook) -> None:
    console = a_console(StringIO(), force_jupyter=True)
    with Progress("Creating cluster mine", quiet=False, console=console) as progress:
        progress.update(FAILING, "Waiting for the scheduler")
    (states,) = notebook.texts()
    assert "cannot pull image" in states[-1]
    assert "Waiting for the scheduler" not in states[-1]


def test_a_log_has_a_line_per_change_and_no_control_characters() -> None:
    log = StringIO()
    # As with FORCE_COLOR: a file that claims to be a terminal.
    with Progress("Creating cluster mine", quiet=False, console=a_console(log, force_terminal=True)) as progress:
        progress.update(NOTHING, "Creating it")
        progress.update(UNANSWERED, "Creating it")
        progress.update(FAILING, "Waiting for the scheduler")
        progress.update(FAILING, "Waiting for the scheduler")
        progress.update(STARTING, "Waiting for the scheduler")
        progress.update(FAILING, "Waiting for the scheduler")
        progress.update(RUNNING, "Waiting for the scheduler")
        progress.ready("mine", LINK)
    problem = 'Creating cluster mine: Problem: Pod a cannot pull image "dask[complete]:1".'
    pulling = "Creating cluster mine: Scheduler Pod: ImagePullBackOff"
    assert log.getvalue().splitlines() == [
        "Creating cluster mine: Creating it",
        "Creating cluster mine: Waiting for the scheduler",
        "Creating cluster mine: DaskCluster: Pending",
        pulling,
        problem,
        pulling,
        problem,
        "Creating cluster mine: DaskCluster: Running",
        "Creating cluster mine: Scheduler Pod: Running",
        READY,
    ]


def test_long_lines_of_a_log_are_not_broken() -> None:
    log = StringIO()
    with Progress("Creating", quiet=False, console=a_console(log)) as progress:
        progress.update(NOTHING, "word " * 100)
    assert len(log.getvalue().splitlines()) == 1


def test_standard_output_is_where_it_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("Creating cluster mine", quiet=False) as progress:
        progress.update(NOTHING, "Creating it")
    assert capsys.readouterr().out == "Creating cluster mine: Creating it\n"


def test_quiet_shows_nothing(capsys: pytest.CaptureFixture[str], notebook: Notebook) -> None:
    for console in (None, a_console(StringIO(), force_jupyter=True), a_console(Screen(), force_terminal=True)):
        with Progress("Creating cluster mine", quiet=True, console=console) as progress:
            progress.update(FAILING, "Waiting for the scheduler")
            progress.ready("mine", LINK)
        assert console is None or console.file.getvalue() == ""  # type: ignore[attr-defined]
    assert capsys.readouterr().out == ""
    assert notebook.displays == []


def test_html_is_rows_for_the_table_of_a_cluster() -> None:
    five = Startup((*FAILING.rows, *RUNNING.rows, Row("Workers", "<0>", "none")), False, FAILING.problem)
    cluster: Any = types.SimpleNamespace(name="mine", scheduler_info={"workers": {}}, dashboard_link=LINK)
    rendered: Any = Cluster._repr_html_
    page = rendered(cluster, cluster_status=html(five))
    table = page[page.index("<table") : page.index("</table>")]
    assert table.count("<tr>") == table.count("</tr>") == 2 + 4
    assert table.count("<td") == table.count("</td>") == 4 + 6
    assert "<strong>Scheduler Pod:</strong>" in table
    assert "ImagePullBackOff</span>" in table
    assert "&lt;0&gt;" in table
    assert "cannot pull image &quot;dask[complete]:1&quot;." in table
