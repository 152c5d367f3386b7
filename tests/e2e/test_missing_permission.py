"""A controller that lacks a permission: it reports that where people look, keeps running, and works once permitted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.e2e.conftest import Image, operator_settings
from tests.support.helm import CHARTS, Helm
from tests.support.kube import Kube, eventually

NAME = "limited"
PODS = "app.kubernetes.io/instance=limited,app.kubernetes.io/component=controller"


@pytest.fixture
def limited(kube: Kube, helm: Helm, dask_image: Image) -> Iterator[dict[str, Any]]:
    """A controller of the test's namespace without its RoleBinding, which this returns."""
    where = ("--namespace", kube.namespace)
    settings = operator_settings(Image.from_environment("OPERATOR_IMAGE"), dask_image)
    settings += ["--set", f"fullnameOverride={NAME},scope=own,crds.install=false"]
    helm.run("install", NAME, str(CHARTS / "dask-kubernetes-operator"), *where, *settings, "--wait")
    binding = kube.get("rolebinding", NAME)
    assert binding
    kube.run("delete", "rolebinding", NAME)
    kube.run("delete", "pods", "--selector", PODS)
    yield binding
    helm.run("uninstall", NAME, *where, "--wait")


def _pod(kube: Kube) -> dict[str, Any]:
    (pod,) = kube.objects("pods", PODS)
    return pod


def _container(kube: Kube) -> dict[str, Any]:
    found: list[dict[str, Any]] = _pod(kube)["status"].get("containerStatuses", [{}])
    return found[0]


def test_a_missing_permission_is_an_event_a_line_and_an_unready_pod(kube: Kube, limited: dict[str, Any]) -> None:
    pods = eventually(lambda: kube.objects("pods", PODS), "there is a Pod again")
    name = pods[0]["metadata"]["name"]
    sentence = f"may not watch daskclusters in namespace {kube.namespace}"

    def events() -> list[str]:
        return [message for _, reason, message in kube.events("Pod", name) if reason == "NotReady"]

    eventually(lambda: any(sentence in message for message in events()), "an Event says what is not permitted")
    assert all("grant the controller's ServiceAccount" in message for message in events())
    eventually(lambda: sentence in kube.run("logs", name), "its log says so, too")
    eventually(lambda: _container(kube).get("started"), "it is alive all the same")
    assert (_container(kube)["ready"], _container(kube)["restartCount"]) == (False, 0)
    kube.apply(
        {key: limited[key] for key in ("apiVersion", "kind", "roleRef", "subjects")} | {"metadata": {"name": NAME}}
    )
    eventually(lambda: _container(kube)["ready"], "it is ready once it may")
    assert _container(kube)["restartCount"] == 0
