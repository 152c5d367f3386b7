from __future__ import annotations

import pytest

from dask_operator.scheduler.failures import Kind, refused, too_long, unexpected, unreached


@pytest.mark.parametrize(
    ("code", "kind", "reason"),
    [
        (302, Kind.FINAL, "SchedulerError"),
        (403, Kind.FINAL, "SchedulerError"),
        (404, Kind.NO_ROUTE, "SchedulerApiDisabled"),
        (500, Kind.UNSPEAKABLE, "SchedulerError"),
        (501, Kind.FINAL, "SchedulerError"),
        (502, Kind.UNREACHED, "SchedulerUnreachable"),
        (503, Kind.UNREACHED, "SchedulerUnreachable"),
        (504, Kind.UNREACHED, "SchedulerUnreachable"),
    ],
)
def test_what_a_status_means(code: int, kind: Kind, reason: str) -> None:
    failure = refused(code, "http://10.0.0.1:8787/api/v1")
    assert (failure.kind, failure.problem.reason) == (kind, reason)
    assert "http://10.0.0.1:8787/api/v1" in failure.problem.message


def test_who_reads_of_a_failure_learns_what_to_look_at() -> None:
    assert unreached("no route to host").problem.message == (
        "no route to host; its workers are kept; "
        "check the scheduler's log, and network policies between controller and it"
    )
    assert too_long("u", 7).problem.message == "u: more than 7 bytes"
    assert too_long("u", 7).kind is Kind.UNSPEAKABLE
    assert len(unexpected("u", "x" * 10_000).message) < 100
