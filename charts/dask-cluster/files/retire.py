"""Lets the scheduler move what the workers of this Pod hold to others, before Kubernetes ends them.

    retire.py SCHEDULER_URL SECONDS

It runs as the hook before a worker's container ends. A hook that fails would end the worker no later and help nobody, so
what goes wrong is said in the container's log, and that is all.
"""

from __future__ import annotations

import json
import os
import sys
import time
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

LOG = Path("/proc/1/fd/1")
PAUSE = 1.0


def main(url: str, seconds: float, name: str) -> str:
    """Returns what has become of the workers with this name, or with one that `dask worker --nworkers` made of it."""
    deadline = time.monotonic() + seconds
    moved: set[str] = set()
    try:
        while left := own(call(url, "get_workers", deadline), name):
            moved |= call(url, "retire_workers", deadline, {"workers": left}).keys()
            if moved.issuperset(left):
                break
            # No other worker could take the data. One that replaces this may be on its way.
            time.sleep(min(PAUSE, max(0.0, deadline - time.monotonic())))
    except TimeoutError:
        return f"not all data was moved to other workers within {seconds:g} s: what is missing will be computed again"
    except (OSError, HTTPException, ValueError) as error:
        return f"no data was moved, as the scheduler does not answer at {url}: {error}"
    return f"retired {', '.join(sorted(moved))}: others have its data" if moved else f"the scheduler has no worker {name}"


def own(reply: dict[str, Any], name: str) -> list[str]:
    """The addresses of the workers that are called `name`, or `name` with a number."""
    return [
        worker["address"]
        for worker in reply["workers"]
        if worker["name"] == name or (str(worker["name"]).rpartition("-")[0] == name and worker["name"][-1].isdigit())
    ]


def call(url: str, path: str, deadline: float, body: object = None) -> dict[str, Any]:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(f"{url}/api/v1/{path}", data), timeout=left) as reply:
        answer: dict[str, Any] = json.load(reply)
    return answer


def say(text: str) -> None:
    """In the log of the container, which is what its first process writes: a hook has none of its own."""
    try:
        with LOG.open("a") as log:
            print(f"retire.py: {text}", file=log)
    except OSError:
        print(f"retire.py: {text}", file=sys.stderr)


if __name__ == "__main__":
    say(main(sys.argv[1], float(sys.argv[2]), os.environ["DASK_WORKER_NAME"]))
