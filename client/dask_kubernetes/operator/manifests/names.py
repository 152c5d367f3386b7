"""Names and labels shared by the operator and its clients; a test compares them with the controller's."""

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
    """Return the name of a cluster's DaskWorkerGroup, `<cluster>-<name>`."""
    return f"{cluster}-{name}"
