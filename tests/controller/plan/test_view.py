from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
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

from dask_operator.model import Departure, Failure, Group, ObjectRef, Observed, Pod
from dask_operator.plan import Policy, plan
from dask_operator.plan.view import View, Workers, blocked, live, owned


def _workers(pods: Sequence[Pod], *, group: Group = a_group(), **others: Any) -> Workers:
    return View.of(a_cluster(), seen(pods, groups=[group], **others)).workers[group.name]


def _scheduler(observed: Observed) -> Pod | None:
    return View.of(a_cluster(), observed).scheduler


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
    assert _workers(own + others).pods == own


@pytest.mark.parametrize("own", [True, False])
def test_addresses_of_ipv6_are_the_clusters_own_or_those_of_all(own: bool) -> None:
    assert View.of(a_cluster(ipv6=own), seen(0)).cluster.ipv6 is own
    assert View.of(a_cluster(ipv6=own), seen(0), Policy(ipv6=True)).cluster.ipv6


@pytest.mark.parametrize("label", ["", "simple-gpu", "another"])
def test_a_worker_whose_label_was_changed_is_still_its_owners(label: str) -> None:
    relabelled = replace(a_pod(0), group=label)
    observed = seen([relabelled, a_pod(1)], groups=[a_group(), a_group("simple-gpu")])
    view = View.of(a_cluster(), observed)
    assert view.workers["simple-default"].pods == [relabelled, a_pod(1)]
    assert (view.workers["simple-gpu"].pods, view.removed) == ([], {})


def test_pods_live_until_they_end_or_are_deleted() -> None:
    alive = [a_pod(0), a_pending_pod(1), a_pod(2, phase="Unknown")]
    assert live([*alive, a_failed_pod(3), a_pod(4, phase="Succeeded"), a_pod(5, deleting=True)]) == alive


def test_workers_are_sorted_by_what_becomes_of_them() -> None:
    old, moved, moving, gone, ended, pending = (
        a_pod(0, template="older"),
        a_pod(1),
        a_pod(2, template="older"),
        a_failed_pod(3),
        a_failed_pod(4),
        a_pending_pod(5),
    )
    retired = frozenset({moved.uid, gone.uid})
    workers = _workers(
        [old, moved, moving, gone, ended, pending, a_pod(6, deleting=True)],
        retired=retired,
        retiring=dict.fromkeys({moving.uid}, Departure(final=True)),
    )
    assert (workers.new, workers.old) == ([pending], [old])
    assert list(workers.staying) == [pending, old]
    assert workers.leaving == [moved, moving]
    assert workers.retired == [moved, gone]
    assert workers.ended == [ended]
    assert workers.ready == 1
    assert (workers.highest, workers.highest_going) == (6, 6)
    assert workers.ordinals == frozenset(range(7))


def test_without_a_note_a_pod_is_of_the_template_that_was_taken_over() -> None:
    unknown = a_pod(0, template="")
    assert _workers([unknown]).new == [unknown]
    assert _workers([unknown], group=a_group(adopted_template="older")).old == [unknown]


def test_workers_of_a_group_that_is_gone_or_going_are_of_a_removed_one() -> None:
    orphan = a_pod(0, group="simple-gpu", owners=("uid-of-simple-gpu", "uid-of-simple"))
    stranger = a_pod(1, group="simple-gpu", owners=("uid-of-simple-gpu",))
    for groups in ([], [a_group("simple-gpu", deleting=True)]):
        view = View.of(a_cluster(), seen([orphan, stranger], groups=groups))
        assert list(view.workers) == []
        assert view.removed["simple-gpu"].old == [orphan]
        assert view.removed["simple-gpu"].group.replicas == 0


def test_a_group_without_a_number_keeps_the_workers_that_it_has() -> None:
    unset = a_group(workers=1, replicas_unset=True)
    assert _workers([a_pod(0), a_pod(1), a_failed_pod(2)], group=unset).group.replicas == 2
    assert _workers([], group=unset).group.replicas == 1


def test_the_clusters_status_has_ordinals_that_its_groups_have_not() -> None:
    cluster = a_cluster(status={"lastOrdinals": {"simple-default": 7, "simple-gpu": "x"}})
    view = View.of(cluster, seen(groups=[a_group(last_ordinal=3), a_group("simple-gpu", last_ordinal=9)]))
    assert [group.last_ordinal for group in view.groups] == [7, 9]


def test_the_schedulers_pod_is_the_newest_that_lives() -> None:
    old, new = a_scheduler_pod(name="old", created=1.0), a_scheduler_pod(name="new", created=2.0)
    assert _scheduler(seen([old, new], scheduler=None)) == new
    gone = a_scheduler_pod(name="gone", created=3.0, deleting=True)
    assert _scheduler(seen([old, new, gone], scheduler=None)) == new
    assert _scheduler(seen(3, scheduler=None)) is None


def test_the_default_group_is_by_name_and_the_clusters_own() -> None:
    gpu = a_group("simple-gpu")
    assert View.of(a_cluster(), seen(groups=[gpu, a_group()])).default_group == a_group()
    assert View.of(a_cluster(), seen(groups=[gpu])).default_group is None
    assert View.of(a_cluster(), seen(groups=[a_group(deleting=True)])).default_group is None
    assert View.of(a_cluster(), seen(groups=[a_group(owner="uid-of-a-namesake")])).default_group is None


def test_a_failure_blocks_until_its_time() -> None:
    subject, failure = ObjectRef("Pod", "simple-default"), a_failure(until=NOON + 5.0)
    observed = seen(failures={subject: failure})
    assert blocked(subject, observed, NOON) == failure
    assert blocked(subject, observed, NOON + 5.0) is None
    assert blocked(ObjectRef("Pod", "simple-gpu"), observed, NOON) is None


class _Counting(tuple[Pod, ...]):
    """Pods that count the iterations over all of them."""

    walks = 0

    def __iter__(self) -> Iterator[Pod]:
        _Counting.walks += 1
        return super().__iter__()


@pytest.mark.parametrize(
    "failures", [{}, {ObjectRef("Service", "gone"): a_failure(), ObjectRef("Pod", "gone"): a_failure()}]
)
def test_a_plan_walks_over_all_pods_once_whatever_was_refused(failures: dict[ObjectRef, Failure]) -> None:
    observed = replace(seen(3, failures=failures), pods=_Counting(seen(3).pods))
    _Counting.walks = 0
    plan(a_cluster(), observed, NOON)
    assert _Counting.walks == 1
