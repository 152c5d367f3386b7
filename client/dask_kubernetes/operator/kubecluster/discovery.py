"""The entry point `dask_cluster_discovery`, by which tools such as dask-ctl list clusters of every kind."""

from __future__ import annotations

from collections.abc import AsyncIterator

from dask_kubernetes._moved import moved
from dask_kubernetes.exceptions import DaskKubernetesError, NotPermittedError
from dask_kubernetes.operator.access.kubernetes import CLUSTER, Kubernetes
from dask_kubernetes.operator.kubecluster.kubecluster import KubeCluster

__getattr__ = moved(__name__, {"DaskCluster": "dask_kubernetes.operator._objects"})


async def discover() -> AsyncIterator[tuple[str, type[KubeCluster]]]:
    """Yield the name of each DaskCluster, with the class whose `from_name` connects to it.

    Lists all namespaces, or the current one if only that is permitted. Yields none if Kubernetes cannot be reached.
    """
    try:
        kubernetes = await Kubernetes.connect()
    except DaskKubernetesError:
        return
    try:
        for cluster in await _clusters(kubernetes):
            yield cluster, KubeCluster
    finally:
        await kubernetes.close()


async def _clusters(kubernetes: Kubernetes) -> list[str]:
    for namespace in (None, kubernetes.namespace):
        try:
            return [each["metadata"]["name"] for each in await kubernetes.list(CLUSTER, namespace)]
        except NotPermittedError:
            continue
        except DaskKubernetesError:
            break
    return []
