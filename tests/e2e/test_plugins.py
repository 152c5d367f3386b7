"""An image built from the operator's with plugins: installed as documented, it runs them."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from tests.e2e.conftest import OPERATOR_NAMESPACE, Image, operator_with
from tests.support.helm import Helm
from tests.support.kube import CommandError, Kube, eventually
from tests.support.manifests import dask_cluster

RULES = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list", "watch", "patch"]}]


@pytest.fixture
def with_plugins(helm: Helm) -> Iterator[None]:
    """Run the operator's release with the image of the plugins, and with their permissions."""
    image = Image.from_environment("PLUGIN_IMAGE")
    settings = ["--set-string", f"image.name={image.name}", "--set-string", f"image.tag={image.tag}"]
    settings += ["--set-json", f"rbac.extraRules={json.dumps(RULES)}"]
    with operator_with(helm, *settings):
        yield


def _annotation(kube: Kube, kind: str, name: str, annotation: str) -> str:
    found = (kube.get(kind, name) or {}).get("metadata", {})
    return str((found.get("annotations") or {}).get(annotation, ""))


@pytest.mark.alone
@pytest.mark.usefixtures("with_plugins")
def test_plugins_in_an_image_made_from_the_operators(kube: Kube, dask_image: Image) -> None:
    kube.run("create", "configmap", "watched")
    kube.run("label", "configmap", "watched", "example.com/watched=yes")
    kube.apply(dask_cluster("simple", 1, image=str(dask_image)))
    host = f"simple-scheduler.{kube.namespace}.example.com"
    eventually(
        lambda: _annotation(kube, "service", "simple-scheduler", "example.com/host") == host, "the plugin's annotation"
    )
    eventually(lambda: ("Normal", "Greeted", "hello simple") in kube.events("DaskCluster", "simple"), "the greeting")
    eventually(lambda: _annotation(kube, "configmap", "watched", "example.com/seen") == "yes", "what extraRules permit")
    kube.wait_for_workers("simple", 1)
    operator = (
        "--namespace",
        OPERATOR_NAMESPACE,
        "logs",
        "--selector",
        "app.kubernetes.io/name=dask-kubernetes-operator",
    )

    def log() -> str:
        try:
            return kube.run(*operator, "--tail", "-1")
        except CommandError:
            return ""  # the previous controller has just ended

    for said in (
        "plugin does_not_import (faulty_plugin.does_not_import) does not import; the controller works",
        "Handler 'raises' failed permanently: this plugin does not work",
    ):
        eventually(lambda said=said: said in log(), f"the log says {said!r}")  # type: ignore[misc]
