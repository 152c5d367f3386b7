from __future__ import annotations

from tests.client.operator.objects import NOT_READY, a_cluster, a_group, a_scheduler, a_worker, deleted, seen

from dask_kubernetes.operator.diagnosis import facts
from dask_kubernetes.operator.diagnosis.facts import Snapshot


def test_a_scheduler_is_ready_that_stays() -> None:
    assert facts.scheduler_ready(seen(a_scheduler()))
    assert not facts.scheduler_ready(seen(a_scheduler(conditions=[NOT_READY])))
    assert not facts.scheduler_ready(seen(deleted(a_scheduler())))
    assert not facts.scheduler_ready(seen(a_worker(0)))
    assert facts.scheduler_ready(seen(deleted(a_scheduler()), a_scheduler(name="mine-scheduler-1")))


def test_groups_that_go_are_left_out_and_the_default_one_is_first() -> None:
    snapshot = seen(groups=(a_group("a-group"), deleted(a_group("b-group")), a_group()))
    assert [facts.name(group) for group in facts.groups(snapshot)] == ["mine-default", "a-group"]


def test_a_group_has_its_own_pods() -> None:
    snapshot = seen(a_scheduler(), a_worker(0), a_worker(1, group="mine-gpu"))
    assert [facts.name(pod) for pod in facts.of_group(snapshot, a_group("mine-gpu"))] == ["mine-gpu-worker-1"]


def test_replicas_that_are_no_number_are_the_default() -> None:
    assert facts.replicas(a_group(replicas=4), 1) == 4
    assert facts.replicas(a_group(replicas=-4), 1) == 0
    assert facts.replicas({"spec": {"worker": {"replicas": "4"}}}, 1) == 1
    assert facts.replicas({"spec": {"worker": {"replicas": True}}}, 1) == 1
    assert facts.replicas({}, 0) == 0


def test_the_words_by_which_a_scheduler_is_started() -> None:
    cluster = a_cluster()
    cluster["spec"]["scheduler"]["spec"]["containers"] = [{"command": ["dask", 1], "args": ["scheduler"]}, None]
    assert facts.scheduler_commands(cluster) == [["dask", "scheduler"]]
    assert facts.scheduler_commands(None) == []


def test_nothing_is_known_of_nothing() -> None:
    assert facts.scheduler_pod(Snapshot(None)) is None
    assert facts.name(None) == ""


def test_an_object_lags_whose_operator_has_seen_an_older_one() -> None:
    def changed(observed: object) -> bool:
        return facts.is_stale({"metadata": {"generation": 3}, "status": {"observedGeneration": observed}})

    assert [changed(each) for each in (2, 3, None, "2")] == [True, False, False, False]
