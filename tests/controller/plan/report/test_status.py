from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from tests.support.builders import (
    CLUSTER_UID,
    GROUP_UID,
    NOON,
    NOON_TEXT,
    a_cluster,
    a_deployment,
    a_failed_pod,
    a_failure,
    a_group,
    a_pending_pod,
    a_pod,
    a_scheduler_pod,
    a_service,
    a_survey,
    condition,
    seen,
    statuses,
)

from dask_operator.actions import Action, RecordEvent, RequeueAt, SetStatus
from dask_operator.model import Cluster, Departure, ObjectRef, Observed, Pod, Problem, Survey, Written
from dask_operator.plan.report.status import INTERVAL, plan_orphan, plan_status, scheduler_down_since
from dask_operator.plan.view import View

SELECTOR = "dask.org/cluster-name=simple,dask.org/component=worker,dask.org/workergroup-name=simple-default"
CLUSTER, GROUP = ObjectRef("DaskCluster", "simple"), ObjectRef("DaskWorkerGroup", "simple-default")


def _leave(*pods: Pod) -> dict[str, Departure]:
    return {pod.uid: Departure() for pod in pods}


def _planned(observed: Observed, cluster: Cluster = a_cluster(), now: float = NOON) -> list[Action]:
    return list(plan_status(View.of(cluster, observed), now))


def _cluster_status(observed: Observed, cluster: Cluster = a_cluster()) -> Mapping[str, Any]:
    return statuses(_planned(observed, cluster))["DaskCluster/simple"]


def _group_status(observed: Observed, name: str = "simple-default") -> Mapping[str, Any]:
    return statuses(_planned(observed))[f"DaskWorkerGroup/{name}"]


def _settled() -> tuple[Cluster, Observed]:
    """Return a cluster and a group with current statuses, so that no write is left."""
    written = statuses(_planned(seen(3)))
    group = a_group(status=written["DaskWorkerGroup/simple-default"], last_ordinal=2)
    return a_cluster(status=written["DaskCluster/simple"]), seen(3, groups=[group])


def _condition(type_: str, true: bool, reason: str, message: str) -> dict[str, Any]:
    status = "True" if true else "False"
    times = {"lastTransitionTime": NOON_TEXT, "observedGeneration": 1}
    return {"type": type_, "status": status, "reason": reason, "message": message, **times}


def test_the_status_of_a_cluster_that_is_as_it_should_be() -> None:
    listens = "the scheduler listens at tcp://simple-scheduler.default.svc:8786"
    assert _cluster_status(seen(3)) == {
        "phase": "Running",
        "observedGeneration": 1,
        "replicas": 3,
        "readyReplicas": 3,
        "updatedReplicas": 3,
        "selector": SELECTOR,
        "conditions": [
            _condition("Ready", True, "AsWanted", "everything that it needs to be used is ready"),
            _condition("SchedulerReady", True, "SchedulerReady", listens),
            _condition("WorkersReady", True, "WorkersReady", "3 of 3 workers are ready"),
            _condition("Progressing", False, "Settled", "the cluster matches its spec"),
            _condition("Degraded", False, "AsExpected", "no problem is known"),
        ],
    }


def test_workers_that_are_being_retired_are_not_settled() -> None:
    observed = seen(
        3,
        groups=[a_group(workers=1, last_ordinal=2)],
        retiring=_leave(a_pod(1), a_pod(2)),
    )
    for status in (_cluster_status(observed), _group_status(observed)):
        progress = condition(status, "Progressing")
        message = "2 workers hand over their data before they are deleted"
        assert (progress["status"], progress["reason"], progress["message"]) == ("True", "Retiring", message)


def test_workers_of_a_removed_group_that_are_being_retired_are_not_settled() -> None:
    leaving = a_pod(0, group="simple-gpu")
    status = _cluster_status(seen([*map(a_pod, range(3)), leaving], retiring=_leave(leaving)))
    assert condition(status, "Progressing")["reason"] == "Retiring"


def test_what_the_worker_still_does_that_leaves_for_longest_is_said() -> None:
    retiring = {
        a_pod(1).uid: Departure(since=NOON - 60.0, waits_for="tasks"),
        a_pod(2).uid: Departure(since=NOON - 30.0, waits_for="shuffle"),
    }
    observed = seen(3, groups=[a_group(workers=1, last_ordinal=2)], retiring=retiring)
    for status in (_cluster_status(observed), _group_status(observed)):
        message = condition(status, "Progressing")["message"]
        assert message.startswith("2 workers hand over")
        assert message.endswith(f"; {a_pod(1).name} has tasks left, since 2026-01-01T11:59:00Z")


def test_a_scheduler_without_the_agent_is_said_until_it_has_one() -> None:
    def said(cluster: Cluster, survey: Survey | None) -> tuple[str, str] | None:
        planned = statuses(_planned(seen(3, survey=survey), cluster))
        wanted = planned.get("DaskCluster/simple", cluster.status)
        found = {each["type"]: each for each in wanted["conditions"]}.get("AgentMissing")
        return (found["status"], found["reason"]) if found else None

    pods = [a_pod(number) for number in range(3)]
    without, with_, silent = a_survey(pods), a_survey(pods, agent=True), a_survey(problem=Problem("X", "silent"))
    assert [said(a_cluster(), survey) for survey in (None, with_, silent)] == [None] * 3
    assert said(a_cluster(), without) == ("True", "NoAgent")
    told = a_cluster(status=dict(_cluster_status(seen(3, survey=without))))
    assert [said(told, survey) for survey in (None, silent, without)] == [("True", "NoAgent")] * 3
    assert said(told, with_) == ("False", "AgentAnswers")


@pytest.mark.parametrize("name", ["DaskCluster/simple", "DaskWorkerGroup/simple-default"])
def test_workers_that_wait_for_the_scheduler_say_so(name: str) -> None:
    progress = condition(statuses(_planned(seen(0, scheduler=None)))[name], "Progressing")
    assert progress["message"] == "0 of 3 workers exist; the others wait for the scheduler's Pod"


def test_workers_in_a_queue_are_no_fault_and_are_said() -> None:
    status = _cluster_status(seen([a_pod(0), a_pending_pod(1, gated=True), a_pending_pod(2, gated=True)]))
    assert condition(status, "Degraded")["status"] == "False"
    assert condition(status, "Progressing")["message"] == "3 of 3 workers exist; 2 have scheduling gates, as in a queue"


def test_a_scheduler_in_a_queue_is_no_fault_and_is_said() -> None:
    scheduler = a_scheduler_pod(phase="Pending", ready=False, gated=True)
    status = _cluster_status(seen(0, scheduler=scheduler))
    assert condition(status, "Degraded")["status"] == "False"
    assert condition(status, "SchedulerReady")["reason"] == "SchedulingGated"


@pytest.mark.parametrize("later", [0.0, 44.0, 45.0])
def test_a_pod_that_does_not_start_is_looked_at_again_when_that_is_a_problem(later: float) -> None:
    creating = Problem("ContainerCreating", "node n has not set up its volumes")
    waits: dict[str, Any] = {"phase": "Pending", "ready": False, "problem": creating, "problem_from": NOON + 45.0}
    wake = RequeueAt(NOON + 45.0, "Pods that have not started yet")
    for observed in (seen([a_pod(0, **waits)]), seen(3, scheduler=a_scheduler_pod(**waits))):
        planned = _planned(observed, now=NOON + later)
        assert (wake in planned) == (later < 45.0)
        degraded = condition(statuses(planned)["DaskCluster/simple"], "Degraded")
        assert degraded["reason"] == ("AsExpected" if later < 45.0 else "ContainerCreating")


def test_a_scheduler_that_may_still_start_is_starting() -> None:
    creating = Problem("ContainerCreating", "node n has not set up its volumes")
    scheduler = a_scheduler_pod(phase="Pending", ready=False, problem=creating, problem_from=NOON + 1.0)
    for now, reason in ((NOON, "SchedulerStarting"), (NOON + 1.0, "ContainerCreating")):
        status = statuses(_planned(seen(0, scheduler=scheduler), now=now))["DaskCluster/simple"]
        assert condition(status, "SchedulerReady")["reason"] == reason


def test_the_status_of_a_group_that_is_as_it_should_be() -> None:
    assert _group_status(seen(3)) == {
        "observedGeneration": 1,
        "replicas": 3,
        "readyReplicas": 3,
        "updatedReplicas": 3,
        "selector": SELECTOR,
        "lastOrdinal": 2,
        "conditions": [
            _condition("Ready", True, "AsWanted", "everything that it needs to be used is ready"),
            _condition("WorkersReady", True, "WorkersReady", "3 of 3 workers are ready"),
            _condition("Progressing", False, "Settled", "the cluster matches its spec"),
            _condition("Degraded", False, "AsExpected", "no problem is known"),
        ],
    }


def test_nothing_is_written_twice() -> None:
    cluster, observed = _settled()
    for now in (NOON, NOON + 1.0, NOON + 3600.0):
        assert _planned(observed, cluster, now) == []


@pytest.mark.parametrize(
    ("observed", "phase"),
    [
        (seen(0, service=None), "Created"),
        (seen(0, service=a_service(owners=("another",))), "Created"),
        (seen(0, service=a_service(cluster_ip="")), "Pending"),
        (seen(0), "Running"),
        (seen(0, service=a_service(cluster_ip="None")), "Running"),
        (seen(0, service=a_service(type="NodePort")), "Running"),
        (seen(0, service=a_service(type="LoadBalancer")), "Pending"),
        (seen(0, service=a_service(type="LoadBalancer", ingress=True)), "Running"),
        (
            seen(0, scheduler=None, failures={ObjectRef("Deployment", "simple-scheduler"): a_failure("Invalid")}),
            "Error",
        ),
        (seen(0, service=None, failures={ObjectRef("Service", "simple-scheduler"): a_failure("Invalid")}), "Error"),
        (seen(0, service=None, failures={ObjectRef("Service", "simple-scheduler"): a_failure("Quota")}), "Created"),
    ],
)
def test_phases(observed: Observed, phase: str) -> None:
    assert _cluster_status(observed)["phase"] == phase


def test_counts_are_of_the_default_group_and_conditions_of_all() -> None:
    groups = [a_group(workers=2), a_group("simple-gpu", workers=2)]
    pods = [a_pod(0), a_pending_pod(1), a_pod(2, group="simple-gpu")]
    status = _cluster_status(seen(pods, groups=groups))
    assert (status["replicas"], status["readyReplicas"]) == (2, 1)
    assert condition(status, "WorkersReady")["message"] == "2 of 4 workers are ready"


def test_workers_that_go_do_not_count() -> None:
    pods = [a_pod(0), a_pod(1, deleting=True), a_failed_pod(2), a_pod(3), a_pod(4)]
    observed = seen(pods, retired=frozenset({pods[3].uid}), retiring=_leave(pods[4]))
    status = _group_status(observed)
    assert (status["replicas"], status["readyReplicas"]) == (1, 1)


@pytest.mark.parametrize(
    ("observed", "ready", "reason"),
    [
        (seen(0, scheduler=None), "False", "SchedulerMissing"),
        (seen(0, scheduler=a_scheduler_pod(ready=False)), "False", "SchedulerStarting"),
        (seen(0, scheduler=a_scheduler_pod(ready=False, problem=Problem("ImagePullBackOff", "x"))), "False", "Image"),
        (seen(0), "True", "SchedulerReady"),
    ],
)
def test_scheduler_ready(observed: Observed, ready: str, reason: str) -> None:
    told = condition(_cluster_status(observed), "SchedulerReady")
    assert told["status"] == ready
    assert told["reason"].startswith(reason)


@pytest.mark.parametrize(
    ("observed", "reason"),
    [(seen(4), "ScalingDown"), (seen(2), "ScalingUp"), (seen([a_pod(0), a_pod(1), a_pending_pod(2)]), "ScalingUp")],
)
def test_progressing(observed: Observed, reason: str) -> None:
    for status in (_cluster_status(observed), _group_status(observed)):
        assert (condition(status, "Progressing")["status"], condition(status, "Progressing")["reason"]) == (
            "True",
            reason,
        )


NO_ROOM = Problem("Unschedulable", "0/3 nodes are available")
SURVEY = Survey(NOON, problem=Problem("SchedulerUnreachable", "no answer"))


@pytest.mark.parametrize(
    ("observed", "reason", "message"),
    [
        (
            seen(0, failures={ObjectRef("Pod", "simple-default-worker-*"): a_failure("QuotaExceeded")}),
            "QuotaExceeded",
            "says",
        ),
        (seen([a_pending_pod(0, problem=NO_ROOM)]), "Unschedulable", "simple-default-worker-0: 0/3 nodes"),
        (seen([a_failed_pod(0)]), "Error", "exit code 1"),
        (seen(4, survey=SURVEY), "SchedulerUnreachable", "no answer"),
        (seen(4, refused={a_pod(1).uid: NOON}), "RetirementRefused", "worker simple-default-worker-1 stays because"),
    ],
)
def test_what_is_wrong_with_a_group_is_wrong_with_its_cluster(observed: Observed, reason: str, message: str) -> None:
    of_group = condition(_group_status(observed), "Degraded")
    assert (of_group["status"], of_group["reason"]) == ("True", reason)
    assert message in of_group["message"]
    of_cluster = condition(_cluster_status(observed), "Degraded")
    assert of_cluster["reason"] == reason
    assert of_cluster["message"] == f"group simple-default: {of_group['message']}"


@pytest.mark.parametrize(
    ("observed", "reason"),
    [
        (
            seen(0, service=None, failures={ObjectRef("Service", "simple-scheduler"): a_failure("Forbidden")}),
            "Forbidden",
        ),
        (seen(0, scheduler=None, deployment=a_deployment(problem=Problem("FailedCreate", "q"))), "FailedCreate"),
        (seen(0, scheduler=a_scheduler_pod(ready=False, problem=NO_ROOM)), "Unschedulable"),
        (seen([a_failed_pod(0)], scheduler=a_scheduler_pod(ready=False, problem=NO_ROOM)), "Unschedulable"),
    ],
)
def test_what_is_wrong_with_a_scheduler_comes_first(observed: Observed, reason: str) -> None:
    assert condition(_cluster_status(observed), "Degraded")["reason"] == reason


@pytest.mark.parametrize(
    "observed",
    [
        seen(3, deployment=a_deployment(problem=Problem("FailedCreate", "an hour ago"))),
        seen(3, scheduler=a_scheduler_pod(problem=NO_ROOM)),
        seen([a_pod(n, started=NOON - 60.0) for n in range(3)], survey=SURVEY),
        seen(3, refused={a_pod(1).uid: NOON}),
        seen([a_pod(0), a_pod(1), a_pod(2, problem=NO_ROOM)]),
        seen([a_pod(0), a_pod(1), a_pod(2), a_pod(3, phase="Succeeded", ready=False)]),
        seen([a_pod(0), a_pod(1), a_pod(2), a_failed_pod(3, deleting=True)]),
        seen(4, refused={a_pod(1).uid: NOON - 60.0}),
    ],
)
def test_what_is_over_is_not_wrong(observed: Observed) -> None:
    assert condition(_cluster_status(observed), "Degraded")["status"] == "False"


def test_a_transition_time_is_that_of_the_change() -> None:
    cluster, _ = _settled()
    observed = seen([a_pod(0), a_pod(1), a_pending_pod(2)])
    status = statuses(_planned(observed, cluster, NOON + 60.0))["DaskCluster/simple"]
    assert condition(status, "SchedulerReady")["lastTransitionTime"] == NOON_TEXT
    assert condition(status, "WorkersReady")["lastTransitionTime"] == "2026-01-01T12:01:00Z"


def test_a_condition_whose_time_is_lost_gets_one() -> None:
    old = {"conditions": [{"type": "SchedulerReady", "status": "True"}]}
    told = condition(_cluster_status(seen(3), a_cluster(status=old)), "SchedulerReady")
    assert told["lastTransitionTime"] == NOON_TEXT


def test_other_words_for_the_same_problem_are_not_written() -> None:
    first = seen([a_pending_pod(n, problem=Problem("Unschedulable", "0/3 nodes")) for n in range(3)])
    written = statuses(_planned(first))
    cluster = a_cluster(status=written["DaskCluster/simple"])
    group = a_group(status=written["DaskWorkerGroup/simple-default"], last_ordinal=2)
    others = [a_pending_pod(n, problem=Problem("Unschedulable", "0/4 nodes")) for n in range(3)]
    planned = _planned(seen(others, groups=[group]), cluster, NOON + 60.0)
    assert {type(action) for action in planned} == {RequeueAt}


def test_counts_on_the_way_are_written_every_few_seconds() -> None:
    cluster, _ = _settled()
    group = a_group(workers=9, status=_group_status(seen(3)), last_ordinal=2)
    written = {CLUSTER: Written(NOON - 1.0, {}, CLUSTER_UID), GROUP: Written(NOON - 28.0, {}, GROUP_UID)}
    observed = seen(5, groups=[group], written=written)
    assert _planned(observed, cluster) == [
        RequeueAt(NOON + 2.0, "the status of DaskWorkerGroup simple-default"),
        RequeueAt(NOON - 1.0 + INTERVAL, "the status of DaskCluster simple"),
    ]
    assert set(statuses(_planned(observed, cluster, NOON + 2.0))) == {
        "DaskCluster/simple",
        "DaskWorkerGroup/simple-default",
    }


@pytest.mark.parametrize(
    "awaited",
    [
        pytest.param(seen(0, groups=[a_group(workers=0)]), id="scheduler ready"),
        pytest.param(seen(3), id="settled"),
        pytest.param(seen([a_pending_pod(0, problem=NO_ROOM)], scheduler=None), id="wrong"),
    ],
)
def test_what_somebody_waits_for_is_written_at_once(awaited: Observed) -> None:
    starting = statuses(_planned(seen(0, scheduler=None)))["DaskCluster/simple"]
    observed = Observed(
        deployment=awaited.deployment,
        service=awaited.service,
        groups=awaited.groups,
        pods=awaited.pods,
        written={CLUSTER: Written(NOON, {}, CLUSTER_UID), GROUP: Written(NOON, {}, GROUP_UID)},
    )
    assert "DaskCluster/simple" in statuses(_planned(observed, a_cluster(status=starting)))


def test_a_status_that_was_refused_waits_for_its_time() -> None:
    failures = {CLUSTER: a_failure(until=NOON + 8.0), GROUP: a_failure(until=NOON + 8.0)}
    planned = _planned(seen(3, failures=failures))
    assert statuses(planned) == {}
    assert [action.at for action in planned if isinstance(action, RequeueAt)] == [NOON + 8.0] * 2


def _events(actions: Sequence[Action]) -> list[tuple[str, str, str]]:
    return [(a.subject.kind, a.type, a.reason) for a in actions if isinstance(a, RecordEvent)]


def test_events_come_with_a_change_for_the_worse_and_its_end() -> None:
    observed = seen([a_pending_pod(n, problem=NO_ROOM) for n in range(3)])
    planned = _planned(observed)
    both = [("DaskWorkerGroup", "Warning", "Unschedulable"), ("DaskCluster", "Warning", "Unschedulable")]
    assert _events(planned) == both
    written = statuses(planned)
    cluster = a_cluster(status=written["DaskCluster/simple"])
    group = a_group(status=written["DaskWorkerGroup/simple-default"], last_ordinal=2)
    again = seen(observed.pods[1:], groups=[group])
    assert _events(_planned(again, cluster, NOON + 60.0)) == [], "it is the same"
    well = _planned(seen(3, groups=[group]), cluster, NOON + 60.0)
    assert [reason for _, _, reason in _events(well)] == ["Recovered", "Recovered"]
    assert "no longer: Unschedulable" in next(a.message for a in well if isinstance(a, RecordEvent))


def test_an_event_comes_after_its_status_and_not_without() -> None:
    planned = _planned(seen([a_failed_pod(0)]))
    kinds = [type(action) for action in planned if not isinstance(action, RequeueAt)]
    assert kinds == [SetStatus, RecordEvent, SetStatus, RecordEvent]


def test_a_new_cluster_that_starts_is_no_event() -> None:
    assert _events(_planned(seen(0, scheduler=None), now=NOON + 600.0)) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('Pod simple-default: unknown field "spec.contaners"', "FieldIgnored"),
        (
            'Pod simple-default: would violate PodSecurity "restricted:latest": runAsNonRoot != true',
            "KubernetesWarning",
        ),
        ("Pod simple-default: autopilot-default-resources-mutator: updated resources", "KubernetesWarning"),
    ],
)
def test_the_api_servers_warnings_become_events_in_its_own_words(text: str, reason: str) -> None:
    cluster, observed = _settled()
    (event,) = _planned(replace(observed, warnings=(text,)), cluster)
    assert isinstance(event, RecordEvent)
    assert (event.type, event.reason, event.message) == ("Warning", reason, text)


def test_the_last_ordinal_is_kept_when_its_worker_goes() -> None:
    group = a_group(workers=1, last_ordinal=41)
    assert _group_status(seen(1, groups=[group]))["lastOrdinal"] == 41
    assert _group_status(seen([a_pod(50)], groups=[group]))["lastOrdinal"] == 50


def test_the_last_ordinal_does_not_pass_one_whose_creation_is_unsettled() -> None:
    group = a_group(workers=5, last_ordinal=-1)
    pods = [a_pod(0), a_pod(1), a_pod(3), a_pod(4)]
    assert _group_status(seen(pods, groups=[group]))["lastOrdinal"] < 2


def test_groups_of_others_get_no_status() -> None:
    groups = [a_group(), a_group("gone", deleting=True), a_group("of-another", owner="uid-of-a-namesake")]
    assert set(statuses(_planned(seen(3, groups=groups)))) == {"DaskWorkerGroup/simple-default", "DaskCluster/simple"}


def test_a_group_without_a_cluster_says_so_once() -> None:
    group = a_group("lonely", owner=None, cluster="absent")
    planned = list(plan_orphan(group, Observed(), NOON))
    status = statuses(planned)["DaskWorkerGroup/lonely"]
    told = condition(status, "Degraded")
    assert (told["status"], told["reason"]) == ("True", "ClusterNotFound")
    assert told["message"] == 'there is no DaskCluster "absent" in namespace default'
    assert _events(planned) == [("DaskWorkerGroup", "Warning", "ClusterNotFound")]
    told_so = a_group("lonely", owner=None, cluster="absent", status=status)
    (look,) = plan_orphan(told_so, Observed(), NOON + 30.0)
    assert isinstance(look, RequeueAt)
    later = list(plan_orphan(told_so, Observed(), look.at))
    assert condition(statuses(later)["DaskWorkerGroup/lonely"], "Stalled")["reason"] == "ClusterNotFound"
    assert _events(later) == [], "it is the same"


def test_a_group_that_goes_with_its_cluster_is_no_orphan() -> None:
    assert list(plan_orphan(a_group(), Observed(), NOON)) == []
    assert list(plan_orphan(a_group(owner=None, deleting=True), Observed(), NOON)) == []


def test_since_when_the_scheduler_is_down() -> None:
    cluster = a_cluster(status=_cluster_status(seen(0, scheduler=None)))
    assert scheduler_down_since(cluster, seen(3), NOON + 50.0) == NOON
    assert scheduler_down_since(a_cluster(), seen(3), NOON + 50.0) == NOON + 50.0
    ready = a_cluster(status=_cluster_status(seen(3)))
    assert scheduler_down_since(ready, seen(3), NOON + 50.0) == NOON + 50.0
    kept_nowhere = seen(3, written={CLUSTER: Written(NOON, cluster.status, CLUSTER_UID)})
    assert scheduler_down_since(a_cluster(), kept_nowhere, NOON + 50.0) == NOON


@pytest.mark.parametrize(
    "odd", [{"conditions": None}, {"conditions": "x"}, {"conditions": [None, {}, {"type": None}, {"type": []}]}]
)
def test_a_half_valid_status_is_written_anew(odd: dict[str, Any]) -> None:
    group = a_group(status=odd)
    written = statuses(_planned(seen(3, groups=[group]), a_cluster(status=odd)))
    assert len(written) == 2
