"""Names, labels, annotations and environment keys: everything that users or other programs look things up by."""

from __future__ import annotations

import hashlib

CLUSTER_LABEL = "dask.org/cluster-name"
COMPONENT_LABEL = "dask.org/component"
GROUP_LABEL = "dask.org/workergroup-name"
ISTIO_LABEL = "sidecar.istio.io/inject"

SCHEDULER = "scheduler"
WORKER = "worker"
WORKER_GROUP = "workergroup"

RESERVED_PREFIX = "kubernetes.dask.org/"
"""Annotations under it are the controller's own notes; they never flow down to children."""
REPLICAS_ANNOTATION = RESERVED_PREFIX + "replicas"
"""On a default group: the replicas last copied from its DaskCluster."""
ORDINAL_ANNOTATION = RESERVED_PREFIX + "ordinal"
ATTEMPT_ANNOTATION = RESERVED_PREFIX + "attempt"
"""On a worker: how many predecessors in a row failed soon after their start."""
# Other tools' notes about the parent. Helm's would make a child look like a part of the release.
UNINHERITED_PREFIXES = (RESERVED_PREFIX, "kopf.zalando.org", "kubectl.kubernetes.io", "meta.helm.sh")

WORKER_NAME_ENV = "DASK_WORKER_NAME"
SCHEDULER_ADDRESS_ENV = "DASK_SCHEDULER_ADDRESS"
HTTP_ROUTES_ENV = "DASK_DISTRIBUTED__SCHEDULER__HTTP__ROUTES"

COMM_PORT = "tcp-comm"
DASHBOARD_PORT = "http-dashboard"


def scheduler(cluster: str) -> str:
    """The name of a cluster's scheduler Deployment and of its Service."""
    return f"{cluster}-scheduler"


def default_group(cluster: str) -> str:
    return f"{cluster}-default"


def worker(group: str, group_uid: str, ordinal: int) -> str:
    """The name of a group's worker number `ordinal`, which is also its name in Dask.

    The same group and ordinal always give the same name, so that a creation whose outcome is unknown can be tried again
    without making two.
    """
    digest = hashlib.sha256(f"{group_uid}/{ordinal}".encode()).hexdigest()
    return f"{group}-worker-{digest[:10]}"


def event(uid: str, reason: str, message: str) -> str:
    """A name by which the same event said twice is one Event."""
    return hashlib.sha256(f"{uid}/{reason}/{message}".encode()).hexdigest()[:16]
