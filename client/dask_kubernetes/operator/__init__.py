"""Dask clusters on Kubernetes, managed by the Dask operator."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dask_kubernetes.operator.kubecluster.discovery import discover
    from dask_kubernetes.operator.kubecluster.kubecluster import KubeCluster
    from dask_kubernetes.operator.manifests.spec import make_cluster_spec, make_scheduler_spec, make_worker_spec
    from dask_kubernetes.operator.settings import CreateMode

__all__ = ["CreateMode", "KubeCluster", "discover", "make_cluster_spec", "make_scheduler_spec", "make_worker_spec"]

_MODULES = {"CreateMode": "settings", "KubeCluster": "kubecluster.kubecluster", "discover": "kubecluster.discovery"}


def __getattr__(name: str) -> Any:
    """Import a public name on first use: manifests alone do not need the Kubernetes client."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES.get(name, 'manifests.spec')}"), name)
