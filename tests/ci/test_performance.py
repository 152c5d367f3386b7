"""The performance page comes from figures: its tables, the budgets, and the growth of costs."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from bench import plots
from bench.figures import BUDGETS, INCUMBENT, OURS, RAW, SMALL, Measured, Point, Share
from bench.report import exponent, number, rendered, spread, tables
from bench.results import Results, load, save
from bench.sampled import part_of
from docs.included import ROOT

PAGE = (ROOT / "docs/performance.md").read_text()
RESULTS = Results(
    SMALL,
    {"processor": "a fast one"},
    (
        Measured("create", RAW, (100.0, 200.0, 300.0)),
        Measured("create", OURS, (95.0, 150.0, 285.0)),
        Measured("create", INCUMBENT, (math.inf,)),
        Measured("running", OURS, (1.25,)),
        Measured("stopped", OURS, (1.0, 2.5)),
    ),
    tuple(Point("workers", size, size / 100, size**2 / 1e4, 0.5) for size in (10, 100, 1000)),
    (Share("workers", "ssl", "SSLObject.read", 30), Share("workers", "dask_operator.parse.pods", "pod", 10)),
)


def _row(what: str) -> list[str]:
    lines = [line for line in tables(RESULTS)["budgets"].splitlines() if line.startswith(f"| {what}")]
    assert len(lines) == 1, what
    return [cell.strip() for cell in lines[0].split("|")[1:-1]]


def test_a_row_has_everybodys_figures_and_whether_the_budget_is_met() -> None:
    raw, ours = "200 (100–300)", "150 (95–285)"
    assert _row("0 → 30 workers")[1:] == ["Pods/s", raw, "", ours, "never", "≥ 0.9 of raw", "yes"]


def test_what_has_no_budget_is_neither_met_nor_missed() -> None:
    assert _row("… all clusters")[-2:] == ["", ""]


def test_what_was_not_measured_is_said() -> None:
    assert _row("start with")[-1] == "not measured"


def test_one_time_above_a_bound_for_all_of_them_misses_it() -> None:
    assert _row("fail-over")[-1] == "**no**"


@pytest.mark.parametrize(
    ("key", "raw", "ours", "met"),
    [
        ("create", (100.0,), (90.0,), True),
        ("create", (100.0,), (89.0,), False),
        # In turns the machine is the same for both, so the median of the ratios counts.
        ("create", (100.0, 10.0, 100.0), (95.0, 9.5, 10.0), True),
        ("many", (), (5.0, 1.1, 1.2), True),
        ("many", (), (1.3, 1.3, 1.1), False),
        ("registered", (4.0,), (4.3,), True),
        ("registered", (4.0,), (4.4,), False),
        ("delete", (2.0, 2.0), (2.3, 2.3), False),
    ],
)
def test_when_a_budget_is_met(key: str, raw: tuple[float, ...], ours: tuple[float, ...], met: bool) -> None:
    [budget] = [budget for budget in BUDGETS if budget.key == key]
    assert budget.met
    assert budget.met({RAW: raw, OURS: ours}) is met


def test_a_power_is_found() -> None:
    assert exponent(RESULTS.growth, "seconds") == pytest.approx(1.0)
    assert exponent(RESULTS.growth, "cpu") == pytest.approx(2.0)
    assert exponent(RESULTS.growth, "memory") == pytest.approx(0.0)
    assert "| exponent | 1 | 2 | 0 |" in tables(RESULTS)["growth"].replace(".00", "")


def test_shares_are_of_all_samples() -> None:
    assert "| `ssl` | `SSLObject.read` | 75.0 % |" in tables(RESULTS)["profile"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.123, "0.12"), (12.34, "12.3"), (1234.5, "1,234"), (5.0, "5"), (math.inf, "never")],
)
def test_numbers_have_the_figures_that_count(value: float, text: str) -> None:
    assert number(value) == text


def test_values_that_are_all_the_same_have_no_range() -> None:
    assert spread((10.0, 10.0)) == "10"


def test_tables_stand_between_markers_and_nothing_else_changes() -> None:
    once = rendered(PAGE, RESULTS)
    assert tables(RESULTS)["budgets"] in once
    assert rendered(once, RESULTS) == once
    assert _by_hand(once) == _by_hand(PAGE)


def test_a_page_without_a_marker_is_refused() -> None:
    with pytest.raises(ValueError, match="end budgets"):
        rendered(PAGE.replace("<!-- end budgets -->", ""), RESULTS)


def test_every_budget_has_a_name_of_its_own_and_can_be_said() -> None:
    assert len({budget.key for budget in BUDGETS}) == len(BUDGETS)
    assert all(budget.title(SMALL) and bool(budget.limit) == bool(budget.met) for budget in BUDGETS)


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    save(RESULTS, tmp_path / "results.json")
    assert load(tmp_path / "results.json") == RESULTS


def test_the_same_figures_give_the_same_pictures(tmp_path: Path) -> None:
    drawn = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        plots.draw(RESULTS, tmp_path / name)
        drawn.append({file.name: file.read_text() for file in (tmp_path / name).iterdir()})
    assert drawn[0] == drawn[1]
    assert set(drawn[0]) == {f"performance-{name}.svg" for name in ("compared", "growth", "profile")}
    assert all(f"images/{name}" in PAGE for name in drawn[0])


@pytest.mark.parametrize(
    ("file", "module", "part"),
    [
        ("/somewhere/controller/dask_operator/plan/group.py", "dask_operator.plan.group", "dask_operator.plan.group"),
        ("/venv/lib/python3.11/site-packages/aiohttp/client.py", "aiohttp.client", "aiohttp"),
        ("/usr/lib/python3.11/asyncio/sslproto.py", "asyncio.sslproto", "asyncio"),
        ("/usr/lib/python3.11/ssl.py", "ssl", "ssl"),
    ],
)
def test_the_part_that_a_function_is_of(file: str, module: str, part: str) -> None:
    assert part_of(file, module) == part


def _by_hand(page: str) -> list[str]:
    """Return the lines outside the markers."""
    lines, inside = [], False
    for line in page.splitlines():
        inside = inside and not line.startswith("<!-- end ")
        if not inside:
            lines.append(line)
        inside = inside or line.startswith("<!-- begin ")
    return lines
