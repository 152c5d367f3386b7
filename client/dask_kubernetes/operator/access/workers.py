"""A live view of the workers known to a scheduler."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Protocol

from distributed.comm.core import Comm, connect
from distributed.core import rpc
from distributed.objects import SchedulerInfo

from dask_kubernetes.operator.access.backoff import doubling

logger = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0
_POLL_INTERVAL = 5.0


class Listener(Protocol):
    """A Dask cluster object whose `scheduler_info` is kept up to date."""

    scheduler_info: Any

    def _update_worker_status(self, op: str, msg: Any) -> None: ...


class WorkerFeed:
    """A subscription to a scheduler's workers that keeps a listener's `scheduler_info` up to date.

    It reconnects after failures. It refers to the listener weakly, and ends when the listener is garbage collected.
    """

    def __init__(self, listener: Listener, address: str, connection_args: Mapping[str, Any]) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = weakref.ref(listener, self._listener_collected)
        self._address = address
        self._connection_args = connection_args
        self._task: asyncio.Task[None] | None = None

    async def start(self, timeout: float) -> None:
        """Subscribe, and return once the listener knows the workers. Raises OSError after `timeout` seconds."""
        comm = await self._subscribe(timeout)
        self._task = asyncio.ensure_future(self._listen(comm))

    async def stop(self) -> None:
        self._cancel()
        if self._task:
            await asyncio.wait([self._task])

    def _listener_collected(self, _: object) -> None:
        with suppress(RuntimeError):  # the loop is closed, and with it the task
            self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        if self._task:
            self._task.cancel()

    async def _subscribe(self, timeout: float | None = None) -> Comm:
        comm: Comm = await connect(self._address, timeout=timeout, **self._connection_args)
        comm.name = "Cluster worker status"
        try:
            await comm.write({"op": "subscribe_worker_status"})
            info = SchedulerInfo(await comm.read())
        except BaseException:
            comm.abort()
            raise
        if (listener := self._listener()) is not None:
            listener.scheduler_info = info
        return comm

    async def _listen(self, comm: Comm) -> None:
        async with asyncio.TaskGroup() as both:
            both.create_task(self._follow(comm))
            both.create_task(self._poll())

    async def _follow(self, comm: Comm) -> None:
        while self._listener() is not None:
            try:
                await self._read(comm)
            finally:
                comm.abort()
            pauses = doubling(_FIRST_PAUSE, _LONGEST_PAUSE)
            while comm.closed() and self._listener() is not None:
                await asyncio.sleep(next(pauses))
                with suppress(OSError):
                    comm = await self._subscribe()

    async def _read(self, comm: Comm) -> None:
        """Apply messages to the listener until the connection breaks, or the listener is gone."""
        while True:
            try:
                messages = await comm.read()
            except OSError:
                return
            listener = self._listener()
            if listener is None:
                return
            for op, message in messages:
                with suppress(KeyError):  # the worker has left already
                    listener._update_worker_status(op, message)
            del listener

    async def _poll(self) -> None:
        """Poll the workers as well, as a scheduler notifies only the latest of its subscribers."""
        async with rpc(self._address, connection_args=self._connection_args) as scheduler:
            while True:
                await asyncio.sleep(_POLL_INTERVAL)
                with suppress(OSError):
                    await self._correct(scheduler)

    async def _correct(self, scheduler: Any) -> None:
        addresses = await scheduler.ncores()
        listener = self._listener()
        if listener is not None and set(listener.scheduler_info["workers"]) != set(addresses):
            listener.scheduler_info = SchedulerInfo(await scheduler.identity())
