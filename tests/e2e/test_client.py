"""The Python client as users have it: from their machine and from a Pod, and whatever way their program ends."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.conftest import Client, Image, client_of
from tests.e2e.programs import ASYNCHRONOUS, QUICKSTART, Machine, last_line
from tests.support.kube import Kube, eventually

# What users have been told to permit, without Pods' logs and without forwarded ports.
ROLE = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "Role",
    "metadata": {"name": "dask-cluster-role"},
    "rules": [
        {
            "apiGroups": ["kubernetes.dask.org"],
            "resources": [
                "daskclusters",
                "daskworkergroups",
                "daskworkergroups/scale",
                "daskjobs",
                "daskautoscalers",
            ],
            "verbs": ["get", "list", "watch", "patch", "create", "delete"],
        },
        {"apiGroups": [""], "resources": ["pods", "pods/status"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["services"], "verbs": ["get", "list", "watch"]},
    ],
}
MAKE = """
import sys
from dask_kubernetes.operator import KubeCluster
cluster = KubeCluster(name=sys.argv[3], namespace=sys.argv[1], image=sys.argv[2], quiet=True)
print("made", flush=True)
"""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def pod(kube: Kube) -> Client:
    """A Pod whose ServiceAccount has that Role and no more."""
    account = f"--serviceaccount={kube.namespace}:default"
    kube.apply(ROLE)
    kube.run("create", "rolebinding", "client", "--role=dask-cluster-role", account)
    return client_of(kube, Image.from_environment("NOTEBOOK_IMAGE"))


def nothing_is_left(kube: Kube) -> None:
    eventually(lambda: not kube.names("daskclusters"), "no DaskCluster is left")
    eventually(lambda: not kube.names("pods", "dask.org/cluster-name"), "no Pod of it is left", 90)


@pytest.mark.timeout(600)
def test_the_quickstart_from_outside(kube: Kube, machine: Machine, dask_image: Image) -> None:
    seen = last_line(machine.python(QUICKSTART, kube.namespace, str(dask_image), seconds=300))
    expected = {f"sum with {n}": 499500 for n in (2, 10, 3)} | {"adaptive": 500500}
    assert seen.items() >= expected.items()
    assert seen["groups"] == ["my-dask-cluster-default", "my-dask-cluster-highmem"]
    assert {"my-dask-cluster-default", "my-dask-cluster-highmem"} < set(seen["logs"])
    assert (seen["scheduler"], seen["dashboard"]) == ("tcp://127.0.0.1", "http://127.0.0.1")
    nothing_is_left(kube)


@pytest.mark.timeout(600)
def test_the_quickstart_in_a_pod_with_the_role_that_users_know(kube: Kube, pod: Client, dask_image: Image) -> None:
    seen = last_line(pod.python(QUICKSTART, kube.namespace, str(dask_image), seconds=300))
    assert seen["sum with 10"] == 499500
    assert seen["groups"] == ["my-dask-cluster-default", "my-dask-cluster-highmem"]
    # What Dask keeps itself, as that role does not permit Pods' logs.
    assert "Scheduler" in seen["logs"]
    assert seen["scheduler"] == f"tcp://my-dask-cluster-scheduler.{kube.namespace}"
    assert seen["dashboard"] == f"http://my-dask-cluster-scheduler.{kube.namespace}"
    nothing_is_left(kube)


@pytest.mark.timeout(600)
def test_asynchronously_from_outside_and_in_a_pod(
    kube: Kube, machine: Machine, pod: Client, dask_image: Image
) -> None:
    for place in (machine, pod):
        assert last_line(place.python(ASYNCHRONOUS, kube.namespace, str(dask_image), seconds=200)) == [499500, True]
        nothing_is_left(kube)
