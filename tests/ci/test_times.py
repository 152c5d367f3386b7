"""The report about the times of a run."""

from __future__ import annotations

from pathlib import Path

import pytest
from ci.times import main, shown

TIER = {"tier": "unit", "seconds": 200, "idle": 5000}
QUICK = {"test": "test_quick", "seconds": 0.5, "idle": 0.1, "waits": {}}
SLOW = {"test": "test_slow", "seconds": 30.0, "idle": 0.6, "waits": {"the workers are ready": 25.5}}


def test_tiers_come_with_the_part_of_their_time_that_the_cores_were_idle() -> None:
    assert "unit" in shown([TIER])
    assert "25%" in shown([TIER])


def test_the_slowest_test_comes_first_with_what_it_waited_for() -> None:
    lines = shown([QUICK, SLOW]).splitlines()
    slow, quick = (next(n for n, line in enumerate(lines) if name in line) for name in ("test_slow", "test_quick"))
    assert slow < quick
    assert "25.5 s  the workers are ready" in lines[slow + 1]


def test_of_what_an_older_run_has_left_the_later_line_counts() -> None:
    later = SLOW | {"seconds": 40.0}
    assert shown([SLOW, later]) == shown([later])


def test_before_the_first_run_it_is_said_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="run `make test`"):
        main(tmp_path / "times.jsonl")
