"""The work during scale-downs: results that are held, sums, P2P shuffles, and long tasks, also ones that seceded."""

from __future__ import annotations

import hashlib
import os
import random
import threading
import time
from collections.abc import Sequence
from typing import Any

import dask.array
import dask.dataframe
import dask.datasets
from bench.scale_down.tally import Tally
from distributed import Client, secede

RESULTS = 40
_RENEWED = 10
QUICK = {
    "dataframe.shuffle.method": "p2p",
    "array.rechunk.method": "p2p",
    "distributed.worker.http.routes": [],
    "distributed.admin.tick.limit": "1h",
}
"""Dask's configuration: P2P shuffles also of little data, and nothing that only people look at."""


def wait_for_end(_: int) -> None:
    """Run as a task that ends with its process."""
    threading.Event().wait()


class Held:
    """Results on the workers, and their digests. Each round replaces some of them."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._digests: dict[Any, str] = {}

    async def renew(self) -> None:
        kept = list(self._digests)[_RENEWED:]
        made = self._client.map(_result, range(RESULTS - len(kept)), pure=False)
        fresh = dict(zip(made, await self._digested(made), strict=True))
        self._digests = {future: self._digests[future] for future in kept} | fresh

    async def lost(self) -> int:
        """Return the number of results that have changed."""
        now = await self._digested(list(self._digests))
        return sum(old != new for old, new in zip(self._digests.values(), now, strict=True))

    async def _digested(self, futures: Sequence[Any]) -> list[str]:
        digests = self._client.map(_digest, futures, pure=False)
        found: list[str] = await self._client.gather(digests)
        return found


def work(client: Client, chance: random.Random) -> list[Any]:
    """Start two of four kinds of work."""
    kinds = chance.sample((_shuffle, _rechunk, _long, _seceded), 2)
    return [future for kind in kinds for future in kind(client, chance)]


def _shuffle(client: Client, chance: random.Random) -> list[Any]:
    days = {"start": "2000-01-01", "end": "2000-01-09", "freq": "300s", "partition_freq": "1D"}
    frame = dask.datasets.timeseries(**days, seed=chance.randrange(2**31))  # type: ignore[no-untyped-call]
    return [client.compute(frame.shuffle("id").size)]


def _rechunk(client: Client, chance: random.Random) -> list[Any]:
    generator = dask.array.random.default_rng(chance.randrange(2**31))  # type: ignore[no-untyped-call]
    numbers = generator.random((400, 400), chunks=(50, 400))
    return [client.compute((numbers.rechunk((400, 50)) + 1).sum())]


def _long(client: Client, chance: random.Random) -> list[Any]:
    return list(client.map(time.sleep, [chance.uniform(0.2, 1.5) for _ in range(8)], pure=False))


def _seceded(client: Client, chance: random.Random) -> list[Any]:
    return list(client.map(_secede_and_sleep, [chance.uniform(0.2, 1.5) for _ in range(4)], pure=False))


def _secede_and_sleep(seconds: float) -> None:
    secede()
    time.sleep(seconds)


async def load(client: Client, tally: Tally) -> None:
    while True:
        parts = client.map(_slow_square, range(16), pure=False)
        answer = await client.submit(sum, parts, pure=False)
        right = answer == sum(n * n for n in range(16))
        tally.sums_right += right
        tally.sums_wrong += not right


def _result(_: int) -> bytes:
    return os.urandom(20_000)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _slow_square(number: int) -> int:
    time.sleep(0.005)
    return number * number
