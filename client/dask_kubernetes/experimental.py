"""The module of the operator's `KubeCluster` in its first releases, of 2021 and 2022."""

from __future__ import annotations

from dask_kubernetes._moved import moved

__getattr__ = moved(
    __name__,
    {
        "KubeCluster": "dask_kubernetes.operator",
        "discover": "dask_kubernetes.operator",
        "make_cluster_spec": "dask_kubernetes.operator",
        "make_scheduler_spec": "dask_kubernetes.operator",
        "make_worker_spec": "dask_kubernetes.operator",
    },
)
