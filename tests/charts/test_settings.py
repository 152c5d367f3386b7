"""The operator's chart writes settings under the names by which the controller reads them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.charts.conftest import Render
from tests.charts.renderings import OPERATOR

from dask_operator.plan import Policy
from dask_operator.process.settings import Settings, from_environment


def _settings(render: Render, values: dict[str, Any]) -> Settings:
    (deployment,) = (m for m in render(OPERATOR, values) if m["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    # What comes from a field of the Pod has some text.
    return from_environment({each["name"]: each.get("value", "x") for each in container["env"]})


@pytest.mark.parametrize(
    ("values", "changed"),
    [
        ({"watchNodes": True}, {"watch_nodes": True}),
        ({"kueue.enabled": True}, {"kueue": True}),
        ({"workerAllocation.size": 7}, {"policy": Policy(batch_size=7)}),
        ({"workerAllocation.delay": 2.5}, {"policy": Policy(batch_delay=2.5)}),
    ],
)
def test_a_value_is_the_controllers_setting(render: Render, values: dict[str, Any], changed: dict[str, Any]) -> None:
    before = _settings(render, {})
    assert _settings(render, values) == replace(before, **changed) != before
