"""Each field of each kind is edited, and edited back. Both times the end is that of a new deployment.

Only tests/support/promises.py has exceptions, with their reasons.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from tests.support.builders import raw_autoscaler, raw_cluster, raw_group, raw_job
from tests.support.fields import Edit, edits
from tests.support.outcome import Outcome, outcome
from tests.support.promises import BEFORE, FOR_EVER, PROMISES, Promise, promised, unlike
from tests.support.world import World

Raw = dict[str, Any]


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


@functools.cache
def _original(kind: str) -> World:
    return _deployed(BASES[kind])


def _broken(edit: Edit) -> list[str]:
    """Return the broken promises after an edit and after its reversal."""
    base, *others = BASES[edit.kind]
    promise, edited, world = promised(edit), edit.of(base), copy.deepcopy(_original(edit.kind))
    before = _end(world)
    world.rewrite(edited)
    _settle(world, edit.kind)
    after = _end(world)
    if promise.like == BEFORE:
        broken = unlike(after, before, promise, itself=base)
    else:
        broken = unlike(after, _end(_deployed([edited, *others])), promise)
    world.rewrite(base)
    _settle(world, edit.kind)
    if promise.like == FOR_EVER:
        return broken + unlike(_end(world), after, promise, itself=base)
    return broken + unlike(_end(world), before, promise)


def _end(world: World) -> Outcome:
    return outcome(world.objects())


@pytest.mark.parametrize("kind", BASES)
def test_a_field_is_edited_and_edited_back(kind: str, figure: Callable[[str], None]) -> None:
    every = list(edits(BASES[kind][0]))
    tried = [edit for edit in every if edit.accepted]
    fields = {edit.path for edit in tried}
    figure(f"{kind}: {len(fields)} fields, {len(tried)} edits; {len(every) - len(tried)} refused by the schema")
    inside = {path[:n] for path in fields for n in range(len(path) + 1)}
    assert {edit.path for edit in every} <= inside, "each has another value that is accepted, or a field that has"
    broken = {str(edit): lines for edit in tried if (lines := _broken(edit))}
    assert not broken, "\n".join(
        [f"{len(broken)} of {len(tried)}", *(f"{each}: {broken[each]}"[:500] for each in broken)]
    )


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.because[:40])
def test_each_promise_is_about_something(promise: Promise) -> None:
    every = (edit for base, *_ in BASES.values() for edit in edits(base))
    assert any(promised(edit) == promise for edit in every if edit.accepted)
