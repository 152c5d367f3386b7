"""The operator's chart as plain manifests, for kubectl and kustomize."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import yaml
from tests.support.helm import CHARTS, Helm
from tests.support.kube import Kube

CHART = CHARTS / "dask-kubernetes-operator"
EXAMPLE = CHART / "examples" / "kustomize"
STATIC = ("--include-crds", "--skip-tests")


def test_what_helm_prints_is_accepted_by_kubectl(kube: Kube) -> None:
    helm = Helm(kube.kubeconfig)
    manifests = helm.run("template", "release", str(CHART), "--namespace", kube.namespace, *STATIC)
    asked = json.loads(kube.run("apply", "--dry-run=server", "--output", "json", "--filename", "-", stdin=manifests))
    kinds = [item["kind"] for item in asked["items"]]
    assert kinds.count("CustomResourceDefinition") == 4
    assert {"Deployment", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"} < set(kinds)


def _env(deployment: dict[str, Any]) -> set[str]:
    return {variable["name"] for variable in deployment["spec"]["template"]["spec"]["containers"][0]["env"]}


def test_the_example_with_kustomize_is_what_helm_prints_with_its_patch(kube: Kube, tmp_path: Path) -> None:
    folder = tmp_path / "kustomize"
    shutil.copytree(EXAMPLE, folder)
    name = "dask-operator"
    printed = Helm(kube.kubeconfig).run("template", name, str(CHART), "--namespace", name, *STATIC)
    (folder / "operator.yaml").write_text(printed)
    built = objects(kube.run("kustomize", str(folder)))
    plain = objects(printed)
    assert built.keys() - plain.keys() == {("Namespace", name)}
    (patched,) = (key for key in plain if built[key] != plain[key])
    assert patched == ("Deployment", "dask-operator-dask-kubernetes-operator")
    deployment = built[patched]["spec"]
    assert deployment["replicas"] == 2
    env, before = (_env(manifests[patched]) for manifests in (built, plain))
    assert env - before == {"PYTHONUNBUFFERED"}
    assert env > before


def test_the_commands_of_the_example_are_those_that_are_tried() -> None:
    readme = (EXAMPLE / "README.md").read_text()
    assert f"helm template dask-operator ../.. --namespace dask-operator {' '.join(STATIC)} > operator.yaml" in readme


def objects(manifests: str) -> dict[tuple[str, str], dict[str, Any]]:
    found = [manifest for manifest in yaml.load_all(manifests, yaml.CSafeLoader) if manifest]
    return {(manifest["kind"], manifest["metadata"]["name"]): manifest for manifest in found}
