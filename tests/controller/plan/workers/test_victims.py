from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from tests.support.builders import NOON, a_pending_pod, a_pod, a_survey, registered

from dask_operator import names
from dask_operator.model import Pod, Problem, Registration, Survey
from dask_operator.plan.workers.victims import REFUSAL_LASTS, Victims, choose, unmatched, without_scheduler
from dask_operator.plan.workers.victims import registered as registrations


def test_who_holds_nothing_is_deleted_before_anyone_is_retired() -> None:
    holder, stranger, pending = a_pod(0), a_pod(1), a_pending_pod(2)
    survey = Survey(NOON, (registered(holder, nbytes=100),))
    pods = [holder, stranger, pending]
    assert choose(1, pods, survey, {}, NOON) == Victims(delete=(pending,))
    assert choose(2, pods, survey, {}, NOON) == Victims(delete=(pending, stranger))
    assert choose(3, pods, survey, {}, NOON) == Victims((pending, stranger), ((holder, "tcp://10.0.0.1:40000"),))


def test_pending_pods_with_a_problem_go_first_then_the_newest() -> None:
    old = a_pending_pod(0, created=NOON - 90.0)
    new = a_pending_pod(1, created=NOON - 10.0)
    stuck = a_pending_pod(2, created=NOON - 99.0, problem=Problem("Unschedulable", "no room"))
    survey = a_survey()
    assert choose(3, [old, new, stuck], survey, {}, NOON).delete == (stuck, new, old)


def test_the_idle_are_retired_first_then_those_with_least() -> None:
    pods = [a_pod(number) for number in range(5)]
    busy, big, small, empty_old, _ = pods
    survey = Survey(
        NOON,
        (
            registered(busy, tasks=2),
            registered(big, nbytes=1000),
            registered(small, nbytes=10),
            registered(empty_old),
            registered(a_pod(4)),
            registered(another := a_pod(5, group="simple-gpu")),
        ),
    )
    newest = a_pod(4, created=NOON - 10.0)
    chosen = choose(5, [*pods[:4], newest], survey, {}, NOON, [*pods[:4], newest, another])
    assert [pod for pod, _ in chosen.retire] == [newest, empty_old, small, big, busy]
    assert chosen.delete == ()


def test_a_start_in_the_future_comes_of_a_wrong_clock_and_keeps_nobody() -> None:
    worker = a_pod(created=NOON - 90.0, started=NOON + 3600.0)
    assert choose(1, [worker], a_survey(), {}, NOON) == Victims(delete=(worker,))
    worker = a_pod(created=NOON - 5.0, started=NOON + 3600.0)
    assert choose(1, [worker], a_survey(), {}, NOON).delete == ()


def test_only_as_many_as_are_too_many() -> None:
    pods = [a_pod(number) for number in range(10)]
    for surplus in range(11):
        chosen = choose(surplus, pods, a_survey(pods), {}, NOON)
        # Somebody must be left to take the results of the others, until it is alone.
        assert (len(chosen.retire), chosen.delete, chosen.wait_until) == (min(surplus, 9), (), None)
    assert len(choose(1, pods[:1], a_survey(pods[:1]), {}, NOON).retire) == 1
    assert len(choose(10, pods, a_survey([*pods, a_pod(10)]), {}, NOON, [*pods, a_pod(10)]).retire) == 10


def test_one_that_the_scheduler_knows_is_never_deleted_whatever_its_phase() -> None:
    # Kubernetes may report a worker's start late.
    pod = a_pending_pod(0)
    survey = Survey(NOON, (Registration(pod.name, "tcp://10.0.0.9:1", 5),))
    assert choose(1, [pod], survey, {}, NOON) == Victims(retire=((pod, "tcp://10.0.0.9:1"),))


def test_a_worker_with_another_name_is_known_by_its_address() -> None:
    for host, ip in (("10.0.0.1", "10.0.0.1"), ("[fd00::1]", "fd00::1")):
        pod = a_pod(0, ip=ip)
        survey = Survey(NOON, (Registration("my-worker", f"tls://{host}:1234"),))
        assert choose(1, [pod], survey, {}, NOON).retire == ((pod, f"tls://{host}:1234"),)


def test_pods_without_an_address_are_not_taken_for_a_worker_without_one() -> None:
    pod = a_pending_pod(0)
    survey = Survey(NOON, (Registration("my-worker", "inproc://"),))
    assert choose(1, [pod], survey, {}, NOON).delete == (pod,)


def test_all_dask_workers_of_a_pod_are_retired() -> None:
    # `dask worker --nworkers 2 --name $(DASK_WORKER_NAME)` registers two, with -0 and -1 behind the name.
    pod = a_pod(0)
    both = [Registration(f"{pod.name}-{n}", f"tcp://{pod.ip}:{n}", nbytes=5) for n in range(2)]
    chosen = choose(1, [pod], Survey(NOON, tuple(both)), {}, NOON)
    assert sorted(address for _, address in chosen.retire) == ["tcp://10.0.0.1:0", "tcp://10.0.0.1:1"]


def test_a_worker_on_the_same_host_is_not_mistaken_for_another() -> None:
    # With hostNetwork all Pods of a node have its address; this one has not registered.
    unregistered = a_pod(0, ip="192.0.2.1")
    known = a_pod(1, ip="192.0.2.1")
    of_another_group = Registration("simple-gpu-worker-7", "tcp://192.0.2.1:50000", nbytes=5)
    for workers in ((registered(known), of_another_group), (of_another_group, registered(known))):
        chosen = choose(2, [unregistered, known], Survey(NOON, workers), {}, NOON)
        assert chosen.retire == ((known, registered(known).address),)


def _of_strangers(pods: Sequence[Pod], address: str) -> Survey:
    """Return a scheduler's answer in which each of these workers has its address for a name, with data."""
    addresses = [address.format(number) for number, _ in enumerate(pods)]
    return Survey(NOON, tuple(Registration(each, each, nbytes=10**9, tasks=5) for each in addresses))


@pytest.mark.parametrize(
    ("ip", "address"),
    [
        pytest.param("192.168.0.5", "tcp://192.168.0.5:4000{}", id="hostNetwork"),
        pytest.param("", "tcp://172.30.0.{}:40000", id="another network"),
        pytest.param("", "ucx://[fd00::{}]:40000", id="dual stack"),
        pytest.param("", "inproc://{}", id="no host"),
    ],
)
def test_while_the_scheduler_has_workers_of_no_pod_none_that_has_run_counts_as_empty(ip: str, address: str) -> None:
    pods = [a_pod(number, **({"ip": ip} if ip else {})) for number in range(3)]
    survey = _of_strangers(pods, address)
    assert unmatched(pods, survey) == list(survey.workers)
    assert choose(2, pods, survey, {}, NOON) == Victims(wait_until=NOON + REFUSAL_LASTS)
    pending = a_pending_pod(3)
    assert choose(2, [*pods, pending], survey, {}, NOON).delete == (pending,), "it has never run"
    known = a_pod(4, ip="10.9.9.9")
    partly = Survey(NOON, (*survey.workers, registered(known)))
    assert choose(1, [*pods, known], partly, {}, NOON) == Victims(retire=((known, "tcp://10.9.9.9:40000"),))


def test_a_worker_whose_pod_is_gone_leaves_no_doubt() -> None:
    # Its scheduler takes minutes to notice that it died with its node.
    gone = names.worker("simple-default", "uid-of-simple-default", 7)
    stranger, known = a_pod(0), a_pod(1)
    for name in (gone, f"{gone}-1"):
        survey = Survey(NOON, (registered(known), Registration(name, "tcp://10.0.0.99:40000", nbytes=10**9)))
        assert unmatched([stranger, known], survey) == []
        assert choose(1, [stranger, known], survey, {}, NOON).delete == (stranger,)


def test_a_worker_that_is_just_starting_is_waited_for() -> None:
    starting, known = a_pod(0, started=NOON - 10.0), a_pod(1)
    chosen = choose(1, [starting, known], a_survey([known]), {}, NOON)
    assert chosen == Victims(wait_until=NOON + 1.0)
    assert choose(2, [starting, known], a_survey([known]), {}, NOON).retire == ((known, "tcp://10.0.0.2:40000"),)
    late = choose(1, [starting, known], a_survey([known], at=NOON + 60.0), {}, NOON + 60.0)
    assert late == Victims(delete=(starting,)), "a minute is enough to register"


def test_the_refused_are_left_in_peace_for_a_while() -> None:
    first, second = a_pod(0), a_pod(1)
    survey, refused = a_survey([first, second]), {first.uid: NOON}
    assert choose(1, [first, second], survey, refused, NOON + 1.0).retire == ((second, "tcp://10.0.0.2:40000"),)
    alone = choose(1, [first], survey, refused, NOON + 1.0)
    assert alone == Victims(wait_until=NOON + REFUSAL_LASTS)
    again = choose(1, [first], survey, refused, NOON + REFUSAL_LASTS)
    assert again.retire == ((first, "tcp://10.0.0.1:40000"),)


def test_while_no_scheduler_runs_only_those_that_have_not_started_go() -> None:
    pods = [a_pod(0), a_pending_pod(1), a_pod(2), a_pending_pod(3, created=NOON)]
    assert without_scheduler(4, pods, gone=False).delete == (pods[3], pods[1])
    assert without_scheduler(1, pods, gone=False).delete == (pods[3],)


def test_when_the_scheduler_is_gone_for_good_anyone_goes_the_pending_first() -> None:
    pods = [a_pod(0), a_pending_pod(1), a_pod(2, created=NOON)]
    assert without_scheduler(2, pods, gone=True).delete == (pods[1], pods[2])
    assert len(without_scheduler(9, pods, gone=True).delete) == 3


def test_participants_of_a_shuffle_leave_last_and_those_that_drain_first() -> None:
    pods = [a_pod(number) for number in range(4)]
    idle = registered(pods[0])
    drains, shuffles, busy = (replace(registered(pod), nbytes=10) for pod in pods[1:])
    workers = (
        idle,
        replace(drains, draining=True, tasks=3),
        replace(shuffles, shuffles=True),
        replace(busy, tasks=1, nbytes=1000),
    )
    chosen = choose(4, [*pods, a_pod(4)], Survey(NOON, (*workers, registered(a_pod(4), nbytes=10**9))), {}, NOON)
    assert [pod.ordinal for pod, _ in chosen.retire] == [1, 0, 4, 3]


def test_of_those_that_hold_as_much_the_one_that_is_free_first_leaves() -> None:
    pods = [a_pod(number) for number in range(3)]
    workers = tuple(replace(registered(pod, tasks=1), seconds=10.0 - pod.ordinal) for pod in pods)
    (pair,) = choose(1, pods, Survey(NOON, workers), {}, NOON).retire
    assert pair[0].ordinal == 2


def test_workers_with_names_of_their_own_are_matched_by_the_pod_that_the_agent_tells() -> None:
    pods = [replace(a_pod(number), ip="10.0.0.1") for number in range(2)]
    addresses = [f"tcp://10.1.0.{number}:1" for number in range(2)]
    workers = tuple(Registration(at, at, pod=pod.name) for at, pod in zip(addresses, pods, strict=True))
    gone = Registration("another", "tcp://10.1.0.9:1", pod="simple-default-worker-9")
    survey = Survey(NOON, (*workers, gone))
    assert {uid: [worker.address for worker in known] for uid, known in registrations(pods, survey).items()} == {
        pod.uid: [f"tcp://10.1.0.{pod.ordinal}:1"] for pod in pods
    }
    assert unmatched(pods, survey) == [], "one of a Pod that is gone counts for nobody"


def test_those_that_leave_already_take_no_data() -> None:
    pods = [a_pod(number) for number in range(2)]
    survey = a_survey([*pods, a_pod(2)])
    everyone = [*pods, a_pod(2)]
    assert len(choose(2, pods, survey, {}, NOON, everyone).retire) == 2
    assert len(choose(2, pods, survey, {}, NOON, everyone, {a_pod(2).uid}).retire) == 1
