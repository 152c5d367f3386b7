from __future__ import annotations

import pytest
from tests.support.builders import NOON

from dask_operator.model import (
    Demand,
    Departure,
    Failure,
    Idleness,
    Key,
    ObjectRef,
    Problem,
    Sample,
    Survey,
    Tasks,
    Written,
)
from dask_operator.reconcile.facts import NEW_PODS, TERMINATING, Deed, Facts

KEY = Key("default", "simple")
PODS = ObjectRef("Pod", "simple-default-worker-*")
THE_CLUSTER = ObjectRef("DaskCluster", "simple")
PROBLEM = Problem("Forbidden", "may not")


def test_failures_are_tried_again_later_each_time_and_not_all_at_once() -> None:
    facts = Facts()
    pauses = [facts.failed(PODS, PROBLEM, NOON).until - NOON for _ in range(9)]
    for expected, pause in zip([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0], pauses, strict=True):
        assert 0.8 * expected <= pause <= 1.2 * expected
    assert len(set(pauses[-3:])) > 1, "jitter"
    failure = facts.failures[PODS]
    assert (failure.problem, failure.attempts) == (PROBLEM, 9)


def test_failures_without_end_are_tried_again_without_end() -> None:
    facts = Facts()
    for _ in range(1100):
        failure = facts.failed(PODS, PROBLEM, NOON)
    assert failure.until <= NOON + 72.0, "after seventeen hours, a minute each, as well"


def test_a_success_ends_the_series_of_failures() -> None:
    facts = Facts()
    facts.failed(PODS, PROBLEM, NOON)
    facts.failed(ObjectRef("Service", "simple-scheduler"), PROBLEM, NOON)
    facts.succeeded(PODS)
    assert list(facts.failures) == [ObjectRef("Service", "simple-scheduler")]
    assert facts.failed(PODS, PROBLEM, NOON).attempts == 1


def test_what_a_scheduler_asks_for_is_remembered_for_as_long_as_it_matters() -> None:
    facts = Facts()
    samples = [Sample(NOON + n, n, {"simple-default": 3}) for n in range(10)]
    for sample in samples:
        facts.demanded(sample, keep=4.0)
    assert facts.demand == Demand(NOON + 9.0, tuple(samples[5:]))
    facts.demand_unknown(PROBLEM, NOON + 20.0)
    assert facts.demand == Demand(NOON + 20.0, tuple(samples[5:]), PROBLEM)
    late = Sample(NOON + 30.0, 1, {})
    facts.demanded(late, keep=4.0)
    assert facts.demand == Demand(NOON + 30.0, (late,))


def test_a_scheduler_is_idle_for_as_long_as_it_has_named_the_same_time() -> None:
    facts = Facts()
    for token, at, since in (
        (None, 0.0, 0.0),
        (7.0, 10.0, 10.0),
        (7.0, 20.0, 10.0),
        (8.0, 30.0, 30.0),
        (None, 40.0, 40.0),
        (8.0, 50.0, 50.0),
        (0.0, 60.0, 60.0),
        (0.0, 70.0, 60.0),
    ):
        facts.idle(token, NOON + at)
        assert facts.idleness == Idleness(NOON + at, token, NOON + since)


def test_a_scheduler_that_does_not_answer_is_not_idle() -> None:
    facts = Facts()
    facts.idle(7.0, NOON)
    facts.idle(None, NOON + 10.0, PROBLEM)
    facts.idle(7.0, NOON + 20.0)
    assert facts.idleness == Idleness(NOON + 20.0, 7.0, NOON + 20.0)


def test_what_is_done_again_right_after_it_was_done_waits_longer_each_time() -> None:
    facts, deed = Facts(), frozenset([Deed("simple-scheduler", "the cluster has none")])
    service, now, pauses = ObjectRef("Service", "simple-scheduler"), NOON, []
    facts.succeeded(service, deed, now)
    assert facts.failures == {}, "once is no repetition"
    for _ in range(9):
        facts.succeeded(service, deed, now)
        failure = facts.failures[service]
        assert failure.problem.reason == "WriteUndone"
        pauses.append(failure.until - now)
        now = failure.until
    assert pauses == [pytest.approx(wanted, rel=0.21) for wanted in (1, 2, 4, 8, 16, 32, 60, 60, 60)]
    facts.succeeded(service, deed, now + 1000.0)
    assert facts.failures == {}, "so much later it has another cause"


def test_what_is_done_in_between_ends_a_repetition() -> None:
    facts, group = Facts(), ObjectRef("DaskWorkerGroup", "simple-default")
    three, five = (frozenset([Deed("simple-default", "edited", content)]) for content in (3, 5))
    status = frozenset([Deed("simple-default", "3 workers", 1, "status")])
    for deeds in (three, five, three, status, five, three):
        facts.succeeded(group, deeds, NOON)
        assert facts.failures == {}
    facts.succeeded(group, status, NOON)
    assert group in facts.failures, "the same of its part"
    before = three | five
    facts.succeeded(group, before, NOON)
    facts.succeeded(group, before, NOON)
    assert group in facts.failures


def test_the_end_of_an_object_ends_the_failure_that_it_caused() -> None:
    facts = Facts()
    for reason, remaining in (("Forbidden", [PODS]), (TERMINATING, [])):
        facts.succeeded(PODS)
        facts.failed(PODS, Problem(reason, "no"), NOON)
        facts.object_gone(ObjectRef("Service", "simple-scheduler"))
        assert list(facts.failures) == [PODS]
        facts.object_gone(PODS)
        assert list(facts.failures) == remaining


def test_the_end_of_a_pod_ends_the_wait_for_room_in_a_quota() -> None:
    facts = Facts()
    for reason, waits in (("Forbidden", True), ("QuotaExceeded", False)):
        facts.failed(PODS, Problem(reason, "no"), NOON)
        facts.object_gone(ObjectRef("Service", "simple-scheduler"))
        assert facts.failures[PODS].until > NOON
        facts.object_gone(ObjectRef("Pod", "simple-runner"))
        assert (facts.failures[PODS].until > NOON) == waits
    assert facts.failed(PODS, PROBLEM, NOON).attempts == 3, "the next refusal waits longer all the same"


def test_failures_that_no_longer_matter_are_dropped() -> None:
    facts = Facts()
    facts.failed(PODS, PROBLEM, NOON)
    facts.failed(THE_CLUSTER, PROBLEM, NOON)
    facts.clear_failures([PODS, ObjectRef("Service", "simple-scheduler")])
    assert list(facts.failures) == [THE_CLUSTER]


def test_a_warning_is_kept_until_it_is_reported_and_not_again() -> None:
    facts = Facts()
    for text in ("a", "b", "a"):
        facts.warned("Pod x", text)
    assert facts.warnings == ["Pod x: a", "Pod x: b"]
    facts.reported({"Pod x: a"})
    facts.warned("Pod x", "a")
    assert facts.warnings == ["Pod x: b"]


def test_questions_are_under_way_until_they_are_answered() -> None:
    facts = Facts()
    facts.asked("workers")
    facts.asked("idle")
    facts.answered("workers")
    facts.answered("workers")
    assert facts.asking == {"idle"}


def test_a_retirement_ends_with_an_answer_or_without() -> None:
    facts, survey = Facts(), Survey(NOON, problem=PROBLEM)
    facts.retirement_began(dict.fromkeys("abcd", Departure()))
    facts.surveyed(Survey(NOON))
    facts.retirement_ended(frozenset("abc"), frozenset("ac"), frozenset("abd"), NOON)
    assert (facts.retiring, facts.retired, facts.refused, facts.survey) == (
        {"d": Departure()},
        {"a"},
        {"b": NOON},
        None,
    )
    facts.retirement_failed(frozenset("d"), survey)
    assert (facts.retiring, facts.retired, facts.refused, facts.survey) == ({}, {"a"}, {"b": NOON}, survey)
    for uid in "abx":
        facts.worker_gone(uid)
    assert (facts.retired, facts.refused) == (set(), {})


def test_a_write_without_effect_says_how_often_it_was_made() -> None:
    facts, deed = Facts(), Deed("simple-scheduler", "the cluster has none")
    for _ in range(3):
        facts.succeeded(PODS, [deed], NOON)
    assert "Pod simple-scheduler was written 3 times (the cluster has none)" in facts.failures[PODS].problem.message


@pytest.mark.parametrize("step", [-3600.0, 3600.0])
def test_when_the_clock_is_set_all_times_move_with_it(step: float) -> None:
    def told(facts: Facts, now: float) -> None:
        facts.surveyed(Survey(now))
        facts.demanded(Sample(now - 2.0, 3, {}), keep=60.0)
        facts.demanded(Sample(now, 4, {}), keep=60.0)
        facts.idle(7.0, now - 5.0)
        facts.idle(7.0, now)
        facts.progressed(Tasks(1, 2, 3), now)
        facts.refused["uid"] = now
        facts.retirement_began({"uid": Departure(since=now)})
        facts.failures[PODS] = Failure(PROBLEM, 1, now + 10.0)
        facts.written[THE_CLUSTER] = Written(now, {}, "uid")

    before, after = Facts(), Facts()
    told(before, NOON)
    told(after, NOON + step)
    before.succeeded(THE_CLUSTER, [Deed("simple", "spec")], NOON)
    after.succeeded(THE_CLUSTER, [Deed("simple", "spec")], NOON + step)
    before.clock_set(step)
    assert before == after
    untold = Facts()
    untold.clock_set(step)
    assert untold == Facts()


def test_what_a_scheduler_asked_for_in_the_future_does_not_count() -> None:
    facts = Facts()
    facts.demanded(Sample(NOON + 3600.0, 1, {}), keep=60.0)
    facts.demanded(Sample(NOON, 10, {}), keep=60.0)
    assert facts.demand == Demand(NOON, (Sample(NOON, 10, {}),))


def test_warnings_that_differ_in_times_and_ids_are_one() -> None:
    facts = Facts()
    for number in range(1000):
        facts.warned("Pod simple-1", f"checked at 12:00:{number:02d} as 7f{number:06x}-ab1")
    assert len(facts.warnings) == 1
    facts.warned("Pod simple-2", "checked at 12:00:00 as 7f000000-ab1")
    assert len(facts.warnings) == 2


def test_warnings_of_any_number_do_not_pile_up() -> None:
    facts = Facts()
    for number in range(1000):
        facts.warned("Pod simple-default", "x" * number)
    assert len(facts.warnings) < 100


A_WRITE = Deed("simple-scheduler", "the cluster has none")


def test_a_write_without_effect_waits_also_if_its_failure_is_gone() -> None:
    facts = Facts()
    facts.succeeded(THE_CLUSTER, [A_WRITE], NOON)
    assert not facts.holds(THE_CLUSTER, A_WRITE, NOON), "the second attempt needs no pause"
    facts.succeeded(THE_CLUSTER, [A_WRITE], NOON)
    until = facts.failures[THE_CLUSTER].until
    facts.clear_failures([THE_CLUSTER])
    assert not facts.holds(THE_CLUSTER, Deed("simple-scheduler", "its template was edited"), NOON)
    assert not facts.failures
    assert facts.holds(THE_CLUSTER, A_WRITE, NOON)
    assert facts.failures[THE_CLUSTER].until == until
    assert facts.failures[THE_CLUSTER].problem.reason == "WriteUndone"
    assert not facts.holds(THE_CLUSTER, A_WRITE, until)


def _pods(*numbers: int) -> list[Deed]:
    return [Deed(f"pod-{number}", "the group wants 3 workers", part=NEW_PODS) for number in numbers]


def test_new_pods_that_are_soon_gone_count_as_a_write_without_effect() -> None:
    facts = Facts()
    facts.succeeded(PODS, _pods(1, 2, 3), NOON)
    assert facts.new_pods(PODS) == {"pod-1", "pod-2", "pod-3"}
    facts.succeeded(PODS, _pods(4), NOON + 1.0, gone={"pod-1"})
    assert not facts.failures, "one of three may have been evicted"
    facts.succeeded(PODS, _pods(5), NOON + 2.0, gone={"pod-1", "pod-2"})
    assert facts.failures[PODS].problem.reason == "WriteUndone"
    assert facts.holds(PODS, _pods(6)[0], NOON + 2.0), "although it has another name"
    first = facts.failures[PODS].until - NOON
    facts.succeeded(PODS, _pods(6), NOON + 5.0, gone={f"pod-{number}" for number in range(6)})
    assert facts.failures[PODS].until - NOON - 5.0 > first - 2.0, "longer each time"


def test_pods_that_we_deleted_ourselves_or_that_lived_are_not_missed() -> None:
    facts = Facts()
    facts.succeeded(PODS, _pods(1, 2), NOON)
    for name in ("pod-1", "pod-2"):
        facts.pod_deleted(PODS, name)
    facts.succeeded(PODS, _pods(3), NOON + 1.0, gone={"pod-1", "pod-2"})
    facts.succeeded(PODS, _pods(4), NOON + 60.0, gone={"pod-3"})
    assert not facts.failures


def test_of_a_cluster_that_is_gone_its_creation_alone_is_remembered() -> None:
    facts = Facts()
    for _ in range(2):
        facts.succeeded(THE_CLUSTER, [A_WRITE, Deed("simple", "x", part="status")], NOON)
        facts.succeeded(PODS, _pods(1), NOON)
    left = facts.of_next_cluster()
    assert left.holds(THE_CLUSTER, A_WRITE, NOON)
    assert not left.holds(THE_CLUSTER, Deed("simple", "x", part="status"), NOON)
    assert not left.new_pods(PODS)


def test_what_we_have_deleted_may_be_wanted_again_at_once() -> None:
    facts, deployment = Facts(), ObjectRef("Deployment", "simple-scheduler")
    for number in range(5):
        facts.succeeded(deployment, [Deed("simple-scheduler", "the cluster has none")], NOON + number)
        assert not facts.failures
        facts.deleted(deployment, "simple-scheduler")
