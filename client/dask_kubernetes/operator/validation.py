"""The rule for names of clusters, where the client of dask-kubernetes 2026.3.0 has it."""

from __future__ import annotations

from dask_kubernetes.operator.manifests.fields import validate_cluster_name

__all__ = ["validate_cluster_name"]
