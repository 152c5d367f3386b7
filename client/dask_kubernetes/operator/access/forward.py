"""A local port that is forwarded to the scheduler through the Kubernetes API server."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from httpx_ws import AsyncWebSocketSession, WebSocketDisconnect

from dask_kubernetes.exceptions import DaskKubernetesError, SchedulerUnreachableError, ValidationError
from dask_kubernetes.operator.access.kubernetes import POD, Kubernetes

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
_HOST_WITHOUT_IPV4 = "::1"
_CHUNK = 1 << 18
_DATA, _ERRORS = 0, 1


class Forward:
    """A local port that is forwarded to `port`, a number or a name, of whichever running Pod has these labels.

    Every connection is forwarded separately. When it breaks, only that connection ends, and the next one goes to the
    Pod that runs then: so the local port outlives replaced schedulers, restarts of the API server, network outages and
    expired credentials.
    """

    def __init__(self, kubernetes: Kubernetes, namespace: str, labels: dict[str, str], port: int | str) -> None:
        self._kubernetes = kubernetes
        self._namespace = namespace
        self._labels = labels
        self._port = port
        self._server: asyncio.Server | None = None
        self.host = HOST
        self._connections: set[asyncio.Task[Any]] = set()
        self._target: tuple[str, int] | None = None
        self.failure: DaskKubernetesError | None = None
        """The error of the last connection that failed."""

    async def start(self, local_port: int = 0) -> int:
        """Listen at `local_port`, or at any free port if 0, and return the port. Raises ValidationError if in use."""
        try:
            self._server = await self._listen(local_port)
        except OSError as error:
            message = (
                f"port {local_port} of this machine cannot be used ({os.strerror(error.errno or 0)}): choose another "
                "scheduler_forward_port, or omit it"
            )
            raise ValidationError(message) from error
        self.host, port = self._server.sockets[0].getsockname()[:2]
        return int(port)

    async def close(self) -> None:
        if self._server:
            self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _listen(self, port: int) -> asyncio.Server:
        try:
            return await asyncio.start_server(self._accept, HOST, port)
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                raise
            with suppress(OSError):
                return await asyncio.start_server(self._accept, _HOST_WITHOUT_IPV4, port)
            raise

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
            # The local peer sees its connection end, and reports that or tries again.
            self.failure = error if isinstance(error, DaskKubernetesError) else self.failure
            logger.debug("a connection to port %s of the scheduler ended: %s", self._port, error)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        known = self._target is not None
        try:
            await self._join_pod(*await self._running_pod(), reader, writer)
        except _NotOpenedError as error:
            self._target = None
            if not known:
                raise error.why from error
            await self._join_pod(*await self._running_pod(), reader, writer)

    async def _join_pod(self, pod: str, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
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
        """Return the Pod's name and the number of its port."""
        if self._target is None:
            pods = await self._kubernetes.list(POD, self._namespace, self._labels)
            running = [pod for pod in pods if pod.get("status", {}).get("phase") == "Running"]
            staying = [pod for pod in running if not pod["metadata"].get("deletionTimestamp")]
            if not staying:
                raise SchedulerUnreachableError("the scheduler has no running Pod")
            self._target = staying[0]["metadata"]["name"], _number(staying[0], self._port)
        return self._target


class _NotOpenedError(DaskKubernetesError):
    """A connection that failed before any data was sent, so that another Pod can be tried. `why` is its cause."""

    def __init__(self, why: DaskKubernetesError) -> None:
        super().__init__(str(why))
        self.why = why


async def _first_of(*directions: Any) -> None:
    """Run coroutines until the first ends, cancel the others, and raise the error of the first, if any."""
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
    """Copy data from the Pod to the local peer. The first message on each channel only repeats the port."""
    begun: set[int] = set()
    while True:
        try:
            message = await websocket.receive_bytes()
        except WebSocketDisconnect:  # the scheduler has closed the connection
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
