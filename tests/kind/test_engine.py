"""The engine of `ci/docker`, killed at any moment, leaves nothing after `down`, and starts again."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from docs.included import ROOT
from tests.support.kube import eventually

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dask-kubernetes"
ELSEWHERE = {key: value for key, value in os.environ.items() if key != "DOCKER_HOST"}
NAME = "test-kind-killed"


def run(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, env=ELSEWHERE, check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


class Begun:
    """A running command of `ci/` about the engine, in a process group of its own."""

    def __init__(self, host: str, *command: str) -> None:
        environment = ELSEWHERE | {"DOCKER_HOST": host}
        nowhere = subprocess.DEVNULL
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=nowhere, stderr=nowhere, start_new_session=True
        )

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def folder() -> Path:
    """Return the folder of the engine's files."""
    return next(Path("/run").glob("dask-docker-*"), Path("/run/none"))


def left() -> list[str]:
    """Return an engine's traces on this machine besides its images: processes, cgroups, mounts, bridges, folders."""
    cgroups = [str(path) for path in Path("/sys/fs/cgroup").glob("**/dask-docker-*")]
    mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if "docker" in line]
    links = [path.name for path in Path("/sys/class/net").glob("dkr-*")]
    words = subprocess.run(["ps", "-eo", "args="], check=True, capture_output=True, text=True).stdout.splitlines()
    daemons = [line for line in words if line.startswith("dockerd ")]
    return [*cgroups, *mounts, *links, *daemons, *map(str, Path("/run").glob("dask-docker-*"))]


def starting() -> Begun:
    begun = Begun("", "ci/docker/engine", "up")
    eventually(lambda: folder().joinpath("init.pid").exists(), "the engine is starting")
    return begun


def idle() -> Begun:
    return Begun(run("ci/docker/engine", "up"), "sleep", "infinity")


def building() -> Begun:
    host = run("ci/docker/engine", "up")
    begun = Begun(host, "bash", "-c", "head -c 2G /dev/zero | docker import - test-killed:1")
    diffs = CACHE / "docker/overlay2"
    before = len(list(diffs.iterdir()))
    eventually(lambda: len(list(diffs.iterdir())) > before, "an image is being imported")
    return begun


def creating() -> Begun:
    host = run("ci/docker/engine", "up")
    begun = Begun(host, "ci/cluster/cluster", "up", NAME)
    node = ("docker", "--host", host, "ps", "--quiet", "--filter", f"name=dask-{NAME}-")
    eventually(lambda: run(*node), "a node of kind runs")
    return begun


@pytest.fixture
def clean() -> Iterator[None]:
    yield
    run("ci/docker/engine", "down")
    run("ci/cluster/cluster", "down", NAME)


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize("moment", [idle, creating, building, starting], ids=lambda moment: moment.__name__)
def test_killed_at_any_moment_it_leaves_nothing(moment: Callable[[], Begun]) -> None:
    begun = moment()
    os.kill(int((folder() / "init.pid").read_text()), signal.SIGKILL)
    begun.kill()
    run("ci/docker/engine", "down")
    assert left() == []
