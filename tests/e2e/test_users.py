"""A user's view of the operator installed by Helm, on real nodes."""

from __future__ import annotations

import json

import pytest
from tests.e2e.conftest import OPERATOR_NAMESPACE, Client, Image
from tests.e2e.release import SMALL, image_of
from tests.support.helm import CHARTS, Helm
from tests.support.kube import CommandError, Kube, eventually
from tests.support.manifests import dask_cluster

COMPUTE = """
import sys
from distributed import Client
with Client(sys.argv[1], timeout="240s") as client:
    client.wait_for_workers(int(sys.argv[2]), timeout=240)
    print(client.submit(sum, range(1000)).result(timeout=180))
"""


def computes(client: Client, name: str, workers: int) -> bool:
    address = f"tcp://{name}-scheduler.{client.kube.namespace}.svc:8786"
    return client.python(COMPUTE, address, str(workers)).strip() == "499500"


def test_the_documented_example_computes_and_heals(kube: Kube, client: Client, dask_image: Image) -> None:
    kube.apply(dask_cluster("simple", 2, image=str(dask_image)))
    kube.wait_for_workers("simple", 2)
    row = kube.run("get", "daskclusters", "simple", "--no-headers").split()
    assert row[:3] == ["simple", "2", "Running"]
    assert computes(client, "simple", 2)
    for kind, selector in (
        ("pod", "dask.org/component=worker"),
        ("pod", "dask.org/component=scheduler"),
        ("service", "dask.org/component=scheduler"),
        ("daskworkergroup", "dask.org/cluster-name=simple"),
    ):
        name, number = min(kube.names(kind, selector)), len(kube.names(kind, selector))
        before = (kube.get(kind, name) or {})["metadata"]["uid"]
        kube.run("delete", kind, name)

        def replaced(kind: str = kind, selector: str = selector, before: str = before, number: int = number) -> bool:
            uids = {item["metadata"]["uid"] for item in kube.objects(kind, selector)}
            return before not in uids and len(uids) == number

        eventually(replaced, f"another {kind} with {selector} is there")
        kube.wait_for_workers("simple", 2)
        assert computes(client, "simple", 2), f"after {kind} {name} was deleted"


def test_an_image_that_does_not_exist_is_said_and_stops_nobody_else(
    kube: Kube, client: Client, dask_image: Image
) -> None:
    kube.apply(dask_cluster("broken", 1, image="localhost/no-such-image:1"))
    message = kube.wait_for_condition("daskcluster", "broken", "Degraded", "ImagePullBackOff")
    assert "localhost/no-such-image:1" in message
    kube.wait_for_event("DaskCluster", "broken", "Warning", "ImagePullBackOff")
    kube.apply(dask_cluster("sound", 1, image=str(dask_image)))
    kube.wait_for_workers("sound", 1)
    assert computes(client, "sound", 1)


def test_a_worker_that_crashes_is_said_with_its_exit_code(kube: Kube, dask_image: Image) -> None:
    cluster = dask_cluster("crashing", 1, image=str(dask_image))
    cluster["spec"]["worker"]["spec"]["containers"][0]["args"] = ["python", "-c", "raise SystemExit(3)"]
    kube.apply(cluster)
    message = kube.wait_for_condition("daskcluster", "crashing", "Degraded", "CrashLoopBackOff")
    assert "exit code 3" in message


def test_a_release_of_dask_cluster_computes_scales_and_goes(kube: Kube, helm: Helm, dask_image: Image) -> None:
    chart, where = str(CHARTS / "dask-cluster"), ("--namespace", kube.namespace)
    image = image_of(dask_image)
    notes = helm.run("install", "mine", chart, *where, *image, *SMALL, "--set", "worker.replicas=1")
    assert "port-forward" in notes
    kube.wait_for_workers("mine", 1)
    assert "Phase:          Succeeded" in helm.run("test", "mine", *where)
    helm.run("upgrade", "mine", chart, *where, "--reuse-values", "--set", "worker.replicas=3")
    eventually(lambda: len(kube.workers("mine-default")) == 3, "three workers after the upgrade")
    kube.wait_for_workers("mine", 3)
    helm.run("uninstall", "mine", *where)
    eventually(
        lambda: not kube.names("pods", "dask.org/cluster-name=mine") | kube.names("daskclusters,daskworkergroups"),
        "nothing of the release is left",
    )


@pytest.mark.parametrize("chart", ["dask-cluster", "dask-kubernetes-operator"])
def test_a_typo_in_a_value_is_refused_by_its_name(kube: Kube, helm: Helm, chart: str) -> None:
    with pytest.raises(CommandError, match="wroker"):
        helm.run("install", "typo", str(CHARTS / chart), "--namespace", kube.namespace, "--set", "wroker.replicas=2")


def test_helm_test_of_the_operator_succeeds(helm: Helm) -> None:
    said = helm.run("test", "dask-operator", "--namespace", OPERATOR_NAMESPACE)
    assert "Phase:          Succeeded" in said


@pytest.mark.alone
def test_the_operator_restarted_by_a_kill_leaves_clusters_alone(kube: Kube, client: Client, dask_image: Image) -> None:
    kube.apply(dask_cluster("steady", 2, image=str(dask_image)))
    kube.wait_for_workers("steady", 2)
    before = {pod["metadata"]["uid"] for pod in kube.objects("pods", "dask.org/cluster-name=steady")}
    selector = "app.kubernetes.io/name=dask-kubernetes-operator"
    where = ("--namespace", OPERATOR_NAMESPACE)
    old = kube.run(*where, "get", "pods", "--selector", selector, "--output", "name").split()
    kube.run(*where, "delete", *old, "--grace-period=0", "--force")
    kube.run(*where, "rollout", "status", "deployment", "--selector", selector)
    kube.run("scale", "--replicas=3", "daskworkergroup", "steady-default")
    running_workers = eventually(lambda: len(kube.workers("steady-default")) == 3, "a third worker")
    assert running_workers
    after = {pod["metadata"]["uid"] for pod in kube.objects("pods", "dask.org/cluster-name=steady")}
    assert before < after
    assert computes(client, "steady", 3)


def test_pods_are_fit_for_the_restricted_standard(kube: Kube, helm: Helm, dask_image: Image) -> None:
    kube.run("label", "namespace", kube.namespace, "pod-security.kubernetes.io/enforce=restricted")
    image = image_of(dask_image)
    helm.run("install", "tight", str(CHARTS / "dask-cluster"), "--namespace", kube.namespace, *image, *SMALL)
    kube.wait_for_condition("daskcluster", "tight", "Progressing", "Settled")
    operator = json.loads(kube.run("--namespace", OPERATOR_NAMESPACE, "get", "deployments", "--output", "json"))
    (deployment,) = operator["items"]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "as-operator"}}
    kube.run("apply", "--dry-run=server", "--filename", "-", stdin=json.dumps(pod | {"spec": _pod_of(deployment)}))


def _pod_of(deployment: dict[str, object]) -> object:
    spec = dict(deployment["spec"]["template"]["spec"])  # type: ignore[index]
    spec.pop("serviceAccountName", None)
    spec.pop("serviceAccount", None)
    return spec
