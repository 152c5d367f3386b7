"""Questions to schedulers by Dask's own protocol. `rpc`, which speaks it, is imported with the first of them.

It imports `distributed`, which takes as much memory as a thousand workers and half a second of computing.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from dask_operator.scheduler.failures import CONNECT_TIMEOUT

_SPOKEN = ("tcp", "tls")


async def ask(address: str, operation: str, arguments: Mapping[str, Any], largest: int, timeout: float) -> bytes:
    """Return the answer of the scheduler at a Dask address, as it was sent. Raises OSError or ImportError."""
    if (scheme := urlsplit(address).scheme) not in _SPOKEN:
        raise OSError(f"the operator asks schedulers that speak {scheme} over HTTP alone")
    await _require_listener(address)
    rpc = await asyncio.to_thread(importlib.import_module, "dask_operator.scheduler.rpc")
    answer: bytes = await rpc.call(address, operation, timeout, largest, **arguments)
    return answer


async def _require_listener(address: str) -> None:
    """Raise OSError if nobody listens at an address, which takes no import to find out."""
    parts = urlsplit(address)
    if not parts.hostname:  # It would mean this machine.
        raise OSError("its Pod has no address yet")
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            _, writer = await asyncio.open_connection(parts.hostname, parts.port)
    except TimeoutError as error:
        raise OSError(f"no connection within {CONNECT_TIMEOUT:.0f} s") from error
    writer.close()
    await writer.wait_closed()
