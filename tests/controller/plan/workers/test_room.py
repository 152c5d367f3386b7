from __future__ import annotations

from typing import Any

import pytest
from tests.support.builders import a_pending_pod, a_pod

from dask_operator.model import Pod, Problem
from dask_operator.plan.workers.room import Room, needed, on_volumes

EXCEEDED = (
    'pods "w" is forbidden: exceeded quota: q, requested: {}, used: {}, limited: {}; raise the quota or scale down'
)

ONE_POD = Problem(
    "Unschedulable",
    "0/1 nodes are available: 1 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod "
    "access mode.",
)


def _quota(requested: str, used: str, limited: str) -> Problem:
    return Problem("QuotaExceeded", EXCEEDED.format(requested, used, limited))


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        (_quota("pods=1", "pods=3", "pods=3"), Room.ANY),
        (_quota("count/pods=1,pods=1", "count/pods=3,pods=3", "count/pods=3,pods=3"), Room.ANY),
        (_quota("limits.memory=4Gi", "limits.memory=10Gi", "limits.memory=10240Mi"), Room.ONE_OF_SEVERAL),
        (_quota("cpu=500m,pods=1", "cpu=4,pods=3", "cpu=4,pods=3"), Room.ONE_OF_SEVERAL),
        (_quota("limits.memory=10Gi", "limits.memory=10Gi", "limits.memory=10Gi"), Room.ONE_OF_SEVERAL),
        (_quota("limits.memory=12Gi", "limits.memory=4Gi", "limits.memory=10Gi"), Room.ENOUGH),
        (_quota("cpu=4500m,pods=1", "cpu=2,pods=3", "cpu=4,pods=3"), Room.ENOUGH),
        (_quota("requests.storage=2e3", "requests.storage=0", "requests.storage=1k"), Room.ENOUGH),
        (Problem("QuotaExceeded", "no more than 3 pods"), Room.ONE_OF_SEVERAL),
        (Problem("Unschedulable", "0/3 nodes are available: 3 Insufficient cpu."), Room.ONE_OF_SEVERAL),
        (Problem("Unschedulable", "0/1 nodes are available: 1 Too many pods."), Room.ONE_OF_SEVERAL),
        (
            Problem("Unschedulable", "0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules."),
            Room.ONE_OF_SEVERAL,
        ),
        (
            Problem(
                "Unschedulable",
                "0/2 nodes are available: 2 node(s) didn't have free ports for the requested pod ports.",
            ),
            Room.ONE_OF_SEVERAL,
        ),
        (
            Problem("Unschedulable", "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector."),
            Room.ENOUGH,
        ),
        (
            Problem("Unschedulable", "0/3 nodes are available: 3 node(s) had untolerated taint {gpu: true}."),
            Room.ENOUGH,
        ),
        (ONE_POD, Room.ONE_OF_SEVERAL),
        (Problem("Invalid", "spec.containers[0].imagePullPolicy: Unsupported value"), Room.ENOUGH),
        (Problem("Forbidden", "admission webhook denied the request: Insufficient rights"), Room.ENOUGH),
        (Problem("InternalError", "failed calling webhook"), Room.ENOUGH),
        (Problem("ImagePullBackOff", "no such image"), Room.ENOUGH),
    ],
)
def test_an_old_worker_leaves_first_only_where_that_makes_room(problem: Problem, expected: Room) -> None:
    assert needed([problem]) is expected


def test_the_problem_that_takes_most_counts() -> None:
    typo, full = Problem("Invalid", "a typo"), _quota("pods=1", "pods=3", "pods=3")
    assert needed([typo, full]) is Room.ANY
    assert needed([]) is Room.ENOUGH


# Volumes that one node or one Pod may use

DISK, KEYS = "PersistentVolumeClaim disk", "Secret keys"
CREATING = Problem("ContainerCreating", "node n has not set up its volumes")


def _stuck(*volumes: str, problem: Problem = CREATING) -> Pod:
    return a_pending_pod(9, volumes=frozenset(volumes), problem=problem)


def _old(number: int, *volumes: str, **others: Any) -> Pod:
    return a_pod(number, volumes=frozenset(volumes), **others)


@pytest.mark.parametrize("problem", [CREATING, ONE_POD])
def test_the_only_worker_on_a_disk_makes_room(problem: Problem) -> None:
    old = [_old(0, DISK)]
    stuck = _stuck(DISK, problem=problem)
    assert on_volumes([stuck], [*old, stuck], old) is Room.ANY


def test_the_last_worker_stays_if_the_new_one_mounts_anything_else() -> None:
    old = [_old(0, DISK)]
    assert on_volumes([_stuck(DISK, KEYS)], old, old) is Room.ONE_OF_SEVERAL


@pytest.mark.parametrize(
    "old",
    [
        [_old(0)],
        [_old(0, KEYS)],
        [_old(0, "PersistentVolumeClaim other")],
        [_old(0, DISK), _old(1, DISK)],
        [_old(0, DISK, phase="Pending")],
    ],
)
def test_no_worker_leaves_whose_departure_frees_no_disk(old: list[Pod]) -> None:
    assert on_volumes([_stuck(DISK, KEYS)], old, old) is Room.ENOUGH


def test_a_disk_that_a_new_worker_uses_is_not_freed_by_an_old_one() -> None:
    old, new = [_old(0)], _old(1, DISK)
    assert on_volumes([_stuck(DISK)], [*old, new], old) is Room.ENOUGH


@pytest.mark.parametrize("problem", [Problem("ImagePullBackOff", "no such image"), None])
def test_only_a_worker_that_waits_for_its_volumes_waits_for_a_disk(problem: Problem | None) -> None:
    old = [_old(0, DISK)]
    assert on_volumes([a_pending_pod(9, volumes=frozenset({DISK}), problem=problem)], old, old) is Room.ENOUGH
