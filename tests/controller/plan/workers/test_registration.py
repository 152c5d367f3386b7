from __future__ import annotations

from typing import Any

import pytest
from tests.support.builders import NOON, a_cluster, a_pending_pod, a_pod, a_survey, seen

from dask_operator.model import Pod, Problem, Registration, Survey
from dask_operator.plan.view import View
from dask_operator.plan.workers.registration import TAKES, unregistered


def _unregistered(pods: list[Pod], survey: Survey | None) -> list[str]:
    view = View.of(a_cluster(), seen(pods, survey=survey))
    return [pod.name for pod in unregistered(view, view.workers["simple-default"])]


def test_a_worker_that_the_scheduler_does_not_know() -> None:
    assert _unregistered([a_pod(0), a_pod(1)], a_survey([a_pod(0)])) == [a_pod(1).name]


@pytest.mark.parametrize(
    "registration",
    [
        Registration(a_pod(0).name, "tcp://172.30.0.1:40000"),
        Registration(f"{a_pod(0).name}-1", "tcp://172.30.0.1:40000"),
        Registration("a name of its own", f"tcp://{a_pod(0).ip}:40000"),
        Registration("a name of its own", "tcp://172.30.0.1:40000"),
    ],
)
def test_a_worker_that_the_scheduler_may_know_by_whatever_name(registration: Registration) -> None:
    assert _unregistered([a_pod(0)], Survey(NOON, (registration,))) == []


@pytest.mark.parametrize(
    "others",
    [{"started": NOON - TAKES + 1.0}, {"ready": False}, {"deleting": True}, {"phase": "Failed"}],
)
def test_a_worker_that_need_not_have_registered(others: dict[str, Any]) -> None:
    assert _unregistered([a_pod(0, **others), a_pending_pod(1)], a_survey([])) == []


@pytest.mark.parametrize("survey", [None, Survey(NOON, problem=Problem("SchedulerUnreachable", "timeout"))])
def test_without_an_answer_nobody_knows(survey: Survey | None) -> None:
    assert _unregistered([a_pod(0)], survey) == []
