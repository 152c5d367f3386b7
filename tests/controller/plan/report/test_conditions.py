from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from tests.support.builders import CLUSTER_UID, NOON, NOON_TEXT, a_cluster, a_failure, seen

from dask_operator.actions import Action, RecordEvent, RequeueAt, SetStatus
from dask_operator.model import Json, ObjectRef, Problem, Written
from dask_operator.parse import rfc3339
from dask_operator.plan.report.conditions import (
    DEGRADED,
    Condition,
    as_said,
    by_type,
    degraded,
    is_true,
    rendered,
    write,
)

CLUSTER = ObjectRef("DaskCluster", "simple")
BROKEN = Problem("Unschedulable", "0/3 nodes are available")


def _status(*conditions: Condition, old: Json | None = None, now: float = NOON, **fields: Any) -> dict[str, Any]:
    return {**fields, "conditions": rendered(a_cluster(), old or {}, conditions, now)}


def _written(
    status: Json, *, old: Json | None = None, at: float | None = None, now: float = NOON, awaited: bool = False
) -> Sequence[Action]:
    """Return the writes of a status. `old`: in the object; `at`: the time of this process' last write."""
    observed = seen(written={} if at is None else {CLUSTER: Written(at, {}, CLUSTER_UID)})
    cluster = a_cluster(status=old or {}, created=NOON)
    return list(write(SetStatus(CLUSTER, status, "x"), cluster, observed, now, 3.0, awaited=awaited))


def test_a_condition_as_a_status_has_it() -> None:
    (told,) = rendered(a_cluster(generation=7), {}, [Condition("Ready", True, "AllThere", "3 of 3")], NOON + 0.9)
    assert told == {
        "type": "Ready",
        "status": "True",
        "reason": "AllThere",
        "message": "3 of 3",
        "lastTransitionTime": NOON_TEXT,
        "observedGeneration": 7,
    }


def test_its_time_is_that_of_its_last_change_of_status() -> None:
    old = _status(Condition("Ready", False, "Starting", "0 of 3"))
    (same,) = rendered(a_cluster(), old, [Condition("Ready", False, "Starting", "1 of 3")], NOON + 60.0)
    assert (same["lastTransitionTime"], same["message"]) == (NOON_TEXT, "1 of 3")
    (changed,) = rendered(a_cluster(), old, [Condition("Ready", True, "AllThere", "3 of 3")], NOON + 60.0)
    assert changed["lastTransitionTime"] == "2026-01-01T12:01:00Z"


def test_a_time_in_the_future_comes_of_a_wrong_clock_and_is_written_anew() -> None:
    old = _status(Condition("Ready", False, "Starting", "0 of 3"), now=NOON + 3600.0)
    (told,) = rendered(a_cluster(), old, [Condition("Ready", False, "Starting", "0 of 3")], NOON)
    assert told["lastTransitionTime"] == NOON_TEXT
    old = _status(Condition("Ready", False, "Starting", "0 of 3"), now=NOON + 30.0)
    (told,) = rendered(a_cluster(), old, [Condition("Ready", False, "Starting", "0 of 3")], NOON)
    assert told["lastTransitionTime"] == "2026-01-01T12:00:30Z", "clocks of nodes differ by seconds"


def test_a_status_does_not_wait_for_a_clock_that_is_behind() -> None:
    status = _status(Condition("Ready", False, "Starting", "0 of 3"))
    assert any(isinstance(action, RequeueAt) for action in _written(status, now=NOON - 30.0))
    assert any(isinstance(action, SetStatus) for action in _written(status, now=NOON - 3600.0))


def test_the_first_words_for_what_is_wrong_stay_while_its_reason_does() -> None:
    old = _status(degraded(BROKEN))
    assert as_said(Problem("Unschedulable", "0/4 nodes"), old) == BROKEN
    other = Problem("QuotaExceeded", "3 of 3 pods")
    assert as_said(other, old) == other
    assert as_said(BROKEN, _status(degraded(None))) == BROKEN
    assert as_said(None, old) is None


def test_words_of_any_length_fit_into_a_status() -> None:
    (first,) = _status(degraded(Problem("r" * 5_000, "m" * 50_000)))["conditions"]
    assert (len(first["reason"]), len(first["message"])) == (1024, 4096)
    said = as_said(Problem("r" * 5_000, "other"), {"conditions": [first]})
    (same,) = _status(degraded(said), old={"conditions": [first]})["conditions"]
    assert same == first


def test_nothing_wrong_is_a_condition_as_well() -> None:
    assert degraded(None) == Condition(DEGRADED, False, "AsExpected", "no problem is known")
    assert degraded(BROKEN) == Condition(DEGRADED, True, *BROKEN)


@pytest.mark.parametrize("old", [None, [], "x", [None], [{}], [{"type": None}], [{"type": []}], {"type": "Ready"}])
def test_conditions_that_cannot_be_read_are_none(old: Any) -> None:
    assert by_type({"conditions": old}) == {}
    assert by_type({}) == {}


def test_conditions_by_type() -> None:
    ready = {"type": "Ready", "status": "True"}
    found = by_type({"conditions": [ready, {"type": "Degraded", "status": "False"}, None]})
    assert found["Ready"] == ready
    assert (is_true(found, "Ready"), is_true(found, "Degraded"), is_true(found, "Absent")) == (True, False, False)


def test_a_status_that_is_as_it_should_be_is_not_written() -> None:
    status = _status(Condition("Ready", True, "x", "y"), phase="Running", absent=None)
    there = {key: value for key, value in status.items() if value is not None}
    assert _written(status, old={**there, "somebodys": "own"}, now=NOON + 60.0, awaited=True) == []


def test_what_nobody_waits_for_is_written_some_time_after_the_last_or_after_the_creation() -> None:
    status = {"replicas": 3}
    assert _written(status, now=NOON + 1.0) == [RequeueAt(NOON + 3.0, "the status of DaskCluster simple")]
    assert _written(status, now=NOON + 3.0) == [SetStatus(CLUSTER, status, "x")]
    assert _written(status, at=NOON + 10.0, now=NOON + 11.0) == [
        RequeueAt(NOON + 13.0, "the status of DaskCluster simple")
    ]
    assert _written(status, at=NOON + 10.0, now=NOON + 13.0) == [SetStatus(CLUSTER, status, "x")]


def test_what_is_awaited_is_written_at_once() -> None:
    assert _written({"replicas": 3}, at=NOON, now=NOON, awaited=True) == [SetStatus(CLUSTER, {"replicas": 3}, "x")]


def test_what_was_refused_waits_though_it_is_awaited() -> None:
    observed = seen(failures={CLUSTER: a_failure(until=NOON + 8.0)})
    wanted = SetStatus(CLUSTER, {"replicas": 3}, "x")
    planned = list(write(wanted, a_cluster(), observed, NOON, 3.0, awaited=True))
    assert planned == [RequeueAt(NOON + 8.0, "the API server says Forbidden", holds=CLUSTER)]


def test_a_status_that_the_definition_does_not_keep_is_not_written_again() -> None:
    status = {"replicas": 3}
    observed = seen(written={CLUSTER: Written(NOON, status, CLUSTER_UID)})
    assert list(write(SetStatus(CLUSTER, status, "x"), a_cluster(), observed, NOON + 60.0, 3.0, awaited=True)) == []


def test_what_was_written_of_a_namesake_is_no_status_of_this_one() -> None:
    status = {"replicas": 3}
    observed = seen(written={CLUSTER: Written(NOON, status, "of-a-namesake")})
    wanted = SetStatus(CLUSTER, status, "x")
    assert list(write(wanted, a_cluster(), observed, NOON + 60.0, 3.0, awaited=True)) == [wanted]


def _events(actions: Sequence[Action]) -> list[tuple[str, str, str]]:
    return [(action.type, action.reason, action.message) for action in actions if isinstance(action, RecordEvent)]


def test_events_come_with_a_change_for_the_worse_and_its_end() -> None:
    well, broken = _status(degraded(None)), _status(degraded(BROKEN))
    other = _status(degraded(Problem("QuotaExceeded", "3 of 3 pods")))
    assert _events(_written(broken, old=well, awaited=True)) == [("Warning", *BROKEN)]
    assert _events(_written(broken, awaited=True)) == [("Warning", *BROKEN)]
    assert _events(_written({**broken, "replicas": 1}, old=broken, awaited=True)) == []
    assert _events(_written(other, old=broken, awaited=True)) == [("Warning", "QuotaExceeded", "3 of 3 pods")]
    ended = "no longer: Unschedulable: 0/3 nodes are available"
    assert _events(_written(well, old=broken, awaited=True)) == [("Normal", "Recovered", ended)]
    assert _events(_written(well, awaited=True)) == []


def test_no_event_comes_before_its_status() -> None:
    assert _events(_written(_status(degraded(BROKEN)), now=NOON + 1.0)) == []


def test_a_time_as_kubernetes_writes_it() -> None:
    assert rfc3339(NOON + 0.9) == NOON_TEXT
