from __future__ import annotations

import pytest
from tests.support.builders import a_cluster, a_group, a_pod, a_runner_pod, a_scheduler_pod, seen

from dask_operator.model import Pod
from dask_operator.plan.report.suspended import is_suspended, rests, resumed, suspended_conditions
from dask_operator.plan.view import View

SAID = {"conditions": [{"type": "Suspended", "status": "True", "reason": "Suspended"}]}
RESUMING = (
    "the cluster was resumed, and starts as a new one when the Pods from before are gone: "
    f"{a_pod(0).name}, {a_pod(1).name}, {a_pod(2).name}, …; if the node of one is dead, delete it with --force"
)


def _view(pods: list[Pod], scheduler: Pod | None = None, **cluster: object) -> View:
    return View.of(a_cluster(**cluster), seen(pods, groups=[a_group(workers=0)], scheduler=scheduler))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("view", "suspended"),
    [
        (_view([]), False),
        (_view([], suspended=True), True),
        (_view([], status=SAID), False),
        (_view([a_pod(0)], status=SAID), True),
        (_view([a_pod(0, deleting=True)], status=SAID), True),
        (_view([], a_scheduler_pod(deleting=True), status=SAID), True),
        (_view([a_runner_pod()], status=SAID), False),
        (_view([], a_scheduler_pod(owners=()), status=SAID), False),
        (_view([], a_scheduler_pod(phase="Failed"), status=SAID), False),
    ],
)
def test_a_cluster_rests_until_its_pods_are_gone(view: View, *, suspended: bool) -> None:
    assert rests(view) == suspended


def test_it_counts_as_suspended_until_its_status_says_otherwise() -> None:
    assert is_suspended(_view([], status=SAID))
    assert not is_suspended(_view([]))


@pytest.mark.parametrize(
    ("view", "reason", "message"),
    [
        (
            _view([a_pod(0)], a_scheduler_pod(), suspended=True, suspended_by="helm"),
            "Suspended",
            "spec.suspend is true, set by helm: the scheduler and 1 workers end, with the results that they hold",
        ),
        (
            _view([], suspended=True),
            "Suspended",
            "spec.suspend is true: the cluster has no Pods; set it to false to start the cluster as a new one",
        ),
        (
            _view([a_pod(number) for number in range(4)], status=SAID),
            "Resuming",
            RESUMING,
        ),
    ],
)
def test_it_says_who_suspends_it_and_what_happens(view: View, reason: str, message: str) -> None:
    told = {condition.type: condition for condition in suspended_conditions(view)}
    assert (told["Suspended"].reason, told["Suspended"].message) == (reason, message)
    assert told["Progressing"].true == bool(view.observed.pods)


def test_only_a_cluster_that_has_been_suspended_says_that_it_is_not() -> None:
    assert list(resumed(_view([]))) == []
    assert [(each.type, each.true, each.reason) for each in resumed(_view([], status=SAID))] == [
        ("Suspended", False, "Resumed")
    ]
