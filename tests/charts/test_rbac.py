"""What the operator's chart permits is what the controller does, neither more nor less."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from tests.charts.conftest import Render

from dask_operator.actions import RULES


def triples(role: dict[str, Any]) -> set[tuple[str, str, str]]:
    return {triple for rule in role["rules"] for triple in product(rule["apiGroups"], rule["resources"], rule["verbs"])}


@pytest.mark.parametrize(("kind", "cluster"), [("ClusterRole", True), ("Role", False)])
def test_role_is_what_actions_need(render: Render, kind: str, cluster: bool) -> None:
    manifests = render("dask-kubernetes-operator", {"rbac.cluster": cluster, "fullnameOverride": "operator"})
    (role,) = (m for m in manifests if (m["kind"], m["metadata"]["name"]) == (kind, "operator"))
    assert triples(role) == set(RULES)


def test_one_namespace_takes_nothing_cluster_wide(render: Render) -> None:
    manifests = render("dask-kubernetes-operator", {"rbac.cluster": False, "crds.install": False})
    assert {manifest["metadata"].get("namespace") for manifest in manifests} == {"dask"}
