"""Names, labels, annotations and environment variables by which users and other programs find things."""

from __future__ import annotations

import hashlib
import re

CLUSTER_LABEL = "dask.org/cluster-name"
COMPONENT_LABEL = "dask.org/component"
GROUP_LABEL = "dask.org/workergroup-name"
RESERVED_LABELS = (CLUSTER_LABEL, COMPONENT_LABEL, GROUP_LABEL)
ISTIO_LABEL = "sidecar.istio.io/inject"

SCHEDULER = "scheduler"
WORKER = "worker"
WORKER_GROUP = "workergroup"
JOB_RUNNER = "job-runner"

RESERVED_PREFIX = "kubernetes.dask.org/"
"""The prefix of the controller's own notes, which children never inherit."""
REPLICAS_ANNOTATION = RESERVED_PREFIX + "replicas"
"""The replicas last copied from its DaskCluster, on a default group."""
TEMPLATE_ANNOTATION = RESERVED_PREFIX + "template"
"""The hash of the template that a child was made from (`model.Template`)."""
DECLARED_ANNOTATION = RESERVED_PREFIX + "given"
"""The keys of the labels and, after a ";", of the annotations that the user of its owner has set on a child."""
ADOPTED_ANNOTATION = RESERVED_PREFIX + "adopted-template"
"""The hash of a group's template when its workers were taken over from another operator."""
FREED_ANNOTATION = RESERVED_PREFIX + "removed-finalizer"
SCALED_ANNOTATION = RESERVED_PREFIX + "scaled"
"""The time and the reason of the last scaling of a group by an autoscaler."""
LAST_ORDINAL_ANNOTATION = RESERVED_PREFIX + "last-ordinal"
"""A group's `status.lastOrdinal`, for a CustomResourceDefinition that does not keep it."""
ORDINAL_ANNOTATION = RESERVED_PREFIX + "ordinal"
ATTEMPT_ANNOTATION = RESERVED_PREFIX + "attempt"
"""The number of a worker's predecessors in a row that failed soon after their start, or of a runner's that failed."""
ENDED_ANNOTATION = RESERVED_PREFIX + "ended"
"""The end of a DaskJob: how, when, and a hash of its spec. A restored backup has it, and no status."""
KOPF_FINALIZER = "kopf.zalando.org/KopfFinalizerMarker"
"""A finalizer of older operators on Dask resources; only those operators would remove it."""
# Notes of other tools about the parent. Helm's would make a child look like a part of the release.
UNINHERITED_PREFIXES = (RESERVED_PREFIX, "kopf.zalando.org", "kubectl.kubernetes.io", "meta.helm.sh")
OWNERSHIP_PREFIXES = (
    "applyset.kubernetes.io/",  # kubectl apply --prune --applyset
    "argocd.argoproj.io/",
    "config.k8s.io/",  # kpt and other users of cli-utils
    "cli-utils.sigs.k8s.io/",
    "fleet.cattle.io/",
    "objectset.rio.cattle.io/",  # Fleet and Rancher
    "helm.toolkit.fluxcd.io/",
    "kustomize.toolkit.fluxcd.io/",
    "kapp.k14s.io/",
    "tanka.dev/",
)
"""Prefixes of labels and annotations of deployment tools, which prune what has them and is not in their set."""

QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
"""Kueue's label of the queue in which an object waits."""
PRIORITY_LABEL = "kueue.x-k8s.io/priority-class"
"""Kueue's label of the priority that an object has in its queue."""

WORKER_NAME_ENV = "DASK_WORKER_NAME"
SCHEDULER_ADDRESS_ENV = "DASK_SCHEDULER_ADDRESS"
AGENT_ENV = "KUBERNETES_DASK_AGENT"
DRAIN_SECONDS_ENV = "KUBERNETES_DASK_DRAIN_SECONDS"
POD_ENV = "KUBERNETES_DASK_POD"
PRELOAD_ENV = "DASK_DISTRIBUTED__SCHEDULER__PRELOAD"
HTTP_ROUTES_ENV = "DASK_DISTRIBUTED__SCHEDULER__HTTP__ROUTES"

COMM_PORT = "tcp-comm"
DASHBOARD_PORT = "http-dashboard"

_LONGEST_PREFIX = 57
_WORKER = re.compile(r".+-worker-[0-9a-f]{10}")


def scheduler(cluster: str) -> str:
    """Return the name of a cluster's scheduler Deployment and of its Service."""
    return f"{cluster}-scheduler"


def default_group(cluster: str) -> str:
    """Return the name of a cluster's default group."""
    return f"{cluster}-default"


def runner(job: str) -> str:
    """Return the name of the Pod that runs a DaskJob's program."""
    return f"{job}-runner"


def workload(kind: str, name: str, uid: str) -> str:
    """Return the name of the Workload of a Dask resource. Kueue makes it the value of a label, so it is short."""
    prefix, digest = f"{kind.lower()}-{name}"[:_LONGEST_PREFIX].rstrip("-."), hashlib.sha256(uid.encode()).hexdigest()
    return f"{prefix}-{digest[:5]}"


def growth(group: str, owner_uid: str, ordinal: int) -> str:
    """Return the name of a group's Workload number `ordinal`, the same each time that it is asked for."""
    return workload("more", group, f"{owner_uid}/{group}/{ordinal}")


def worker(group: str, group_uid: str, ordinal: int) -> str:
    """Return the name of a group's worker number `ordinal`, which is also its name in Dask.

    The same group and ordinal always give the same name, so that a creation with an unknown outcome can be tried again
    without making two workers.
    """
    digest = hashlib.sha256(f"{group_uid}/{ordinal}".encode()).hexdigest()
    return f"{group}-worker-{digest[:10]}"


def workers(group: str) -> str:
    """Return what stands for all workers of a group. It is the name of no object."""
    return f"{group}-worker-*"


def is_worker(name: str) -> bool:
    """Return whether a name has the form that `worker` gives."""
    return bool(_WORKER.fullmatch(name))


def event(uid: str, reason: str, message: str) -> str:
    """Return a name that is the same for the same Event, so that it is recorded once."""
    return hashlib.sha256(f"{uid}/{reason}/{message}".encode()).hexdigest()[:16]
