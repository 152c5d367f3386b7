"""Controllers that start in a tenth of a second, so that tests can start and kill hundreds.

Each is a fork of a process that has already imported the controller, and runs the same as `python -m dask_operator`.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from tests.support.controller import Controller
from tests.support.loopback_schedulers import schedulers_are_here

_PR_SET_PDEATHSIG = 1
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["__main__", "dask_operator.process.shell", "tests.support.forked"])


class Forked(Controller):
    """A controller that finds schedulers on this machine. A restart appends to the log."""

    def begin(self) -> None:
        self._running = ForkedProcess(target=_run, args=(self.arguments, self.environment, self.log), daemon=True)
        self._running.start()


class ForkedProcess(ForkServerProcess):
    """A process of multiprocessing with the interface of `subprocess`."""

    def poll(self) -> int | None:
        return self.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self.join(timeout)
        if self.exitcode is None:
            raise subprocess.TimeoutExpired("a forked process", timeout or 0.0)
        return self.exitcode

    def send_signal(self, sig: int, /) -> None:
        # The fork server may know the end of a process before this one does.
        with suppress(ProcessLookupError):
            if self.exitcode is None and self.pid:
                os.kill(self.pid, sig)


def become(environment: Mapping[str, str], log: Path) -> None:
    """Give a forked process its variables and its log. It ends with the tests, also if these are killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    with log.open("ab", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ.clear()
    os.environ.update(environment)


def _run(arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
    from dask_operator.process import settings, shell  # noqa: PLC0415 - in the forked process

    become(environment, log)
    schedulers_are_here()
    shell.start(list(arguments), settings.from_environment(os.environ))
