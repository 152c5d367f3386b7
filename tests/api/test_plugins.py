"""Other people's kopf handlers in the controller, from a package installed beside it, as users write them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.controller import Controller
from tests.support.kube import Kube, eventually
from tests.support.manifests import ON_FAKE_NODES, dask_cluster
from tests.support.plugins import install

from dask_operator.resources import RULES

HOST_ANNOTATION = "example.com/host"


@pytest.fixture
def with_plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Controller]]:
    """A function that starts a controller with packages installed beside it."""
    site = tmp_path / "site"
    site.mkdir()
    # `python -m` finds packages in its working directory.
    monkeypatch.chdir(site)
    started: list[Controller] = []

    def start(kube: Kube, *packages: str) -> Controller:
        install(site, *packages)
        started.append(Controller(kube.kubeconfig, tmp_path / "controller.log", f"--namespace={kube.namespace}"))
        started[-1].start()
        return started[-1]

    yield start
    for controller in started:
        controller.kill()


def _annotations(kube: Kube, kind: str, name: str) -> dict[str, str]:
    found = (kube.get(kind, name) or {}).get("metadata", {})
    return dict(found.get("annotations") or {})


def test_handlers_on_the_scheduler_service_and_on_clusters(kube: Kube, with_plugins: Callable[..., Controller]) -> None:
    controller = with_plugins(kube, "my_controller_plugin", "faulty_plugin")
    kube.apply(dask_cluster("simple", 2, pods=ON_FAKE_NODES))
    kube.wait_for_workers("simple", 2)
    host = f"simple-scheduler.{kube.namespace}.example.com"
    eventually(
        lambda: _annotations(kube, "service", "simple-scheduler").get(HOST_ANNOTATION) == host,
        "the plugin's annotation",
    )
    eventually(lambda: ("Normal", "Greeted", "hello simple") in kube.events("DaskCluster", "simple"), "the greeting")
    log = controller.log.read_text()
    assert "plugin does_not_import (faulty_plugin.does_not_import) does not import" in log
    eventually(lambda: "Handler 'raises' failed" in controller.log.read_text(), "the handler that raises is reported")
    assert "example.com/never" not in _annotations(kube, "daskcluster", "simple")
    for kind, name in (("daskcluster", "simple"), ("service", "simple-scheduler")):
        assert not (kube.get(kind, name) or {})["metadata"].get("finalizers"), "deletion depends on nobody"
    kube.run("scale", "--replicas=3", "daskcluster", "simple")
    kube.wait_for_workers("simple", 3)
    assert controller.stop() == 0


def test_a_plugin_that_may_not_do_what_it_wants_stops_nothing_and_works_once_it_may(
    kube: Kube, with_plugins: Callable[..., Controller], tmp_path: Path
) -> None:
    rules = [{"apiGroups": [group], "resources": [resource], "verbs": [verb]} for group, resource, verb in RULES]
    kube.run("create", "serviceaccount", "controller")
    kube.apply(*_role("controller", rules))
    controller = with_plugins(_as_account(kube, "controller", tmp_path), "faulty_plugin", "my_controller_plugin")
    kube.apply(dask_cluster("simple", 2, pods=ON_FAKE_NODES))
    kube.run("create", "configmap", "watched")
    kube.run("label", "configmap", "watched", "example.com/watched=yes")
    kube.wait_for_workers("simple", 2)
    eventually(lambda: _annotations(kube, "service", "simple-scheduler").get(HOST_ANNOTATION), "the other plugin works")
    sentence = 'cannot list resource "configmaps"'
    eventually(lambda: sentence in controller.log.read_text(), "what is not permitted is said")
    kube.apply(
        *_role("plugin", [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list", "watch", "patch"]}])
    )
    eventually(
        lambda: _annotations(kube, "configmap", "watched").get("example.com/seen") == "yes", "it works once it may"
    )


def _role(name: str, rules: list[dict[str, list[str]]]) -> list[dict[str, object]]:
    """Return a Role, and its binding to the controller's ServiceAccount."""
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
    subject = {"kind": "ServiceAccount", "name": "controller"}
    common = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": name}}
    return [
        {**common, "kind": "Role", "rules": rules},
        {**common, "kind": "RoleBinding", "roleRef": reference, "subjects": [subject]},
    ]


def _as_account(kube: Kube, account: str, folder: Path) -> Kube:
    """Return the same cluster with a ServiceAccount's permissions."""
    config = json.loads(kube.run("config", "view", "--raw", "--minify", "--output", "json"))
    config["users"][0]["user"] = {"token": kube.run("create", "token", account).strip()}
    path = folder / "kubeconfig.json"
    path.write_text(json.dumps(config))
    return dataclasses.replace(kube, kubeconfig=path)
