"""The rule for names of clusters, where the client of dask-kubernetes 2026.3.0 has it."""

from __future__ import annotations

from dask_kubernetes.constants import MAX_CLUSTER_NAME_LEN, VALID_CLUSTER_NAME
from dask_kubernetes.exceptions import ValidationError
from dask_kubernetes.operator.manifests.fields import validate_cluster_name

__all__ = ["MAX_CLUSTER_NAME_LEN", "VALID_CLUSTER_NAME", "ValidationError", "validate_cluster_name"]
