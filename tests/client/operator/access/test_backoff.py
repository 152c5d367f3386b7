"""Pauses grow up to a bound."""

from __future__ import annotations

from itertools import islice

from dask_kubernetes.operator.access.backoff import doubling


def test_pauses_double_up_to_the_longest() -> None:
    assert list(islice(doubling(0.5, 5.0), 6)) == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
