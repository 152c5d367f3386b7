"""The module of credentials until 2022."""

from __future__ import annotations

from dask_kubernetes._moved import moved

__getattr__ = moved(
    __name__,
    {
        "ClusterAuth": "dask_kubernetes.common.auth",
        "InCluster": "dask_kubernetes.common.auth",
        "KubeAuth": "dask_kubernetes.common.auth",
        "KubeConfig": "dask_kubernetes.common.auth",
    },
)
