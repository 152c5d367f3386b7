"""The offer of `dask worker` by its arguments and environment, without starting it.

    python -m tests.support.worker_offer < CASES

Reads and writes JSON: a list of [arguments, environment, processors], and one of [resources, threads, workers].
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from typing import Any
from unittest import mock

import dask
from distributed.cli import dask_worker
from distributed.deploy import utils


def _offer(arguments: list[str], env: dict[str, str], processors: int) -> list[Any]:
    made: list[dict[str, Any]] = []

    def nanny(*_: Any, **options: Any) -> None:
        made.append(options)

    def run(main: Any, **_: Any) -> None:
        # The nannies are made before the first wait.
        with suppress(RuntimeError):
            main.send(None)

    configured = dask.config.collect_env(env).get("distributed", {}).get("worker", {}).get("resources", {})
    with (
        # It triples the thresholds each time.
        mock.patch("gc.set_threshold"),
        mock.patch.object(dask_worker, "CPU_COUNT", processors),
        mock.patch.object(dask_worker, "nprocesses_nthreads", return_value=utils.nprocesses_nthreads(processors)),
        mock.patch.object(dask_worker, "Nanny", nanny),
        mock.patch.object(dask_worker, "asyncio_run", run),
    ):
        dask_worker.main.main(["tcp://10.0.0.1:8786", *arguments], standalone_mode=False)
    resources = made[0]["resources"]
    return [configured if resources is None else resources, made[0]["nthreads"] or processors, len(made)]


if __name__ == "__main__":
    sys.stdout.write(json.dumps([_offer(*case) for case in json.loads(sys.stdin.read())]))
