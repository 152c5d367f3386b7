"""The classic interface: clusters from the template of a worker's Pod, for programs older than the operator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dask_kubernetes.classic.pods import make_pod_from_dict, make_pod_spec

if TYPE_CHECKING:
    from dask_kubernetes.classic.kubecluster import KubeCluster

__all__ = ["KubeCluster", "make_pod_from_dict", "make_pod_spec"]


def __getattr__(name: str) -> Any:
    """Import KubeCluster on first use: Pods alone do not need the Kubernetes client."""
    if name != "KubeCluster":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from dask_kubernetes.classic.kubecluster import KubeCluster  # noqa: PLC0415

    return KubeCluster
