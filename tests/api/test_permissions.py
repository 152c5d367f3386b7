"""Permissions to install the operator and to use Dask's resources, and the operator's own, by a real API server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.support.helm import Helm
from tests.support.kube import CommandError, Kube, eventually
from tests.support.permissions import (
    CHART,
    PERMITTING,
    USERS_ROLES,
    bind,
    may,
    permitted,
    releasing,
    rendered,
    triples,
)

from dask_operator.resources import FLAVOR_RULES, LEASE_RULES, NAMESPACE_RULES, NODE_RULES, QUEUE_RULES, RULES

OWN = ("--set", "scope=own", "--set", "crds.install=false")
CLUSTERS = "daskclusters.kubernetes.dask.org"
NOTHING: frozenset[tuple[str, str, str]] = frozenset()


@pytest.fixture
def helm(kube: Kube) -> Iterator[Helm]:
    with releasing(kube) as helm:
        yield helm


@pytest.fixture
def users_roles(kube: Kube, helm: Helm) -> None:
    """The roles that the installer of the CRDs creates for other users."""
    kube.apply(*rendered(kube, helm, *USERS_ROLES))


@pytest.mark.parametrize(
    ("settings", "here", "elsewhere"),
    [
        (("scope=cluster",), RULES | LEASE_RULES, RULES),
        (("scope=own",), RULES | LEASE_RULES, NOTHING),
        (("scope.namespaces={default}",), LEASE_RULES, RULES),
        (("scope=own", "watchNodes=true"), RULES | LEASE_RULES | NODE_RULES, NODE_RULES),
        (("kopfArgs={--namespace=dev-*}",), RULES | LEASE_RULES | NAMESPACE_RULES, RULES | NAMESPACE_RULES),
        (("scope=own", "kueue.enabled=true"), RULES | LEASE_RULES | QUEUE_RULES | FLAVOR_RULES, FLAVOR_RULES),
    ],
)
def test_the_service_account_may_do_what_actions_need_and_nothing_else(
    kube: Kube,
    helm: Helm,
    settings: tuple[str, ...],
    here: frozenset[tuple[str, str, str]],
    elsewhere: frozenset[tuple[str, str, str]],
) -> None:
    values = [word for setting in settings for word in ("--set", setting)]
    manifests = [manifest for manifest in rendered(kube, helm, *values) if manifest["kind"] in PERMITTING]
    for namespace in (kube.namespace, "default"):
        of_it = [m for m in manifests if m["metadata"].get("namespace", kube.namespace) == namespace]
        if of_it:
            replace(kube, namespace=namespace).apply(*of_it)
    (account,) = (manifest["metadata"]["name"] for manifest in manifests if manifest["kind"] == "ServiceAccount")
    user, anybody = (f"system:serviceaccount:{kube.namespace}:{name}" for name in (account, "anybody"))

    def gained(namespace: str) -> set[tuple[str, str, str]]:
        """Return the user's permissions without those that everybody has."""
        return triples(permitted(kube, user, namespace)) - triples(permitted(kube, anybody, namespace))

    eventually(lambda: gained(kube.namespace) == here, f"exactly {sorted(here)} are permitted")
    eventually(lambda: gained("default") == elsewhere, f"exactly {sorted(elsewhere)} are permitted elsewhere")
    leases = [rule for rule in permitted(kube, user, kube.namespace) if "leases" in rule["resources"]]
    assert {name for rule in leases if "create" not in rule["verbs"] for name in rule["resourceNames"]} == {account}


def test_who_administers_a_namespace_installs_upgrades_and_uninstalls_the_operator_in_it(
    kube: Kube, helm: Helm, users_roles: None
) -> None:
    bind(kube, "alice", "admin")
    eventually(lambda: may(kube, "alice", "patch", CLUSTERS, "status"), "admin has what is Dask's")
    as_alice = ("--namespace", kube.namespace, "--kube-as-user", "alice")
    helm.run("install", "mine", CHART, *as_alice, *OWN)
    assert kube.get("deployment", "mine-dask-kubernetes-operator")
    everything = (*OWN, "--set", "podDisruptionBudget.enabled=true,networkPolicy.enabled=true,replicas=2")
    helm.run("upgrade", "mine", CHART, *as_alice, *everything, "--set", "rbac.clientRole.create=true")
    assert kube.get("role", "dask-cluster-role")
    helm.run("uninstall", "mine", *as_alice)
    assert not kube.names("deployments,roles,rolebindings,poddisruptionbudgets", "app.kubernetes.io/instance=mine")


def test_who_administers_a_namespace_installs_nothing_for_others(kube: Kube, helm: Helm, users_roles: None) -> None:
    bind(kube, "alice", "admin")
    eventually(lambda: may(kube, "alice", "create", "roles"), "alice administers the namespace")
    with pytest.raises(CommandError, match=r'clusterroles.* is forbidden: User "alice"'):
        helm.run("install", "mine", CHART, *OWN[2:], "--namespace", kube.namespace, "--kube-as-user", "alice")


def test_each_of_kubernetes_roles_has_its_part_of_dask(kube: Kube, users_roles: None) -> None:
    for role in ("view", "edit", "admin"):
        bind(kube, role, role)
    eventually(lambda: may(kube, "view", "list", CLUSTERS), "view has what is Dask's")
    eventually(lambda: may(kube, "edit", "create", CLUSTERS), "edit has what is Dask's")
    eventually(lambda: may(kube, "admin", "patch", CLUSTERS, "status"), "admin has what is Dask's")
    assert may(kube, "edit", "patch", CLUSTERS, "scale")
    assert not may(kube, "view", "create", CLUSTERS)
    assert not may(kube, "edit", "patch", CLUSTERS, "status")


@pytest.mark.parametrize("resource", ["pods", "services", "deployments.apps"])
def test_editors_may_make_themselves_what_the_operator_makes_for_them(kube: Kube, resource: str) -> None:
    bind(kube, "edit", "edit")
    bind(kube, "view", "view")
    assert eventually(lambda: may(kube, "edit", "create", resource), f"edit may create {resource}")
    assert not may(kube, "view", "create", resource)
