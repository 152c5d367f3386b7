from __future__ import annotations

import pytest
from tests.support.builders import (
    NOON,
    NOON_TEXT,
)

from dask_operator import parse
from dask_operator.parse.values import at


def test_times() -> None:
    assert parse.timestamp(NOON_TEXT) == NOON
    assert parse.timestamp("2026-01-01T12:00:00.250000Z") == NOON + 0.25
    assert parse.timestamp("noon") == 0.0


@pytest.mark.parametrize(
    "odd", ["", "soon", "0001-01-01T00:00:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "1e9"]
)
def test_odd_times_are_no_errors(odd: str) -> None:
    assert isinstance(parse.timestamp(odd), float)


def test_a_path_that_ends_early_leads_to_an_empty_mapping() -> None:
    raw = {"state": {"terminated": {"exitCode": 1}, "waiting": None}}
    assert at(raw, "state", "terminated") == {"exitCode": 1}
    assert at(raw, "state", "waiting") == at(raw, "lastState", "terminated") == at(None, "state") == {}
    assert at({"state": ["x"]}, "state", "terminated") == {}
