from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from tests.support.builders import (
    CLUSTER_UID,
    NOON,
    NOON_TEXT,
    a_cluster,
    a_demand,
    a_deployment,
    a_failed_pod,
    a_failed_runner,
    a_group,
    a_job,
    a_pod,
    a_service,
    a_survey,
    an_autoscaler,
    an_idleness,
    changes,
    condition,
    seen,
    statuses,
)

from dask_operator.actions import Action, Ask, Create, Delete, Patch, RecordEvent, Retire, SetStatus
from dask_operator.model import Cluster, Group, Listening, ObjectRef, Observed, Template, Written
from dask_operator.plan import plan

WHY = "has 1,350,668 bytes, and at most 393,216 are read"
EMPTY: dict[str, Any] = {"unread": WHY, "worker": Template(), "generation": 2, "status": {}}
"""The known fields of an object that is too large."""
OTHER = {
    "type": "Progressing",
    "status": "False",
    "reason": "Settled",
    "message": "m",
    "lastTransitionTime": NOON_TEXT,
    "observedGeneration": 1,
}


def _large_cluster(**others: Any) -> Cluster:
    unknown = {"scheduler": Template(), "service": Template(), "listening": Listening(), "ports": ()}
    return replace(a_cluster(workers=None), **EMPTY | unknown | others)


def _large_group(name: str = "simple-default", **others: Any) -> Group:
    unknown = {"replicas": 1, "replicas_unset": True, "copied": "", "template": "", "last_ordinal": -1}
    return replace(a_group(name), **EMPTY | unknown | others)


def _done(actions: Sequence[Action]) -> list[Action]:
    """Return the changes and questions."""
    return [each for each in actions if isinstance(each, Create | Patch | Delete | Retire | Ask)]


def _said(actions: Sequence[Action], subject: str) -> dict[str, Any]:
    return dict(statuses(actions)[subject])


def _written(observed: Observed, subject: str, status: dict[str, Any]) -> Observed:
    """Return the state after a write of a status, for its groups and autoscalers."""
    kind, name = subject.split("/")
    field = {"DaskWorkerGroup": "groups", "DaskAutoscaler": "autoscalers"}[kind]
    there: Any = {field: tuple(replace(o, status=status) if o.name == name else o for o in getattr(observed, field))}
    return replace(observed, **there)


WORLDS: dict[str, Observed] = {
    "nothing": seen(0, groups=[], scheduler=None, service=None, deployment=None),
    "no workers": seen(0),
    "too many workers": seen(5, survey=a_survey(list(map(a_pod, range(5))), at=NOON - 1)),
    "failed workers": seen([a_failed_pod(0, finished=NOON - 600.0), a_pod(1)]),
    "of other templates": seen(3, service=a_service(template="x"), deployment=a_deployment(template="x")),
    "of another operator": seen(3, service=a_service(template=""), deployment=a_deployment(template="")),
    "removed group": seen(3, groups=[]),
    "retired": seen(3, retired=frozenset({a_pod(0).uid})),
    "group that says no replicas": seen(3, groups=[a_group(replicas_unset=True)]),
    "ownerless group": seen(3, groups=[a_group(owner=None)]),
    "idle": seen(3, idleness=an_idleness(since=NOON - 10_000.0)),
    "autoscaled": seen(3, autoscalers=(an_autoscaler(minimum=7),), demand=a_demand(9, 9)),
}


@pytest.mark.parametrize("world", WORLDS)
def test_nothing_is_done_for_a_cluster_that_is_too_large(world: str) -> None:
    done = _done(plan(_large_cluster(idle_timeout=1.0), WORLDS[world], NOON))
    assert done == []


def test_a_cluster_that_is_too_large_says_so_once_beside_what_it_said() -> None:
    cluster = _large_cluster(status={"conditions": [OTHER]})
    actions = plan(cluster, seen(3), NOON)
    status = _said(actions, "DaskCluster/simple")
    assert set(status) == {"conditions", "observedGeneration"}, "the rest of its status stays"
    assert status["conditions"][0] == OTHER
    degraded = condition(status, "Degraded")
    assert (degraded["status"], degraded["reason"]) == ("True", "ObjectTooLarge")
    assert degraded["message"].startswith(f"DaskCluster simple {WHY}; its objects stay unchanged")
    assert "ConfigMap" in degraded["message"]
    (event,) = [each for each in actions if isinstance(each, RecordEvent)]
    assert (event.reason, event.type) == ("ObjectTooLarge", "Warning")
    assert plan(replace(cluster, status=status), seen(3), NOON + 1000.0) == (), "also after a restart"


def test_one_that_was_edited_to_be_smaller_goes_on() -> None:
    status = _said(plan(_large_cluster(), seen(3), NOON), "DaskCluster/simple")
    actions = plan(a_cluster(workers=3, status=status), seen(3), NOON + 10.0)
    assert condition(_said(actions, "DaskCluster/simple"), "Degraded")["status"] == "False"
    assert [each.reason for each in actions if isinstance(each, RecordEvent)] == ["Recovered"]
    assert len(changes(plan(a_cluster(workers=3, status=status), seen(2, groups=[a_group(last_ordinal=1)]), NOON))) == 1


def test_one_that_is_being_deleted_says_nothing() -> None:
    assert plan(_large_cluster(deleting=True), seen(3), NOON) == ()


GROUP_WORLDS: dict[str, Observed] = {
    "no workers": seen(0, groups=[_large_group()]),
    "workers": seen(5, groups=[_large_group()]),
    "failed workers": seen([a_failed_pod(0, finished=NOON - 600.0)], groups=[_large_group()]),
    "ownerless": seen(3, groups=[_large_group(owners=(), cluster_uid="")]),
    "moved": seen(3, groups=[_large_group(moved=True)]),
    "asked": seen(5, groups=[_large_group()], survey=a_survey(list(map(a_pod, range(5))), at=NOON - 1)),
}


@pytest.mark.parametrize("world", GROUP_WORLDS)
def test_nothing_is_done_for_a_group_that_is_too_large(world: str) -> None:
    assert _done(plan(a_cluster(), GROUP_WORLDS[world], NOON)) == []


def test_a_group_that_is_too_large_and_its_cluster_say_so_once() -> None:
    observed = seen(4, groups=[_large_group(status={"conditions": [OTHER]})])
    actions = plan(a_cluster(), observed, NOON)
    group, cluster = _said(actions, "DaskWorkerGroup/simple-default"), _said(actions, "DaskCluster/simple")
    assert group["conditions"][0] == OTHER
    assert condition(group, "Degraded")["reason"] == condition(cluster, "Degraded")["reason"] == "ObjectTooLarge"
    assert condition(cluster, "Degraded")["message"].startswith(
        f"group simple-default: DaskWorkerGroup simple-default {WHY}"
    )
    assert condition(cluster, "WorkersReady")["status"] == "True", "as it is what it should be that is not known"
    assert condition(cluster, "Progressing")["reason"] == "Settled"
    assert (cluster["replicas"], cluster["updatedReplicas"]) == (4, 4)
    after = _written(observed, "DaskWorkerGroup/simple-default", group)
    assert plan(a_cluster(status=cluster), after, NOON + 1000.0) == ()


def test_a_group_that_is_too_large_holds_up_no_other() -> None:
    other = a_group("simple-b", workers=1)
    created = [
        each for each in plan(a_cluster(), seen(3, groups=[_large_group(), other]), NOON) if isinstance(each, Create)
    ]
    assert [each.subject.name for each in created] == ["simple-b-worker-*"]


def test_a_group_that_is_too_large_and_has_no_cluster_says_so() -> None:
    group = _large_group(owners=(), cluster_uid="")
    actions = plan(None, seen(0, groups=[group], scheduler=None, service=None, deployment=None), NOON)
    assert condition(_said(actions, "DaskWorkerGroup/simple-default"), "Degraded")["reason"] == "ObjectTooLarge"
    assert _done(actions) == []


def test_a_job_that_is_too_large_goes_on_as_it_is_and_says_so_once() -> None:
    before = {"type": "Complete", "status": "False", "reason": "Unfinished", "message": "m"}
    large: dict[str, Any] = {
        "unread": WHY,
        "backoff_limit": None,
        "deadline": None,
        "ttl": None,
        "status": {"conditions": [before]},
    }
    job = replace(a_job(), **large)
    runner = a_failed_runner()
    observed = seen([runner], job=job)
    cluster = a_cluster(owners=(job.uid,), job=job.name)
    actions = plan(cluster, observed, NOON)
    status = _said(actions, "DaskJob/simple")
    assert status["conditions"][0] == before
    assert condition(status, "Degraded")["reason"] == "ObjectTooLarge"
    assert [each for each in _done(actions) if not isinstance(each, Create)] == []
    again = plan(cluster, replace(observed, job=replace(job, status=status)), NOON + 1.0)
    assert "DaskJob/simple" not in statuses(again)
    assert _done(plan(None, seen(0, groups=[], scheduler=None, service=None, deployment=None, job=job), NOON)) == []


@pytest.mark.parametrize("runner", [None, a_failed_runner(finished=NOON - 600.0)])
def test_a_job_whose_cluster_is_too_large_starts_no_runner_and_says_why(runner: Any) -> None:
    job = a_job(status={"failed": 1} if runner else {})
    cluster = _large_cluster(owners=(job.uid,), job=job.name)
    actions = plan(cluster, seen([runner] if runner else [], job=job), NOON)
    assert _done(actions) == []
    said = condition(_said(actions, "DaskJob/simple"), "Degraded")["reason"]
    assert said == ("Error" if runner else "ObjectTooLarge"), "what is wrong with its runner comes first"


def _scaled(*autoscalers: Any, group: Group | None = None) -> Observed:
    return seen(3, groups=[group or a_group()], autoscalers=autoscalers, demand=a_demand(9, 9))


def test_an_autoscaler_that_is_too_large_scales_nothing_and_says_so_once() -> None:
    status = {"conditions": [], "desiredReplicas": 4}
    large = replace(an_autoscaler(), unread=WHY, minimum=0, maximum=None, status=status)
    younger = an_autoscaler("younger", minimum=7, created=NOON)
    observed = _scaled(large, younger)
    actions = plan(a_cluster(), observed, NOON)
    assert _done(actions) == []
    said = _said(actions, "DaskAutoscaler/simple")
    assert set(said) == {"conditions", "observedGeneration"}
    for type_ in ("ScalingActive", "ScalingLimited"):
        assert (condition(said, type_)["status"], condition(said, type_)["reason"]) == ("False", "ObjectTooLarge")
    other = condition(_said(actions, "DaskAutoscaler/younger"), "ScalingActive")
    assert other["reason"] == "AnotherAutoscaler", "nobody scales in its place"
    again = plan(a_cluster(), _written(observed, "DaskAutoscaler/simple", said), NOON + 1.0)
    assert "DaskAutoscaler/simple" not in statuses(again)


def test_an_autoscaler_of_a_group_or_cluster_that_is_too_large_says_so() -> None:
    of_group = plan(a_cluster(), _scaled(an_autoscaler(minimum=7), group=_large_group()), NOON)
    of_cluster = plan(_large_cluster(), _scaled(an_autoscaler(minimum=7)), NOON)
    for actions, what in ((of_group, "DaskWorkerGroup simple-default has"), (of_cluster, "DaskCluster simple has")):
        assert _done(actions) == []
        active = condition(_said(actions, "DaskAutoscaler/simple"), "ScalingActive")
        assert (active["status"], active["reason"]) == ("False", "ObjectTooLarge")
        assert active["message"].startswith(what)


def test_where_definitions_keep_no_status_it_is_written_once() -> None:
    cluster, observed = _large_cluster(), seen(3)
    (wanted,) = [each for each in plan(cluster, observed, NOON) if isinstance(each, SetStatus)]
    written = {ObjectRef("DaskCluster", "simple"): Written(NOON, wanted.status, CLUSTER_UID, inline=True)}
    assert plan(replace(cluster, generation=3), replace(observed, written=written), NOON + 100.0) == ()
