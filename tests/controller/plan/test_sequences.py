"""Sequences of users' wishes and troubles: nothing is lost on the way, and the end is as wanted."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import given, settings
from tests.support.builders import raw_autoscaler, raw_cluster, raw_group
from tests.support.outcome import Outcome, difference, outcome
from tests.support.steps import Change, Step, Wanted, sequences
from tests.support.world import World

from dask_operator import parse
from dask_operator.actions import Delete, RequeueAt
from dask_operator.model import Pod, Problem
from dask_operator.plan.view import ENDED

Raw = dict[str, Any]
SEQUENCES = 300
STEPS = 14
_LATER = 160.0
"""Seconds until every pause is over: none is longer than five minutes."""


class _Made:
    """Manifests of the cluster `simple`."""

    def cluster(self, number: int) -> Raw:
        return _new(raw_cluster(workers=number))

    def group(self, name: str, number: int) -> Raw:
        return _new(raw_group(name, workers=number))

    def autoscaler(self, group: str, minimum: int, maximum: int) -> Raw:
        return _new(raw_autoscaler(workerGroup=group, minimum=minimum, maximum=maximum))


def _new(raw: Raw) -> Raw:
    """Return an object without its uid: it gets one that nothing had before."""
    return {**raw, "metadata": {"name": raw["metadata"]["name"]}}


class _Watched(World):
    """A world in which the controller must delete no worker that should stay."""

    def _delete(self, action: Delete) -> None:
        if action.subject.kind == "Pod" and self.has("Pod", action.name):
            pod = parse.pod(self.raw("Pod", action.name))
            assert self._may_go(pod), f"{action} is about a worker that is to stay"
        super()._delete(action)

    def _may_go(self, pod: Pod) -> bool:
        if self.has("DaskCluster", "simple") and self.raw("DaskCluster", "simple")["spec"].get("suspend"):
            return True
        group = next((group for group in self.observed().groups if group.name == pod.group), None)
        retired = pod.uid in self.observed().retired
        if not group or group.uid not in pod.owners or pod.phase in ENDED or retired:
            return True
        live = [each for each in self.pods(pod.group) if each.phase not in ENDED and group.uid in each.owners]
        return len(live) > group.replicas or pod.template != group.worker.hash


def _take(world: World, wanted: Wanted, step: Step) -> None:
    for change in wanted.take(step):
        _change(world, change)
    if does := _HAPPENS.get(step.what):
        does(world, step)
    world.step()
    world.run_pods()
    for name in (name for group in ("default", "gpu") for name in world.running(f"simple-{group}")):
        world.held.setdefault(name, 1000 * step.number)


def _change(world: World, change: Change) -> None:
    kind, name, spec, create = change
    if create and spec:
        world.put(spec)
    elif not world.has(kind, name):
        return
    elif spec is None:
        _gone(world, kind, name)
    else:
        world.edit(kind, name, **spec)


def _gone(world: World, kind: str, name: str) -> None:
    """Delete an object as somebody else, with its results."""
    pods = {pod.name for pod in world.observed().pods}
    world.remove(kind, name)
    for gone in pods - {pod.name for pod in world.observed().pods}:
        world.held.pop(gone, None)


def _worker(world: World, step: Step) -> Pod | None:
    """Return a worker of a group with a recorded ordinal, if any, since nobody can know of others once deleted."""
    last = {group.name: group.last_ordinal for group in world.observed().groups}
    pods = [pod for pod in world.pods(f"simple-{step.group}") if pod.ordinal <= last.get(pod.group, -1)]
    live = [pod for pod in pods if pod.phase not in ENDED]
    return live[step.number % len(live)] if live else None


def _worker_goes(world: World, step: Step) -> None:
    if pod := _worker(world, step):
        _gone(world, "Pod", pod.name)


def _worker_ends(world: World, step: Step) -> None:
    if pod := _worker(world, step):
        world.end(pod.name, "Failed" if step.what == "worker fails" else "Succeeded")


def _scheduler_goes(world: World, _: Step) -> None:
    for pod in world.observed().pods:
        if pod.component == "scheduler":
            world.remove("Pod", pod.name)


def _controller_is_killed(world: World, step: Step) -> None:
    # Writes run concurrently: any of them may have been done.
    random.Random(step.number).shuffle(planned := list(world.plan()))
    world.apply(planned, only=step.number)
    world.restart_controller()


def _quota(world: World, step: Step) -> None:
    world.refuses = lambda raw: (
        Problem("QuotaExceeded", f"no more than {step.number} pods")
        if raw["kind"] == "Pod" and len(world.observed().pods) >= step.number
        else None
    )


_HAPPENS: dict[str, Callable[[World, Step], object]] = {
    "worker is deleted": _worker_goes,
    "worker fails": _worker_ends,
    "worker ends": _worker_ends,
    "service is deleted": lambda world, _: world.remove("Service", "simple-scheduler"),
    "deployment is deleted": lambda world, _: world.remove("Deployment", "simple-scheduler"),
    "scheduler is deleted": _scheduler_goes,
    "scheduler falls silent": lambda world, _: setattr(world, "scheduler_answers", False),
    "scheduler answers": lambda world, _: setattr(world, "scheduler_answers", True),
    "scheduler asks for workers": lambda world, step: setattr(world, "target", step.number),
    "controller is killed": _controller_is_killed,
    "time passes": lambda world, step: world.run(10.0 * step.number, tick=10.0),
    "quota": _quota,
    "no quota": lambda world, _: setattr(world, "refuses", lambda _: None),
}


def _settle(world: World) -> None:
    """End all trouble, and let time pass."""
    world.refuses, world.scheduler_answers = lambda _: None, True
    world.held.clear()
    world.run(_LATER, tick=_LATER)


def _anew(wanted: Wanted, replicas: dict[str, int], target: int | None) -> Outcome:
    """Return the outcome of a world in which nothing but this was ever wanted."""
    world = World(None)
    world.target = target
    for raw in wanted.objects.values():
        world.put(raw)
    world.step()
    for group, number in replicas.items():
        world.scale(number, name=group)
    _settle(world)
    return outcome(world.objects())


@settings(max_examples=SEQUENCES, derandomize=True, database=None, deadline=None)
@given(sequences(STEPS))
def test_whatever_happens_the_end_is_what_is_wanted(sequence: Sequence[Step]) -> None:
    world, wanted = _Watched(None), Wanted("simple", _Made())
    world.target = 2
    for step in (Step("create cluster", number=3), *sequence):
        _take(world, wanted, step)
        if wanted.suspended:
            world.lost.clear()  # All results go with the scheduler.
        assert world.lost == []
        assert [name for name, times in world.names.items() if times > 1] == []
    _settle(world)
    for group, number in wanted.replicas.items():
        assert group not in wanted.groups or number in (None, world.replicas(group))
    replicas = {group: world.replicas(group) for group in wanted.groups}
    for group in replicas if wanted.has("DaskCluster", "simple") else ():
        assert len(world.running(group)) == (0 if wanted.suspended else replicas[group])
    differences = difference(outcome(world.objects()), _anew(wanted, replicas, world.target))
    assert not differences, differences
    assert [action for action in world.plan() if not isinstance(action, RequeueAt)] == []
    assert world.lost == []
