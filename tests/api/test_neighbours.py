"""Attacks by one tenant, beside the sound clusters of another."""

from __future__ import annotations

import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.controller import LEADS, MEMORY_LIMIT, OURS, Controller
from tests.support.kube import Kube, eventually
from tests.support.manifests import ON_FAKE_NODES, dask_cluster, worker_group

from dask_operator.reconcile.workqueue import AT_ONCE

WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
# The longest time for which a webhook may hold a request.
HANGS = 30
MANY = 100
WORKERS = "dask.org/component=worker"


@pytest.fixture
def neighbour(kube: Kube) -> Iterator[Kube]:
    """Another tenant's namespace."""
    neighbour = replace(kube, namespace=f"{kube.namespace}-neighbour")
    neighbour.create_namespace()
    yield neighbour
    neighbour.delete_namespace()


@contextmanager
def _hanging_writes(tenant: Kube) -> Iterator[None]:
    """Create more clusters than are worked on at a time, with a webhook for their workers that cannot be reached."""
    webhook = {
        "name": "it.never.answers",
        # A network for documentation, where nobody is.
        "clientConfig": {"url": "https://198.51.100.1/"},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": tenant.namespace}},
        "objectSelector": {"matchLabels": dict([WORKERS.split("=")])},
        "sideEffects": "None",
        "timeoutSeconds": HANGS,
        "admissionReviewVersions": ["v1"],
    }
    tenant.server.create(WEBHOOKS, {"metadata": {"name": tenant.namespace}, "webhooks": [webhook]})
    try:
        names = [f"hanging-{number}" for number in range(AT_ONCE + 8)]
        tenant.apply(*(dask_cluster(name, 20, pods=ON_FAKE_NODES) for name in names))
        for name in names:
            tenant.wait_for_condition("daskcluster", name, "SchedulerReady", "SchedulerReady")
        yield
        assert not tenant.names("pods", WORKERS)
    finally:
        tenant.server.delete(f"{WEBHOOKS}/{tenant.namespace}")


@contextmanager
def _refused_groups(tenant: Kube) -> Iterator[None]:
    """Create many groups whose Pods are refused, and want none of them any more."""
    groups = [worker_group(f"refused-{number}", "many", 1, ON_FAKE_NODES) for number in range(MANY)]
    for group in groups:
        group["spec"]["worker"]["spec"]["containers"][0]["imagePullPolicy"] = "typo"
    tenant.apply(dask_cluster("many", 0, pods=ON_FAKE_NODES), *groups)
    for group in groups:
        tenant.wait_for_condition("daskworkergroup", group["metadata"]["name"], "Degraded", "Invalid")
    tenant.run("scale", "--replicas=0", "daskworkergroup", "--all")
    yield


@contextmanager
def _many_groups(tenant: Kube) -> Iterator[None]:
    """Create many groups of one worker."""
    tenant.apply(dask_cluster("many", 0, pods=ON_FAKE_NODES))
    tenant.apply(*(worker_group(f"group-{number}", "many", 1, ON_FAKE_NODES) for number in range(MANY)))
    yield
    eventually(lambda: len(tenant.names("pods", WORKERS)) == MANY, "a worker in each")


@contextmanager
def _many_clusters(tenant: Kube) -> Iterator[None]:
    """Create many clusters, all at once."""
    tenant.apply(*(dask_cluster(f"cluster-{number}", 3, pods=ON_FAKE_NODES) for number in range(MANY)))
    yield
    eventually(lambda: len(tenant.names("pods", WORKERS)) == 3 * MANY, "all workers")


@contextmanager
def _workers_that_are_deleted(tenant: Kube) -> Iterator[None]:
    """Delete all workers of a cluster as fast as they come."""
    tenant.apply(dask_cluster("deleted", 30, pods=ON_FAKE_NODES))
    tenant.wait_for_workers("deleted", 30)
    ended = threading.Event()

    def delete() -> None:
        while not ended.wait(0.5):
            tenant.run("delete", "pods", "--selector", WORKERS, "--wait=false", "--force")

    deleting = threading.Thread(target=delete)
    deleting.start()
    try:
        yield
    finally:
        ended.set()
        deleting.join()


ATTACKS: dict[str, Callable[[Kube], AbstractContextManager[None]]] = {
    "writes that hang": _hanging_writes,
    "groups whose Pods were refused": _refused_groups,
    "many groups": _many_groups,
    "many clusters": _many_clusters,
    "workers that are deleted": _workers_that_are_deleted,
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_tenant_holds_up_no_other(
    kube: Kube, neighbour: Kube, tmp_path: Path, figure: Callable[[str], None], attack: str
) -> None:
    namespaces = [f"--namespace={tenant.namespace}" for tenant in (kube, neighbour)]
    lease = f"{kube.namespace}/controller"
    controller = Controller(kube.kubeconfig, tmp_path / "controller.log", *namespaces, lease=lease)
    with controller.started():
        eventually(lambda: controller.does(LEADS), "it leads")
        alone = _seconds_to_workers(kube, "alone")
        with ATTACKS[attack](neighbour):
            beside = _seconds_to_workers(kube, "beside")
        # On a busy machine the process itself may not run for as long as the Lease lasts.
        lost = controller.log.read_text().count("lost the lease")
        memory = f"{controller.peak_memory():.0f} MiB"
        figure(f"{attack}: {beside:.2f} s, alone {alone:.2f} s, Lease lost {lost} times, {memory}")
        eventually(lambda: controller.does(LEADS), "it leads")
        assert controller.peak_memory() < MEMORY_LIMIT / 2


def _seconds_to_workers(kube: Kube, name: str) -> float:
    """Return the median time from a DaskCluster to its workers, of five clusters one after another."""
    return statistics.median(_seconds_to_worker_of(kube, f"{name}-{number}") for number in range(5))


def _seconds_to_worker_of(kube: Kube, name: str) -> float:
    began = time.monotonic()
    kube.apply(dask_cluster(name, 2, pods=ON_FAKE_NODES))
    eventually(lambda: len(kube.workers(f"{name}-default")) == 2, f"{name} has its workers")
    return time.monotonic() - began


def test_idle_connections_to_its_port_keep_it_from_nothing(kube: Kube, tmp_path: Path) -> None:
    few_files = ("sh", "-c", 'ulimit -n 256; exec "$@"', "sh", *OURS)
    log = tmp_path / "controller.log"
    controller = Controller(kube.kubeconfig, log, f"--namespace={kube.namespace}", program=few_files)
    with controller.started(), ExitStack() as stack:
        for _ in range(600):
            stack.enter_context(socket.create_connection(("127.0.0.1", controller.port), timeout=30.0))
        assert controller.get("/healthz", 30.0).startswith("ok")
        kube.apply(dask_cluster("sound", 2, pods=ON_FAKE_NODES))
        kube.wait_for_workers("sound", 2)
        assert "Too many open files" not in log.read_text()
