from __future__ import annotations

import pytest

from dask_operator.model import Problem
from dask_operator.plan.workers.room import Room, needed

EXCEEDED = (
    'pods "w" is forbidden: exceeded quota: q, requested: {}, used: {}, limited: {}; raise the quota or scale down'
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
