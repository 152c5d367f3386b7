"""The permissions in the operator's chart are exactly those that the controller uses."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from tests.charts.conftest import Render

from dask_operator.resources import (
    AUTOSCALER,
    CLUSTER,
    DASK,
    FLAVOR_RULES,
    GROUP,
    JOB,
    LEASE_RULES,
    NAMESPACE_RULES,
    NODE_RULES,
    QUEUE_RULES,
    RULES,
)

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
        ("ClusterRole", {"scope": "cluster"}, RULES),
        ("ClusterRole", {"kueue.enabled": True}, RULES | QUEUE_RULES),
        ("Role", {"rbac.cluster": False}, RULES),
        ("Role", {"scope": "own"}, RULES),
        ("Role", {"scope": {"namespaces": ["one"]}}, RULES),
        ("Role", {"scope": {"namespaces": ["one"]}, "kueue.enabled": True}, RULES | QUEUE_RULES),
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


@pytest.mark.parametrize("scope", ["cluster", "own"])
def test_nodes_are_watched_by_a_role_of_their_own(render: Render, scope: str) -> None:
    values = {"watchNodes": True, "scope": scope}
    assert triples(role(render, "ClusterRole", "dask-operator-nodes", values)) == NODE_RULES


@pytest.mark.parametrize("scope", ["cluster", "own"])
def test_flavors_are_watched_by_a_role_of_their_own(render: Render, scope: str) -> None:
    values = {"kueue.enabled": True, "scope": scope}
    assert triples(role(render, "ClusterRole", "dask-operator-flavors", values)) == FLAVOR_RULES


# The permissions that could be namespaced or not, all enabled.
EVERYTHING = {
    "rbac.clientRole.create": True,
    "podDisruptionBudget.enabled": True,
    "networkPolicy.enabled": True,
    "replicas": 2,
    "crds.install": False,
}


@pytest.mark.parametrize(
    ("values", "namespaces"),
    [
        ({"rbac.cluster": False}, {"dask"}),
        ({"scope": "own"}, {"dask"}),
        ({"scope": {"namespaces": ["one", "two"]}}, {"dask", "one", "two"}),
    ],
)
def test_namespaces_take_nothing_cluster_wide(render: Render, values: dict[str, Any], namespaces: set[str]) -> None:
    manifests = render(CHART, {**EVERYTHING, **values})
    assert {manifest["metadata"].get("namespace") for manifest in manifests} == namespaces


def test_a_scope_of_namespaces_adds_nothing_cluster_wide_to_the_crds(render: Render) -> None:
    manifests = render(CHART, {"scope": "own"})
    assert {m["kind"] for m in manifests if "namespace" not in m["metadata"]} == {"CustomResourceDefinition"}


def user_role(render: Render, name: str) -> set[tuple[str, str, str]]:
    return triples(role(render, "ClusterRole", f"operator-{name}", {}))


def test_users_roles_are_about_dask_alone_and_each_has_all_of_the_one_before(render: Render) -> None:
    view, edit, admin = (user_role(render, name) for name in ("view", "edit", "admin"))
    assert view < edit < admin
    assert {group for group, _, _ in admin} == {DASK}
    assert {verb for _, _, verb in view} == {"get", "list", "watch"}
    # Only the controller writes statuses.
    assert {resource for _, resource, verb in edit if verb not in ("get", "list", "watch")} == {
        *(resource.plural for resource in (CLUSTER, GROUP, JOB, AUTOSCALER)),
        *(f"{resource.plural}/scale" for resource in (CLUSTER, GROUP)),
    }


def test_who_administers_a_namespace_may_install_the_operator_in_it(render: Render) -> None:
    assert {rule for rule in RULES if rule[0] == DASK} <= user_role(render, "admin")
