from __future__ import annotations

import inspect
import re
from dataclasses import replace

from tests.support.builders import (
    NOON,
    a_cluster,
    a_failed_pod,
    a_failure,
    a_group,
    a_pending_pod,
    a_pod,
    a_scheduler_pod,
    a_survey,
    seen,
)

from dask_operator.model import Group, ObjectRef, Observed, Problem, Registration
from dask_operator.plan.report.problems import NO_ANSWER, cluster_problem, group_problem
from dask_operator.plan.view import View
from dask_operator.scheduler import failures

BROKEN = Problem("ImagePullBackOff", 'container "scheduler": no such image')


def _problem(group: Group, observed: Observed, now: float) -> Problem | None:
    view = View.of(a_cluster(), replace(observed, groups=(group,)))
    return group_problem(view, view.workers[group.name], now)


def test_without_problems_there_is_none() -> None:
    observed = seen(2)
    assert _problem(a_group(workers=2), observed, NOON) is None
    assert cluster_problem(View.of(a_cluster(), observed), NOON) is None


def test_no_scheduler_comes_before_no_workers() -> None:
    scheduler = replace(a_scheduler_pod(), ready=False, problem=BROKEN)
    observed = seen([a_pending_pod(0, problem=Problem("Unschedulable", "0/3 nodes"))], scheduler=scheduler)
    assert cluster_problem(View.of(a_cluster(), observed), NOON) == BROKEN
    refused = replace(observed, failures={ObjectRef("Deployment", "simple-scheduler"): a_failure(until=NOON)})
    found = cluster_problem(View.of(a_cluster(), refused), NOON)
    assert found == a_failure(until=NOON).problem


def test_a_service_that_does_not_lead_to_the_scheduler_says_which_name_it_lacks() -> None:
    cluster = a_cluster(service_spec={"ports": [{"name": "web", "port": 80}]})
    found = cluster_problem(View.of(cluster, seen(2)), NOON)
    assert found
    assert found.reason == "PortNotFound"
    assert "no port of Service simple-scheduler leads to port 8786" in found.message
    assert "name the port tcp-comm, or set its targetPort to 8786" in found.message


def test_a_groups_problem_names_the_group_and_the_pod() -> None:
    observed = seen([a_pending_pod(0, problem=Problem("Unschedulable", "0/3 nodes"))])
    found = cluster_problem(View.of(a_cluster(), observed), NOON)
    name = a_pod(0).name
    assert found == Problem("Unschedulable", f"group simple-default: {name}: 0/3 nodes")


def test_a_state_that_may_pass_is_a_problem_once_it_has_lasted() -> None:
    creating = Problem("ContainerCreating", "node n has not set up its volumes")
    observed = seen([a_pending_pod(0, problem=creating, problem_from=NOON)])
    assert _problem(a_group(), observed, NOON - 1.0) is None
    found = _problem(a_group(), observed, NOON)
    assert found == Problem("ContainerCreating", f"{a_pod(0).name}: {creating.message}")


UNKNOWN = "the scheduler does not know workers that run: "


def test_a_worker_that_runs_and_is_not_registered_is_a_problem() -> None:
    known, unknown = a_pod(0), a_pod(1)
    observed = seen([known, unknown], survey=a_survey([known]))
    found = _problem(a_group(workers=2), observed, NOON)
    assert found
    assert found.reason == "WorkerNotRegistered"
    assert found.message.startswith(f"{UNKNOWN}{unknown.name}; read the log, and check that they connect to tcp://")


def test_three_unregistered_workers_are_named_and_the_others_counted() -> None:
    found = _problem(a_group(workers=5), seen(5, survey=a_survey([])), NOON)
    assert found
    assert found.message.startswith(f"{UNKNOWN}{a_pod(0).name}, {a_pod(1).name}, {a_pod(2).name} and 2 more; ")


def test_a_scheduler_that_gives_no_answer_is_a_problem_once_workers_have_run_for_long() -> None:
    silent = replace(a_survey(), problem=Problem("SchedulerUnreachable", "timeout"))
    for age, expected in ((91.0, silent.problem), (89.0, None)):
        observed = seen([a_pod(0, started=NOON - age)], survey=silent, groups=[a_group(workers=1)])
        assert cluster_problem(View.of(a_cluster(), observed), NOON) == expected
    not_ready = replace(a_scheduler_pod(), ready=False)
    observed = seen(1, survey=silent, groups=[a_group(workers=1)], scheduler=not_ready)
    assert cluster_problem(View.of(a_cluster(), observed), NOON) is None


def test_a_controller_that_has_just_started_believes_the_status_until_the_scheduler_answers() -> None:
    said = {"type": "Degraded", "status": "True", "reason": "WorkerNotRegistered", "message": "as before"}
    group = a_group(workers=1, status={"conditions": [said]})
    assert _problem(group, seen(1), NOON) == Problem("WorkerNotRegistered", "as before")
    assert _problem(group, seen(1, survey=a_survey([a_pod(0)])), NOON) is None
    assert _problem(group, seen([a_pending_pod(0)]), NOON) is None


def test_what_keeps_a_group_from_shrinking_is_said_only_while_it_is_to_shrink() -> None:
    silent = replace(a_survey(), problem=Problem("SchedulerUnreachable", "timeout"))
    assert _problem(a_group(workers=1), seen(2, survey=silent), NOON) == silent.problem
    assert _problem(a_group(workers=2), seen(2, survey=silent), NOON) is None
    refused = seen(2, refused={a_pod(0).uid: NOON - 1.0})
    found = _problem(a_group(workers=1), refused, NOON)
    assert found
    assert found.reason == "RetirementRefused"
    assert a_pod(0).name in found.message
    assert _problem(a_group(workers=1), refused, NOON + 60.0) is None
    holder = replace(refused, actors=frozenset({a_pod(0).uid}))
    found = _problem(a_group(workers=1), holder, NOON)
    assert found
    assert "actors" in found.message


def test_workers_without_the_names_of_their_pods_keep_a_group_from_shrinking() -> None:
    addresses = [f"tcp://172.30.0.{number}:40000" for number in range(5)]
    survey = replace(a_survey(), workers=tuple(Registration(each, each, nbytes=5) for each in addresses))
    found = _problem(a_group(workers=1), seen(5, survey=survey), NOON)
    assert found
    assert found.reason == "WorkerNotNamed"
    assert f'"{addresses[0]}" at {addresses[0]}, ' in found.message
    assert "and 2 more" in found.message
    assert "--name $(DASK_WORKER_NAME)" in found.message
    assert _problem(a_group(workers=5), seen(5, survey=survey), NOON) is None, "nobody is to leave"
    all_known = replace(survey, workers=(*a_survey([a_pod(n) for n in range(5)]).workers, *survey.workers))
    assert _problem(a_group(workers=1), seen(5, survey=all_known), NOON) is None, "a stranger is in nobody's way"
    assert _problem(a_group(workers=1), seen([a_pending_pod(n) for n in range(5)], survey=survey), NOON) is None


def test_a_worker_that_ends_well_again_and_again_is_a_problem_while_it_waits() -> None:
    ended = a_failed_pod(0, phase="Succeeded", problem=None, attempt=1, lived=5.0)
    found = _problem(a_group(workers=1), seen([ended]), NOON)
    assert found
    assert (found.reason, ended.name in found.message) == ("WorkerEndedEarly", True)
    assert _problem(a_group(workers=1), seen([ended]), NOON + 60.0) is None, "it is replaced now"
    assert _problem(a_group(workers=1), seen([replace(ended, attempt=0)]), NOON) is None


def test_a_worker_on_its_way_out_is_no_problem() -> None:
    going = replace(a_failed_pod(0), deleting=True)
    assert _problem(a_group(workers=1), seen([going, a_pod(1)]), NOON) is None


def test_the_reasons_of_no_answer_are_those_of_the_questions_to_schedulers() -> None:
    assert {*re.findall(r'Problem\("(\w+)"', inspect.getsource(failures))} == {*NO_ANSWER}
