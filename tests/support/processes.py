"""Dask in processes of this machine, on loopback, with the agent of the controller's clusters."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

from distributed import Client

from dask_operator import agent, names

ROOT = Path(__file__).parents[2]
AGENT = {names.AGENT_ENV: agent.TEXT, names.PRELOAD_ENV: repr([agent.PRELOAD])}


class Dask:
    """A scheduler, and the workers that a test adds. `http`: the host and port of its HTTP routes."""

    def __init__(self, stack: ExitStack, folder: Path, env: Mapping[str, str], arguments: Sequence[str]) -> None:
        self._stack, self.folder, self._file = stack, folder, folder / "scheduler.json"
        # They import the functions of the tests.
        self._env = {**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}", **env}
        self._scheduler = self._process("scheduler", "--dashboard-address", "127.0.0.1:0", "--port", "0", *arguments)
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
    ) -> subprocess.Popen[bytes]:
        """Start a worker and wait until it has registered."""
        count = len(self.addresses()) + processes
        worker = self.coming_worker(name, *arguments, processes=processes, env=env)
        self.client.wait_for_workers(count, timeout=60)
        return worker

    def coming_worker(
        self, name: str, *arguments: str, processes: int = 1, env: Mapping[str, str] = MappingProxyType({})
    ) -> subprocess.Popen[bytes]:
        # A worker without a nanny is one process fewer. Several of one command have nannies.
        kind = ("--nworkers", str(processes)) if processes > 1 else ("--no-nanny",)
        return self._process("worker", "--name", name, "--nthreads", "1", *kind, *arguments, env=env)

    def addresses(self, *prefixes: str) -> list[str]:
        # Not Client.scheduler_info: its value may be replaced by one without workers before it is read.
        workers = self.client.sync(self.client.scheduler.identity, n_workers=-1)["workers"]
        return [address for address, worker in workers.items() if worker["name"].startswith(prefixes or "")]

    def _process(
        self, role: str, *arguments: str, env: Mapping[str, str] = MappingProxyType({})
    ) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "dask", role, "--host", "127.0.0.1", "--scheduler-file", str(self._file)]
        log = self._stack.enter_context((self.folder / f"{role}.log").open("ab"))
        process = subprocess.Popen(
            [*command, *arguments], cwd=self.folder, env={**self._env, **env}, stdout=log, stderr=log
        )
        self._stack.callback(_end, process)
        return process


def _end(process: subprocess.Popen[bytes]) -> None:
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
