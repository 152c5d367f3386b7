"""Real nodes' descriptions of failing Pods, each with its own fault: tests/cases/pods has the API server's JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from docs.included import ROOT
from tests.client.operator.objects import a_cluster, a_group, a_service

from dask_kubernetes.operator.diagnosis.facts import Snapshot
from dask_kubernetes.operator.diagnosis.problems import Problem
from dask_kubernetes.operator.diagnosis.status import Row, Startup, startup

ANSWERS = ROOT / "tests/cases/pods"
PULL = "ImagePullBackOff"
CRASH = "CrashLoopBackOff"
# By answer: the scheduler's row, and its problem.
TOLD: dict[str, tuple[str, Problem | None]] = {
    "command-missing": (
        CRASH,
        Problem(
            CRASH,
            'Pod command-missing: container "scheduler" keeps ending with exit code 128 (StartError): failed to create '
            "containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to "
            'start container process: exec: "dask-schedular": executable file not found in $PATH.',
            pod="command-missing",
            container="scheduler",
        ),
    ),
    "crash-loop": (
        CRASH,
        Problem(
            CRASH,
            'Pod crash-loop: container "scheduler" keeps ending with exit code 3 (Error).',
            pod="crash-loop",
            container="scheduler",
        ),
    ),
    "crash-loop-restarting": (
        "Error",
        Problem(
            CRASH,
            'Pod crash-loop: container "scheduler" keeps ending with exit code 3 (Error).',
            pod="crash-loop",
            container="scheduler",
        ),
    ),
    "evicted": (
        "Evicted",
        Problem(
            "Evicted", 'Pod evicted has failed (Evicted): Usage of EmptyDir volume "spill" exceeds the limit "1Mi".'
        ),
    ),
    "failed": (
        "Failed",
        Problem(
            "Error",
            'Pod failed: container "worker" has ended with exit code 3 (Error).',
            pod="failed",
            container="worker",
        ),
    ),
    "image-name-invalid": (
        "InvalidImageName",
        Problem(
            "InvalidImageName",
            'Pod image-name-invalid has an invalid image name, "ghcr.io/dask/Dask:latest": Failed to apply default '
            'image tag "ghcr.io/dask/Dask:latest": couldn\'t parse image name "ghcr.io/dask/Dask:latest": invalid '
            "reference format: repository name (dask/Dask) must be lowercase.",
            fatal=True,
        ),
    ),
    "image-never-pulled": (
        "ErrImageNeverPull",
        Problem(
            PULL,
            'Pod image-never-pulled cannot pull image "localhost/daks:1": Container image "localhost/daks:1" is not '
            "present with pull policy of Never.",
        ),
    ),
    "image-not-there": (
        PULL,
        Problem(
            PULL,
            'Pod image-not-there cannot pull image "localhost:5000/dask:latset": failed to pull and unpack image '
            '"localhost:5000/dask:latset": failed to resolve image: failed to do request: Head '
            '"https://localhost:5000/v2/dask/manifests/latset": dial tcp 127.0.0.1:5000: connect: connection refused.',
        ),
    ),
    "init-crash": (
        CRASH,
        Problem(
            CRASH,
            'Pod init-crash: container "packages" keeps ending with exit code 1 (Error).',
            pod="init-crash",
            container="packages",
        ),
    ),
    "init-image": (
        "ErrImageNeverPull",
        Problem(
            PULL,
            'Pod init-image cannot pull image "localhost/daks:1": Container image "localhost/daks:1" is not present '
            "with pull policy of Never.",
        ),
    ),
    "not-ready": ("Health Checking", None),
    "out-of-memory": (
        CRASH,
        Problem(
            "OOMKilled",
            'Pod out-of-memory: container "worker" was killed because it used more memory than its limit of '
            "64Mi (OOMKilled).",
        ),
    ),
    "out-of-memory-failed": (
        "Failed",
        Problem(
            "OOMKilled",
            'Pod out-of-memory-failed: container "worker" was killed because it used more memory than its limit of '
            "64Mi (OOMKilled).",
        ),
    ),
    "running": ("Running", None),
    "secret-missing": (
        "CreateContainerConfigError",
        Problem(
            "CreateContainerConfigError",
            'Pod secret-missing cannot create container "worker": secret "aws-credentials" not found.',
        ),
    ),
    "unschedulable": (
        "Unschedulable",
        Problem(
            "Unschedulable",
            "Pod unschedulable cannot be scheduled: 0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had "
            "untolerated taint(s). no new claims to deallocate, preemption: 0/3 nodes are available: 3 Preemption is "
            "not helpful for scheduling.",
        ),
    ),
    "volume-missing": ("ContainerCreating", None),
}


def as_scheduler(name: str) -> Startup:
    return _startup(name, {"dask.org/component": "scheduler"})


def as_worker(name: str) -> Startup:
    return _startup(name, {"dask.org/component": "worker", "dask.org/workergroup-name": "mine-default"})


def _startup(name: str, labels: dict[str, str]) -> Startup:
    pod: dict[str, Any] = json.loads((ANSWERS / f"{name}.json").read_text())
    pod["metadata"]["labels"] = labels
    return startup(Snapshot(a_cluster(), (a_group(replicas=1),), a_service(), (pod,)), 0)


def test_every_answer_is_read() -> None:
    assert {path.stem for path in ANSWERS.iterdir()} == set(TOLD)


@pytest.mark.parametrize("name", list(TOLD))
def test_what_is_told_of_a_scheduler(name: str) -> None:
    status, problem = TOLD[name]
    found = as_scheduler(name)
    assert found.rows[1].status == status
    assert found.problem == problem
    assert found.scheduler_ready == (name == "running")


@pytest.mark.parametrize("name", list(TOLD))
def test_what_is_told_of_a_worker(name: str) -> None:
    found = as_worker(name)
    assert found.problem == TOLD[name][1]
    broken = found.problem is not None and name != "unschedulable"
    ways = Row("Default Worker Group", "0 of 1 registered, 1 starting", "waiting")
    fails = Row("Default Worker Group", "0 of 1 registered, 1 failing", "bad")
    assert found.rows[3] == (fails if broken else ways)
