"""Objects on a real API server as Helm 4 and Flux (kstatus) and Argo CD (the health check of the docs) take them."""

from __future__ import annotations

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.documents import blocks
from tests.support.helm import CHARTS, Helm
from tests.support.kube import CommandError, Kube, eventually
from tests.support.manifests import ON_FAKE_NODES, dask_autoscaler, dask_cluster, dask_job, worker_group
from tests.support.tools import ROOT, tool

NOWHERE = {"nodeSelector": {"type": "kwok", "there": "no"}, "tolerations": [{"operator": "Exists"}]}
CHECK = "resource.customizations.health.kubernetes.dask.org_"
EVERYWHERE = ",".join(
    f"{part}.nodeSelector.type=kwok,{part}.tolerations[0].operator=Exists" for part in ("scheduler", "worker")
)
# A health check of Argo CD has Lua's basic functions and those for tables (its util/lua/lua.go), and no other library.
NO_LIBRARIES = "string, math, io, os, debug, coroutine, channel, require, dofile, loadfile = nil"


@cache
def _health_checks() -> dict[str, str]:
    """Return the scripts of the docs by their kinds."""
    manifests = (yaml.safe_load(block.text) for block in blocks(ROOT / "docs/gitops.md", "yaml"))
    (config,) = (manifest for manifest in manifests if manifest["kind"] == "ConfigMap")
    return {key.removeprefix(CHECK): script for key, script in config["data"].items()}


def _lua(value: Any) -> str:
    """Return a value of JSON as Lua has it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"[{_lua(key)}] = {_lua(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "{" + ", ".join(map(_lua, value)) + "}"
    return "nil" if value is None else json.dumps(value)


def _argo(found: dict[str, Any], folder: Path) -> tuple[str, str]:
    """Return the health of an object and the message, as Argo CD's interpreter of Lua finds them."""
    script = folder / "health.lua"
    script.write_text(
        f"{NO_LIBRARIES}\nlocal print = print\nobj = {_lua(found)}\n"
        f"local health = (function()\n{_health_checks()[found['kind']]}\nend)()\n"
        "print(health.status)\nprint(health.message)\n"
    )
    ran = subprocess.run([tool("glua"), script], capture_output=True, text=True, check=True)
    status, message = ran.stdout.split("\n", 1)
    return status, message


def _kstatus(found: dict[str, Any]) -> tuple[str, str]:
    """Return what kstatus takes an object for, and the message."""
    ran = subprocess.run([tool("kstatus")], input=json.dumps(found), capture_output=True, text=True, check=True)
    said = json.loads(ran.stdout)
    return said["Status"], said["Message"]


class _Seen:
    """The objects of a test's namespace, and what is said about them."""

    def __init__(self, kube: Kube, folder: Path) -> None:
        self.kube, self.folder = kube, folder

    def passes_for(self, kind: str, name: str, status: str, health: str) -> str:
        """Wait until an object passes for this with kstatus, and check what Argo CD says. Return the message."""

        def look() -> dict[str, Any] | None:
            found = self.kube.get(kind, name) or {}
            return found if _kstatus(found)[0] == status else None

        found = eventually(look, f"{kind} {name} is {status}")
        assert found is not None
        told, message = _argo(found, self.folder)
        assert told == health, message
        return _kstatus(found)[1]


@pytest.fixture
def seen(kube: Kube, tmp_path: Path) -> _Seen:
    return _Seen(kube, tmp_path)


def test_nothing_that_the_operator_has_not_seen_passes_for_ready(kube: Kube, seen: _Seen) -> None:
    group, autoscaler = worker_group("unseen", "unseen", 1), dask_autoscaler("unseen", "unseen", 1, 2)
    kube.apply(dask_cluster("unseen", 1), dask_job("unseen", 1), group, autoscaler)
    for kind in ("daskcluster", "daskjob", "daskworkergroup", "daskautoscaler"):
        seen.passes_for(kind, "unseen", "InProgress", "Progressing")


@pytest.mark.usefixtures("controller")
def test_what_runs_is_ready_and_what_is_suspended_is_not(kube: Kube, seen: _Seen) -> None:
    group, autoscaler = worker_group("more", "good", 1, pods=ON_FAKE_NODES), dask_autoscaler("good", "good", 2, 3)
    kube.apply(
        dask_cluster("good", 2, pods=ON_FAKE_NODES), group, autoscaler, dask_job("good-job", 1, pods=ON_FAKE_NODES)
    )
    seen.passes_for("daskcluster", "good", "Current", "Healthy")
    kube.wait_for_workers("good", 2)
    for kind, name in (("daskworkergroup", "more"), ("daskautoscaler", "good"), ("daskjob", "good-job")):
        seen.passes_for(kind, name, "Current", "Healthy")
    kube.run("patch", "daskcluster", "good", "--type=merge", "--patch", '{"spec": {"suspend": true}}')
    kube.wait_for_condition("daskcluster", "good", "Ready", "Suspended")
    seen.passes_for("daskcluster", "good", "InProgress", "Suspended")


@pytest.mark.usefixtures("controller")
def test_an_edit_makes_a_cluster_unready_before_anything_else_is_done(kube: Kube) -> None:
    kube.apply(dask_cluster("edited", 1, pods=ON_FAKE_NODES))
    kube.wait_for_condition("daskcluster", "edited", "Ready", "AsWanted")
    patch = '{"metadata": {"labels": {"a": "b"}}, "spec": {"scheduler": {"metadata": {"labels": {"a": "b"}}}}}'
    kube.run("patch", "daskcluster", "edited", "--type=merge", "--patch", patch)
    told: list[str] = []
    for found in kube.follow("daskcluster", "edited", 60.0):
        status = _kstatus(found)[0]
        if told[-1:] != [status]:
            told.append(status)
        if status == "Current" and found["metadata"]["generation"] > 1:
            break
    assert told in (["Current", "InProgress", "Current"], ["InProgress", "Current"])
    pods = kube.objects("pods", "dask.org/component=scheduler")
    assert [pod["metadata"]["labels"].get("a") for pod in pods if not pod["metadata"].get("deletionTimestamp")] == ["b"]


@pytest.mark.usefixtures("controller")
def test_a_cluster_without_a_node_may_still_get_one(kube: Kube, seen: _Seen) -> None:
    kube.apply(dask_cluster("slow", 1, pods=NOWHERE))
    kube.wait_for_condition("daskcluster", "slow", "Degraded", "Unschedulable")
    assert "nodes are available" in seen.passes_for("daskcluster", "slow", "InProgress", "Progressing")


@pytest.mark.usefixtures("controller")
def test_what_is_refused_has_failed(kube: Kube, seen: _Seen) -> None:
    broken, job = dask_cluster("broken", 1, pods=ON_FAKE_NODES), dask_job("broken-job", 1, pods=ON_FAKE_NODES)
    broken["spec"]["scheduler"]["spec"]["containers"][0]["imagePullPolicy"] = "typo"
    job["spec"]["job"]["spec"]["containers"][0]["imagePullPolicy"] = "typo"
    kube.apply(broken, job)
    assert "typo" in seen.passes_for("daskcluster", "broken", "Failed", "Degraded")
    assert "typo" in seen.passes_for("daskjob", "broken-job", "Failed", "Degraded")


@pytest.mark.usefixtures("controller")
def test_helm_4_waits_for_a_release_and_fails_with_the_reason(kube: Kube) -> None:
    helm = Helm(kube.kubeconfig, str(tool("helm-4").parent / "helm"))

    def install(name: str, *settings: str, timeout: str = "4m") -> None:
        wait = ("--wait", "--timeout", timeout, "--namespace", kube.namespace)
        helm.run("install", name, str(CHARTS / "dask-cluster"), *wait, "--set", EVERYWHERE, *settings)

    install("good")
    assert kube.condition("daskcluster", "good", "Ready")["status"] == "True"
    with pytest.raises(CommandError, match="nodes are available"):
        install("slow", "--set", "worker.nodeSelector.there=no", timeout="8s")
    with pytest.raises(CommandError, match="no PriorityClass with name typo") as failed:
        install("broken", "--set", "worker.priorityClassName=typo")
    assert "deadline" not in str(failed.value)
