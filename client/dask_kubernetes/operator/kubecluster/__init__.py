"""`KubeCluster`, with the functions that are public beside it since the first releases of the operator."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dask_kubernetes.operator.kubecluster.discovery import discover
    from dask_kubernetes.operator.kubecluster.kubecluster import (
        CreateMode,
        KubeCluster,
        make_cluster_spec,
        make_scheduler_spec,
        make_worker_spec,
    )

__all__ = ["CreateMode", "KubeCluster", "discover", "make_cluster_spec", "make_scheduler_spec", "make_worker_spec"]


def __getattr__(name: str) -> Any:
    """Import a public name on first use, as the modules of this folder import each other."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{'discovery' if name == 'discover' else 'kubecluster'}"), name)
