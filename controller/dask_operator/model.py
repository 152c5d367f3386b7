"""What the controller knows of the world: Kubernetes objects and scheduler facts, cut down to what a decision needs.

Everything here is immutable and small: a cluster may have ten thousand workers, and a plan must be able to trust that
what it was given does not change under it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Json = Mapping[str, Any]


class Key(NamedTuple):
    """Names a DaskCluster, and with it the unit that is planned as a whole."""

    namespace: str
    name: str


class Problem(NamedTuple):
    """Why something does not work: a CamelCase reason as conditions have it, and a sentence for a person."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Metadata:
    """Labels and annotations that a user wants on what is made for them."""

    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Object:
    """What all objects have. `created` is in seconds since the epoch."""

    namespace: str
    name: str
    uid: str
    resource_version: int
    created: float = 0.0
    deleting: bool = False
    owners: tuple[str, ...] = ()
    """The uids of the owner references."""


@dataclass(frozen=True, slots=True)
class Cluster(Object):
    """A DaskCluster. Specs are as the user wrote them."""

    generation: int = 0
    metadata: Metadata = Metadata()
    replicas: int = 0
    worker_metadata: Metadata = Metadata()
    worker_spec: Json = field(default_factory=dict)
    scheduler_metadata: Metadata = Metadata()
    scheduler_spec: Json = field(default_factory=dict)
    service_spec: Json = field(default_factory=dict)
    status: Json = field(default_factory=dict)

    @property
    def key(self) -> Key:
        return Key(self.namespace, self.name)


@dataclass(frozen=True, slots=True)
class Group(Object):
    """A DaskWorkerGroup. `copied_replicas`: what was last copied from the DaskCluster, None for other groups."""

    cluster: str = ""
    generation: int = 0
    metadata: Metadata = Metadata()
    replicas: int = 0
    copied_replicas: int | None = None
    worker_metadata: Metadata = Metadata()
    worker_spec: Json = field(default_factory=dict)
    last_ordinal: int = -1
    status: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pod(Object):
    """A scheduler or worker Pod. Times are seconds since the epoch, 0.0 for never.

    `restarted`: when a container that had crashed again and again was started the last time.
    """

    cluster: str = ""
    component: str = ""
    group: str = ""
    phase: str = ""
    ready: bool = False
    ip: str = ""
    started: float = 0.0
    finished: float = 0.0
    restarted: float = 0.0
    ordinal: int = -1
    attempt: int = 0
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Deployment(Object):
    """A scheduler's Deployment. `problem`: why its Pod could not be created."""

    cluster: str = ""
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Service(Object):
    """A scheduler's Service. `ports` by name; `ingress`: a load balancer has given it an address."""

    cluster: str = ""
    type: str = "ClusterIP"
    cluster_ip: str = ""
    ports: Mapping[str, int] = field(default_factory=dict)
    ingress: bool = False


@dataclass(frozen=True, slots=True)
class Registration:
    """A worker as its scheduler knows it. `nbytes`: what it holds, `tasks`: what it runs or has queued."""

    name: str
    address: str
    nbytes: int = 0
    tasks: int = 0


@dataclass(frozen=True, slots=True)
class Survey:
    """A scheduler's answer about its workers, or why it gave none. `at` in seconds since the epoch."""

    at: float
    workers: tuple[Registration, ...] = ()
    problem: Problem | None = None


class Subject(NamedTuple):
    """What an action was about: the Pods of a group share one subject, since what stops one stops all."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Failure:
    """The API server or a scheduler refused: why, how many times in a row, and when to try again."""

    problem: Problem
    attempts: int
    until: float


@dataclass(frozen=True, slots=True)
class Observed:
    """All that is known about one cluster at one moment, besides its DaskCluster."""

    deployment: Deployment | None = None
    service: Service | None = None
    groups: tuple[Group, ...] = ()
    pods: tuple[Pod, ...] = ()
    survey: Survey | None = None
    asking: bool = False
    """A question to the scheduler is under way; its answer will be planned with."""
    retiring: frozenset[str] = frozenset()
    """The uids of the worker Pods whose retirement is under way."""
    retired: frozenset[str] = frozenset()
    """The uids of the worker Pods that the scheduler has retired: nothing is left on them."""
    refused: Mapping[str, float] = field(default_factory=dict)
    """The uids of the worker Pods that the scheduler would not retire, and when it said so."""
    failures: Mapping[Subject, Failure] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    """What the API server warned about when it accepted an object."""
    status_written: Mapping[Subject, float] = field(default_factory=dict)
    """When this process last wrote a status."""
