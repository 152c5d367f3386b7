"""The module of the classic `KubeCluster` until 2022."""

from __future__ import annotations

from dask_kubernetes._moved import moved

__getattr__ = moved(
    __name__,
    {
        "KubeCluster": "dask_kubernetes.classic",
    },
)
