"""Where the time of a run went."""

from __future__ import annotations

from ci.times import shown

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
