"""A port of this machine that leads to the scheduler, through the Kubernetes API server."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from httpx_ws import AsyncWebSocketSession, WebSocketDisconnect

from dask_kubernetes.exceptions import DaskKubernetesError, SchedulerUnreachableError, ValidationError
from dask_kubernetes.operator.kubernetes import POD, Kubernetes

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
_CHUNK = 1 << 18
_DATA, _ERRORS = 0, 1


class Forward:
    """Leads to the Pod that has these labels and runs, whichever it is at the moment. `port`: its number there or name.

    Each connection to it is one with a Pod. When that breaks it ends, and whoever connects again is led to the Pod of
    then: so it outlives schedulers that are replaced, API servers that restart, networks that go away, and credentials.
    """

    def __init__(self, kubernetes: Kubernetes, namespace: str, labels: dict[str, str], port: int | str) -> None:
        self._kubernetes = kubernetes
        self._namespace = namespace
        self._labels = labels
        self._port = port
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[Any]] = set()
        self._target: tuple[str, int] | None = None
        self.failure: DaskKubernetesError | None = None
        """Why the last connection that has failed did."""

    async def start(self, local_port: int = 0) -> int:
        """The port of this machine; with 0 one that is free. Raises ValidationError if it is not."""
        try:
            self._server = await asyncio.start_server(self._accept, HOST, local_port)
        except OSError as error:
            message = (
                f"port {local_port} of this machine cannot be used ({os.strerror(error.errno or 0)}): give another as "
                "scheduler_forward_port, or leave it out"
            )
            raise ValidationError(message) from error
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        if self._server:
            self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._connections.add(task)

        def ended(_: object) -> None:
            self._connections.discard(task)
            writer.close()

        task.add_done_callback(ended)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._join(reader, writer)
        except (DaskKubernetesError, OSError) as error:
            # Whoever has connected sees only his connection end, and says so or tries again.
            self.failure = error if isinstance(error, DaskKubernetesError) else self.failure
            logger.debug("a connection with port %s of the scheduler ended: %s", self._port, error)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        known = self._target is not None
        try:
            await self._through(*await self._running_pod(), reader, writer)
        except _NotOpenedError as error:
            self._target = None
            if not known:
                raise error.why from error
            await self._through(*await self._running_pod(), reader, writer)

    async def _through(self, pod: str, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened = False
        try:
            async with self._kubernetes.port(pod, port, self._namespace) as websocket:
                opened = True
                await _first_of(_send(reader, websocket), _receive(websocket, writer))
        except DaskKubernetesError as error:
            self._target = None
            if opened:
                raise
            raise _NotOpenedError(error) from error

    async def _running_pod(self) -> tuple[str, int]:
        """Its name, and the number of the port."""
        if self._target is None:
            pods = await self._kubernetes.list(POD, self._namespace, self._labels)
            running = [pod for pod in pods if pod.get("status", {}).get("phase") == "Running"]
            staying = [pod for pod in running if not pod["metadata"].get("deletionTimestamp")]
            if not staying:
                raise SchedulerUnreachableError("no Pod of the scheduler runs")
            self._target = staying[0]["metadata"]["name"], _number(staying[0], self._port)
        return self._target


class _NotOpenedError(DaskKubernetesError):
    """Nothing has been sent yet, so that another Pod can be tried. `why`: what it is to be for others."""

    def __init__(self, why: DaskKubernetesError) -> None:
        super().__init__(str(why))
        self.why = why


async def _first_of(*directions: Any) -> None:
    """Ends all when one has ended, and raises what it did."""
    tasks = [asyncio.ensure_future(direction) for direction in directions]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError, Exception):
                await task


async def _send(reader: asyncio.StreamReader, websocket: AsyncWebSocketSession) -> None:
    while data := await reader.read(_CHUNK):
        await websocket.send_bytes(bytes([_DATA]) + data)


async def _receive(websocket: AsyncWebSocketSession, writer: asyncio.StreamWriter) -> None:
    """The first message on each channel repeats the port."""
    begun: set[int] = set()
    while True:
        try:
            message = await websocket.receive_bytes()
        except WebSocketDisconnect:  # it is the scheduler that has closed the connection
            return
        channel = message[0]
        if channel not in begun:
            begun.add(channel)
        elif channel == _ERRORS:
            raise SchedulerUnreachableError(message[1:].decode(errors="replace"))
        else:
            writer.write(message[1:])
            await writer.drain()


def _number(pod: Mapping[str, Any], port: int | str) -> int:
    if isinstance(port, int):
        return port
    known = [each for container in pod["spec"]["containers"] for each in container.get("ports") or []]
    number = next((each["containerPort"] for each in known if each.get("name") == port), None)
    if number is None:
        raise SchedulerUnreachableError(f"the scheduler's Pod {pod['metadata']['name']} has no port named {port}")
    return int(number)
