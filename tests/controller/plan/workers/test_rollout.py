from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any

import pytest
from tests.support.builders import (
    WORKER_TEMPLATE,
    a_cluster,
    a_group,
    a_pending_pod,
    a_pod,
    condition,
    raw_cluster,
    raw_group,
)
from tests.support.world import World

from dask_operator import manifests, parse
from dask_operator.actions import Ask, Patch
from dask_operator.model import Metadata, Pod, Problem, Template
from dask_operator.plan.workers.rollout import Step, split, step
from dask_operator.plan.workers.room import Room

NEW = {"containers": [{"name": "worker", "image": "dask:2"}]}
HOUR = 3600.0


def _pods(ready: int, other: int = 0) -> list[Pod]:
    return [a_pod(n) for n in range(ready)] + [a_pending_pod(100 + n) for n in range(other)]


# One step


def test_workers_are_of_the_current_template_or_of_an_older_one() -> None:
    group = a_group()
    current, older, unknown = a_pod(0), a_pod(1, template="older"), a_pod(2, template="")
    assert split(group, [current, older, unknown]) == ([current, unknown], [older])
    taken_over = a_group(adopted_template=WORKER_TEMPLATE)
    assert split(taken_over, [unknown]) == ([unknown], [])
    edited = a_group(adopted_template=WORKER_TEMPLATE, worker_spec=NEW)
    assert split(edited, [current, unknown]) == ([], [current, unknown])


@pytest.mark.parametrize(
    ("wanted", "new", "old", "expected"),
    [
        (0, 0, 0, Step(0, 0, 0)),
        (3, 0, 0, Step(3, 0, 0)),
        (3, 3, 0, Step(0, 0, 0)),
        (3, 5, 0, Step(0, 0, 2)),
        (10, 0, 10, Step(3, 0, 0)),
        (10, 3, 10, Step(0, 3, 0)),
        (10, 3, 7, Step(3, 0, 0)),
        (10, 10, 3, Step(0, 3, 0)),
        (10, 9, 1, Step(1, 0, 0)),
        (1, 0, 1, Step(1, 0, 0)),
        (1, 1, 1, Step(0, 1, 0)),
        (2, 1, 7, Step(0, 6, 0)),
        (0, 0, 4, Step(0, 4, 0)),
        (2, 5, 4, Step(0, 4, 3)),
        (12, 3, 7, Step(5, 0, 0)),
    ],
)
def test_steps(wanted: int, new: int, old: int, expected: Step) -> None:
    assert step(wanted, _pods(new), _pods(old), room=Room.ENOUGH) == expected


def _documented() -> list[tuple[int, ...]]:
    """Return the rows of the table in the docstring of `step`: new, old, leaving, create, old_leave."""
    rows = re.findall(r"^ +[a-z][\w, ]*?  +" + r" +".join([r"(\d)"] * 5) + "$", step.__doc__ or "", re.MULTILINE)
    return [tuple(map(int, row)) for row in rows]


def test_the_documented_table_has_every_step_of_a_rollout() -> None:
    rows = _documented()
    assert len(rows) == 6
    for new, old, leaving, create, old_leave in rows:
        pods = _pods(new + old)
        expected = Step(create, old_leave, 0)
        assert step(4, pods[:new], pods[new:], room=Room.ENOUGH, leaving=leaving) == expected


def test_old_ones_that_do_not_work_go_at_once_and_those_that_do_stay() -> None:
    assert step(4, [], _pods(1, 3), room=Room.ENOUGH) == Step(1, 3, 0)
    assert step(4, _pods(0, 1), _pods(4), room=Room.ENOUGH).old_leave == 0


def test_without_room_one_leaves_first() -> None:
    assert step(4, [], _pods(4), room=Room.ONE_OF_SEVERAL).old_leave == 1
    assert step(4, _pods(0, 1), _pods(3), room=Room.ONE_OF_SEVERAL).old_leave == 0


def test_the_last_one_that_works_leaves_only_where_that_surely_makes_room() -> None:
    for pending in (0, 1):
        assert step(1, _pods(0, pending), _pods(1), room=Room.ONE_OF_SEVERAL).old_leave == 0
        assert step(1, _pods(0, pending), _pods(1), room=Room.ANY).old_leave == 1
    assert step(0, [], _pods(1), room=Room.ONE_OF_SEVERAL).old_leave == 1, "as none is wanted"


# Stories


def _rolled(world: World, workers: int, image: str = "dask:2") -> None:
    """Check the end of every rollout: as many workers as wanted, all of the new template, none lost, nothing to do."""
    assert len(world.running()) == workers
    assert {_image(world, name) for name in world.running()} == ({image} if workers else set())
    assert world.lost == []
    assert [name for name, times in world.names.items() if times > 1] == []
    assert world.status("DaskWorkerGroup", "simple-default")["updatedReplicas"] == workers
    world.settle(600.0)  # the scheduler is asked whether all have registered
    for later in (0.0, 60.0, HOUR):
        world.now += later
        assert world.plan() == ()


def _image(world: World, pod: str) -> str:
    image: str = world.raw("Pod", pod)["spec"]["containers"][0]["image"]
    return image


def _edited(world: World, image: str = "dask:2") -> None:
    world.edit_workers(image, "DaskCluster", "simple")


def _world(workers: int) -> World:
    world = World(workers)
    world.settle()
    world.now += HOUR
    world.held = {name: 1000 * n for n, name in enumerate(world.running(), 1)}
    return world


def _watched(world: World, wanted: Callable[[], int], rounds: int = 200, pause: float = 1.0) -> None:
    """Run a rollout step by step; check at each that neither too many workers exist nor too few work."""
    enough = False
    for _ in range(rounds):
        world.step()
        world.run_pods()
        number = wanted()
        living = [pod for pod in world.pods() if not pod.deleting and pod.phase in ("Pending", "Running")]
        assert len(living) <= number + -(-number // 4)
        working = sum(pod.ready for pod in living)
        assert working >= number or not enough, f"{working} of {number} work"
        enough = working >= number
        world.now += pause


@pytest.mark.parametrize("workers", [0, 1, 2, 5, 10])
def test_an_edit_replaces_every_worker_and_loses_nothing(workers: int) -> None:
    world = _world(workers)
    held = sum(world.held.values())
    _edited(world)
    _watched(world, lambda: workers, 80)
    assert sum(world.held.values()) == held
    _rolled(world, workers)


@pytest.mark.parametrize("workers", [1, 2, 5, 10])
@pytest.mark.parametrize("takes", [0.5, 30.0])
def test_a_slow_retirement_does_not_make_more_workers_than_a_quarter_too_many(workers: int, takes: float) -> None:
    world = _world(workers)
    world.retiring_takes = takes
    _edited(world)
    _watched(world, lambda: workers, 600)
    _rolled(world, workers)


@pytest.mark.parametrize("workers", [1, 2, 5, 10])
@pytest.mark.parametrize("seed", range(2))
def test_workers_that_start_slowly_are_waited_for(workers: int, seed: int) -> None:
    chance = random.Random(seed)
    world = _world(workers)
    takes: dict[str, float] = {}
    world.starts = lambda pod: world.now >= pod.created + takes.setdefault(pod.name, chance.uniform(0.0, 60.0))
    _edited(world)
    _watched(world, lambda: workers, 700)
    _rolled(world, workers)


@pytest.mark.parametrize("workers", [1, 2, 5, 10])
def test_an_edit_that_cannot_start_keeps_the_old_workers(workers: int) -> None:
    world = _world(workers)
    before = set(world.running())
    world.starts = lambda pod: pod.component != "worker"
    _edited(world)
    _watched(world, lambda: workers, 300, 10.0)
    assert set(world.running()) == before
    world.starts = lambda _: True
    _edited(world, "dask:3")
    _watched(world, lambda: workers, 100)
    _rolled(world, workers, "dask:3")


@pytest.mark.parametrize("workers", [2, 10])
def test_an_edit_whose_workers_fail_keeps_the_old_ones_and_does_not_spin(workers: int) -> None:
    world = _world(workers)
    before = set(world.running())
    world.ends = lambda pod: "" if pod.name in before else "Failed"
    world.registers = lambda pod: pod.name in before
    _edited(world)
    world.run(600.0, 5.0)
    assert before <= set(world.running())
    new = [name for name in world.names if name not in before]
    assert len(new) <= 10 * -(-workers // 4), "in ten minutes"
    world.ends, world.registers = lambda _: "", lambda _: True
    _edited(world, "dask:3")
    world.run(600.0, 5.0)
    _rolled(world, workers, "dask:3")


def test_workers_that_run_and_that_the_scheduler_does_not_know_replace_nobody() -> None:
    world = _world(4)
    before = set(world.running())
    world.registers = lambda pod: pod.name in before
    _edited(world)
    world.run(300.0, 2.0)
    assert before <= set(world.running())
    world.registers = lambda _: True
    world.run(60.0)
    _rolled(world, 4)


def test_an_edit_mends_a_group_that_cannot_start_at_once() -> None:
    world = World(10)
    world.starts = lambda pod: pod.component != "worker" or _image(world, pod.name) != "dask"
    world.settle()
    _edited(world)
    before = world.now
    world.settle(10.0)
    assert len(world.running()) == 10
    assert world.now <= before + 10.0
    _rolled(world, 10)


@pytest.mark.parametrize("after", range(1, 14, 2))
def test_a_second_edit_in_the_middle(after: int) -> None:
    world = _world(10)
    _edited(world)
    _watched(world, lambda: 10, after)
    _edited(world, "dask:3")
    _watched(world, lambda: 10, 120)
    _rolled(world, 10, "dask:3")


@pytest.mark.parametrize("after", range(1, 14, 2))
def test_an_edit_that_is_taken_back_in_the_middle(after: int) -> None:
    world = _world(10)
    _edited(world)
    _watched(world, lambda: 10, after)
    before = set(world.running())
    world.edit("DaskCluster", "simple", worker={"spec": raw_cluster()["spec"]["worker"]["spec"]})
    world.run(60.0)
    _rolled(world, 10, "dask")
    old = [name for name in before if name in world.running()]
    assert old or after > 8, "those that are of the right template again stay"


@pytest.mark.parametrize("to", [0, 1, 4, 14])
@pytest.mark.parametrize("after", [1, 3, 6])
def test_a_scaling_in_the_middle(to: int, after: int) -> None:
    world = _world(8)
    held = sum(world.held.values())
    _edited(world)
    _watched(world, lambda: 8, after)
    world.scale(to)
    world.run(120.0)
    if to:
        assert sum(world.held.values()) == held
        _rolled(world, to)
    else:
        assert len(world.running()) >= 1, "the last holder of data"
        assert world.lost == []
        world.held.clear()
        world.run(60.0)
        _rolled(world, 0)


def _fewest(world: World, seconds: int) -> int:
    """Return the smallest number of running workers in so many seconds."""
    running = [len(world.running())]
    for _ in range(seconds):
        world.step()
        world.run_pods()
        running.append(len(world.running()))
        world.now += 1.0
    return min(running)


def test_no_room_for_one_more_is_one_less_for_a_while() -> None:
    world = _world(6)
    quota = Problem("QuotaExceeded", "no more than 6 pods")
    world.refuses = lambda raw: quota if len(world.pods()) >= 6 else None
    _edited(world)
    assert _fewest(world, 900) >= 5
    _rolled(world, 6)


def test_no_node_with_room_is_one_less_for_a_while() -> None:
    world = _world(6)
    world.starts = lambda pod: pod.component != "worker" or len(world.running()) < 6
    world.unschedulable = lambda pod: not world.starts(pod)
    _edited(world)
    assert _fewest(world, 300) >= 5
    _rolled(world, 6)


def test_workers_that_fit_on_no_node_cost_one_old_worker_and_no_more() -> None:
    world = _world(6)
    before = set(world.running())
    world.starts = lambda pod: pod.name in before or pod.component != "worker"
    world.unschedulable = lambda pod: not world.starts(pod)
    _edited(world)
    world.run(900.0, 5.0)
    assert len(before & set(world.running())) >= 5


@pytest.mark.parametrize("workers", [1, 6])
@pytest.mark.parametrize(
    "reason",
    [
        Problem("Invalid", "spec.containers[0].imagePullPolicy: Unsupported value"),
        Problem("Forbidden", "admission webhook policy.example denied the request: no tag"),
        Problem("InternalError", "failed calling webhook"),
        Problem("QuotaExceeded", "exceeded quota: q, requested: cpu=9, used: cpu=1, limited: cpu=8; raise the quota"),
    ],
    ids=lambda problem: problem.reason,
)
def test_an_edit_that_is_refused_takes_no_worker_away(workers: int, reason: Problem) -> None:
    world = _world(workers)
    before = set(world.running())
    world.refuses = lambda raw: reason if raw["kind"] == "Pod" else None
    _edited(world)
    world.run(900.0, 5.0)
    assert set(world.running()) == before
    degraded = condition(world.status("DaskCluster"), "Degraded")
    assert (degraded["status"], degraded["reason"]) == ("True", reason.reason)


@pytest.mark.parametrize("workers", [1, 6])
def test_an_edit_whose_workers_no_node_matches_takes_none_away(workers: int) -> None:
    world = _world(workers)
    before = set(world.running())
    world.starts = lambda pod: pod.name in before or pod.component != "worker"
    world.unschedulable = lambda pod: not world.starts(pod)
    world.unschedulable_because = "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector."
    _edited(world)
    world.run(900.0, 5.0)
    assert before <= set(world.running())


@pytest.mark.parametrize(
    "edit",
    [
        {"worker": {"metadata": {"labels": {"team": "b"}}}},
        {"worker": {"metadata": {"annotations": {"prometheus.io/scrape": "true"}}}},
    ],
)
def test_an_edit_of_the_workers_metadata_is_one_of_the_template(edit: dict[str, object]) -> None:
    world = _world(4)
    before = set(world.running())
    world.edit("DaskCluster", "simple", **edit)
    world.run(60.0)
    assert not before & set(world.running())
    for name in world.running():
        metadata = world.raw("Pod", name)["metadata"]
        assert metadata["labels"].get("team") == "b" or metadata["annotations"].get("prometheus.io/scrape") == "true"
    _rolled(world, 4, "dask")


def test_an_edit_of_a_group_alone_rolls_that_group_alone() -> None:
    world = World(2)
    world.add_group("simple-gpu", 3)
    world.settle()
    others = set(world.running())
    world.edit_workers("dask:2", name="simple-gpu")
    world.run(60.0)
    assert set(world.running()) == others
    assert {_image(world, name) for name in world.running("simple-gpu")} == {"dask:2"}


def test_an_edit_of_the_scheduler_makes_one_new_scheduler_and_keeps_the_workers() -> None:
    world = _world(3)
    before = set(world.running())
    (old,) = [pod.uid for pod in world.observed().pods if pod.component == "scheduler"]
    world.edit("DaskCluster", "simple", scheduler={"spec": {"containers": [{"name": "scheduler", "image": "dask:2"}]}})
    done = world.run(60.0)
    (new,) = [pod for pod in world.observed().pods if pod.component == "scheduler"]
    assert new.uid != old
    assert world.raw("Deployment", "simple-scheduler")["spec"]["template"]["spec"]["containers"][0]["image"] == "dask:2"
    assert set(world.running()) == before
    assert len([action for action in done if isinstance(action, Patch)]) == 1
    assert world.plan() == ()


def test_an_edit_of_the_service_keeps_its_address() -> None:
    world = _world(1)
    spec = {"type": "NodePort", "ports": [{"name": "tcp-comm", "port": 9000}, {"name": "http-dashboard", "port": 80}]}
    world.edit("DaskCluster", "simple", scheduler={"service": spec})
    world.run(60.0)
    service = world.raw("Service", "simple-scheduler")["spec"]
    assert (service["type"], service["clusterIP"], service["ports"]) == ("NodePort", "10.96.0.7", spec["ports"])
    assert world.plan() == ()


def test_a_service_port_that_changes_reaches_the_workers_made_from_then_on() -> None:
    # The others keep their connection; when they lose it they end, and are replaced.
    world = _world(2)
    spec = {"ports": [{"name": "tcp-comm", "port": 9000}, {"name": "http-dashboard", "port": 80}]}
    before = set(world.running())
    world.edit("DaskCluster", "simple", scheduler={"service": spec})
    world.run(60.0)
    assert set(world.running()) == before
    world.scale(4)
    world.run(60.0)
    addresses = {
        each["value"]
        for name in set(world.running()) - before
        for each in world.raw("Pod", name)["spec"]["containers"][0]["env"]
        if each["name"] == "DASK_SCHEDULER_ADDRESS"
    }
    assert addresses == {"tcp://simple-scheduler.default.svc:9000"}


def test_what_is_no_edit_restarts_nothing() -> None:
    world = _world(3)
    before = set(world.running())
    spec = raw_cluster()["spec"]
    containers = [
        dict(reversed(list({**each, "env": None, "resources": None}.items())))
        for each in spec["worker"]["spec"]["containers"]
    ]
    raw = world.raw("DaskCluster", "simple")
    raw["spec"]["worker"]["spec"] = {"volumes": None, "containers": containers}
    raw["metadata"]["labels"] = {"team": "a"}
    world.put(raw)
    world.restart_controller()
    world.run(60.0)
    assert set(world.running()) == before
    assert world.plan() == ()


def test_a_template_does_not_depend_on_the_order_of_keys_nor_on_nulls() -> None:
    first = Template.of({"a": 1, "b": {"c": [1, {"d": None, "e": "x"}]}}, Metadata({"l": "1"}, {})).hash
    assert first == Template.of({"b": {"c": [1, {"e": "x"}]}, "a": 1, "z": None}, Metadata({"l": "1"}, {})).hash
    for other in (
        Template.of({"a": "1", "b": {"c": [1, {"e": "x"}]}}, Metadata({"l": "1"}, {})).hash,
        Template.of({"a": 1, "b": {"c": [{"e": "x"}, 1]}}, Metadata({"l": "1"}, {})).hash,
        Template.of({"a": 1, "b": {"c": [1, {"e": "x"}]}}, Metadata({}, {"l": "1"})).hash,
        Template.of({"a": True, "b": {"c": [1, {"e": "x"}]}}, Metadata({"l": "1"}, {})).hash,
    ):
        assert other != first


def test_a_template_is_the_same_for_every_version_of_the_controller() -> None:
    # A newer one with other annotations would restart every worker.
    assert a_group().worker.hash == "c663314871"
    assert a_cluster().scheduler.hash == "d112148a1a"
    assert a_cluster().service.hash == "84d6298bb0"


@pytest.mark.parametrize(
    ("spec", "metadata", "expected"),
    [
        ({}, Metadata(), "ad734d578b"),
        ({"a": None}, Metadata({"x": "y"}, {}), "d281303519"),
        (
            {"b": [1, 2.5, True, None, "é'\""], "a": {"z": None, "y": -1}},
            Metadata({"k": "v", "a": "b"}, {"n": "1"}),
            "9d043cb092",
        ),
        (
            {"a": {"y": -1}, "b": [1, 2.5, True, None, "é'\""]},
            Metadata({"a": "b", "k": "v"}, {"n": "1"}),
            "9d043cb092",
        ),
        ({"containers": [{"name": "w", "args": []}]}, Metadata({}, {"a/b": "c"}), "16307d0afd"),
    ],
)
def test_templates_of_earlier_versions(spec: dict[str, Any], metadata: Metadata, expected: str) -> None:
    assert Template.of(spec, metadata).hash == expected
    raw = {"spec": spec, "metadata": {"labels": metadata.labels, "annotations": metadata.annotations}}
    assert parse.group(raw_group(spec={"worker": raw})).worker.hash == expected


def test_the_template_of_nothing() -> None:
    assert Template.of({}) == Template()


def test_the_default_groups_template_is_the_one_its_cluster_gives() -> None:
    cluster = parse.cluster(raw_cluster())
    made = parse.group({**raw_group(), "spec": manifests.group_manifest(cluster)["spec"]})
    assert made.worker.hash == cluster.worker.hash


@pytest.mark.parametrize("killed_after", range(0, 30, 2))
def test_a_controller_that_is_killed_anywhere_rolls_out_all_the_same(killed_after: int) -> None:
    world = _world(5)
    held = sum(world.held.values())
    _edited(world)
    left = killed_after
    for _ in range(250):
        actions, left = world.act(left)
        if any(isinstance(action, Ask) for action in actions):
            continue
        world.run_pods()
        assert len([pod for pod in world.pods() if not pod.deleting]) <= 7
        assert len(world.running()) >= 5
        world.now += 1.0
    assert sum(world.held.values()) == held
    _rolled(world, 5)


@pytest.mark.parametrize("seed", range(12))
def test_whatever_happens_in_a_rollout_it_ends_well(seed: int) -> None:
    """Try random edits, scaling, failures, slow starts and restarts of the controller."""
    chance = random.Random(seed)
    world = _world(chance.choice([1, 2, 5, 10]))
    world.add_group("simple-gpu", 2)
    takes: dict[str, float] = {}
    world.starts = lambda pod: world.now >= pod.created + takes.setdefault(pod.name, chance.choice([0.0, 5.0, 40.0]))
    for _ in range(40):
        _something_happens(world, chance)
        if chance.random() < 0.5:
            world.apply(world.plan(), only=chance.choice([1, 3]))
        else:
            world.step()
        world.run_pods()
        world.now += chance.choice([0.0, 1.0, 10.0])
        for name in world.running():
            world.held.setdefault(name, chance.choice([0, 1000]))
    world.retiring_takes = 0.0
    _edited(world, "dask:last")
    world.scale(4)
    world.run(900.0, 5.0)
    _rolled(world, 4, "dask:last")


def _something_happens(world: World, chance: random.Random) -> None:
    match chance.randrange(6):
        case 0:
            _edited(world, f"dask:{chance.randrange(3)}")
        case 1:
            world.scale(chance.randrange(10))
        case 2:
            world.restart_controller()
        case 3:
            world.retiring_takes = chance.choice([0.0, 20.0])
        case 4:
            if empty := [name for name in world.running() if not world.held.get(name)]:
                world.end(chance.choice(empty), "Failed")


# Cordoned nodes


def _is_left(world: World, workers: int, *nodes: str) -> None:
    """Check that all workers have left these nodes, with nothing lost, and that nothing is left to do."""
    assert len(world.running()) == workers
    assert not [name for node in nodes for name in world.on(node)]
    assert world.lost == []
    status = world.status()
    assert (status["replicas"], status["updatedReplicas"]) == (workers, workers)
    assert condition(status, "Progressing")["reason"] == "Settled"
    world.settle(600.0)
    world.now += HOUR
    assert world.plan() == ()


@pytest.mark.parametrize("workers", [1, 2, 5, 10])
@pytest.mark.parametrize("takes", [0.0, 30.0])
def test_workers_leave_a_cordoned_node_a_quarter_at_a_time_and_lose_nothing(workers: int, takes: float) -> None:
    world = _world(workers)
    world.retiring_takes = takes
    held, others = sum(world.held.values()), set(world.running()) - world.on("node-0") - world.on("node-1")
    world.cordon("node-0", "node-1")
    _watched(world, lambda: workers, 600)
    assert sum(world.held.values()) == held
    assert others <= set(world.running()), "nobody else leaves"
    _is_left(world, workers, "node-0", "node-1")


def test_while_they_leave_the_status_says_why() -> None:
    world = _world(4)
    world.retiring_takes = 30.0
    world.cordon("node-0")
    going = len(world.on("node-0"))
    world.step()
    status = world.status()
    progressing = condition(status, "Progressing")
    assert (progressing["status"], progressing["reason"]) == ("True", "LeavingNodes")
    assert progressing["message"].startswith(f"{going} workers are to leave nodes that are cordoned or tainted")
    assert status["updatedReplicas"] == 4, "their template is the current one"


def test_without_another_node_the_workers_of_a_cordoned_one_stay() -> None:
    world = _world(4)
    before = set(world.running())
    world.starts = lambda pod: pod.name in before
    world.unschedulable = lambda _: True
    world.cordon(*world.nodes)
    world.run(1200.0, 5.0)
    assert before <= set(world.running())
    world.cordon(*world.nodes, back=True)
    world.settle(600.0)
    assert set(world.running()) == before
    assert len(world.pods()) == 4, "those that were to come instead have gone"
    assert world.lost == []


def test_a_node_that_is_uncordoned_keeps_the_workers_that_are_still_there() -> None:
    world = _world(8)
    world.retiring_takes = 60.0
    world.cordon("node-0", "node-1", "node-2")
    world.run(10.0)
    before = set(world.running())
    world.cordon("node-0", "node-1", "node-2", back=True)
    world.run(300.0)
    assert len(world.running()) == 8
    assert len(before & set(world.running())) >= 7
    assert world.lost == []


def test_an_edit_while_nodes_are_cordoned_replaces_all() -> None:
    world = _world(8)
    world.cordon("node-0")
    world.run(5.0)
    _edited(world)
    _watched(world, lambda: 8, 600)
    _is_left(world, 8, "node-0")
    assert {_image(world, name) for name in world.running()} == {"dask:2"}


@pytest.mark.parametrize("wanted", [1, 2, 12])
def test_a_group_is_scaled_while_its_workers_leave_a_node(wanted: int) -> None:
    world = _world(8)
    world.cordon("node-0")
    world.run(3.0)
    world.scale(wanted)
    world.run(300.0)
    _is_left(world, wanted, "node-0")
    assert [name for name, times in world.names.items() if times > 1] == []
