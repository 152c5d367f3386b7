from __future__ import annotations

from typing import Any

import dask
import pytest
from tests.support.builders import a_cluster

from dask_operator import agent, manifests, names

PRELOAD = "DASK_DISTRIBUTED__SCHEDULER__PRELOAD"


def _scheduler_env(*own: dict[str, Any]) -> list[dict[str, Any]]:
    cluster = a_cluster(scheduler_spec={"containers": [{"name": "scheduler", "image": "dask", "env": list(own)}]})
    (container,) = manifests.deployment_manifest(cluster)["spec"]["template"]["spec"]["containers"]
    env: list[dict[str, Any]] = container["env"]
    return env


def _preloads(env: list[dict[str, Any]]) -> Any:
    values = {variable["name"]: variable.get("value", "") for variable in env}
    return dask.config.collect_env(values)["distributed"]["scheduler"]["preload"]


def test_a_scheduler_executes_the_agent() -> None:
    env = _scheduler_env()
    assert _preloads(env) == [agent.PRELOAD]
    assert env[0] == {"name": names.AGENT_ENV, "value": agent.TEXT}
    assert "$(" not in agent.TEXT, "Kubernetes would take it for a reference"


@pytest.mark.parametrize(
    ("own", "read"),
    [
        ("team.setup", ["team.setup"]),
        ("'team.setup'", ["team.setup"]),
        ("['a', '/etc/b.py']", ["a", "/etc/b.py"]),
        ("('a',)", ["a"]),
        ("", []),
        ("[", ["["]),
        ("import os; print(1)", ["import os; print(1)"]),
    ],
)
def test_the_users_preloads_are_executed_as_well(own: str, read: list[str]) -> None:
    env = _scheduler_env({"name": PRELOAD, "value": own})
    assert _preloads(env) == [agent.PRELOAD, *read]
    assert [variable["name"] for variable in env].count(PRELOAD) == 1


@pytest.mark.parametrize(
    "own",
    [
        [{"name": PRELOAD, "valueFrom": {"configMapKeyRef": {"name": "dask", "key": "preload"}}}],
        [{"name": PRELOAD, "value": "['a', 'b']"}, {"name": f"{PRELOAD}_ARGV", "value": "[['x'], []]"}],
    ],
)
def test_preloads_that_cannot_be_added_to_stay(own: list[dict[str, Any]]) -> None:
    assert _scheduler_env(*own)[: len(own)] == own


@pytest.mark.parametrize("wrong", ["typo", 5, None])
def test_what_is_no_variable_is_left_to_the_api_server(wrong: Any) -> None:
    assert _scheduler_env(wrong)[0] == wrong


def test_a_manifest_that_was_made_once_is_not_changed_by_making_it_again() -> None:
    env = _scheduler_env({"name": PRELOAD, "value": "a"})
    assert _preloads(_scheduler_env(*env)) == _preloads(env)
