"""Each field of each kind is edited, and edited back. Both times the end is that of what is deployed anew.

What is promised otherwise, and why, is in PROMISES alone.
"""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
from tests.support.builders import raw_autoscaler, raw_cluster, raw_group, raw_job
from tests.support.fields import Edit, edits
from tests.support.outcome import Outcome, difference, outcome
from tests.support.world import World

Raw = dict[str, Any]

NEW, BEFORE, FOR_EVER = "new", "before", "for ever"
_ITSELF = r"(metadata|spec)/"


class Promise(NamedTuple):
    """What comes of an edit that fits `edit`: NEW, as what is deployed so, BEFORE, as before, or NEW and FOR_EVER.

    `but`: differences that may be besides that.
    """

    edit: str
    like: str
    but: str
    because: str


PROMISES = (
    Promise(
        r"\w+ metadata\.",
        BEFORE,
        "",
        "an object's own labels and annotations reach what is made from then on, and restart nothing (README)",
    ),
    Promise(
        r"DaskJob spec\.activeDeadlineSeconds = [0-9]",
        FOR_EVER,
        "",
        "it has passed, and a job that has ended is never started again (plan/job)",
    ),
    Promise(
        r"DaskJob spec\.",
        BEFORE,
        "",
        "a job's cluster and runner are made once, as a Kubernetes Job's Pod is",
    ),
    Promise(
        r"\w+ spec\.worker\.replicas removed",
        BEFORE,
        r"DaskWorkerGroup simple-default/0/metadata/annotations/kubernetes.dask.org/replicas",
        "where nobody says how many workers there are to be, they stay as many as they are (CRD)",
    ),
    Promise(
        r"DaskCluster spec\.scheduler\.service(\.ports\S* |\[\]\.port = | = {})",
        NEW,
        r'Pod .*-worker-#/\d+/spec/containers/0/env/1/value: "tcp:',
        "a worker keeps the address that it was started with, and its connection; what restarts it is its own template",
    ),
    Promise(
        r"DaskCluster spec\.scheduler\.service\.fieldOfKubernetes",
        NEW,
        r"Service simple-scheduler/0/spec/fieldOfKubernetes",
        "which fields of a Service fall back to their defaults is known by name: tests/faults/test_fields.py has them all",
    ),
)
_ANY = Promise("", NEW, "", "README")


def _bare(raw: Raw) -> Raw:
    return {**raw, "metadata": {"name": raw["metadata"]["name"]}}


CLUSTER = _bare(raw_cluster(workers=2))
BASES = {
    "DaskCluster": (CLUSTER,),
    "DaskWorkerGroup": (_bare(raw_group("simple-gpu", workers=2)), CLUSTER),
    "DaskAutoscaler": (_bare(raw_autoscaler()), CLUSTER),
    "DaskJob": (_bare(raw_job(workers=2)),),
}
# The groups of a job's cluster write their status every five minutes.
SETTLED = {kind: 320.0 if kind == "DaskJob" else 40.0 for kind in BASES}


def _deployed(objects: Sequence[Raw]) -> World:
    world = World(None)
    world.target = 2
    for raw in objects:
        world.put(raw)
    _settle(world, objects[0]["kind"])
    return world


def _settle(world: World, kind: str) -> None:
    world.run(SETTLED[kind], tick=SETTLED[kind])


def _promised(edit: Edit) -> Promise:
    return next((promise for promise in PROMISES if re.match(promise.edit, str(edit))), _ANY)


@functools.cache
def _original(kind: str) -> World:
    return _deployed(BASES[kind])


def _broken(edit: Edit) -> list[str]:
    """What is not as it is promised after an edit and after its reversal."""
    base, *others = BASES[edit.kind]
    promise, edited, world = _promised(edit), edit.of(base), copy.deepcopy(_original(edit.kind))
    before = _end(world)
    world.rewrite(edited)
    _settle(world, edit.kind)
    after = _end(world)
    if promise.like == BEFORE:
        broken = _unlike(after, before, promise, itself=base)
    else:
        broken = _unlike(after, _end(_deployed([edited, *others])), promise)
    world.rewrite(base)
    _settle(world, edit.kind)
    if promise.like == FOR_EVER:
        return broken + _unlike(_end(world), after, promise, itself=base)
    return broken + _unlike(_end(world), before, promise)


def _end(world: World) -> Outcome:
    return outcome(world.objects())


def _unlike(found: Outcome, promised: Outcome, promise: Promise, itself: Raw | None = None) -> list[str]:
    own = rf"{itself['kind']} {itself['metadata']['name']}/0/{_ITSELF}" if itself else "(?!)"
    but = promise.but or "(?!)"
    return [line for line in difference(found, promised) if not re.match(rf"{own}|{but}", line)]


@pytest.mark.parametrize("kind", BASES)
def test_a_field_is_edited_and_edited_back(kind: str) -> None:
    every = list(edits(BASES[kind][0]))
    tried = [edit for edit in every if edit.accepted]
    fields = {edit.path for edit in tried}
    print(f"{kind}: {len(fields)} fields, {len(tried)} edits; {len(every) - len(tried)} refused by the schema")
    inside = {path[:n] for path in fields for n in range(len(path) + 1)}
    assert {edit.path for edit in every} <= inside, "each has another value that is accepted, or a field that has"
    broken = {str(edit): lines for edit in tried if (lines := _broken(edit))}
    assert not broken, "\n".join(
        [f"{len(broken)} of {len(tried)}", *(f"{each}: {broken[each]}"[:500] for each in broken)]
    )


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.because[:40])
def test_each_promise_is_about_something(promise: Promise) -> None:
    every = (edit for base, *_ in BASES.values() for edit in edits(base))
    assert any(_promised(edit) == promise for edit in every if edit.accepted)
