"""A relay in front of a server on loopback that holds back what the server says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Relay:
    """`delay`: the seconds by which each piece of an answer comes late, those of a TLS handshake included."""

    port: int = 0
    delay: float = 0.0
    ends: set[asyncio.StreamWriter] = field(default_factory=set)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def cut(self) -> None:
        """Cut all connections, so that others have to be made."""
        for end in self.ends:
            end.transport.abort()


@asynccontextmanager
async def relayed(port: int) -> AsyncIterator[Relay]:
    """Yield a relay to a port on loopback."""
    relay = Relay()

    def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(_relay(relay, port, reader, writer))
        relay.tasks.add(task)
        task.add_done_callback(relay.tasks.discard)

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        relay.port = server.sockets[0].getsockname()[1]
        try:
            yield relay
        finally:
            relay.cut()
            relay.delay = 0.0
            for task in list(relay.tasks):
                task.cancel()
            await asyncio.gather(*relay.tasks, return_exceptions=True)


async def _relay(relay: Relay, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    answers, asks = await asyncio.open_connection("127.0.0.1", port)
    ends = {writer, asks}
    relay.ends |= ends
    try:
        async with asyncio.TaskGroup() as pipes:
            pipes.create_task(_pipe(reader, asks, lambda: 0.0))
            pipes.create_task(_pipe(answers, writer, lambda: relay.delay))
    finally:
        relay.ends -= ends
        for end in ends:
            end.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: Callable[[], float]) -> None:
    """Write what is read, each piece `delay()` seconds later and in order."""
    loop = asyncio.get_running_loop()
    pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def write() -> None:
        while True:
            due, data = await pieces.get()
            await asyncio.sleep(max(due - loop.time(), 0.0))
            if not data:
                break
            writer.write(data)
        writer.close()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(write())
        data = b" "
        while data:
            try:
                data = await reader.read(65536)
            except OSError:
                data = b""
            pieces.put_nowait((loop.time() + delay(), data))
