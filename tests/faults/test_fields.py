"""Each field of each kind, including those of Pods and Services, is edited and edited back on a real API server.

The outcome of an edit is compared with a new deployment of the same, under the same names in another namespace. The API
server refuses bad edits at once, if a schema or a rule covers them, or later as part of a Pod or a Service.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.support.fields import Edit, edits
from tests.support.fleet import Fleet, a_fleet, some_schedulers
from tests.support.manifests import ON_FAKE_NODES, dask_autoscaler, dask_job, worker_group
from tests.support.outcome import Outcome, difference
from tests.support.promises import BEFORE, FOR_EVER, promised, unlike
from tests.support.sampling import sampled
from tests.support.wait import happens, until

from dask_operator.kubernetes.api import path
from dask_operator.kubernetes.connection import CONNECTIONS
from dask_operator.kubernetes.errors import ApiError
from dask_operator.plan.report.conditions import by_type, is_true
from dask_operator.resources import POD, RESOURCES, SERVICE, Resource

pytestmark = pytest.mark.timeout(1200)
Raw = dict[str, Any]
PATIENCE = 300.0
_HELD_UP_FOR, _LOOKS = 3.0, 10


class Base(NamedTuple):
    """The object to edit: `make` returns it and the objects beside it. `lanes`: number of copies, side by side."""

    make: Callable[[Fleet, str], Sequence[Raw]]
    lanes: int
    own_fields_of_kubernetes: bool = False


def _job(fleet: Fleet, name: str) -> Raw:
    job = dask_job(name, 1, pods=ON_FAKE_NODES)
    job["spec"]["cluster"]["spec"] = fleet.cluster(name, 1)["spec"]
    return job


def _group(fleet: Fleet, name: str) -> Raw:
    return worker_group(f"{name}-gpu", name, 1, ON_FAKE_NODES)


BASES: Mapping[str, Base] = {
    # A job reports an edit within ten seconds.
    "job": Base(lambda fleet, name: [_job(fleet, name)], 40),
    # And an autoscaler within thirty.
    "scaler": Base(lambda fleet, name: [dask_autoscaler(name, name, 0, 5), fleet.cluster(name, 1)], 21),
    "cluster": Base(lambda fleet, name: [fleet.cluster(name, 1)], 16),
    "service": Base(lambda fleet, name: [fleet.cluster(name, 1)], 4, own_fields_of_kubernetes=True),
    "group": Base(lambda fleet, name: [_group(fleet, name), fleet.cluster(name, 0)], 24, own_fields_of_kubernetes=True),
}


@dataclass
class Tally:
    """Numbers of edits, and the broken promises."""

    fields: int = 0
    refused: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


@dataclass
class Lane:
    """A copy of a base, edited and edited back repeatedly. `anew`: the place of new deployments."""

    fleet: Fleet
    anew: Fleet
    name: str
    make: Callable[[Fleet, str], Sequence[Raw]]
    tally: Tally
    before: Outcome = field(default_factory=dict)

    @property
    def objects(self) -> Sequence[Raw]:
        return self.make(self.fleet, self.name)

    def found(self) -> Outcome:
        return self.fleet.outcome(self.name)

    async def run(self, todo: Iterator[Edit]) -> None:
        await self._begin()
        for edit in todo:
            try:
                end = await self._try(edit)
            except (AssertionError, ApiError) as error:
                self.tally.wrong.append(f"{edit} ({self.name}): {error}"[:600])
                await self._begin()
            else:
                self.tally.ends[end] += 1

    async def _begin(self) -> None:
        await _remove(self.fleet, self.name, self.objects)
        await _remove(self.anew, self.name, self.objects)
        await _deploy(self.fleet, self.objects)
        await until(self._is_sound, f"{self.name} is settled, without a problem", PATIENCE)
        self.before = self.found()

    def _is_sound(self) -> bool:
        # On a busy machine a scheduler's answer may be late, which is a problem until the next one.
        return _settled(self.fleet, self.name, self.objects) and not _held_up(self.fleet, self.name)

    async def _try(self, edit: Edit) -> str:
        """Try an edit, and return its outcome in a word.

        Raises AssertionError unless everything is as promised, then and after its reversal.
        """
        itself, *others = self.objects
        promise, edited = promised(edit), edit.of(itself)
        await _rewrite(self.fleet, edited, edit)
        end = "as before"
        if promise.like == BEFORE:
            await _until_none(lambda: unlike(self.found(), self.before, promise, itself=itself), "as before")
        else:
            await _deploy(self.anew, [edited, *others])
            end = await self._until_like_new(edit)
            await _remove(self.anew, self.name, self.objects)
        if promise.like == FOR_EVER:
            await self._begin()
            return "for ever"
        await _rewrite(self.fleet, itself, edit)
        await _until_none(lambda: unlike(self.found(), self.before, promise), "as it was, edited back")
        if difference(self.found(), self.before):
            await self._begin()
        return end

    async def _until_like_new(self, edit: Edit) -> str:
        def differences() -> list[str]:
            return unlike(self.found(), self.anew.outcome(self.name), promised(edit))

        for _ in range(_LOOKS):
            if not await happens(lambda: not differences() or _held_up(self.anew, self.name), PATIENCE):
                break
            if await happens(lambda: not differences(), _HELD_UP_FOR):
                return "like new"
            if _held_up(self.anew, self.name):
                return "not to be had anew either"
        raise AssertionError(f"not like new: {differences()[:5]}")


def test_fields(tmp_path: Path, figure: Callable[[str], None]) -> None:
    tally = asyncio.run(_try_all(tmp_path))
    ends = ", ".join(f"{number} {end}" for end, number in tally.ends.most_common())
    figure(f"{tally.fields} fields edited, with these ends: {ends}; {tally.refused} edits refused by schemas and rules")
    assert not tally.wrong, "\n".join([f"{len(tally.wrong)} are not as promised", *tally.wrong[:40]])


async def _try_all(folder: Path) -> Tally:
    tally = Tally()
    async with AsyncExitStack() as stack:
        schedulers = await stack.enter_async_context(some_schedulers())
        fleet, anew = [await stack.enter_async_context(a_fleet(schedulers, folder)) for _ in range(2)]
        kubernetes = _definitions()
        async with asyncio.TaskGroup() as lanes:
            for name, base in BASES.items():
                itself = base.make(fleet, f"{name}-0")[0]
                every = [
                    edit
                    for edit in edits(itself, kubernetes if base.own_fields_of_kubernetes else None)
                    if name not in ("cluster", "service") or (name == "service") == ("service" in edit.path)
                ]
                await _compare_verdicts(fleet, itself, every, tally)
                chosen = sampled(await _one_a_field(fleet, itself, [edit for edit in every if edit.accepted]))
                tally.fields += len(chosen)
                todo = iter(chosen)
                for number in range(base.lanes):
                    lanes.create_task(Lane(fleet, anew, f"{name}-{number:02}", base.make, tally).run(todo))
    return tally


def _definitions() -> Mapping[str, Raw]:
    """Return the API server's definitions of all kinds."""
    description = subprocess.run(["kubectl", "get", "--raw", "/openapi/v2"], capture_output=True, check=True)
    definitions: dict[str, Raw] = json.loads(description.stdout)["definitions"]
    return definitions


async def _compare_verdicts(fleet: Fleet, itself: Raw, every: Sequence[Edit], tally: Tally) -> None:
    """Check that the API server accepts and refuses what the schemas and rules do."""
    refusals = await _refusals(fleet, [(RESOURCES[edit.kind], edit.of(itself)) for edit in every])
    for edit, refusal in zip(every, refusals, strict=True):
        tally.refused += bool(refusal)
        if bool(refusal) == edit.accepted:
            tally.wrong.append(f"{edit}: {f'refused: {refusal}' if refusal else 'accepted'}"[:300])


async def _one_a_field(fleet: Fleet, itself: Raw, accepted: Sequence[Edit]) -> list[Edit]:
    """Return one edit of each field; one from which a Pod or a Service can be made, if it exists."""
    refusals = await _refusals(fleet, [_made_of(edit, edit.of(itself)) for edit in accepted])
    chosen: dict[tuple[str, ...], Edit] = {}
    possible = [edit for edit, refusal in zip(accepted, refusals, strict=True) if not refusal]
    for edit in (*possible, *accepted):
        chosen.setdefault(edit.path, edit)
    return list(chosen.values())


def _made_of(edit: Edit, edited: Raw) -> tuple[Resource, Raw]:
    """Return the Pod or the Service that an edit affects, or the object itself."""
    at: Any = edited
    for name in edit.path:
        if name == "service":
            return SERVICE, {"kind": SERVICE.kind, "metadata": {"name": "a"}, "spec": at.get(name)}
        at = at.get(name) if isinstance(at, dict) else None
        if isinstance(at, dict) and "containers" in at:
            spec = {**at, "restartPolicy": at.get("restartPolicy") or "OnFailure"}
            return POD, {"kind": POD.kind, "metadata": {"name": "a"}, "spec": spec}
    return RESOURCES[edit.kind], edited


async def _refusals(fleet: Fleet, made: Sequence[tuple[Resource, Raw]]) -> list[str]:
    """Return the API server's reason to refuse each object, or ""."""
    free = asyncio.Semaphore(CONNECTIONS)

    async def refusal(resource: Resource, manifest: Raw) -> str:
        async with free:
            return await _refusal(fleet, resource, manifest)

    return await asyncio.gather(*(refusal(*each) for each in made))


async def _refusal(fleet: Fleet, resource: Resource, manifest: Raw) -> str:
    try:
        await fleet.api.request("POST", path(resource, fleet.namespace), manifest, params={"dryRun": "All"})
    except ApiError as error:
        if not error.code:
            raise
        return error.message
    return ""


async def _deploy(fleet: Fleet, objects: Sequence[Raw]) -> None:
    for raw in reversed(objects):
        await fleet.create(raw)


async def _remove(fleet: Fleet, name: str, objects: Sequence[Raw]) -> None:
    for raw in objects:
        await fleet.delete(raw["kind"], raw["metadata"]["name"])
    await until(lambda: not fleet.mirror.of(name), f"{name} is gone", PATIENCE)


async def _rewrite(fleet: Fleet, wanted: Raw, edit: Edit) -> None:
    """Write an edited object, as its user."""
    what = edit.path[:2] if edit.path[0] == "metadata" else edit.path[:1]
    value: Any = wanted
    for name in what:
        value = value.get(name) or {}
    body = [{"op": "add", "path": "/" + "/".join(what), "value": value}]
    await fleet.patch(wanted["kind"], wanted["metadata"]["name"], body)


async def _until_none(look: Callable[[], list[str]], what: str) -> None:
    if not await happens(lambda: not look(), PATIENCE):
        raise AssertionError(f"not {what}: {look()[:5]}")


def _settled(fleet: Fleet, name: str, declared: Sequence[Raw]) -> bool:
    """Return whether every object exists and reports that it is as wanted. Each kind is seen at its own time."""
    there = {(raw["kind"], raw["metadata"]["name"]): raw for raw in fleet.mirror.of(name)}
    made = [
        ("Service", f"{name}-scheduler"),
        ("Deployment", f"{name}-scheduler"),
        ("DaskWorkerGroup", f"{name}-default"),
    ]
    say = [("DaskCluster", name), *((raw["kind"], raw["metadata"]["name"]) for raw in declared)]
    if not there.keys() >= {*made, *say}:
        return False
    pods = [raw for raw in there.values() if raw["kind"] == "Pod"]
    wanted = sum(raw["spec"]["worker"]["replicas"] for (kind, _), raw in there.items() if kind == "DaskWorkerGroup")
    runners = ("DaskJob", name) in say
    # The groups of a job's cluster leave their status to that cluster.
    say += [] if runners else [made[-1]]
    run = [pod.get("status", {}).get("phase") == "Running" for pod in pods]
    return all(run) and len(pods) == 1 + wanted + runners and all(_is_settled(there[key]) for key in say)


def _is_settled(raw: Raw) -> bool:
    status = raw.get("status", {})
    reasons = {type_: condition["reason"] for type_, condition in by_type(status).items()}
    said = {"DaskAutoscaler": reasons.get("ScalingActive"), "DaskJob": status.get("jobStatus")}
    wanted = {"DaskAutoscaler": "FollowsScheduler", "DaskJob": "Running"}
    settled: bool = said.get(raw["kind"], reasons.get("Progressing")) == wanted.get(raw["kind"], "Settled")
    return settled


def _held_up(fleet: Fleet, name: str) -> bool:
    """Return whether an obstacle, such as a Pod that cannot be created, holds a cluster up."""
    return any(is_true(by_type(raw.get("status", {})), "Degraded") for raw in fleet.mirror.of(name))
