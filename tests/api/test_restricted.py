"""The restricted Pod Security Standard: the admitted Pods, and the messages about the others."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.helm import CHARTS, Helm
from tests.support.kube import Kube, Manifest, eventually
from tests.support.manifests import ON_FAKE_NODES, dask_cluster, dask_job

from dask_operator import manifests, parse

CHART = CHARTS / "dask-cluster"
ON_FAKE = [
    word
    for part in ("scheduler", "worker")
    for key, value in ON_FAKE_NODES.items()
    for word in ("--set-json", f"{part}.{key}={json.dumps(value)}")
]


@pytest.fixture
def restricted(kube: Kube) -> Kube:
    kube.run("label", "namespace", kube.namespace, "pod-security.kubernetes.io/enforce=restricted")
    violating = {"hostNetwork": True, "containers": [{"name": "a", "image": "a"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "violating"}, "spec": violating}
    eventually(lambda: kube.is_refused(pod, "violates PodSecurity"), "the standard is enforced")
    return kube


def _rendered(kube: Kube, chart: Path, *arguments: str) -> list[dict[str, Any]]:
    command = ("template", "release", str(chart), "--namespace", kube.namespace, "--kube-version", "1.33.0")
    text = Helm(kube.kubeconfig).run(*command, *arguments)
    return [manifest for manifest in yaml.load_all(text, yaml.CSafeLoader) if manifest]


def _pods_of(manifest: dict[str, Any]) -> Iterator[Manifest]:
    """Yield the Pods of a manifest as the API server gets them: from a chart's own template, or from the controller."""
    manifest["metadata"] |= {"namespace": "", "uid": "x"}
    match manifest["kind"]:
        case "Pod":
            yield manifest
        case "Deployment":
            yield _pod(manifest["spec"]["template"])
        case "DaskCluster":
            cluster = parse.cluster(manifest)
            yield _pod(manifests.deployment_manifest(cluster)["spec"]["template"])
            yield from manifests.worker_manifests(cluster, parse.group(manifests.group_manifest(cluster)), [0], 0)
        case "DaskWorkerGroup":
            owner = dask_cluster("release", 1)
            yield from manifests.worker_manifests(parse.cluster(owner), parse.group(manifest), [0], 0)
        case "DaskJob":
            job = parse.job(manifest)
            made = manifests.job_cluster_manifest(job)
            yield manifests.runner_manifest(job, parse.cluster(made), 0)
            yield from _pods_of(made)


def _pod(template: Manifest) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", **template}


@pytest.mark.parametrize(("chart", "least"), [("dask-cluster", 20), ("dask-kubernetes-operator", 9)])
def test_every_pod_that_comes_of_a_chart_is_admitted(restricted: Kube, chart: str, least: int) -> None:
    """Try each of its files of values."""
    folder = CHARTS / chart
    pods = []
    for values in (None, *sorted(folder.glob("ci/*-values.yaml"))):
        made = _rendered(restricted, folder, *(("--values", str(values)) if values else ()))
        for number, pod in enumerate(pod for manifest in made for pod in _pods_of(manifest)):
            name = f"{values.stem if values else 'defaults'}-{number}"
            pods.append({**pod, "metadata": {"name": name, "labels": pod["metadata"].get("labels", {})}})
    # The server refuses a Pod whose ServiceAccount does not exist.
    for account in {str(pod["spec"].get("serviceAccountName", "default")) for pod in pods}:
        restricted.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}})
    question = "\n".join(map(json.dumps, pods))
    answer = restricted.run("create", "--dry-run=server", "--filename", "-", stdin=question)
    assert answer.count(" created (server dry run)") == len(pods) >= least


@pytest.mark.usefixtures("controller")
def test_a_release_comes_up(restricted: Kube) -> None:
    made = _rendered(restricted, CHART, *ON_FAKE)
    restricted.apply(*(manifest for manifest in made if manifest["kind"] != "Pod"))
    restricted.wait_for_workers("release", 3)


@pytest.mark.usefixtures("controller")
def test_what_violates_it_is_said_and_not_made(restricted: Kube) -> None:
    (sound,) = (m for m in _rendered(restricted, CHART, *ON_FAKE) if m["kind"] == "DaskCluster")
    clusters = {part: {**copy.deepcopy(sound), "metadata": {"name": part}} for part in ("scheduler", "worker")}
    for part, cluster in clusters.items():
        cluster["spec"][part]["spec"]["containers"][0]["securityContext"] = {"privileged": True}
        cluster["spec"]["scheduler"]["service"]["selector"]["dask.org/cluster-name"] = part
    job = dask_job("runner", 0, pods=ON_FAKE_NODES)
    job["spec"]["cluster"]["spec"] = copy.deepcopy(sound["spec"])
    job["spec"]["job"]["spec"] |= {"hostNetwork": True}
    restricted.apply(*clusters.values(), job)
    for kind, name, reason in (
        ("daskcluster", "worker", "Forbidden"),
        ("daskcluster", "scheduler", "FailedCreate"),
        ("daskjob", "runner", "Forbidden"),
    ):
        message = restricted.wait_for_condition(kind, name, "Degraded", reason)
        assert 'violates PodSecurity "restricted:latest"' in message
        about = {"daskcluster": "DaskCluster", "daskjob": "DaskJob"}[kind]
        eventually(lambda about=about, name=name: _warned(restricted, about, name), f"an Event about {name}")  # type: ignore[misc]
    made = {pod["metadata"]["labels"]["dask.org/component"] for pod in restricted.objects("pods")}
    assert made == {"scheduler", "worker"}
    assert not restricted.workers("worker-default")
    assert not restricted.get("pod", "runner-runner")


def _warned(kube: Kube, kind: str, name: str) -> bool:
    return any("violates PodSecurity" in message for _, _, message in kube.events(kind, name))
