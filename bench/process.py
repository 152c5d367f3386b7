"""Operators as processes of this machine, and what the kernel says that they take."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.figures import INCUMBENT, OURS
from tests.support.wait import until

PATIENCE = 60.0
_ENDING = 10.0


@dataclass(frozen=True)
class Process:
    """`log`: the file it writes to."""

    pid: int
    log: Path

    def cpu(self) -> float:
        """Seconds of user and system time so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """Resident MiB."""
        return int(re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())[0]) / 1024


@dataclass(frozen=True)
class Program:
    """How an operator is started, as its image does it, and what it logs once it watches."""

    command: tuple[str, ...]
    ready: str
    environment: Mapping[str, str] = field(default_factory=dict)


def program(who: str, python: str) -> Program:
    """`python`: of the environment that has the operator."""
    if who == INCUMBENT:
        kopf = str(Path(python).with_name("kopf"))
        module = "dask_kubernetes.operator.controller"
        return Program((kopf, "run", "--module", module, "--verbose", "--all-namespaces"), "Starting the watch-stream")
    assert who == OURS, who
    return Program((python, "-m", "dask_operator", "--all-namespaces"), "synced")


def sampled(samples: Path) -> Program:
    """Ours, which is looked at while it works, and writes to a file at its end where it was."""
    command = (sys.executable, "-m", "bench.sampled", str(samples), "--all-namespaces")
    return Program(command, "synced", {"PYTHONPATH": os.getcwd()})


@asynccontextmanager
async def running(operator: Program, kubeconfig: Path, log: Path, within: Sequence[str] = ()) -> AsyncIterator[Process]:
    """Until the end of the block, from when it watches. `within`: a command that gives it another network."""
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig), **operator.environment}
    with started([*within, *operator.command], environment, log) as process:

        def watches() -> bool:
            if process.poll() is not None:
                raise RuntimeError(f"the operator ended: see {log}")
            return operator.ready in log.read_text()

        await until(watches, f"an operator that watches (log: {log})", PATIENCE, longest_step=0.02)
        yield Process(process.pid, log)


@contextmanager
def started(command: Sequence[str], environment: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program until the end of the block, which it may take its time to end for."""
    with log.open("w") as output:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_ENDING)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def kubeconfig_without_tls(server: str, file: Path) -> Path:
    parts = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "proxy",
        "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
        "clusters": [{"name": "proxy", "cluster": {"server": server}}],
        "users": [{"name": "proxy", "user": {}}],
    }
    file.write_text(json.dumps(parts))
    return file
