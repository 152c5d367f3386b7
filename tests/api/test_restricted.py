"""The restricted Pod Security Standard: the admitted Pods, and the messages about the others."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.helm import CHARTS, Helm
from tests.support.kube import Kube, eventually
from tests.support.manifests import ON_FAKE_NODES, dask_job
from tests.support.pod_security import pods_of

from dask_kubernetes.classic import make_pod_spec
from dask_kubernetes.operator.manifests.fields import without_nulls
from dask_kubernetes.operator.manifests.spec import make_additional_group, make_cluster_spec

CHART = CHARTS / "dask-cluster"
EXAMPLES = Path(__file__).parents[1] / "examples"
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


@pytest.mark.parametrize(("chart", "least"), [("dask-cluster", 20), ("dask-kubernetes-operator", 9)])
def test_every_pod_that_comes_of_a_chart_is_admitted(restricted: Kube, chart: str, least: int) -> None:
    """Try each of its files of values."""
    folder = CHARTS / chart
    pods = []
    for values in (None, *sorted(folder.glob("ci/*-values.yaml"))):
        made = _rendered(restricted, folder, *(("--values", str(values)) if values else ()))
        for number, pod in enumerate(pod for manifest in made for pod in pods_of(manifest)):
            name = f"{values.stem if values else 'defaults'}-{number}"
            pods.append({**pod, "metadata": {"name": name, "labels": pod["metadata"].get("labels", {})}})
    assert len(pods) >= least
    _assert_admitted(restricted, pods)


def test_every_pod_of_python_and_of_the_examples_is_admitted(restricted: Kube) -> None:
    cluster = make_cluster_spec("python", env={"EXTRA_PIP_PACKAGES": "s3fs"}, jupyter=True)
    made = [cluster, make_additional_group(cluster, "more"), make_pod_spec("dask:1")]
    for path in sorted(EXAMPLES.glob("*.yaml")):
        made += yaml.load_all(path.read_text(), yaml.CSafeLoader)
    pods = [pod for manifest in made for pod in pods_of({**without_nulls(manifest), "metadata": {"name": "a"}})]
    _assert_admitted(restricted, [{**pod, "metadata": {"name": f"pod-{number}"}} for number, pod in enumerate(pods)])
    assert len(pods) >= 15


def _assert_admitted(kube: Kube, pods: list[dict[str, Any]]) -> None:
    # The server refuses a Pod whose ServiceAccount does not exist.
    for account in {str(pod["spec"].get("serviceAccountName", "default")) for pod in pods}:
        kube.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}})
    answer = kube.run("create", "--dry-run=server", "--filename", "-", stdin="\n".join(map(json.dumps, pods)))
    assert answer.count(" created (server dry run)") == len(pods)


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
