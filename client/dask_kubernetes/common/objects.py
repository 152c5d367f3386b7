"""The module of pod templates until 2024."""

from __future__ import annotations

from dask_kubernetes._moved import moved

__getattr__ = moved(
    __name__,
    {
        "KUBECLUSTER_CONTAINER_NAME": "dask_kubernetes.constants",
        "make_pod_from_dict": "dask_kubernetes.classic",
        "make_pod_spec": "dask_kubernetes.classic",
        "validate_cluster_name": "dask_kubernetes.operator.validation",
    },
)
