from __future__ import annotations

import logging

import pytest

from dask_operator.process.clock import Clock


class Machine:
    """A machine whose clock can be set."""

    def __init__(self) -> None:
        self.passed = 100.0
        self.ahead = 1_700_000_000.0
        self.steps: list[float] = []
        self.clock = Clock(lambda: self.passed + self.ahead, lambda: self.passed, self.steps.append)


def test_time_that_passes_is_no_step() -> None:
    machine = Machine()
    for seconds in (0.0, 1.0, 3600.0, 1e6):
        machine.passed += seconds
        assert machine.clock() == machine.passed + machine.ahead
    assert machine.steps == []


@pytest.mark.parametrize("step", [-3600.0, 3600.0, -1.5, 86400.0])
def test_a_step_is_told_once_and_before_the_new_time_is_used(step: float, caplog: pytest.LogCaptureFixture) -> None:
    machine = Machine()
    machine.passed += 50.0
    machine.ahead += step
    with caplog.at_level(logging.WARNING):
        now = machine.clock()
    assert now == machine.passed + machine.ahead
    machine.clock()
    assert machine.steps == [pytest.approx(step)]
    (record,) = caplog.records
    assert f"set {'forward' if step > 0 else 'back'} by {abs(step):.0f} s" in record.getMessage()


def test_a_clock_that_is_slowly_put_right_takes_no_step() -> None:
    machine = Machine()
    for _ in range(10_000):
        machine.passed += 10.0
        machine.ahead -= 0.005
        machine.clock()
    assert machine.steps == []
