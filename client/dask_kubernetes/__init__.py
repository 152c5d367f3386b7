"""Dask clusters on Kubernetes from Python.

Use `dask_kubernetes.operator`. The names `KubeCluster`, `make_pod_spec` and `make_pod_from_dict` of this package are
those of `dask_kubernetes.classic`, for programs written before the operator existed.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from dask_kubernetes import config

if TYPE_CHECKING:
    from dask_kubernetes.classic import KubeCluster, make_pod_from_dict, make_pod_spec

__all__ = ["KubeCluster", "__version__", "make_pod_from_dict", "make_pod_spec"]

__version__ = version("dask-kubernetes")

# Accepted by the classic KubeCluster, for programs that say that they use the usual credentials.
_CREDENTIALS = ("ClusterAuth", "InCluster", "KubeAuth", "KubeConfig")

config.load()


def __getattr__(name: str) -> Any:
    """Import a name of `dask_kubernetes.classic` on first use: `dask_kubernetes.operator` needs none of them."""
    if name in _CREDENTIALS:
        return getattr(import_module("dask_kubernetes.common.auth"), name)
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("dask_kubernetes.classic"), name)
