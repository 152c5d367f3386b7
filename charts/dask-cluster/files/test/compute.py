"""Computes on a Dask cluster and checks the answer; says why where that does not work.

It runs in a Pod of `helm test`, in the image of the cluster itself.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Collection

from distributed import Client

NUMBERS = 1000
ANSWER = 332833500
ATTEMPT = 10.0  # seconds to connect, of which Dask takes a fifth for its first try


def main() -> int:
    address, cluster = os.environ["SCHEDULER_ADDRESS"], os.environ["CLUSTER"]
    deadline = time.monotonic() + float(os.environ["TIMEOUT_SECONDS"])
    unmet = f"no scheduler answers at {address}: is the operator there? See `kubectl describe daskcluster {cluster}`"
    try:
        with connected(address, deadline) as client:
            unmet = f"no worker has come: see `kubectl describe daskworkergroup,pod -l dask.org/cluster-name={cluster}`"
            client.wait_for_workers(1, timeout=left(deadline))
            print(f"{address} answers, and has {number_of(client.nthreads())}", flush=True)
            unmet = "the workers have not computed the answer"
            squares = client.map(square, range(NUMBERS))
            answer = client.submit(sum, squares).result(timeout=left(deadline))
    except (OSError, TimeoutError) as error:
        print(f"FAILED: {unmet}\n  {error}", flush=True)
        return 1
    if answer != ANSWER:
        print(f"FAILED: the sum of the squares below {NUMBERS} is {ANSWER}, and the workers say {answer}", flush=True)
        return 1
    print(f"the sum of the squares below {NUMBERS} is {answer}, as it should be", flush=True)
    return 0


def connected(address: str, deadline: float) -> Client:
    """Connects, again and again: the first attempt can be lost where a node does not know the Service yet."""
    while True:
        try:
            return Client(address, timeout=min(ATTEMPT, left(deadline)))  # type: ignore[no-untyped-call]
        except (OSError, TimeoutError):
            if time.monotonic() > deadline:
                raise


def number_of(workers: Collection[object]) -> str:
    return "1 worker" if len(workers) == 1 else f"{len(workers)} workers"


def square(number: int) -> int:
    return number * number


def left(deadline: float) -> float:
    return max(1.0, deadline - time.monotonic())


if __name__ == "__main__":
    sys.exit(main())
