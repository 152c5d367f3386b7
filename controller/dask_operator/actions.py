"""What a plan may ask for, why, and the permissions that this takes.

An action says everything its execution needs: `execute` decides nothing. `because` is read by the log, by Events and by
tests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dask_operator.model import Endpoint, Json, Subject
from dask_operator.names import CLUSTER_LABEL


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of object that the controller reads, and the verbs that it uses on it."""

    kind: str
    group: str
    version: str
    plural: str
    verbs: tuple[str, ...]
    selector: str = ""
    """Which of them are watched, as a label selector."""

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
NAMESPACE = Resource("Namespace", "", "v1", "namespaces", ("list", "watch"))

WATCHED = (CLUSTER, GROUP, JOB, AUTOSCALER, POD, SERVICE, DEPLOYMENT)
RESOURCES = {resource.kind: resource for resource in (*WATCHED, EVENT)}


def _rules(*resources: Resource) -> frozenset[tuple[str, str, str]]:
    return frozenset((resource.group, resource.plural, verb) for resource in resources for verb in resource.verbs)


RULES: frozenset[tuple[str, str, str]] = (
    _rules(*WATCHED, EVENT)
    | {(DASK, f"{resource.plural}/status", "patch") for resource in (CLUSTER, GROUP, JOB, AUTOSCALER)}
    # What `blockOwnerDeletion` takes where OwnerReferencesPermissionEnforcement is on, as on OpenShift.
    | {(DASK, f"{resource.plural}/finalizers", "update") for resource in (CLUSTER, GROUP, JOB)}
)
"""Every permission of the controller as (API group, resource, verb). The chart's Role is compared with it."""

LEASE_RULES = _rules(LEASE, EVENT)
"""Those in the controller's own namespace: who leads, and what is wrong with it itself."""

NAMESPACE_RULES = _rules(NAMESPACE)
"""Those that patterns of namespaces take."""


@dataclass(frozen=True, slots=True)
class Create:
    """Creates an object. That it exists already is success, if it is the cluster's own."""

    manifest: Json
    subject: Subject
    because: str


@dataclass(frozen=True, slots=True)
class Patch:
    """Merges `body` into an object (RFC 7386), or does what it lists to it (RFC 6902).

    `pod`: one that the API server has to accept first, of which nothing is made: what the patch replaces by such a one
    works, and would be gone.
    """

    subject: Subject
    body: Json | Sequence[Json]
    because: str
    pod: Json | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """Deletes the object of the subject's kind that has this very uid, and what it owns.

    Only as it was seen, where `resource_version` is given.
    """

    name: str
    uid: str
    subject: Subject
    because: str
    resource_version: int | None = None


WORKERS, TARGET, IDLE = "workers", "target", "idle"
"""Questions: which workers there are, how many are wanted, and since when there is nothing to do."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Asks the scheduler a question. The answer is a fact for a later plan.

    About TARGET: `keep` is for how many seconds it matters, `replicas` how many workers each group wants now. About
    WORKERS: `pods` is in how many Pods they are, which limits how much is read.
    """

    question: str
    scheduler: Endpoint
    because: str
    keep: float = 0.0
    replicas: Mapping[str, int] = field(default_factory=dict)
    pods: int = 0


@dataclass(frozen=True, slots=True)
class Retire:
    """Asks the scheduler to move what these workers hold to others. `workers`: uid and Dask address of each."""

    scheduler: Endpoint
    workers: tuple[tuple[str, str], ...]
    because: str


@dataclass(frozen=True, slots=True)
class SetStatus:
    """Writes the status of a Dask resource. `notes`: annotations that stand in where its definition keeps no status."""

    subject: Subject
    status: Json
    because: str
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Emit:
    """Records an Event about a Dask resource; the same one again is no second Event."""

    subject: Subject
    uid: str
    type: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Forget:
    """Forgets that something was refused: nothing is to be done about these subjects any more."""

    subjects: frozenset[Subject]


@dataclass(frozen=True, slots=True)
class Wake:
    """Plans again at a time, in seconds since the epoch, though nothing may have happened until then."""

    at: float
    because: str


Action = Create | Patch | Delete | Ask | Retire | SetStatus | Emit | Forget | Wake
