"""The classes of kr8s find what belongs to a resource."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from dask_kubernetes.operator import _objects

API: Any = SimpleNamespace(namespace="n")
CLUSTER = _objects.DaskCluster({"metadata": {"name": "mine", "namespace": "n"}, "spec": {}}, api=API)
GROUP = _objects.DaskWorkerGroup(
    {"metadata": {"name": "mine-more", "namespace": "n"}, "spec": {"cluster": "mine"}}, api=API
)
AUTOSCALER = _objects.DaskAutoscaler(
    {"metadata": {"name": "a", "namespace": "n"}, "spec": {"cluster": "mine"}}, api=API
)
JOB = _objects.DaskJob({"metadata": {"name": "mine", "namespace": "n"}, "spec": {}}, api=API)
OF_CLUSTER = {"dask.org/cluster-name": "mine"}
WORKERS = OF_CLUSTER | {"dask.org/component": "worker", "dask.org/workergroup-name": "mine-more"}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, str], str]]:
    """The lists that are asked for, each the first time in vain."""
    seen: list[tuple[str, dict[str, str], str]] = []

    def lists(kind: str) -> Any:
        async def listed(label_selector: dict[str, str], namespace: str) -> AsyncIterator[str]:
            if (kind, label_selector, namespace) in seen:
                yield f"a {kind}"
            seen.append((kind, label_selector, namespace))

        return staticmethod(listed)

    async def get(name: str, namespace: str) -> str:
        return f"{namespace}/{name}"

    for kind in ("Pod", "Deployment", "Service", "DaskWorkerGroup"):
        monkeypatch.setattr(getattr(_objects, kind), "list", lists(kind))
    monkeypatch.setattr(_objects.DaskCluster, "get", get)
    monkeypatch.setattr(_objects, "_POLL", 0.001)
    return seen


@pytest.mark.parametrize(
    ("of", "method", "kind", "labels"),
    [
        (CLUSTER, "scheduler_pod", "Pod", OF_CLUSTER | {"dask.org/component": "scheduler"}),
        (CLUSTER, "scheduler_deployment", "Deployment", OF_CLUSTER | {"dask.org/component": "scheduler"}),
        (CLUSTER, "scheduler_service", "Service", OF_CLUSTER | {"dask.org/component": "scheduler"}),
        (JOB, "pod", "Pod", OF_CLUSTER | {"dask.org/component": "job-runner"}),
    ],
)
async def test_an_object_is_waited_for(asked: list[Any], of: Any, method: str, kind: str, labels: Any) -> None:
    assert await getattr(of, method)() == f"a {kind}"
    assert asked == [(kind, labels, "n")] * 2


@pytest.mark.parametrize(
    ("of", "method", "kind", "labels"),
    [
        (CLUSTER, "worker_groups", "DaskWorkerGroup", OF_CLUSTER),
        (GROUP, "pods", "Pod", WORKERS),
        (GROUP, "deployments", "Deployment", WORKERS),
    ],
)
async def test_objects_are_listed(asked: list[Any], of: Any, method: str, kind: str, labels: Any) -> None:
    assert await getattr(of, method)() == []
    assert await getattr(of, method)() == [f"a {kind}"]
    assert asked == [(kind, labels, "n")] * 2


@pytest.mark.usefixtures("asked")
async def test_what_belongs_to_a_cluster_finds_it() -> None:
    assert [await each.cluster() for each in (GROUP, AUTOSCALER, JOB)] == ["n/mine"] * 3


async def test_a_cluster_is_ready_when_its_phase_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refresh(cluster: Any) -> None: ...

    monkeypatch.setattr(_objects.DaskCluster, "async_refresh", refresh)
    cluster = _objects.DaskCluster({"metadata": {"name": "mine", "namespace": "n"}, "spec": {}}, api=API)
    assert not await cluster.ready()
    cluster.raw["status"] = {"phase": "Running"}
    assert await cluster.ready()
