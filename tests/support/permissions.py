"""Permissions in a namespace, by the operator's chart and by Kubernetes' own roles."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import yaml
from tests.support.controller import Controller
from tests.support.helm import CHARTS, Helm
from tests.support.kube import Kube, eventually

CHART = str(CHARTS / "dask-kubernetes-operator")
PERMITTING = ("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")
USERS_ROLES = ("--show-only", "templates/users/clusterroles.yaml")


@contextmanager
def releasing(kube: Kube) -> Iterator[Helm]:
    """Yield Helm, and delete the cluster-wide objects of the namespace's release at the end."""
    yield Helm(kube.kubeconfig)
    release = ("--selector", f"app.kubernetes.io/instance={kube.namespace}")
    kube.run("delete", "clusterroles,clusterrolebindings", *release)
    kube.run("--namespace", "default", "delete", "roles,rolebindings", *release)


def rendered(kube: Kube, helm: Helm, *arguments: str) -> list[dict[str, Any]]:
    manifests = helm.run("template", kube.namespace, CHART, "--namespace", kube.namespace, "--skip-tests", *arguments)
    return [manifest for manifest in yaml.load_all(manifests, yaml.CSafeLoader) if manifest]


def bind(kube: Kube, user: str, role: str) -> None:
    kube.run("create", "rolebinding", user, f"--clusterrole={role}", f"--user={user}")


def may(kube: Kube, user: str, verb: str, resource: str, subresource: str = "") -> bool:
    return kube.server.may(user, verb, kube.server.resource(resource), kube.namespace, subresource)


def permitted(kube: Kube, user: str, namespace: str) -> list[dict[str, Any]]:
    """Return the API server's own list of a user's rules in a namespace."""
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview"}
    question = json.dumps(review | {"spec": {"namespace": namespace}})
    # To validate it, kubectl would need permissions that the user may lack.
    create = ("create", "--validate=false", "--filename", "-", "--output", "json")
    rules: list[dict[str, Any]] = json.loads(kube.run(*create, "--as", user, stdin=question))["status"]["resourceRules"]
    return rules


def triples(rules: list[dict[str, Any]]) -> set[tuple[str, str, str]]:
    return {triple for rule in rules for triple in product(rule["apiGroups"], rule["resources"], rule["verbs"])}


def kubeconfig_of(kube: Kube, account: str, file: Path) -> Path:
    """Write the credentials of a ServiceAccount to a file."""
    config = json.loads(kube.run("config", "view", "--raw", "--output", "json"))
    config["users"][0]["user"] = {"token": kube.run("create", "token", account).strip()}
    file.write_text(json.dumps(config))
    return file


def installed_for(kube: Kube, helm: Helm, folder: Path, *arguments: str, site: str) -> Controller:
    """Return the controller with the chart's permissions for this namespace; `arguments`: more of them."""
    own = rendered(kube, helm, "--set", "scope=own", "--set", "crds.install=false")
    permitting = [manifest for manifest in own if manifest["kind"] in PERMITTING]
    kube.apply(*permitting)
    (account,) = (manifest["metadata"]["name"] for manifest in permitting if manifest["kind"] == "ServiceAccount")
    user = f"system:serviceaccount:{kube.namespace}:{account}"
    eventually(lambda: may(kube, user, "watch", "deployments.apps"), "the operator's permissions are in force")
    credentials = kubeconfig_of(kube, account, folder / "kubeconfig")
    namespace = f"--namespace={kube.namespace}"
    return Controller(credentials, folder / "controller.log", namespace, *arguments, site=site)
