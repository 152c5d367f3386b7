"""What a plan may ask for, why, and the permissions that this takes.

An action says everything its execution needs: `execute` decides nothing. `because` is read by the log, by Events and by
tests.
"""

from __future__ import annotations

from dataclasses import dataclass

from dask_operator.model import Json, Subject
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
CLUSTER = Resource("DaskCluster", DASK, "v1", "daskclusters", ("list", "watch", "patch"))
GROUP = Resource("DaskWorkerGroup", DASK, "v1", "daskworkergroups", ("get", "list", "watch", "create", "patch"))
POD = Resource("Pod", "", "v1", "pods", ("get", "list", "watch", "create", "delete"), CLUSTER_LABEL)
SERVICE = Resource("Service", "", "v1", "services", ("get", "list", "watch", "create"), CLUSTER_LABEL)
DEPLOYMENT = Resource("Deployment", "apps", "v1", "deployments", ("get", "list", "watch", "create"), CLUSTER_LABEL)
EVENT = Resource("Event", "", "v1", "events", ("create",))

RESOURCES = {resource.kind: resource for resource in (CLUSTER, GROUP, POD, SERVICE, DEPLOYMENT, EVENT)}
WATCHED = (CLUSTER, GROUP, POD, SERVICE, DEPLOYMENT)

RULES: frozenset[tuple[str, str, str]] = frozenset(
    {(resource.group, resource.plural, verb) for resource in RESOURCES.values() for verb in resource.verbs}
    | {(DASK, f"{resource.plural}/status", "patch") for resource in (CLUSTER, GROUP)}
    # What `blockOwnerDeletion` takes where OwnerReferencesPermissionEnforcement is on, as on OpenShift.
    | {(DASK, f"{resource.plural}/finalizers", "update") for resource in (CLUSTER, GROUP)}
)
"""Every permission of the controller as (API group, resource, verb). The chart's Role is compared with it."""


@dataclass(frozen=True, slots=True)
class Create:
    """Creates an object. That it exists already is success, if it is the cluster's own."""

    manifest: Json
    subject: Subject
    because: str


@dataclass(frozen=True, slots=True)
class Patch:
    """Merges `body` into an object (RFC 7386)."""

    subject: Subject
    body: Json
    because: str


@dataclass(frozen=True, slots=True)
class Delete:
    """Deletes the Pod that has this very uid; and only as it was seen, where `resource_version` is given."""

    name: str
    uid: str
    subject: Subject
    because: str
    resource_version: int | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """Asks the scheduler which workers it has. The answer is a fact for a later plan."""

    url: str
    because: str


@dataclass(frozen=True, slots=True)
class Retire:
    """Asks the scheduler to move what these workers hold to others. `workers`: Pod uid and Dask address of each."""

    url: str
    workers: tuple[tuple[str, str], ...]
    because: str


@dataclass(frozen=True, slots=True)
class SetStatus:
    """Writes the status of a DaskCluster or DaskWorkerGroup."""

    subject: Subject
    status: Json
    because: str


@dataclass(frozen=True, slots=True)
class Emit:
    """Records an Event about a DaskCluster or DaskWorkerGroup; the same one again is no second Event."""

    subject: Subject
    uid: str
    type: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Wake:
    """Plans again at a time, in seconds since the epoch, though nothing may have happened until then."""

    at: float
    because: str


Action = Create | Patch | Delete | Ask | Retire | SetStatus | Emit | Wake
