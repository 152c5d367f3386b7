"""Controllers that start in a tenth of a second, so that hundreds can be started and killed.

Each is forked from a process that has imported the controller already, and runs what `python -m dask_operator` does.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from tests.support.controller import Controller
from tests.support.loopback_schedulers import schedulers_are_here

_PR_SET_PDEATHSIG = 1
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["__main__", "dask_operator.process.shell", "tests.support.forked"])


class Forked(Controller):
    """A controller that finds schedulers on this machine. One that is started again adds to the log."""

    def begin(self) -> None:
        self._running = _Process(target=_run, args=(self.arguments, self.environment, self.log), daemon=True)
        self._running.start()


class _Process(ForkServerProcess):
    """A process of multiprocessing that is spoken to as one of `subprocess`."""

    def poll(self) -> int | None:
        return self.exitcode

    def wait(self, timeout: float) -> int:
        self.join(timeout)
        assert self.exitcode is not None, "the process does not end"
        return self.exitcode

    def send_signal(self, sig: int, /) -> None:
        if self.exitcode is None and self.pid:
            os.kill(self.pid, sig)


def _run(arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
    from dask_operator.process import settings, shell  # noqa: PLC0415 - in the process that runs it

    # It ends with the tests, also where these are killed.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    with log.open("ab", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ.clear()
    os.environ.update(environment)
    schedulers_are_here()
    shell.start(list(arguments), settings.from_environment(os.environ))
