"""Pod ports as forwarded by the API server: a websocket whose messages begin with a channel's number."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Coroutine
from typing import Any

from aiohttp import WSMsgType, web

_DATA, _ERRORS = b"\0", b"\1"


async def joined(request: web.Request, port: int, local_port: int | None) -> web.WebSocketResponse:
    """Connect a websocket to a port of this machine. With None nobody listens in the Pod."""
    websocket = web.WebSocketResponse()
    await websocket.prepare(request)
    for channel in (_DATA, _ERRORS):
        await websocket.send_bytes(channel + struct.pack("<H", port))
    if local_port is None:
        await websocket.send_bytes(_ERRORS + f"error forwarding port {port} to pod: connection refused".encode())
    else:
        reader, writer = await asyncio.open_connection("127.0.0.1", local_port)
        try:
            await _first_of(_from_pod(reader, websocket), _to_pod(websocket, writer))
        finally:
            writer.close()
    await websocket.close()
    return websocket


async def _first_of(*directions: Coroutine[Any, Any, None]) -> None:
    tasks = [asyncio.ensure_future(direction) for direction in directions]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _from_pod(reader: asyncio.StreamReader, websocket: web.WebSocketResponse) -> None:
    while data := await reader.read(1 << 16):
        await websocket.send_bytes(_DATA + data)


async def _to_pod(websocket: web.WebSocketResponse, writer: asyncio.StreamWriter) -> None:
    async for message in websocket:
        if message.type == WSMsgType.BINARY:
            assert message.data[:1] == _DATA
            writer.write(message.data[1:])
            await writer.drain()
