"""Numbers that Kubernetes would refuse are refused by the charts' schemas, with the value's name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from tests.charts.conftest import Render
from tests.charts.renderings import CLUSTER, OPERATOR, schema

# A number of these may be any, since it is a text for the program or a time.
ANY = {
    *((CLUSTER, f"{part}env.x") for part in ("", "scheduler.", "worker.", "workerGroups.x.", "job.")),
    (OPERATOR, "tolerations.0.tolerationSeconds"),
}


def numbers(node: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the path and the schema of each value that may be a number."""
    node = node.get("else", node)
    for part in node.get("anyOf", [node]):
        kinds = part.get("type", ())
        if {"integer", "number"} & {*((kinds,) if isinstance(kinds, str) else kinds)}:
            yield ".".join(path), part
    for name, part in node.get("properties", {}).items():
        yield from numbers(part, (*path, name))
    for keyword, name in (("additionalProperties", "x"), ("items", "0")):
        if isinstance(node.get(keyword), Mapping):
            yield from numbers(node[keyword], (*path, name))


@pytest.mark.parametrize("chart", [CLUSTER, OPERATOR])
def test_a_number_has_bounds(chart: str) -> None:
    found = {path: node for path, node in numbers(schema(chart)) if (chart, path) not in ANY}
    assert len(found) > 20
    assert {path for path, node in found.items() if node.get("minimum", -1) < 0} == set()
    whole = {path: node for path, node in found.items() if "integer" in node["type"]}
    assert {path for path, node in whole.items() if node["maximum"] > 2**31 - 1} == set()


@pytest.mark.parametrize(
    ("chart", "path", "value"),
    [
        (CLUSTER, "worker.replicas", 3_000_000_000),
        (CLUSTER, "worker.resources.limits.cpu", -1),
        (CLUSTER, "worker.resources.limits.memory", "-1Gi"),
        (CLUSTER, "workerGroups.a.resources.requests.memory", -1),
        (OPERATOR, "replicas", 3_000_000_000),
        (OPERATOR, "resources.limits.cpu", "-100m"),
        (OPERATOR, "test.resources.limits.memory", -1),
    ],
)
def test_what_is_out_of_bounds_is_refused_by_its_name(render: Render, chart: str, path: str, value: Any) -> None:
    with pytest.raises(AssertionError, match=f"- at '/{path.replace('.', '/')}'"):
        render(chart, {path: value})
