"""The times of the election, which the operator's chart has as the controller has them."""

from __future__ import annotations

from typing import Any

import pytest
from tests.charts.conftest import Render
from tests.charts.renderings import OPERATOR

from dask_operator.kubernetes.leadership import Times
from dask_operator.process.settings import LEASE_DURATION, LEASE_RENEW_DEADLINE, LEASE_RETRY_PERIOD, from_environment

TIMES = (LEASE_DURATION, LEASE_RENEW_DEADLINE, LEASE_RETRY_PERIOD)


def _times(render: Render, values: dict[str, Any]) -> Times:
    (deployment,) = (m for m in render(OPERATOR, values) if m["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return from_environment({each["name"]: each["value"] for each in container["env"] if each["name"] in TIMES}).times


def test_several_controllers_have_the_controllers_own_defaults(render: Render) -> None:
    assert _times(render, {"replicas": 2}) == Times()


@pytest.mark.parametrize(
    ("duration", "deadline", "retry"),
    [
        (4, 3, 1),
        (15, 10, 2),
        (137, 107, 26),
        (3, 2, 1),
        (4, 3.5, 1),
        (4, 3, 1.6),
        (10, 10, 2),
        (11, 10, 5),
        (2, 1, 0.5),
    ],
)
def test_the_chart_refuses_what_the_controller_refuses(
    render: Render, duration: int, deadline: float, retry: float
) -> None:
    given = {"leaseDuration": duration, "renewDeadline": deadline, "retryPeriod": retry}
    values = {f"leaderElection.{name}": value for name, value in given.items()}
    try:
        wanted = Times(duration, deadline, retry)
    except ValueError:
        with pytest.raises(AssertionError, match="leaderElection"):
            render(OPERATOR, values)
    else:
        assert _times(render, values) == wanted
