"""A program that writes at which address `dask scheduler` would listen, for each pair of arguments and variables."""

from __future__ import annotations

import gc
import json
import sys
from typing import Any

import dask
from distributed import Scheduler
from distributed.cli.dask_scheduler import main
from distributed.config import deprecations


class _Decided(BaseException):
    pass


def _decide(self: Any, *_: object, **__: object) -> None:
    raise _Decided(self._start_address[0])


def decided(args: list[str], variables: dict[str, str]) -> str:
    """Return the first address."""
    dask.config.refresh(paths=[], env=variables)
    dask.config.rename(deprecations)
    gc.set_threshold(700, 10, 10)  # each start multiplies it
    try:
        main(args, standalone_mode=False)
    except _Decided as address:
        return str(address)
    raise AssertionError(f"{args} start no scheduler")


if __name__ == "__main__":
    scheduler: Any = Scheduler
    scheduler.start_http_server = _decide
    json.dump([decided(args, variables) for args, variables in json.load(sys.stdin)], sys.stdout)
