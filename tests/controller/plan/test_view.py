from __future__ import annotations

from tests.support.builders import (
    NOON,
    a_cluster,
    a_failed_pod,
    a_failure,
    a_group,
    a_pending_pod,
    a_pod,
    a_scheduler_pod,
    a_service,
    seen,
)

from dask_operator.model import ObjectRef
from dask_operator.plan.view import blocked, default_group, leaving, live, owned, scheduler_pod, workers


def test_a_child_is_its_owners_or_nobodys() -> None:
    assert owned(a_service(), a_cluster())
    assert owned(a_service(owners=()), a_cluster())
    assert not owned(a_service(owners=("another",)), a_cluster())
    assert not owned(None, a_cluster())


def test_workers_are_the_groups_own_in_any_state() -> None:
    own = [a_pod(0), a_failed_pod(1), a_pending_pod(2), a_pod(3, deleting=True), a_pod(4, owners=())]
    others = [
        a_pod(5, group="simple-gpu"),
        a_pod(7, group="simple-gpu", owners=()),
        a_pod(6, owners=("uid-of-a-namesake",)),
        a_scheduler_pod(),
    ]
    assert workers(a_group(), seen(own + others)) == own


def test_pods_live_until_they_end_or_are_deleted() -> None:
    alive = [a_pod(0), a_pending_pod(1), a_pod(2, phase="Unknown")]
    assert live([*alive, a_failed_pod(3), a_pod(4, phase="Succeeded"), a_pod(5, deleting=True)]) == alive


def test_who_is_retired_or_being_retired_leaves() -> None:
    pods = [a_pod(number) for number in range(3)]
    observed = seen(pods, retired=frozenset({pods[0].uid}), retiring=frozenset({pods[1].uid}))
    assert [leaving(pod, observed) for pod in pods] == [True, True, False]


def test_the_schedulers_pod_is_the_newest_that_lives() -> None:
    old, new = a_scheduler_pod(name="old", created=1.0), a_scheduler_pod(name="new", created=2.0)
    assert scheduler_pod(seen([old, new], scheduler=None)) == new
    gone = a_scheduler_pod(name="gone", created=3.0, deleting=True)
    assert scheduler_pod(seen([old, new, gone], scheduler=None)) == new
    assert scheduler_pod(seen(3, scheduler=None)) is None


def test_the_default_group_is_by_name_and_the_clusters_own() -> None:
    gpu = a_group("simple-gpu")
    assert default_group(a_cluster(), seen(groups=[gpu, a_group()])) == a_group()
    assert default_group(a_cluster(), seen(groups=[gpu])) is None
    assert default_group(a_cluster(), seen(groups=[a_group(deleting=True)])) is None
    assert default_group(a_cluster(), seen(groups=[a_group(owner="uid-of-a-namesake")])) is None


def test_a_failure_blocks_until_its_time() -> None:
    subject, failure = ObjectRef("Pod", "simple-default"), a_failure(until=NOON + 5.0)
    observed = seen(failures={subject: failure})
    assert blocked(subject, observed, NOON) == failure
    assert blocked(subject, observed, NOON + 5.0) is None
    assert blocked(ObjectRef("Pod", "simple-gpu"), observed, NOON) is None
