"""Controllers that start in a tenth of a second, so that hundreds can be started and killed.

Each is forked from a process that has imported the controller already, and runs what `python -m dask_operator` does.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from tests.support.loopback_schedulers import schedulers_are_here

_PR_SET_PDEATHSIG = 1
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["__main__", "dask_operator.shell", "tests.support.forked"])


@dataclass(frozen=True)
class Forked:
    """A controller of one namespace that runs, until `kill`."""

    process: ForkServerProcess
    log: Path

    def memory(self) -> float:
        """Resident MiB."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE") / 2**20

    def kill(self) -> None:
        """At once, as the kernel does where memory is short."""
        self.process.kill()

    def gone(self) -> None:
        """Returns when it is gone, which it must be by now or soon."""
        self.process.join(timeout=30)
        assert self.process.exitcode is not None, "the process does not end"
        self.process.close()


def controller(kubeconfig: Path, namespace: str, log: Path, *arguments: str) -> Forked:
    """`arguments`: more of those of `kopf run`."""
    variables = {"KUBECONFIG": str(kubeconfig), "PATH": os.environ["PATH"]}
    process = _CONTEXT.Process(target=_run, args=(["--namespace", namespace, *arguments], variables, log), daemon=True)
    process.start()
    return Forked(process, log)


def _run(arguments: list[str], environment: Mapping[str, str], log: Path) -> None:
    from dask_operator import settings, shell  # noqa: PLC0415 - in the process that runs it

    # It ends with the tests, also where these are killed.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    with log.open("ab", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ.clear()
    os.environ.update(environment)
    schedulers_are_here()
    shell.start(arguments, settings.from_environment(os.environ))
