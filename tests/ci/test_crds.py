"""The check that copies within the CRDs are equal and that each is small enough."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ci.verify import crds


@pytest.fixture
def loaded() -> dict[str, Any]:
    return copy.deepcopy(crds.load())


def test_ours_are_fine(loaded: dict[str, Any]) -> None:
    assert list(crds.problems(loaded)) == []


@pytest.mark.parametrize(
    ("kind", "path", "named"),
    [
        ("daskjob", "spec.cluster.spec.scheduler", "spec.cluster.spec in daskjob.yaml"),
        ("daskjob", "spec.job.spec.containers.[]", "spec.job.spec in daskjob.yaml"),
        ("daskworkergroup", "spec.worker.metadata", "spec.worker in daskworkergroup.yaml"),
        ("daskcluster", "spec.scheduler.spec", "spec.scheduler.spec in daskcluster.yaml"),
        ("daskautoscaler", "status.conditions.[]", "status.conditions.[] in daskautoscaler.yaml"),
    ],
)
def test_names_the_copy_that_differs(loaded: dict[str, Any], kind: str, path: str, named: str) -> None:
    # An alias read from text is one object, but these must be separate ones.
    loaded[kind] = _unshared(loaded[kind])
    crds.at(loaded[kind], path)["properties"]["another"] = {"type": "string"}
    assert any(named in problem for problem in crds.problems(loaded))


def test_names_the_one_that_is_too_large(loaded: dict[str, Any]) -> None:
    loaded["daskautoscaler"] = _unshared(loaded["daskautoscaler"])
    crds.at(loaded["daskautoscaler"], "spec.cluster")["description"] = "x" * crds.LARGEST
    (problem,) = crds.problems(loaded)
    assert problem.startswith("daskautoscaler.yaml has ")


def _unshared(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _unshared(item) for key, item in value.items()}
    return [_unshared(item) for item in value] if isinstance(value, list) else value
