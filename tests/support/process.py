"""Programs as processes of this machine, and the kernel's figures about them."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Protocol, Self

from tests.support.wait import until

_PATIENCE = 240.0  # seconds until it is at work, many times the need of a quiet machine


class Running(Protocol):
    """The methods used of a running process."""

    @property
    def pid(self) -> int | None: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float) -> int: ...
    def send_signal(self, sig: int, /) -> None: ...


class Process:
    """A program that a test can start, signal and end any number of times.

    `environment`: all of its variables; `ready`: text in its `log` once it is at work.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path, ready: str) -> None:
        self.command = command
        self.environment = environment
        self.log = log
        self._ready = ready
        self._running: Running | None = None

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(self, *_: object) -> None:
        """End it, with some time for that."""
        try:
            self._end(signal.SIGTERM)
        except subprocess.TimeoutExpired:
            self.kill()

    def begin(self) -> None:
        """Start it, and return at once."""
        with self.log.open("w") as log:
            self._running = subprocess.Popen(
                self.command, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def start(self) -> None:
        """Start it, and return once it is at work."""
        self.begin()
        asyncio.run(self._until_ready())

    @contextmanager
    def started(self) -> Iterator[Self]:
        """Start it, and kill it at the end of the block."""
        try:
            self.start()
            yield self
        finally:
            self.kill()

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[Self]:
        """Run it until the end of the block, which begins when it is at work."""
        with self:
            await self._until_ready()
            yield self

    @property
    def pid(self) -> int:
        """Its process id; 0 if it has ended."""
        return (self._running.pid or 0) if self._running and self._running.poll() is None else 0

    def send(self, which: signal.Signals) -> None:
        """Send it a signal without waiting for the effect."""
        assert self._running
        self._running.send_signal(which)

    def kill(self) -> None:
        """Kill it at once, as the kernel does if memory is short."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Tell it to end. Return its exit code."""
        return self._end(signal.SIGTERM)

    def wait(self, seconds: float = 30.0) -> int:
        """Wait until it has ended by itself. Return its exit code."""
        assert self._running
        return self._running.wait(seconds)

    def cpu(self) -> float:
        """Return its seconds of user and system time so far."""
        fields = self._file("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """Return its resident memory in MiB."""
        return self._status("VmRSS")

    def peak_memory(self) -> float:
        """Return the peak of its resident memory in MiB."""
        return self._status("VmHWM")

    async def _until_ready(self) -> None:
        what = f"a program at work (log: {self.log})"
        await until(self._is_ready, what, _PATIENCE, longest_step=0.02)

    def _is_ready(self) -> bool:
        if not self.pid:
            raise RuntimeError(f"the program has ended: see {self.log}")
        return self._ready in self.log.read_text()

    def _status(self, name: str) -> float:
        return int(re.findall(rf"{name}:\s+(\d+) kB", self._file("status"))[0]) / 1024

    def _file(self, name: str) -> str:
        assert self._running
        return Path(f"/proc/{self._running.pid}/{name}").read_text()

    def _end(self, how: signal.Signals, seconds: float = 60.0) -> int:
        if self._running is None:
            return 0
        self._running.send_signal(how)
        code = self._running.wait(seconds)
        self._running = None
        return code
