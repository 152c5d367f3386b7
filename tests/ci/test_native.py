"""The rest of `ci` works without `ci/native` if a Docker engine runs."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# An engine that answers `docker info`.
ANSWERS = 'echo "28.2.2 [name=seccomp,profile=builtin]"'


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout without `ci/native`."""
    for path in (path for path in ROOT.iterdir() if path.name != "ci"):
        (tmp_path / path.name).symlink_to(path)
    shutil.copytree(ROOT / "ci", tmp_path / "ci", ignore=shutil.ignore_patterns("native"))
    return tmp_path


def run(checkout: Path, docker: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command of `ci/`, with this script as `docker`."""
    programs = checkout / "programs"
    programs.mkdir()
    (programs / "docker").write_text(f"#!/bin/sh\n{docker}\n")
    (programs / "docker").chmod(0o755)
    env = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}", "XDG_CACHE_HOME": str(checkout / "cache")}
    return subprocess.run(
        [checkout / command[0], *command[1:]], check=False, capture_output=True, text=True, env=env, timeout=60
    )


def test_images_are_dockers_without_it(checkout: Path) -> None:
    done = run(checkout, ANSWERS, "ci/images/build.sh", "controller", "dask")
    assert [line.split(":")[0] for line in done.stdout.split()] == [
        "localhost/dask-kubernetes-operator",
        "localhost/dask",
    ], done.stderr


def test_clusters_are_kinds_without_it(checkout: Path) -> None:
    done = run(checkout, f'{ANSWERS}; [ "$1" = info ]', "ci/cluster/cluster", "down", "absent")
    assert done.stdout == "  cluster absent does not run\n", done.stderr


@pytest.mark.parametrize(
    "command", [("ci/images/build.sh", "dask"), ("ci/cluster/cluster", "up", "new")], ids=["image", "cluster"]
)
@pytest.mark.parametrize(
    ("docker", "why"),
    [
        ("exit 1", "no Docker engine answers"),
        ("echo ' []'; exit 0", "no Docker engine answers"),
        ("exit 125", "no Docker engine answers"),
        (
            "echo '28.2.2 [name=seccomp,profile=builtin name=rootless name=cgroupns]'",
            "the Docker engine is rootless, in which a node cannot have all that it needs",
        ),
    ],
    ids=["gone", "no-server", "podman", "rootless"],
)
def test_without_it_and_without_docker_is_said_what_to_do(
    checkout: Path, command: tuple[str, ...], docker: str, why: str
) -> None:
    done = run(checkout, docker, *command)
    assert done.returncode == 1
    assert done.stderr == f"{why}, and ci/native, which does without one, is not here: start Docker.\n"


def test_an_engine_that_hangs_does_not_answer(checkout: Path) -> None:
    done = run(checkout, "exec sleep 50", "ci/images/build.sh", "dask")
    assert done.stderr.startswith("no Docker engine answers, and ci/native")


def test_nothing_outside_names_its_files() -> None:
    """Allow only the two scripts that choose."""
    named = subprocess.run(
        ["git", "grep", "--files-with-matches", "native/", "--", "ci", ":!ci/native"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert named == ["ci/cluster/cluster", "ci/images/build.sh"]
