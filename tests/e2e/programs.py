"""Programs of users, run in a Pod and on this machine, which connects to the cluster only through its API server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

# The quickstart and more, in a namespace or the user's default one. Its last output is a report.
QUICKSTART = """
import json, sys, time
from dask.distributed import Client
from dask_kubernetes.operator import KubeCluster

def settled(*groups):
    # Workers that go hand over their results first, so there may be more for a while.
    wanted, deadline = [f"my-dask-cluster-{group}" for group in groups], time.monotonic() + 180
    while (there := sorted(name.rsplit("-worker-")[0] for name in cluster.observed)) != wanted:
        assert time.monotonic() < deadline, f"not {wanted} but {there}"
        time.sleep(0.1)

seen = {}
with KubeCluster(name="my-dask-cluster", namespace=sys.argv[1] or None, image=sys.argv[2], quiet=True) as cluster:
    client = Client(cluster)
    for n in (2, 10, 3):
        cluster.scale(n)
        settled(*["default"] * n)
        seen[f"sum with {n}"] = client.submit(sum, range(1000), pure=False).result(timeout=180)
    cluster.adapt(minimum=1, maximum=10)
    seen["adaptive"] = client.submit(sum, range(1001)).result(timeout=180)
    cluster.scale(1)
    cluster.add_worker_group(name="highmem", n_workers=1, resources={"requests": {"memory": "64Mi"}})
    settled("default", "highmem")
    cluster.scale(2, worker_group="highmem")
    cluster.wait_for_workers(3, timeout=180)
    settled("default", "highmem", "highmem")
    seen["logs"] = sorted(name.split("-worker-")[0] for name in cluster.get_logs())
    cluster.delete_worker_group(name="highmem")
    settled("default")
    seen["scheduler"] = cluster.scheduler_address.rsplit(":", 1)[0]
    seen["dashboard"] = cluster.dashboard_link.rsplit(":", 1)[0]
    client.close()
print(json.dumps(seen))
"""

ASYNCHRONOUS = """
import asyncio, json, sys
from dask.distributed import Client
from dask_kubernetes.operator import KubeCluster

async def main():
    options = {"namespace": sys.argv[1], "image": sys.argv[2], "quiet": True, "asynchronous": True}
    async with KubeCluster(name="waited-for", **options) as cluster:
        async with Client(cluster, asynchronous=True) as client:
            await cluster.scale(2)
            await cluster.wait_for_workers(2, timeout=180)
            total = await client.submit(sum, range(1000))
            await cluster.adapt(minimum=1, maximum=3)
            await cluster.add_worker_group("more", n_workers=1)
            logs = await cluster.get_logs()
            await cluster.delete_worker_group("more")
        same = await KubeCluster.from_name("waited-for", **options)
        await same.close()
        return total, len(logs) > 2

print(json.dumps(asyncio.run(main())))
"""


# A busy machine takes longer to start a scheduler than the default timeout.
PATIENT = {"DASK_KUBERNETES__RESOURCE_TIMEOUT": "240"}


class Place(Protocol):
    """A place for running programs."""

    def python(self, program: str, *arguments: str, seconds: float = 600.0) -> str: ...


@dataclass(frozen=True)
class Machine:
    """The local machine, outside Kubernetes. `variables`: added to the environment."""

    folder: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    def python(self, program: str, *arguments: str, seconds: float = 600.0) -> str:
        """Return a program's output. Fails on an error or any other output."""
        process = self.start(program, *arguments)
        try:
            printed, said = process.communicate(timeout=seconds)
        finally:
            process.kill()
        assert (process.returncode, said) == (0, ""), f"exit code {process.returncode}: {printed}{said}"
        return printed

    def start(self, program: str, *arguments: str) -> subprocess.Popen[str]:
        """Start a program that keeps running."""
        warnings = ("-W", "error::ResourceWarning", "-W", "ignore:Mismatched versions")
        command = [sys.executable, "-u", *warnings, "-c", program, *arguments]
        # Outside the repository, so that Python imports the installed package.
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env={**os.environ, **PATIENT, **self.variables},
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )


def last_line(printed: str) -> Any:
    return json.loads(printed.splitlines()[-1])


@contextmanager
def ended(program: subprocess.Popen[str]) -> Iterator[None]:
    with program:
        try:
            yield
        finally:
            program.kill()


def say(program: subprocess.Popen[str]) -> None:
    assert program.stdin
    program.stdin.write("\n")
    program.stdin.flush()


def line_of(program: subprocess.Popen[str], seconds: float) -> str:
    """Return the next line of a program's output. Fails with its error output if none comes in time."""
    assert program.stdout
    assert program.stderr
    lines: list[str] = []
    reading = threading.Thread(target=lambda: lines.append(program.stdout.readline()))  # type: ignore[union-attr]
    reading.start()
    reading.join(seconds)
    if reading.is_alive() or lines == [""]:
        program.kill()
        reading.join()
        raise AssertionError(f"nothing was printed within {seconds:.0f} s: {program.stderr.read()}")
    return lines[0].rstrip()
