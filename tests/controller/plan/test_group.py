from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from tests.support.builders import (
    ENDPOINT,
    GROUP_UID,
    NOON,
    a_cluster,
    a_failed_pod,
    a_failure,
    a_group,
    a_pending_pod,
    a_pod,
    a_scheduler_pod,
    a_service,
    a_survey,
    changes,
    registered,
    seen,
)

from dask_operator import names
from dask_operator.actions import WORKERS, Action, Ask, Create, Delete, RecordEvent, RequeueAt, Resume, Retire
from dask_operator.model import (
    Departure,
    Group,
    Metadata,
    ObjectRef,
    Observed,
    Pod,
    Problem,
    Registration,
    ServicePort,
    Survey,
    Template,
)
from dask_operator.plan import Policy, plan
from dask_operator.plan.group import plan_group
from dask_operator.plan.view import ENDED, View

PODS = ObjectRef("Pod", "simple-default-worker-*")
THE_GROUP = ObjectRef("DaskWorkerGroup", "simple-default")
DOWN: dict[str, Any] = {
    "conditions": [{"type": "SchedulerReady", "status": "False", "lastTransitionTime": "2026-01-01T12:00:00Z"}]
}


def _planned(
    group: Group, observed: Observed, now: float = NOON, policy: Policy = Policy(), status: dict[str, Any] | None = None
) -> list[Action]:
    view = View.of(a_cluster(status=status or {}), replace(observed, groups=(_noted(group, observed),)), policy)
    return list(plan_group(view, view.workers[group.name], now))


def _noted(group: Group, observed: Observed) -> Group:
    """Return the group with its status a moment later: with the ordinals of all that go or may have to."""
    ordinals = [pod.ordinal for pod in observed.pods if pod.group == group.name and group.uid in pod.owners]
    surplus = len(ordinals) > group.replicas
    going = any(pod.deleting or pod.phase in ENDED or pod.uid in observed.retired for pod in observed.pods)
    if not surplus and not going:
        return group
    return replace(group, last_ordinal=max([group.last_ordinal, *ordinals]))


def _created(actions: Sequence[Action]) -> list[str]:
    return [action.manifest["metadata"]["name"] for action in actions if isinstance(action, Create)]


def _deleted(actions: Sequence[Action]) -> list[str]:
    return [action.name for action in actions if isinstance(action, Delete)]


def _names(*ordinals: int) -> list[str]:
    return [names.worker("simple-default", GROUP_UID, ordinal) for ordinal in ordinals]


# Growing


def test_a_new_group_gets_its_workers() -> None:
    planned = _planned(a_group(workers=3), seen(0))
    assert _created(planned) == _names(0, 1, 2)
    assert all(isinstance(a, Create) and (a.subject, a.because) == (PODS, "the group wants 3 workers") for a in planned)


@pytest.mark.parametrize("scheduler", [None, a_scheduler_pod(deleting=True), a_scheduler_pod(phase="Failed")])
def test_no_worker_comes_before_the_scheduler(scheduler: Pod | None) -> None:
    # It may use up the quota that the scheduler needs.
    assert _planned(a_group(workers=3), seen(1, scheduler=scheduler)) == []
    assert _created(_planned(a_group(workers=3), seen(1, scheduler=a_scheduler_pod(phase="Pending")))) == _names(1, 2)


def test_a_group_that_has_its_workers_gets_nothing() -> None:
    assert _planned(a_group(workers=3), seen(3)) == []
    assert _planned(a_group(workers=0), seen(0)) == []


def test_missing_workers_get_ordinals_that_were_never_given() -> None:
    assert _created(_planned(a_group(workers=3), seen([a_pod(1)]))) == _names(0, 2)
    assert _created(_planned(a_group(workers=3, last_ordinal=7), seen([a_pod(6), a_pod(9)]))) == _names(8)


def test_workers_that_go_do_not_count_and_keep_their_ordinals() -> None:
    going = [a_pod(0, deleting=True), a_failed_pod(1), a_pod(2)]
    planned = _planned(a_group(workers=2), seen(going))
    assert (_created(planned), _deleted(planned)) == (_names(3), [a_pod(1).name])
    retiring = seen(3, retiring=dict.fromkeys({a_pod(0).uid}, Departure(final=True)))
    assert _created(_planned(a_group(workers=3), retiring)) == _names(3)


def test_no_worker_goes_before_its_ordinal_is_noted() -> None:
    # Otherwise the next one would get its name, which its scheduler may still know.
    for observed in (seen([a_failed_pod(0), a_pod(1)]), seen(2, retired=frozenset({a_pod(0).uid}))):
        for noted, deleted in ((-1, []), (0, [a_pod(0).name])):
            view = View.of(a_cluster(), replace(observed, groups=(a_group(workers=1, last_ordinal=noted),)))
            assert _deleted(list(plan_group(view, view.workers["simple-default"], NOON))) == deleted


def test_the_pods_of_others_do_not_count() -> None:
    others = [a_pod(0, group="simple-gpu"), a_pod(1, owners=("uid-of-a-namesake",))]
    assert _created(_planned(a_group(workers=1), seen(others))) == _names(0)


def test_no_more_are_created_at_once_than_a_batch() -> None:
    policy = Policy(batch_size=2)
    assert _created(_planned(a_group(workers=5), seen(0), policy=policy)) == _names(0, 1)
    assert _created(_planned(a_group(workers=5), seen(4), policy=policy)) == _names(4)


def test_batches_are_apart() -> None:
    policy, pods = Policy(batch_size=2, batch_delay=10.0), [a_pod(0, created=NOON - 4.0), a_pod(1, created=NOON - 9.0)]
    group = a_group(workers=5)
    assert _planned(group, seen(pods), policy=policy) == [RequeueAt(NOON + 6.0, "the pause between batches of workers")]
    assert _created(_planned(group, seen(pods), NOON + 6.0, policy)) == _names(2, 3)
    assert _created(_planned(group, seen(0), policy=policy)) == _names(0, 1)


def test_after_a_refusal_one_tries_whether_its_reason_is_gone() -> None:
    failure = a_failure("QuotaExceeded", until=NOON + 8.0)
    observed, group = seen(1, failures={PODS: failure}), a_group(workers=5)
    assert _planned(group, observed) == [RequeueAt(NOON + 8.0, "the API server says QuotaExceeded", holds=PODS)]
    assert _created(_planned(group, observed, NOON + 8.0)) == _names(1)
    assert len(_created(_planned(group, seen(1)))) == 4


def test_one_groups_refusal_does_not_hold_up_another() -> None:
    observed = seen(0, failures={ObjectRef("Pod", "simple-gpu-worker-*"): a_failure()})
    assert len(_created(_planned(a_group(workers=3), observed))) == 3


# Replacing


def test_an_ended_worker_is_replaced_and_said() -> None:
    failed = a_failed_pod(0)
    planned = _planned(a_group(workers=2), seen([failed, a_pod(1)]))
    detail = 'container "worker" ended: exit code 1, Error'
    assert planned[:2] == [
        Delete(failed.name, failed.uid, PODS, "ended (Error)"),
        RecordEvent(THE_GROUP, GROUP_UID, "Normal", "WorkersDeleted", f"{failed.name}: ended (Error): {detail}"),
    ]
    assert _created(planned) == _names(2)


def test_a_worker_that_ended_well_is_replaced() -> None:
    planned = _planned(a_group(workers=1), seen([a_pod(0, phase="Succeeded")]))
    assert (_deleted(planned), _created(planned)) == ([a_pod(0).name], _names(1))


def test_a_worker_that_keeps_failing_stays_until_it_is_due() -> None:
    failed = a_failed_pod(0, lived=1.0, attempt=2)
    group, observed = a_group(workers=2), seen([failed, a_pod(1)])
    assert _planned(group, observed) == [RequeueAt(NOON + 20.0, "workers that failed soon after their start")]
    later = _planned(group, observed, NOON + 20.0)
    assert (_deleted(later), _created(later)) == ([failed.name], _names(2))
    (create,) = [action for action in later if isinstance(action, Create)]
    assert create.manifest["metadata"]["annotations"]["kubernetes.dask.org/attempt"] == "3"


def test_new_workers_do_not_wait_for_one_that_keeps_failing() -> None:
    planned = _planned(a_group(workers=3), seen([a_failed_pod(0, lived=1.0, attempt=2), a_pod(1)]))
    assert _created(planned) == _names(2)
    assert _deleted(planned) == []


def test_those_that_fail_again_and_again_are_counted_though_creating_is_refused() -> None:
    # A Pod deleted before its successor exists takes its count of failures along.
    failed = a_failed_pod(0, lived=1.0, attempt=4, finished=NOON - 600.0)
    observed = seen([failed], failures={PODS: a_failure(until=NOON + 8.0)})
    assert _deleted(_planned(a_group(workers=1), observed)) == []


def test_those_that_fail_again_and_again_are_counted_though_a_batch_has_to_wait() -> None:
    failed = a_failed_pod(0, lived=1.0, attempt=4, finished=NOON - 600.0)
    observed = seen([failed, a_pod(1, created=NOON)])
    assert _deleted(_planned(a_group(workers=2), observed, policy=Policy(1, 10.0))) == []


def test_ended_workers_of_which_there_are_enough_go() -> None:
    planned = _planned(a_group(workers=1), seen([a_pod(0), a_failed_pod(1, lived=1.0, attempt=3)]))
    assert (_deleted(planned), _created(planned)) == ([a_pod(1).name], [])
    assert [action.because for action in planned if isinstance(action, Delete)] == ["ended (Error)"]
    surplus = _planned(a_group(workers=1), seen([a_pod(0), a_pod(1), a_failed_pod(2)]))
    assert [a.because for a in surplus if isinstance(a, Delete)] == ["ended, and the group has enough workers"]


# Shrinking


def test_while_the_scheduler_has_workers_of_no_pod_every_pod_that_runs_counts_as_working() -> None:
    survey = replace(a_survey(), workers=(Registration("x", "tcp://172.30.0.9:40000", nbytes=5),))
    old = [a_pod(number, template="older", ready=False) for number in range(2)]
    planned = _planned(a_group(workers=2, last_ordinal=1), seen(old, survey=survey))
    assert [action.at for action in planned if isinstance(action, RequeueAt)] == [NOON + 1.0], "nobody leaves"


def test_an_answer_may_be_about_the_pods_that_run_as_the_clusters_workers() -> None:
    others = [a_pending_pod(8), a_pod(9, owners=("uid-of-somebody",)), a_pod(10, component="x"), a_failed_pod(11)]
    (ask,) = _planned(a_group(workers=1, last_ordinal=11), seen([a_pod(0), a_pod(1), *others, a_pod(12, owners=())]))[
        -1:
    ]
    assert isinstance(ask, Ask)
    assert ask.pods == 2


EDITED = {"containers": [{"name": "worker", "image": "dask:2"}]}
NEW_TEMPLATE = Template.of(EDITED, Metadata()).hash
DISK = frozenset({"PersistentVolumeClaim disk"})


def _edited(workers: int) -> Group:
    return a_group(workers=workers, worker_spec=EDITED, last_ordinal=9)


def _retired(planned: Sequence[Action]) -> list[str]:
    return [uid for action in planned if isinstance(action, Retire) for uid, _ in action.workers]


def test_the_last_worker_makes_room_for_one_that_waits_for_its_disk() -> None:
    creating = Problem("ContainerCreating", "node n has not set up its volumes")
    old = a_pod(0, volumes=DISK)
    new = a_pending_pod(9, template=NEW_TEMPLATE, volumes=DISK, problem=creating, problem_from=NOON)
    observed = seen([old, new], survey=a_survey([old], at=NOON - 1.0))
    assert _retired(_planned(_edited(1), observed)) == [old.uid]
    assert _retired(_planned(_edited(1), observed, NOON - 1.0)) == [], "a disk takes some time"
    misspelt = replace(new, volumes=DISK | {"Secret typo"})
    assert _retired(_planned(_edited(1), seen([old, misspelt], survey=observed.survey))) == []


@pytest.mark.parametrize("number", [1, 2, 4])
def test_an_old_worker_gives_its_place_in_a_queue_away_unless_it_is_the_last(number: int) -> None:
    old = [a_pod(n) for n in range(number)]
    new = a_pending_pod(9, template=NEW_TEMPLATE, gated=True)
    planned = _planned(_edited(number), seen([*old, new], survey=a_survey(old, at=NOON - 1.0)))
    assert len(_retired(planned)) == (number > 1)


def test_a_scale_down_asks_the_scheduler_first() -> None:
    planned = _planned(a_group(workers=1), seen(3))
    assert planned == [Ask(WORKERS, ENDPOINT, "2 workers of simple-default are to leave", pods=3)]


def test_it_asks_once_and_anew_when_the_answer_is_old() -> None:
    group, pods = a_group(workers=1), [a_pod(0), a_pod(1)]
    assert _planned(group, seen(pods, asking=frozenset({WORKERS}))) == []
    assert isinstance(_planned(group, seen(pods, survey=a_survey(pods, at=NOON - 5.0)))[0], Ask)
    assert isinstance(_planned(group, seen(pods, survey=a_survey(pods, at=NOON - 4.9)))[0], Retire)


def test_workers_are_retired_by_address_and_none_is_deleted() -> None:
    pods = [a_pod(0), a_pod(1), a_pod(2)]
    survey = Survey(NOON, tuple(registered(pod, nbytes=pod.ordinal) for pod in pods))
    planned = _planned(a_group(workers=1), seen(pods, survey=survey))
    workers = ((pods[0].uid, "tcp://10.0.0.1:40000"), (pods[1].uid, "tcp://10.0.0.2:40000"))
    assert planned == [Retire(ENDPOINT, workers, "the group wants 1 workers of its current template")]


def _leaving(*pods: Pod, final: bool = False) -> dict[str, Departure]:
    return {pod.uid: Departure((f"tcp://{pod.ip}:40000",), NOON, final=final) for pod in pods}


def test_while_workers_are_being_retired_others_may_be_as_well() -> None:
    pods = [a_pod(number) for number in range(5)]
    observed = seen(pods, survey=a_survey(pods), retiring=_leaving(*pods[:2]))
    assert _planned(a_group(workers=3), observed) == []
    assert len(_retired(_planned(a_group(workers=1), observed))) == 2


def test_the_last_of_those_that_do_not_leave_yet_takes_the_data() -> None:
    pods = [a_pod(number) for number in range(3)]
    observed = seen(pods, survey=a_survey(pods), retiring=_leaving(pods[0]))
    assert len(_retired(_planned(a_group(workers=0), observed))) == 1


def test_a_group_that_wants_more_again_takes_back_those_that_have_not_gone() -> None:
    pods = [a_pod(number) for number in range(4)]
    observed = seen(pods, retiring=_leaving(*pods[2:]))
    (resume,) = _planned(a_group(workers=3), observed)
    assert resume == Resume(ENDPOINT, ((pods[2].uid, "tcp://10.0.0.3:40000"),), "the group wants 3 workers again")


def test_what_it_does_not_get_back_is_created() -> None:
    pods = [a_pod(number) for number in range(4)]
    observed = seen(pods, retiring=_leaving(*pods[2:]))
    planned = _planned(a_group(workers=5), observed)
    assert [len(action.workers) for action in planned if isinstance(action, Resume)] == [2]
    assert len(_created(planned)) == 1
    under_way = replace(observed, resuming=frozenset({pods[2].uid, pods[3].uid}))
    planned = _planned(a_group(workers=5), under_way)
    assert not [action for action in planned if isinstance(action, Resume)]
    assert len(_created(planned)) == 1


@pytest.mark.parametrize("how", ["too late", "retired", "old template", "no scheduler"])
def test_those_that_cannot_come_back_are_replaced(how: str) -> None:
    pods = [a_pod(0), a_pod(1, template="old") if how == "old template" else a_pod(1)]
    observed = seen(pods, retiring=_leaving(pods[1], final=how == "too late"))
    if how == "retired":
        observed = replace(observed, retiring={}, retired=frozenset({pods[1].uid}))
    if how == "no scheduler":
        observed = replace(observed, pods=tuple(pods))
    planned = _planned(a_group(workers=2), observed)
    assert not [action for action in planned if isinstance(action, Resume)]
    assert len(_created(planned)) == (0 if how == "no scheduler" else 1)


def test_workers_that_drain_for_a_controller_that_has_ended_are_chosen_first_or_taken_back() -> None:
    pods = [a_pod(number) for number in range(2)]
    idle, busy = map(registered, pods)
    drains, leaves = replace(busy, draining=True, tasks=5, nbytes=1000), replace(busy, draining=True, leaves=True)
    observed = seen(pods, survey=Survey(NOON, (idle, drains), agent=True))
    assert _retired(_planned(a_group(workers=1), observed)) == [pods[1].uid]
    back = [action for action in _planned(a_group(workers=2), observed) if isinstance(action, Resume)]
    assert [uid for action in back for uid, _ in action.workers] == [pods[1].uid]
    stale = replace(observed, survey=Survey(NOON - 6.0, (idle, drains), agent=True))
    assert _planned(a_group(workers=2), stale) == []
    last = replace(observed, survey=Survey(NOON, (idle, leaves), agent=True))
    assert _planned(a_group(workers=2), last) == [], "its own process has begun it"


@pytest.mark.parametrize(("agent", "seconds"), [(True, 90.0), (False, None)])
def test_a_drain_lasts_as_long_as_the_group_says(agent: bool, seconds: float | None) -> None:
    pods = [a_pod(number) for number in range(2)]
    observed = seen(pods, survey=replace(a_survey(pods), agent=agent))
    planned = _planned(replace(a_group(workers=1), drain_timeout=90.0), observed)
    assert [action.seconds for action in planned if isinstance(action, Retire)] == [seconds]


def test_the_overdue_are_deleted_with_another_word() -> None:
    pods = [a_pod(0), a_pod(1), a_pod(2)]
    both = frozenset({pods[1].uid, pods[2].uid})
    planned = _planned(a_group(workers=1), seen(pods, retired=both, overdue=frozenset({pods[2].uid})))
    because = {action.name: action.because for action in planned if isinstance(action, Delete)}
    assert because[pods[1].name] == "retired: its data has moved to other workers"
    assert because[pods[2].name].startswith("its drain time ended")


def test_the_retired_are_deleted_and_said_at_once() -> None:
    pods = [a_pod(0), a_pod(1), a_pod(2)]
    observed = seen(pods, retired=frozenset({pods[0].uid, pods[2].uid}))
    planned = _planned(a_group(workers=1), observed)
    because = "retired: its data has moved to other workers"
    assert planned == [
        Delete(pods[0].name, pods[0].uid, PODS, because),
        Delete(pods[2].name, pods[2].uid, PODS, because),
        RecordEvent(THE_GROUP, GROUP_UID, "Normal", "WorkersDeleted", f"{pods[0].name}, {pods[2].name}: {because}"),
    ]


def test_a_retired_worker_goes_even_where_it_would_be_wanted_again() -> None:
    observed = seen(2, retired=frozenset({a_pod(0).uid}))
    planned = _planned(a_group(workers=2), observed)
    assert (_deleted(planned), _created(planned)) == ([a_pod(0).name], _names(2))


def test_who_is_being_deleted_is_not_deleted_again() -> None:
    observed = seen([a_pod(0, deleting=True), a_pod(1)], retired=frozenset({a_pod(0).uid}))
    assert _planned(a_group(workers=1), observed) == []


def test_pods_that_hold_nothing_go_first_and_only_as_they_were_seen() -> None:
    pods = [a_pod(0), a_pending_pod(1)]
    planned = _planned(a_group(workers=1), seen(pods, survey=a_survey([pods[0]])))
    because = "surplus, and holds no data"
    assert changes(planned) == (Delete(pods[1].name, pods[1].uid, PODS, because, pods[1].resource_version),)
    assert not [action for action in planned if isinstance(action, Retire)]


def test_never_a_worker_of_another_group() -> None:
    own, others = [a_pod(0)], [a_pod(number, group="simple-gpu") for number in range(1, 4)]
    pods = [*own, *others]
    planned = _planned(a_group(workers=0), seen(pods, survey=a_survey(pods)))
    because = "the group wants 0 workers of its current template"
    assert planned == [Retire(ENDPOINT, ((own[0].uid, "tcp://10.0.0.1:40000"),), because)]


def test_a_scheduler_that_gives_no_answer_keeps_all_workers() -> None:
    survey = Survey(NOON - 2.0, problem=Problem("SchedulerUnreachable", "no answer"))
    assert _planned(a_group(workers=1), seen(3, survey=survey)) == [RequeueAt(NOON + 3.0, "no answer")]


def test_workers_that_have_never_started_go_whether_the_scheduler_answers_or_not() -> None:
    pods = [a_pod(0), a_pending_pod(1), a_pending_pod(2)]
    survey = Survey(NOON - 2.0, problem=Problem("SchedulerUnreachable", "no answer"))
    planned = _planned(a_group(workers=0), seen(pods, survey=survey))
    because = "surplus, and has never started"
    assert set(changes(planned)) == {
        Delete(pod.name, pod.uid, PODS, because, pod.resource_version) for pod in (pods[1], pods[2])
    }
    assert planned[-1] == RequeueAt(NOON + 3.0, "no answer")


CRASHES = a_scheduler_pod(ready=False, problem=Problem("CrashLoopBackOff", "it keeps ending"))


@pytest.mark.parametrize(
    ("scheduler", "later", "deleted"),
    [
        (CRASHES, 60.0, 2),
        (CRASHES, 30.0, 0),
        (replace(CRASHES, ready=True), 60.0, 0),
        (replace(CRASHES, problem=Problem("ContainersNotReady", "")), 60.0, 0),
    ],
)
def test_a_scheduler_that_has_kept_crashing_for_a_minute_is_gone(scheduler: Pod, later: float, deleted: int) -> None:
    survey = Survey(NOON + later - 1.0, problem=Problem("SchedulerUnreachable", "no answer"))
    planned = _planned(a_group(workers=1), seen(3, scheduler=scheduler, survey=survey), NOON + later, status=DOWN)
    assert len(_deleted(planned)) == deleted


def test_a_worker_that_runs_goes_as_unknown_by_a_new_answer_only() -> None:
    pods = [a_pod(0, started=NOON - 90.0), a_pending_pod(1)]
    old, new = (seen(pods, survey=a_survey([], at=at)) for at in (NOON - 4.9, NOON - 1.0))
    because = "whether workers that it did not know have registered since"
    assert _planned(a_group(workers=0), old) == [Ask(WORKERS, ENDPOINT, because, pods=1)]
    assert set(_deleted(_planned(a_group(workers=0), new))) == {pod.name for pod in pods}


def test_a_worker_that_is_refused_is_kept_and_tried_again() -> None:
    pod = a_pod(0)
    observed = seen([pod], survey=a_survey([pod]), refused={pod.uid: NOON - 10.0})
    (wake,) = _planned(a_group(workers=0), observed)
    assert isinstance(wake, RequeueAt)
    assert wake.at == NOON + 20.0


@pytest.mark.parametrize("scheduler", [None, a_scheduler_pod(phase="Pending"), a_scheduler_pod(deleting=True)])
def test_while_no_scheduler_runs_only_those_that_have_not_started_go(scheduler: Pod | None) -> None:
    pods = [a_pod(0), a_pending_pod(1), a_pod(2)]
    planned = _planned(a_group(workers=1), seen(pods, scheduler=scheduler), NOON + 30.0, status=DOWN)
    assert changes(planned) == (
        Delete(pods[1].name, pods[1].uid, PODS, "surplus, and no scheduler runs", pods[1].resource_version),
    )
    assert planned[-1] == RequeueAt(NOON + 60.0, "its workers may hold data for a scheduler that comes back")


def test_a_scheduler_that_is_gone_for_a_minute_has_no_data_to_save() -> None:
    planned = _planned(a_group(workers=1), seen(3, scheduler=None), NOON + 60.0, status=DOWN)
    assert len(_deleted(planned)) == 2


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"conditions": [{"type": "SchedulerReady", "status": "True", "lastTransitionTime": "2020-01-01T12:00:00Z"}]},
        {"conditions": [{"type": "SchedulerReady", "status": "False"}]},
        {"conditions": [{"type": "SchedulerReady", "status": "False", "lastTransitionTime": None}]},
        {"conditions": [{"type": "SchedulerReady", "status": "False", "lastTransitionTime": "soon"}]},
    ],
)
def test_a_scheduler_of_which_it_is_not_known_how_long_it_is_gone_may_return(told: dict[str, Any]) -> None:
    planned = _planned(a_group(workers=1), seen(3, scheduler=None), status=told)
    assert _deleted(planned) == []


def test_deletes_that_were_refused_wait_for_their_time() -> None:
    failures = {PODS: a_failure(until=NOON + 8.0)}
    retired = seen(3, retired=frozenset({a_pod(0).uid}), failures=failures)
    ended = seen([a_failed_pod(0), a_pod(1)], failures=failures)
    for observed, wanted in ((retired, 2), (ended, 1)):
        planned = _planned(a_group(workers=wanted), observed)
        assert _deleted(planned) == []
        assert [action.at for action in planned if isinstance(action, RequeueAt)] == [NOON + 8.0]


def test_one_event_names_ten_of_many() -> None:
    pods = [a_pending_pod(number) for number in range(25)]
    planned = _planned(a_group(workers=0), seen(pods, survey=a_survey()))
    (event,) = [action for action in planned if isinstance(action, RecordEvent)]
    assert len(_deleted(planned)) == 25
    assert "and 15 more: surplus, and holds no data" in event.message


@pytest.mark.parametrize(
    ("service", "url"),
    [
        (a_service(), "http://10.96.0.7:8787"),
        (a_service(cluster_ip="fd00::7"), "http://[fd00::7]:8787"),
        (a_service(cluster_ip="None"), "http://10.0.1.1:8787"),
        (a_service(cluster_ip=""), "http://10.0.1.1:8787"),
        (a_service(ports=(ServicePort("http-dashboard", 80, 8787),)), "http://10.96.0.7:80"),
        (None, "http://10.0.1.1:8787"),
    ],
)
def test_where_the_scheduler_is_asked(service: Any, url: str) -> None:
    (ask,) = _planned(a_group(workers=1), seen(2, service=service))
    assert isinstance(ask, Ask)
    assert ask.scheduler.url == url


def test_a_group_of_a_deleted_namesake_gets_no_workers() -> None:
    group = a_group(owner="uid-of-a-namesake", workers=3)
    planned = plan(a_cluster(), seen(0, groups=[group]), NOON)
    assert _created([a for a in planned if isinstance(a, Create) and a.subject == PODS]) == []
