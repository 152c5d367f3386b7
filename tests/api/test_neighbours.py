"""Attacks by one tenant, beside the sound clusters of another."""

from __future__ import annotations

import itertools
import json
import socket
import socketserver
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
from tests.support.loopback_schedulers import SITE, answered_by, listening
from tests.support.manifests import ON_FAKE_NODES, dask_autoscaler, dask_cluster, large_object, worker_group

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
def _large_objects(tenant: Kube) -> Iterator[None]:
    """Create objects that the controller would take 300 MiB for, if it read them."""
    large = [large_object(number) for number in range(10)]
    for manifest in large:
        # `apply` would store all of it in an annotation, over the limit.
        tenant.run("create", "--filename", "-", stdin=json.dumps(manifest, separators=(",", ":")))
    yield
    for manifest in large:
        tenant.wait_for_condition(manifest["kind"], manifest["metadata"]["name"], "Degraded", "ObjectTooLarge")


@contextmanager
def _large_edits(tenant: Kube) -> Iterator[None]:
    """Create a cluster and edit it again and again that is nearly as large as the controller reads."""

    def edit(number: int) -> None:
        cluster = dask_cluster("edited", 0, pods=ON_FAKE_NODES)
        cluster["spec"]["worker"]["spec"]["x"] = [f"{number}", *["x" * 1000] * 300]
        tenant.apply(cluster)

    edit(0)
    tenant.wait_for_condition("daskcluster", "edited", "SchedulerReady", "SchedulerReady")
    with _repeated(edit, pause=0.2):
        yield


@contextmanager
def _autoscalers_of_long_windows(tenant: Kube) -> Iterator[None]:
    """Create many autoscalers that look back on an hour of their scheduler's demand, which never stays the same."""
    demands = itertools.count()

    def answer(connection: socketserver.StreamRequestHandler) -> None:
        _reply(connection, b'{"target": %d, "needs": []}' % (next(demands) % 7))

    behavior = {direction: {"stabilizationWindowSeconds": 3600} for direction in ("scaleUp", "scaleDown")}
    names = [f"group-{number}" for number in range(MANY // 2)]
    with listening(answer) as port:
        tenant.apply(answered_by(port, "many", 0))
        for name in names:
            tenant.apply(worker_group(name, "many", 0, ON_FAKE_NODES))
            tenant.apply(dask_autoscaler(name, "many", 0, 3, workerGroup=name, behavior=behavior))
        eventually(lambda: next(demands) > 2 * MANY, "its scheduler is asked often", seconds=4 * MANY)
        yield


@contextmanager
def _answers_without_end(tenant: Kube) -> Iterator[None]:
    """Create clusters whose schedulers answer any question with as many empty lists as are read."""

    def answer(connection: socketserver.StreamRequestHandler) -> None:
        _reply(connection, b'{"workers": [' + b"[]," * 10_000_000 + b"[]]}")

    names = [f"endless-{number}" for number in range(4)]
    with listening(answer) as port:
        tenant.apply(*(answered_by(port, name, 60) for name in names))
        for name in names:
            tenant.wait_for_workers(name, 60)
            tenant.run("scale", "--replicas=1", "daskworkergroup", f"{name}-default")
        yield
        for name in names:
            tenant.wait_for_condition("daskcluster", name, "Degraded", "SchedulerAnswer")
            assert len(tenant.workers(f"{name}-default")) == 60


def _reply(connection: socketserver.StreamRequestHandler, body: bytes) -> None:
    while connection.rfile.readline().strip():
        pass
    connection.wfile.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body))
    connection.wfile.write(body)


@contextmanager
def _repeated(attack: Callable[[int], object], pause: float) -> Iterator[None]:
    """Do something again and again within the block, with a pause of this many seconds."""
    ended = threading.Event()

    def repeat() -> None:
        for number in itertools.count(1):
            if ended.wait(pause):
                return
            attack(number)

    repeating = threading.Thread(target=repeat)
    repeating.start()
    try:
        yield
    finally:
        ended.set()
        repeating.join()


@contextmanager
def _workers_that_are_deleted(tenant: Kube) -> Iterator[None]:
    """Delete all workers of a cluster as fast as they come."""
    tenant.apply(dask_cluster("deleted", 30, pods=ON_FAKE_NODES))
    tenant.wait_for_workers("deleted", 30)
    with _repeated(lambda _: tenant.run("delete", "pods", "--selector", WORKERS, "--wait=false", "--force"), pause=0.5):
        yield


ATTACKS: dict[str, Callable[[Kube], AbstractContextManager[None]]] = {
    "writes that hang": _hanging_writes,
    "groups whose Pods were refused": _refused_groups,
    "large objects": _large_objects,
    "large edits": _large_edits,
    "autoscalers of long windows": _autoscalers_of_long_windows,
    "answers without end": _answers_without_end,
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
    controller = Controller(kube.kubeconfig, tmp_path / "controller.log", *namespaces, lease=lease, site=SITE)
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
