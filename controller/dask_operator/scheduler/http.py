"""Questions to schedulers over HTTP, by the routes of `distributed.http.scheduler.json` and `.api`.

A question that only reads is asked again for a while until the scheduler answers; any other is asked once.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

import aiohttp

from dask_operator.scheduler.failures import CONNECT_TIMEOUT, Failure, Kind, refused, too_long, unreached

LARGEST_ANSWER = 16 * 2**20
"""Bytes: ten thousand workers' answer. Schedulers that have more to say are asked for names and addresses only."""
_PAUSES = (0.2, 0.8)
"""Seconds between attempts."""


class Http:
    """HTTP connections to all schedulers, each for one question."""

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=0, force_close=True, socket_factory=_watched_socket)
        # A small compressed answer could fill the memory.
        self._session = aiohttp.ClientSession(
            connector=connector, auto_decompress=False, headers={"Accept-Encoding": "identity"}
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def get(self, url: str, largest: int, timeout: float) -> bytes | Failure:
        """Return the answer to a question that only reads. `timeout` is for all attempts together."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout
        for pause in _PAUSES:
            answer = await self._once("GET", url, largest, deadline - clock())
            heard = not isinstance(answer, Failure) or answer.kind is not Kind.UNREACHED
            if heard or clock() + pause >= deadline:
                return answer
            await asyncio.sleep(pause)
        return await self._once("GET", url, largest, deadline - clock())

    async def post(self, url: str, body: Mapping[str, Any], largest: int, timeout: float) -> bytes | Failure:
        """Return the answer to a question that makes the scheduler act."""
        return await self._once("POST", url, largest, timeout, body)

    async def _once(
        self, method: str, url: str, largest: int, timeout: float, body: Mapping[str, Any] | None = None
    ) -> bytes | Failure:
        patience = aiohttp.ClientTimeout(total=timeout, sock_connect=CONNECT_TIMEOUT)
        try:
            async with self._session.request(
                method, url, json=body, timeout=patience, allow_redirects=False
            ) as response:
                if response.status != HTTPStatus.OK:
                    return refused(response.status, url)
                return await _bounded(response, url, min(largest, LARGEST_ANSWER))
        except (aiohttp.ClientError, OSError) as error:
            return unreached(f"{url}: {str(error) or type(error).__name__}")


async def _bounded(response: aiohttp.ClientResponse, url: str, largest: int) -> bytes | Failure:
    parts, size = [], 0
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > largest:
            return too_long(url, largest)
    return b"".join(parts)


def _watched_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """Return a socket that notices within a minute that its peer has vanished, as with a node that lost power."""
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return made
