from __future__ import annotations

from typing import Any

import pytest
from tests.support.builders import NOON, a_cluster, a_group, a_pod, condition, raw_job, seen
from tests.support.object_store import Raw
from tests.support.world import World

from dask_operator.actions import Retire
from dask_operator.model import Failure, ObjectRef, Pod, Problem
from dask_operator.names import SCHEDULER
from dask_operator.plan.view import View
from dask_operator.plan.workers.precedence import behind_runner

RUNNER = ObjectRef("Pod", "simple-runner")
FULL = Problem("QuotaExceeded", "exceeded quota: q, requested: pods=1, used: pods=4, limited: pods=4")


def _refused(problem: Problem = FULL, until: float = NOON + 1.0) -> dict[ObjectRef, Failure]:
    return {RUNNER: Failure(problem, 1, until)}


def _replicas(pods: int | list[Pod] = 2, *, job: str = "simple", **others: Any) -> int:
    view = View.of(a_cluster(job=job), seen(pods, **others))
    return behind_runner(view, view.workers["simple-default"], NOON).group.replicas


def test_a_worker_makes_room_for_the_runner() -> None:
    assert _replicas(failures=_refused()) == 1


def test_nothing_changes_where_the_runner_is_not_refused() -> None:
    assert _replicas() == 3
    assert _replicas(job="", failures=_refused()) == 3
    assert _replicas(failures=_refused(Problem("Forbidden", "may not"))) == 3


@pytest.mark.parametrize("going", [{"deleting": True}, {"uid": "leaves"}])
def test_one_leaves_at_a_time_and_none_comes(going: dict[str, Any]) -> None:
    pods = [a_pod(0), a_pod(1, **going)]
    assert _replicas(pods, failures=_refused(), retired=frozenset({"leaves"})) == 1


def test_the_runner_is_tried_before_another_leaves() -> None:
    assert _replicas(failures=_refused(until=NOON)) == 2, "none comes, either"


def test_nobody_leaves_for_a_runner_that_fits_nowhere() -> None:
    too_large = Problem("QuotaExceeded", "exceeded quota: q, requested: cpu=8, used: cpu=1, limited: cpu=4")
    assert _replicas(failures=_refused(too_large)) == 2


def test_the_largest_group_gives() -> None:
    groups = [a_group(), a_group("more")]
    pods = [a_pod(0), a_pod(1), *(a_pod(number, group="more") for number in range(3))]
    view = View.of(a_cluster(job="simple"), seen(pods, groups=groups, failures=_refused()))
    assert {name: behind_runner(view, each, NOON).group.replicas for name, each in view.workers.items()} == {
        "simple-default": 2,
        "more": 2,
    }


def _in_a_quota(limit: int) -> World:
    """Return a world in which workers took all the room that a job's scheduler, the first Pod, has left."""
    world = World(None)

    def refuses(raw: Raw) -> Problem | None:
        full = f"exceeded quota: q, requested: pods=1, used: pods={len(world.objects('Pod'))}, limited: pods={limit}"
        is_full = raw["kind"] == "Pod" and len(world.objects("Pod")) >= limit
        return Problem("QuotaExceeded", full) if is_full else None

    world.refuses = refuses
    world.starts = lambda pod: pod.component != SCHEDULER
    world.put(raw_job(workers=3))
    world.settle(120.0)
    assert len(world.pods()) == limit - 1, "a job's runner comes when its scheduler is ready"
    world.starts = lambda _: True
    return world


def _pods(world: World) -> list[str]:
    return [pod["metadata"]["name"] for pod in world.objects("Pod")]


@pytest.mark.parametrize("limit", [2, 3, 4])
def test_a_job_runs_in_a_quota_without_room_for_all_its_workers(limit: int) -> None:
    world = _in_a_quota(limit)
    world.settle(120.0)
    assert world.status("DaskJob")["jobStatus"] == "Running"
    assert len(world.running()) == limit - 2
    assert condition(world.status("DaskCluster"), "Degraded")["reason"] == "QuotaExceeded"
    world.end("simple-runner", "Succeeded")
    world.settle(120.0)
    assert world.status("DaskJob")["jobStatus"] == "Successful"


def test_the_worker_that_makes_room_keeps_its_results() -> None:
    world = _in_a_quota(4)
    world.held = {pod.name: 100 for pod in world.pods()}
    world.settle(120.0)
    assert sum(isinstance(action, Retire) for action in world.done) == 1
    assert world.lost == []


def test_the_runner_is_tried_as_soon_as_a_worker_is_gone() -> None:
    world = _in_a_quota(3)
    world.lingers = lambda _: True
    world.run(300.0)
    assert RUNNER.name not in _pods(world)
    world.lingers = lambda _: False
    world.run(1.0)
    assert RUNNER.name in _pods(world)
