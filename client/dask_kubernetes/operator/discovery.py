"""`dask cluster discovery`: the clusters that there are, for tools that list those of every kind."""

from __future__ import annotations

from collections.abc import AsyncIterator

from dask_kubernetes.exceptions import DaskKubernetesError, NotPermittedError
from dask_kubernetes.operator.kubecluster import KubeCluster
from dask_kubernetes.operator.kubernetes import CLUSTER, Kubernetes


async def discover() -> AsyncIterator[tuple[str, type[KubeCluster]]]:
    """The name of each DaskCluster that may be seen, with the class whose `from_name` opens it.

    Those of all namespaces, or of one's own where no more is permitted. None where there is no Kubernetes.
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
