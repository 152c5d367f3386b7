"""Two controllers: one works, and when it ends the other takes over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.e2e.conftest import OPERATOR_NAMESPACE, Image
from tests.support.helm import CHARTS, Helm
from tests.support.kube import Kube, eventually
from tests.support.manifests import dask_cluster

RELEASE = "dask-operator"
LEASE = f"{RELEASE}-dask-kubernetes-operator"
SELECTOR = "app.kubernetes.io/name=dask-kubernetes-operator,app.kubernetes.io/component=controller"
WHERE = ("--namespace", OPERATOR_NAMESPACE)


def _controllers(kube: Kube) -> set[str]:
    """Return the controller's ready Pods that are not being deleted."""
    return {
        pod["metadata"]["name"]
        for pod in replace(kube, namespace=OPERATOR_NAMESPACE).objects("pods", SELECTOR)
        if any(container["ready"] for container in pod["status"].get("containerStatuses", []))
        and not pod["metadata"].get("deletionTimestamp")
    }


def _leader(kube: Kube) -> str:
    """Return the Pod that holds the Lease, or ""."""
    lease = replace(kube, namespace=OPERATOR_NAMESPACE).get("lease", LEASE)
    assert lease
    holder = lease["spec"].get("holderIdentity") or ""
    return next((pod for pod in _controllers(kube) if holder.startswith(pod)), "")


def _roles(kube: Kube) -> tuple[str, str] | None:
    """Return the leading controller and the other, or None if unknown."""
    leader, controllers = _leader(kube), _controllers(kube)
    if leader not in controllers or len(controllers) != 2:
        return None
    (standby,) = controllers - {leader}
    return leader, standby


def _times_led(kube: Kube, controller: str) -> int:
    """Return how often a controller has begun to lead."""
    return kube.run(*WHERE, "logs", controller).count("this process leads now")


@pytest.fixture
def two_controllers(kube: Kube, helm: Helm) -> Iterator[None]:
    chart = str(CHARTS / "dask-kubernetes-operator")
    scale = ("upgrade", RELEASE, chart, *WHERE, "--reuse-values", "--wait", "--set")
    helm.run(*scale, "replicas=2")
    eventually(lambda: len(_controllers(kube)) == 2, "two controllers are ready")
    yield
    helm.run(*scale, "replicas=1")
    eventually(lambda: len(_controllers(kube)) == 1, "one controller is left")


@pytest.mark.alone
@pytest.mark.parametrize("how", [("--grace-period=0", "--force"), ()], ids=["killed", "told to go"])
@pytest.mark.usefixtures("two_controllers")
def test_when_the_leader_goes_clusters_are_reconciled_by_the_other(
    kube: Kube, dask_image: Image, how: tuple[str, ...]
) -> None:
    kube.apply(dask_cluster("kept", 1, image=str(dask_image)))
    kube.wait_for_workers("kept", 1)
    before = {pod["metadata"]["uid"] for pod in kube.objects("pods")}
    leader, standby = eventually(lambda: _roles(kube), "one leads and one stands by") or ("", "")
    led = _times_led(kube, standby)
    kube.run(*WHERE, "delete", "pod", leader, "--wait=false", *how)
    kube.run("scale", "--replicas=2", "daskworkergroup", "kept-default")
    kube.wait_for_workers("kept", 2)
    # If it was delayed since, the deleted Pod's successor may lead after it.
    eventually(lambda: _leader(kube) == standby or _times_led(kube, standby) > led, "the other has led")
    pods = kube.objects("pods")
    assert len(pods) == 3
    assert before < {pod["metadata"]["uid"] for pod in pods}
