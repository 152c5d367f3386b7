"""Kinds of objects that the controller reads and writes, and the permissions this takes."""

from __future__ import annotations

from dataclasses import dataclass

from dask_operator.names import CLUSTER_LABEL


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of object, and the verbs that the controller uses on it."""

    kind: str
    group: str
    version: str
    plural: str
    verbs: tuple[str, ...]
    selector: str = ""
    """The label selector of the objects that are watched."""
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


DASK = "kubernetes.dask.org"
CLUSTER = Resource("DaskCluster", DASK, "v1", "daskclusters", ("get", "list", "watch", "create", "patch", "delete"))
GROUP = Resource("DaskWorkerGroup", DASK, "v1", "daskworkergroups", ("get", "list", "watch", "create", "patch"))
JOB = Resource("DaskJob", DASK, "v1", "daskjobs", ("get", "list", "watch", "patch", "delete"))
AUTOSCALER = Resource("DaskAutoscaler", DASK, "v1", "daskautoscalers", ("list", "watch", "patch"))
POD = Resource("Pod", "", "v1", "pods", ("get", "list", "watch", "create", "patch", "delete"), CLUSTER_LABEL)
SERVICE = Resource("Service", "", "v1", "services", ("get", "list", "watch", "create", "patch"), CLUSTER_LABEL)
DEPLOYMENT = Resource(
    "Deployment", "apps", "v1", "deployments", ("get", "list", "watch", "create", "patch", "delete"), CLUSTER_LABEL
)
EVENT = Resource("Event", "", "v1", "events", ("create",))
LEASE = Resource("Lease", "coordination.k8s.io", "v1", "leases", ("get", "create", "update"))
NAMESPACE = Resource("Namespace", "", "v1", "namespaces", ("list", "watch"), namespaced=False)
NODE = Resource("Node", "", "v1", "nodes", ("list", "watch"), namespaced=False)
KUEUE = "kueue.x-k8s.io"
WORKLOAD = Resource(
    "Workload", KUEUE, "v1beta2", "workloads", ("get", "list", "watch", "create", "patch", "delete"), CLUSTER_LABEL
)
FLAVOR = Resource("ResourceFlavor", KUEUE, "v1beta2", "resourceflavors", ("list", "watch"), namespaced=False)
QUEUE_PRIORITY = Resource(
    "WorkloadPriorityClass", KUEUE, "v1beta2", "workloadpriorityclasses", ("list", "watch"), namespaced=False
)
POD_PRIORITY = Resource(
    "PriorityClass", "scheduling.k8s.io", "v1", "priorityclasses", ("list", "watch"), namespaced=False
)

WATCHED = (CLUSTER, GROUP, JOB, AUTOSCALER, POD, SERVICE, DEPLOYMENT)
QUEUES = (FLAVOR, QUEUE_PRIORITY, POD_PRIORITY)
"""The kinds that say what a queue's admission of a Workload means, and how urgent a Workload is."""
RESOURCES = {resource.kind: resource for resource in (*WATCHED, EVENT, WORKLOAD)}


def _rules(*resources: Resource) -> frozenset[tuple[str, str, str]]:
    return frozenset((resource.group, resource.plural, verb) for resource in resources for verb in resource.verbs)


RULES: frozenset[tuple[str, str, str]] = (
    _rules(*WATCHED, EVENT)
    | {(DASK, f"{resource.plural}/status", "patch") for resource in (CLUSTER, GROUP, JOB, AUTOSCALER)}
    # `blockOwnerDeletion` needs it where OwnerReferencesPermissionEnforcement is on, as on OpenShift.
    | {(DASK, f"{resource.plural}/finalizers", "update") for resource in (CLUSTER, GROUP, JOB)}
)
"""Every permission of the controller as (API group, resource, verb). The chart's Role is compared with it."""

LEASE_RULES = _rules(LEASE, EVENT)
"""The permissions in the controller's own namespace: for the Lease, and for Events about itself."""

NAMESPACE_RULES = _rules(NAMESPACE)
"""The permissions that patterns of namespaces need."""

NODE_RULES = _rules(NODE)
"""The permissions for workers to leave cordoned nodes."""

QUEUE_RULES = _rules(WORKLOAD) | {(KUEUE, "workloads/status", "patch")}
"""The permissions in a namespace to wait in the queues of Kueue."""

FLAVOR_RULES = _rules(*QUEUES)
"""The cluster-wide permissions for the same."""
