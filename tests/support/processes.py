"""Dask in processes of this machine, on loopback, with the agent of the controller's clusters.

Each is a fork of a process that has already imported Dask, and runs the same as `python -m dask`: importing takes
longer than all that most tests do.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

import dask
from distributed import Client
from tests.support.forked import ForkedProcess, become

from dask_operator import agent, names

ROOT = Path(__file__).parents[2]
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["__main__", "distributed.cli.dask_scheduler", "distributed.cli.dask_worker", __name__])
AGENT = {names.AGENT_ENV: agent.TEXT, names.PRELOAD_ENV: repr([agent.PRELOAD])}


class Dask:
    """A scheduler, and the workers that a test adds. `http`: the host and port of its HTTP routes."""

    def __init__(self, stack: ExitStack, folder: Path, env: Mapping[str, str], arguments: Sequence[str]) -> None:
        self._stack, self.folder, self._file = stack, folder, folder / "scheduler.json"
        # They import the functions of the tests.
        self._env = {**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}", **env}
        ports = ("--dashboard-address", "127.0.0.1:0", "--port", "0")
        self._scheduler = self._process("scheduler", *ports, *arguments)
        self.client = stack.enter_context(Client(scheduler_file=str(self._file), set_as_default=False, timeout=60))
        self.http = f"127.0.0.1:{json.loads(self._file.read_text())['services']['dashboard']}"

    def end(self) -> None:
        """End the scheduler first: workers with results would wait for another worker to take them."""
        self.client.close()
        self._scheduler.terminate()
        self._scheduler.wait(30)

    @property
    def log(self) -> str:
        """The scheduler's log."""
        return (self.folder / "scheduler.log").read_text()

    def worker(
        self, name: str, *arguments: str, processes: int = 1, env: Mapping[str, str] = MappingProxyType({})
    ) -> ForkedProcess:
        """Start a worker and wait until it has registered."""
        count = len(self.addresses()) + processes
        worker = self.coming_worker(name, *arguments, processes=processes, env=env)
        self.client.wait_for_workers(count, timeout=60)
        return worker

    def coming_worker(
        self, name: str, *arguments: str, processes: int = 1, env: Mapping[str, str] = MappingProxyType({})
    ) -> ForkedProcess:
        # A worker without a nanny is one process fewer. Several of one command have nannies.
        kind = ("--nworkers", str(processes)) if processes > 1 else ("--no-nanny",)
        return self._process("worker", "--name", name, "--nthreads", "1", *kind, *arguments, env=env)

    def addresses(self, *prefixes: str) -> list[str]:
        # Not Client.scheduler_info: its value may be replaced by one without workers before it is read.
        workers = self.client.sync(self.client.scheduler.identity, n_workers=-1)["workers"]
        return [address for address, worker in workers.items() if worker["name"].startswith(prefixes or "")]

    def _process(self, role: str, *arguments: str, env: Mapping[str, str] = MappingProxyType({})) -> ForkedProcess:
        # Importing the pages of a dashboard takes a second of CPU.
        command = ["--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(self._file), *arguments]
        process = ForkedProcess(target=_run, args=(role, command, {**self._env, **env}, self.folder))
        process.start()
        self._stack.callback(_end, process)
        return process


def _run(role: str, arguments: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
    from distributed.cli import dask_scheduler, dask_worker  # noqa: PLC0415 - in the forked process

    become(environment, folder / f"{role}.log")
    os.chdir(folder)
    sys.path[:0] = environment["PYTHONPATH"].split(":")
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    dask.config.paths[:] = [environment["DASK_CONFIG"]]
    dask.config.refresh()
    command = {"scheduler": dask_scheduler, "worker": dask_worker}[role]
    command.main(list(arguments), prog_name=f"dask {role}")


def _end(process: ForkedProcess) -> None:
    """End a process, also one whose task goes on for long."""
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def a_dask(env: Mapping[str, str] = AGENT, arguments: Sequence[str] = ()) -> Iterator[Dask]:
    """Run a scheduler with these environment variables and arguments."""
    with TemporaryDirectory() as folder, ExitStack() as stack:
        made = Dask(stack, Path(folder), env, arguments)
        try:
            yield made
        finally:
            made.end()
