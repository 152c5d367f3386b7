from __future__ import annotations

import pytest
from tests.support.builders import NOON, a_failed_pod, a_pod

from dask_operator.plan.workers import replacement


def test_who_had_lived_is_replaced_at_once() -> None:
    assert replacement.due(a_failed_pod(lived=60.0, attempt=7), NOON) <= NOON
    assert replacement.due(a_pod(phase="Succeeded", finished=NOON, attempt=0), NOON) <= NOON


def test_the_first_failure_soon_after_the_start_is_replaced_at_once() -> None:
    assert replacement.due(a_failed_pod(lived=1.0), NOON) <= NOON


@pytest.mark.parametrize(("attempt", "delay"), [(1, 10.0), (2, 20.0), (3, 40.0), (5, 160.0), (6, 300.0), (60, 300.0)])
def test_the_next_failures_double_the_delay(attempt: int, delay: float) -> None:
    assert replacement.due(a_failed_pod(lived=1.0, attempt=attempt), NOON) == NOON + delay


def test_an_attempt_of_any_size_has_a_delay() -> None:
    assert replacement.due(a_failed_pod(lived=1.0, attempt=10**6), NOON) == NOON + 300.0


def test_who_never_started_counts_from_its_creation() -> None:
    pod = a_failed_pod(lived=1.0, attempt=1, started=0.0, created=NOON - 30.0)
    assert replacement.due(pod, NOON) == NOON + 10.0
    assert replacement.due(a_failed_pod(attempt=1, started=0.0, created=NOON - 90.0), NOON) <= NOON


def test_one_that_the_node_refused_is_not_replaced_without_end() -> None:
    # The kubelet gives no time of the end, nor of the start, when it rejects a Pod (OutOfcpu and the like).
    refused = a_pod(phase="Failed", started=0.0, finished=0.0, created=NOON, attempt=1)
    assert replacement.due(refused, NOON) == NOON + 10.0


def test_one_that_ends_well_at_once_is_not_replaced_without_end() -> None:
    # As with a worker whose command is `dask worker --help`.
    ended = a_pod(phase="Succeeded", started=NOON - 1.0, finished=NOON, attempt=1)
    assert replacement.due(ended, NOON) == NOON + 10.0


def test_an_end_in_the_future_comes_of_a_wrong_clock_and_holds_nothing_up() -> None:
    pod = a_failed_pod(lived=1.0, attempt=1, finished=NOON + 3600.0, created=NOON - 5.0)
    assert replacement.due(pod, NOON) == NOON + 5.0
    assert replacement.due(a_failed_pod(lived=1.0, attempt=1, finished=NOON + 30.0), NOON) == NOON + 40.0


def test_the_next_attempt_is_one_more_than_the_highest() -> None:
    assert replacement.next_attempt([]) == 0
    assert replacement.next_attempt([a_failed_pod(lived=600.0, attempt=4)]) == 0
    assert replacement.next_attempt([a_failed_pod(lived=1.0)]) == 1
    failed = [a_failed_pod(lived=1.0, attempt=2), a_failed_pod(1, lived=1.0, attempt=5), a_failed_pod(2)]
    assert replacement.next_attempt(failed) == 6
