"""The Dask resources as classes of kr8s, where the client of dask-kubernetes 2026.3.0 has them.

This package does not use them: `KubeCluster` does what they did.
"""

from __future__ import annotations

import asyncio
from typing import Any

from kr8s.asyncio.objects import APIObject, Deployment, Pod, Service, new_class

from dask_kubernetes.operator.manifests.names import API_VERSION, CLUSTER_LABEL, COMPONENT_LABEL, GROUP_LABEL

_POLL = 0.2
_Cluster: Any = new_class("DaskCluster", API_VERSION)
_WorkerGroup: Any = new_class("DaskWorkerGroup", API_VERSION)
_Autoscaler: Any = new_class("DaskAutoscaler", API_VERSION)
_Job: Any = new_class("DaskJob", API_VERSION)


class DaskCluster(_Cluster):  # type: ignore[misc]
    """A Dask cluster."""

    scalable = True
    scalable_spec = "worker.replicas"

    async def worker_groups(self) -> list[DaskWorkerGroup]:
        return await _all(DaskWorkerGroup, self.namespace, {CLUSTER_LABEL: self.name})

    async def scheduler_pod(self) -> Any:
        return await _only(Pod, self.namespace, {CLUSTER_LABEL: self.name, COMPONENT_LABEL: "scheduler"})

    async def scheduler_deployment(self) -> Any:
        return await _only(Deployment, self.namespace, {CLUSTER_LABEL: self.name, COMPONENT_LABEL: "scheduler"})

    async def scheduler_service(self) -> Any:
        return await _only(Service, self.namespace, {CLUSTER_LABEL: self.name, COMPONENT_LABEL: "scheduler"})

    async def ready(self) -> bool:
        await self.async_refresh()
        return bool(self.raw.get("status", {}).get("phase") == "Running")


class DaskWorkerGroup(_WorkerGroup):  # type: ignore[misc]
    """A group of workers."""

    scalable = True
    scalable_spec = "worker.replicas"

    async def pods(self) -> list[Pod]:
        return await _all(Pod, self.namespace, self._labels)

    async def deployments(self) -> list[Deployment]:
        """Return the Deployments of workers, which only the operator of dask-kubernetes 2026.3.0 creates."""
        return await _all(Deployment, self.namespace, self._labels)

    async def cluster(self) -> Any:
        return await DaskCluster.get(self.spec.cluster, namespace=self.namespace)

    @property
    def _labels(self) -> dict[str, str]:
        return {CLUSTER_LABEL: self.spec.cluster, COMPONENT_LABEL: "worker", GROUP_LABEL: self.name}


class DaskAutoscaler(_Autoscaler):  # type: ignore[misc]
    """The autoscaler of a group."""

    async def cluster(self) -> Any:
        return await DaskCluster.get(self.spec.cluster, namespace=self.namespace)


class DaskJob(_Job):  # type: ignore[misc]
    """A program with a cluster of its own."""

    async def cluster(self) -> Any:
        return await DaskCluster.get(self.name, namespace=self.namespace)

    async def pod(self) -> Any:
        return await _only(Pod, self.namespace, {CLUSTER_LABEL: self.name, COMPONENT_LABEL: "job-runner"})


async def _all(kind: type[APIObject], namespace: str, labels: dict[str, str]) -> list[Any]:
    return [each async for each in kind.list(label_selector=labels, namespace=namespace)]


async def _only(kind: type[APIObject], namespace: str, labels: dict[str, str]) -> Any:
    """Wait for the first object with these labels, and return it."""
    while not (found := await _all(kind, namespace, labels)):  # noqa: ASYNC110
        await asyncio.sleep(_POLL)
    return found[0]
