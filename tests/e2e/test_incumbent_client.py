"""`KubeCluster` of dask-kubernetes, the users' present client, opens a release of dask-cluster, works on it as on
its own cluster, and leaves it unchanged.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator

import pytest
from tests.e2e.conftest import Client, Image, client_of, lives, operator_with
from tests.e2e.release import SMALL, image_of
from tests.support.helm import CHARTS, Helm
from tests.support.kube import Kube, eventually

RELEASE = "mine"
# `close`, which the end of `with` calls, deletes only a cluster that the client has made: `from_name` sets
# shutdown_on_close=False.
OPEN = """
import json, os, sys
from dask_kubernetes.operator import KubeCluster
with KubeCluster.from_name(sys.argv[1], namespace=sys.argv[2], quiet=True) as cluster, cluster.get_client() as client:
"""
COMPUTE = """
client.wait_for_workers(2, timeout=180)
print(json.dumps({
    "sum": client.submit(sum, range(1000)).result(timeout=180),
    "image": cluster.image,
    "n_workers": cluster.n_workers,
    "address": cluster.scheduler_address,
}))
"""
ADD_GROUP = """
cluster.add_worker_group(name="more", n_workers=1)
client.wait_for_workers(4, timeout=180)
(name,) = (name for name in client.run(os.getenv, "DASK_WORKER_NAME").values() if name.startswith("mine-more-"))
print(client.submit(os.getenv, "DASK_WORKER_NAME", workers=[name]).result(timeout=180))
"""


@pytest.fixture
def incumbent(kube: Kube, helm: Helm) -> Iterator[Client]:
    """A Pod with dask-kubernetes and the permissions of the operator's chart for Pods that make clusters."""
    with operator_with(helm, "--set", "rbac.clientRole.create=true"):
        account = f"--serviceaccount={kube.namespace}:default"
        kube.run("create", "rolebinding", "client", "--clusterrole=dask-cluster-role", account)
        yield client_of(kube, Image.from_environment("INCUMBENT_IMAGE"))


def _opened(incumbent: Client, program: str) -> str:
    """Return the output of a program that opens the release as `cluster` with a `client`, then closes both."""
    return incumbent.python(OPEN + textwrap.indent(program, "    "), RELEASE, incumbent.kube.namespace).strip()


def _cluster(kube: Kube) -> tuple[str, object]:
    """Return the DaskCluster's uid and spec."""
    cluster = kube.get("daskcluster", RELEASE) or {}
    return cluster["metadata"]["uid"], cluster["spec"]


@pytest.mark.alone
def test_the_users_client_opens_scales_and_leaves_a_cluster_of_helm(
    kube: Kube, helm: Helm, incumbent: Client, dask_image: Image
) -> None:
    chart, where = str(CHARTS / "dask-cluster"), ("--namespace", kube.namespace)
    settings = (*image_of(dask_image), *SMALL, "--set", "worker.replicas=2")
    helm.run("install", RELEASE, chart, *where, *settings)
    kube.wait_for_workers(RELEASE, 2)
    cluster, pods = _cluster(kube), lives(kube)

    assert json.loads(_opened(incumbent, COMPUTE)) == {
        "sum": 499500,
        "image": str(dask_image),
        "n_workers": 2,
        "address": f"tcp://{RELEASE}-scheduler.{kube.namespace}:8786",
    }
    assert lives(kube) == pods

    _opened(incumbent, "cluster.adapt(minimum=2, maximum=4)")
    assert (kube.get("daskautoscaler", RELEASE) or {})["spec"]["maximum"] == 4
    _opened(incumbent, "cluster.scale(3)\nclient.wait_for_workers(3, timeout=180)")
    assert not kube.names("daskautoscalers")
    kube.wait_for_workers(RELEASE, 3)

    name = _opened(incumbent, ADD_GROUP)
    assert {pod["metadata"]["name"] for pod in kube.workers(f"{RELEASE}-more")} == {name}

    logs = json.loads(_opened(incumbent, "print(json.dumps(cluster.get_logs()))"))
    assert set(logs) == kube.names("pods", f"dask.org/cluster-name={RELEASE}")
    assert [text for text in logs.values() if "Scheduler at:" in text] != []
    assert "Registered to:" in logs[name]

    _opened(incumbent, 'cluster.delete_worker_group("more")')
    eventually(lambda: not kube.workers(f"{RELEASE}-more"), "the workers of the group go")
    assert kube.names("daskworkergroups") == {f"{RELEASE}-default"}

    kube.wait_for_workers(RELEASE, 3)
    assert _cluster(kube) == cluster
    after = lives(kube)
    assert pods.items() < after.items()
    helm.run("upgrade", RELEASE, chart, *where, "--reuse-values")
    kube.wait_for_workers(RELEASE, 3)
    assert lives(kube) == after
    helm.run("uninstall", RELEASE, *where)
    eventually(lambda: not lives(kube), "nothing of the release is left")
