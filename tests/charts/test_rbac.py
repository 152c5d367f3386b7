"""What the operator's chart permits is what the controller does, neither more nor less."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from tests.charts.conftest import Render

from dask_operator.actions import LEASE_RULES, NAMESPACE_RULES, RULES

CHART = "dask-kubernetes-operator"
PATTERNS = {"kopfArgs": ["--namespace=dev-*,!dev-x"]}


def triples(role: dict[str, Any]) -> set[tuple[str, str, str]]:
    return {triple for rule in role["rules"] for triple in product(rule["apiGroups"], rule["resources"], rule["verbs"])}


def role(render: Render, kind: str, name: str, values: dict[str, Any]) -> dict[str, Any]:
    manifests = render(CHART, {"fullnameOverride": "operator", **values})
    (found,) = (m for m in manifests if (m["kind"], m["metadata"]["name"]) == (kind, name))
    return found


@pytest.mark.parametrize(
    ("kind", "values", "needed"),
    [
        ("ClusterRole", {}, RULES),
        ("ClusterRole", {"kopfArgs": ["--namespace=one"]}, RULES),
        ("ClusterRole", PATTERNS, RULES | NAMESPACE_RULES),
        ("Role", {"rbac.cluster": False}, RULES),
    ],
)
def test_role_is_what_actions_need(
    render: Render, kind: str, values: dict[str, Any], needed: frozenset[tuple[str, str, str]]
) -> None:
    assert triples(role(render, kind, "operator", values)) == needed


@pytest.mark.parametrize("cluster", [True, False])
def test_lease_is_in_the_namespace_of_the_release(render: Render, cluster: bool) -> None:
    values = {"rbac.cluster": cluster, "kopfArgs": ["--namespace=elsewhere"]}
    lease = role(render, "Role", "operator-lease", values)
    assert lease["metadata"]["namespace"] == "dask"
    assert triples(lease) == LEASE_RULES


def test_one_namespace_takes_nothing_cluster_wide(render: Render) -> None:
    manifests = render(CHART, {"rbac.cluster": False, "crds.install": False})
    assert {manifest["metadata"].get("namespace") for manifest in manifests} == {"dask"}
