"""The incumbent's function that retires workers, with its own Python: a line with a number in, one with names out.

    python incumbent.py SCHEDULER_ADDRESS DASHBOARD_URL

It asks Kubernetes for the addresses of the scheduler. Here there is none, so it gets them from the command line.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from typing import Any

from dask_kubernetes.operator.controller import controller  # type: ignore[import-not-found]

_, ADDRESS, DASHBOARD = sys.argv


async def _address(*_: Any, port_name: str = "tcp-comm", **__: Any) -> str:
    return DASHBOARD if port_name == "http-dashboard" else ADDRESS


async def _retired(number: int) -> list[str]:
    names: list[str] = await controller.retire_workers(number, "scheduler", "all", "default", logging.getLogger())
    return names


controller.get_scheduler_address = _address
for line in sys.stdin:
    print(json.dumps(asyncio.run(_retired(int(line)))), flush=True)
