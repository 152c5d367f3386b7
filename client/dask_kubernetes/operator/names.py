"""The names that the operator and its clients have agreed upon; a test compares them with the controller's."""

from __future__ import annotations

API_VERSION = "kubernetes.dask.org/v1"

CLUSTER_LABEL = "dask.org/cluster-name"
GROUP_LABEL = "dask.org/workergroup-name"
COMPONENT_LABEL = "dask.org/component"
SCHEDULER = "scheduler"
WORKER = "worker"
WORKER_GROUP = "workergroup"
AUTOSCALER = "autoscaler"

COMM_PORT = "tcp-comm"
DASHBOARD_PORT = "http-dashboard"

DEFAULT_GROUP = "default"


def worker_group(cluster: str, name: str = DEFAULT_GROUP) -> str:
    """The name of the DaskWorkerGroup that is a cluster's group of a name."""
    return f"{cluster}-{name}"
