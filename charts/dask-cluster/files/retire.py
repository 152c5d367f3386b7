"""Lets the scheduler move what the workers of this Pod hold to others, before Kubernetes ends them.

    retire.py HOST:PORT SECONDS

It asks the scheduler's HTTP API there. It runs as the hook before a worker's container ends, where a failure would help
nobody: what goes wrong is said in the container's log, and that is all.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

LOG = Path("/proc/1/fd/1")
PAUSE = 1.0
CONNECTING = 5.0


def main() -> None:
    say(retire(sys.argv[1], float(sys.argv[2]), os.environ["DASK_WORKER_NAME"]))


def retire(scheduler: str, seconds: float, name: str) -> str:
    """Returns what has become of the workers with this name, or with one that `dask worker --nworkers` made of it."""
    deadline = time.monotonic() + seconds
    moved: set[str] = set()
    try:
        while left := own(call(scheduler, "get_workers", deadline), name):
            moved |= call(scheduler, "retire_workers", deadline, {"workers": left}).keys()
            if moved.issuperset(left):
                break
            # No other worker could take the data. One that replaces this may be on its way.
            time.sleep(min(PAUSE, max(0.0, deadline - time.monotonic())))
    except TimeoutError:
        return f"not all data was moved to other workers within {seconds:g} s: what is missing will be computed again"
    except (OSError, HTTPException, ValueError) as error:
        return f"the scheduler at {scheduler} cannot be asked to move data to other workers: {error}"
    if not moved:
        return f"the scheduler has no worker {name}: there is nothing to move"
    return f"other workers have what {', '.join(sorted(moved))} had"


def own(reply: dict[str, Any], name: str) -> list[str]:
    """The addresses of the workers that are called `name`, or `name` with a number."""
    called = re.compile(rf"{re.escape(name)}(-\d+)?")
    return [worker["address"] for worker in reply["workers"] if called.fullmatch(str(worker["name"]))]


def call(scheduler: str, path: str, deadline: float, body: object = None) -> dict[str, Any]:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    data = None if body is None else json.dumps(body)
    # Not by urllib, which would look for a scheduler behind a proxy that the workers' variables name.
    with closing(HTTPConnection(scheduler, timeout=min(CONNECTING, left))) as connection:
        try:
            connection.connect()
        except TimeoutError as error:
            raise ConnectionError("it does not answer") from error
        connection.sock.settimeout(left)
        connection.request("POST" if data else "GET", f"/api/v1/{path}", data)
        reply = connection.getresponse()
        if reply.status != 200:
            raise OSError(f"{reply.status} {reply.reason}")
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
    main()
