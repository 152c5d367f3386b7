"""Groups that grow and shrink in parts, as a queue of Kueue admits and evicts them."""

from __future__ import annotations

import pytest
from tests.support.builders import condition, raw_autoscaler, raw_cluster, raw_group
from tests.support.fake_queue import FakeQueue
from tests.support.object_store import Raw
from tests.support.world import World

from dask_operator.actions import Retire

QUEUE = {"kueue.x-k8s.io/queue-name": "team"}


def _running(workers: int = 2, *others: Raw) -> tuple[World, FakeQueue]:
    """Return a world whose cluster has been admitted, and has its first workers."""
    world = World(None, queues=True)
    queue = FakeQueue(world)
    for raw in (raw_cluster(workers=workers, metadata={"labels": QUEUE}), *others):
        world.put(raw)
    world.settle()
    queue.admit()
    world.settle()
    return world, queue


def _grown(to: int, workers: int = 2) -> tuple[World, FakeQueue]:
    world, queue = _running(workers)
    world.scale_cluster(to)
    world.settle()
    for part in queue.parts:
        queue.admit(of=part)
    world.settle()
    assert len(world.running()) == to
    return world, queue


def _numbers(queue: FakeQueue) -> list[int]:
    return [number for part in queue.parts for number in queue.numbers(part).values()]


def _progressing(world: World) -> str:
    message: str = condition(world.status(), "Progressing")["message"]
    return message


def test_a_group_grows_as_far_as_the_queue_admits() -> None:
    world, queue = _running()
    world.scale_cluster(5)
    world.settle()
    assert len(world.running()) == 2
    assert _numbers(queue) == [1, 1, 1]
    assert _progressing(world) == "2 of 5 workers exist; the queue has not admitted 3 of them yet"
    for part in queue.parts[:2]:
        queue.admit(of=part)
    world.settle()
    assert len(world.running()) == 4
    assert "the queue has not admitted 1 of them yet" in _progressing(world)
    queue.admit(of=queue.parts[2])
    world.settle()
    assert len(world.running()) == 5
    assert _progressing(world) == "the cluster matches its spec"
    assert all(queue.is_true("PodsReady", of=part) for part in queue.parts)


@pytest.mark.parametrize(("more", "numbers"), [(3, [1] * 3), (8, [1] * 8), (20, [3] * 4 + [2] * 4)])
def test_a_scale_up_is_asked_for_in_a_few_parts(more: int, numbers: list[int]) -> None:
    world, queue = _running()
    world.scale_cluster(2 + more)
    world.settle()
    assert _numbers(queue) == numbers


def test_a_part_may_be_admitted_in_part_and_the_rest_is_asked_for_once_more() -> None:
    world, queue = _running()
    world.scale_cluster(2 + 40)
    world.settle()
    assert _numbers(queue) == [5] * 8
    assert {pod_set["minCount"] for part in queue.parts for pod_set in part["spec"]["podSets"]} == {1}
    queue.admit(of=queue.parts[0], workers=3)
    world.settle()
    assert len(world.running()) == 2 + 3
    assert _numbers(queue) == [5] * 8 + [2]
    assert "the queue has not admitted 37 of them yet" in _progressing(world)
    for part in queue.parts[1:]:
        queue.admit(of=part)
    world.settle()
    assert len(world.running()) == 2 + 40
    assert len(queue.parts) == 9
    queue.evict(of=queue.parts[0])
    world.settle()
    assert len(world.running()) == 2 + 37
    assert not queue.is_true("QuotaReserved", of=queue.parts[0])


def test_an_autoscaled_group_starts_with_its_minimum() -> None:
    world, queue = _running(4, raw_autoscaler(minimum=1, maximum=9))
    assert queue.numbers() == {"scheduler": 1, "simple-default": 1}
    assert sum(_numbers(queue)) == 3, "as many as it wants"
    world.target = 6
    world.run(30.0)
    assert sum(_numbers(queue)) == 5
    for part in queue.parts:
        queue.admit(of=part)
    world.run(30.0)
    assert len(world.running()) == 6
    world.target = 0
    world.run(60.0)
    assert len(world.running()) == 1
    assert queue.parts == []


def test_an_evicted_part_takes_as_many_workers_which_lose_nothing_and_come_back() -> None:
    world, queue = _grown(5)
    world.held = dict.fromkeys(world.running(), 100)
    before = queue.parts
    queue.evict(of=before[1])
    world.settle()
    assert len(world.running()) == 4
    assert world.lost == []
    assert sum(isinstance(action, Retire) for action in world.done) == 1
    assert world.has("Deployment", "simple-scheduler")
    assert not queue.is_true("QuotaReserved", of=before[1])
    assert queue.is_true("Requeued", of=before[1])
    assert len(queue.parts) == 3
    assert condition(world.status(), "Suspended") is None or condition(world.status(), "Suspended")["status"] == "False"
    queue.admit(of=before[1])
    world.settle()
    assert len(world.running()) == 5


def test_the_quota_of_a_part_is_given_back_when_its_workers_are_gone() -> None:
    world, queue = _grown(4)
    world.lingers = lambda _: True
    first, second = queue.parts
    for part in (first, second):
        queue.evict(of=part)
    world.settle()
    assert all(queue.is_true("QuotaReserved", of=part) for part in (first, second))
    world.lingers = lambda pod: pod.name != gone
    gone = next(pod.name for pod in world.pods() if pod.deleting)
    world.settle()
    assert sum(queue.is_true("QuotaReserved", of=part) for part in (first, second)) == 1
    world.lingers = lambda _: False
    world.settle()
    assert not any(queue.is_true("QuotaReserved", of=part) for part in (first, second))


def test_what_is_not_needed_any_more_is_given_back() -> None:
    world, queue = _grown(6)
    world.scale_cluster(3)
    world.settle()
    assert len(world.running()) == 3
    assert _numbers(queue) == [1]
    world.scale_cluster(9)
    world.settle()
    assert _numbers(queue) == [1] * 7
    world.scale_cluster(3)
    world.settle()
    assert _numbers(queue) == [1], "what waits is withdrawn first"
    world.scale_cluster(1)
    world.settle()
    assert queue.parts == []
    assert queue.numbers()["simple-default"] == 2, "an admission stays as it is"


def test_a_part_stays_until_all_its_workers_are_surplus() -> None:
    world, queue = _running()
    world.scale_cluster(2 + 16)
    world.settle()
    for part in queue.parts:
        queue.admit(of=part)
    world.settle()
    world.scale_cluster(2 + 15)
    world.settle()
    assert _numbers(queue) == [2] * 8
    world.scale_cluster(2 + 14)
    world.settle()
    assert _numbers(queue) == [2] * 7


def test_a_group_that_comes_later_asks_for_all_its_workers() -> None:
    world, queue = _running()
    world.put(raw_group("more", workers=2))
    world.settle()
    assert world.pods("more") == []
    queue.add_flavor("gpu", nodeLabels={"gpu": "yes"})
    queue.admit("gpu", of=queue.parts[0])
    world.settle()
    assert len(world.running("more")) == 1
    (second,) = queue.parts[1]["spec"]["podSets"]
    assert "nodeSelector" not in second["template"]["spec"], "it was asked for before the flavor was known"
    assert {pod["spec"].get("nodeSelector", {}).get("gpu") for pod in world.objects("Pod")} == {None, "yes"}
    world.scale(3, name="more")
    world.settle()
    (third,) = queue.parts[2]["spec"]["podSets"]
    assert third["template"]["spec"]["nodeSelector"] == {"gpu": "yes"}, "all workers of a group have one flavor"
    world.lingers = lambda pod: pod.group == "more"
    world.remove("DaskWorkerGroup", "more")
    world.settle()
    assert len(queue.parts) == 3, "its workers are still there"
    world.lingers = lambda _: False
    world.settle()
    assert queue.parts == []


def test_a_rollout_takes_no_more_than_was_admitted() -> None:
    world, queue = _grown(4)
    most = 0

    def counted(_: object) -> bool:
        nonlocal most
        most = max(most, len([pod for pod in world.pods() if pod.phase not in ("Failed", "Succeeded")]))
        return True

    world.starts = counted
    world.edit_workers("another:1", "DaskCluster", "simple")
    world.settle(600.0)
    images = {pod["spec"]["containers"][0]["image"] for pod in world.objects("Pod")}
    assert "another:1" in images
    assert len(world.running()) == 4
    assert most == 4
    assert _numbers(queue) == [1, 1]


def test_new_templates_of_a_group_of_parts_ask_again() -> None:
    world, queue = _running()
    world.put(raw_group("more", workers=1))
    world.settle()
    queue.admit(of=queue.parts[0])
    world.settle()
    before = queue.parts[0]["metadata"]["uid"]
    world.edit("DaskWorkerGroup", "more", worker={"spec": {"nodeSelector": {"disk": "ssd"}}})
    world.settle()
    assert world.running("more") == []
    assert len(world.running()) == 2
    (part,) = queue.parts
    assert part["metadata"]["uid"] != before
    queue.admit(of=part)
    world.settle()
    assert len(world.running("more")) == 1


def test_a_part_that_somebody_finishes_is_asked_for_again() -> None:
    world, queue = _grown(4)
    first = queue.parts[0]
    queue.say("Finished", "True", "Succeeded", "somebody has said so", of=first)
    world.settle()
    assert len(world.running()) == 3
    assert first["metadata"]["uid"] not in {part["metadata"]["uid"] for part in queue.parts}
    assert sum(_numbers(queue)) == 2


def test_a_part_that_waits_for_other_checks_is_given_back_at_once() -> None:
    world, queue = _running()
    world.scale_cluster(3)
    world.settle()
    queue.say("QuotaReserved", "True", "QuotaReserved", "and a check is not done", of=queue.parts[0])
    world.scale_cluster(2)
    world.settle()
    assert queue.parts == []


@pytest.mark.parametrize("how", ["evicted", "suspended", "unlabelled"])
def test_parts_end_with_what_they_are_parts_of(how: str) -> None:
    world, queue = _grown(4)
    if how == "evicted":
        queue.evict()
    elif how == "suspended":
        world.edit("DaskCluster", "simple", suspend=True)
    else:
        raw = world.raw("DaskCluster", "simple")
        world.rewrite({**raw, "metadata": {**raw["metadata"], "labels": {}}})
    world.settle()
    assert queue.parts == []
    assert len(world.running()) == (4 if how == "unlabelled" else 0)


@pytest.mark.parametrize("killed_after", range(25))
def test_a_controller_that_is_killed_meanwhile_changes_nothing(killed_after: int) -> None:
    world, queue = _running()
    world.scale_cluster(5)
    world.act_killed(killed_after)
    assert sum(_numbers(queue)) == 3
    for part in queue.parts:
        queue.admit(of=part)
    world.settle()
    queue.evict(of=queue.parts[0])
    world.act_killed(killed_after)
    world.settle()
    assert len(world.running()) == 4
    assert world.lost == []
    assert not queue.is_true("QuotaReserved", of=queue.parts[0])
