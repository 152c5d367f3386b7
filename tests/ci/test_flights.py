"""The parts of the demo's flights.py that need no Dask cluster."""
# mypy: disable-error-code="import-untyped"

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from ci.demo import flights


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    return flights.read_flights()


@pytest.mark.parametrize("values", [[5.0], [1.0, 4.0], [3.0, -2.0, 3.0, 10.0], list(range(50, 0, -1))])
def test_closed_form_is_the_mean_over_all_pairs(values: list[float]) -> None:
    pairs = [abs(a - b) for a, b in itertools.product(values, repeat=2)]
    assert flights.mean_difference(np.array(values, dtype=float)) == pytest.approx(sum(pairs) / len(pairs))


def test_data_are_all_flights_of_the_year(data: pd.DataFrame) -> None:
    assert len(data) == 336_776
    assert set(data["month"]) == set(flights.MONTHS)


def test_months_are_the_whole_without_overlap(data: pd.DataFrame) -> None:
    assert pd.concat([flights.read_month(month) for month in flights.MONTHS]).sort_index().equals(data)


def test_departures_count_only_flights_that_left() -> None:
    some = pd.DataFrame(
        {"carrier": ["UA", "UA", "UA", "AA"], "origin": ["EWR", "EWR", "JFK", "EWR"], "dep_delay": [4, np.nan, -2, 9]}
    )
    assert flights.departures(some).to_dict("index") == {
        ("AA", "EWR"): {"mean": 9.0, "count": 1},
        ("UA", "EWR"): {"mean": 4.0, "count": 1},
        ("UA", "JFK"): {"mean": -2.0, "count": 1},
    }


def test_sample_is_known_delays_over_the_whole_year(data: pd.DataFrame) -> None:
    delays = data["arr_delay"].dropna()
    sample = flights.sample(data)
    assert len(sample) == flights.SAMPLE
    assert not np.isnan(sample).any()
    assert (sample[0], sample[-1]) == (delays.iloc[0], delays.iloc[-1])


def test_chunks_divide_the_sample() -> None:
    assert flights.SAMPLE % flights.CHUNK == 0


def test_sum_of_chunk_keeps_its_dimensions() -> None:
    assert flights.sum_of_chunk(np.array([[1.0, 2.0], [3.0, 4.0]])).tolist() == [[10.0]]


def test_table_has_the_latest_airline_first_and_weighs_airports_by_flights() -> None:
    departures = pd.DataFrame(
        {"mean": [1.0, 10.0, 4.0], "count": [1, 3, 1200]},
        index=pd.MultiIndex.from_tuples([("UA", "EWR"), ("AA", "EWR"), ("UA", "JFK")], names=["carrier", "origin"]),
    )
    airlines = pd.DataFrame({"carrier": ["UA", "AA"], "name": ["United", "American "]})
    lines = [line.split() for line in flights.table(departures, airlines).splitlines()]
    assert lines == [
        ["mean", "minutes", "late", "EWR", "JFK", "all", "flights"],
        ["American", "10.0", "10.0", "3"],
        ["United", "1.0", "4.0", "4.0", "1,201"],
    ]
