"""The last step of a request, beneath the surface of aiohttp and asyncio.

Four things have to be changed there, and nowhere else in the controller:

- *A write must not leave after its permission has ended.* A request may wait long for a free connection, so a check
  before it is made proves nothing. aiohttp's only hook between obtaining a connection and writing the body is
  `ClientRequest.write_bytes`: the signals of `TraceConfig` come earlier, and an exception in one loses the connection.
  Requests without a body do not pass here; every write to the API server has one.
- *A write must not go on after it was cancelled.* The shutdown of a TLS connection writes its buffers first, for up to
  half a minute after aiohttp has let go of it. So all connections of writes are aborted at the end.
- *A write must not arrive after its connection was closed.* If the network is down the kernel keeps the data and sends
  it for minutes. With SO_LINGER on and zero seconds it discards them instead.
- *A connection must take little memory.* asyncio gives each TLS connection a buffer of 256 KiB, most of the memory that
  it takes. No parameter changes that, so the class attribute is set, for the whole process.

Without any of these a test in `test_transport` fails.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import weakref
from asyncio.sslproto import SSLProtocol
from collections.abc import Callable
from typing import Any

import aiohttp

TLS_BUFFER = 32 * 1024
"""Bytes per connection: two TLS records."""
SSLProtocol.max_size = TLS_BUFFER


class Fence:
    """A fence for writes, which stops those that are not permitted when they would leave, and all once it is closed."""

    def __init__(self, permitted: Callable[[], bool]) -> None:
        self._permitted = permitted
        self._used: weakref.WeakSet[asyncio.Transport] = weakref.WeakSet()

    def request_class(self) -> type[aiohttp.ClientRequest]:
        """Return the class of requests for sessions whose writes it should stop."""
        fence = self

        class Request(aiohttp.ClientRequest):
            # The other parameters differ between versions of aiohttp.
            async def write_bytes(self, writer: Any, conn: Any, *others: Any) -> None:
                if fence.admits(conn.transport):
                    await super().write_bytes(writer, conn, *others)

        return Request

    def admits(self, transport: asyncio.Transport | None) -> bool:
        """Return whether a write may leave now; break its connection if it may not."""
        if not transport or transport.is_closing():
            return False  # aiohttp notices by itself.
        if not self._permitted():
            transport.abort()
            return False
        _discard_on_close(transport)
        self._used.add(transport)
        return True

    def close(self) -> None:
        """Cancel the writes under way, by aborting all connections that writes have used."""
        for transport in list(self._used):
            transport.abort()


def _discard_on_close(transport: asyncio.Transport) -> None:
    """Let the kernel discard data that has not been delivered when the connection is closed."""
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
