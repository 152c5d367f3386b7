"""What the controller knows of the world: Kubernetes objects and scheduler facts, cut down to what a decision needs.

Everything here is immutable and small: a cluster may have ten thousand workers, and a plan must be able to trust that
what it was given does not change under it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import msgspec

Json = Mapping[str, Any]
LARGEST_DEPTH = 100
"""Of what users write: the levels of lists and objects in one another. A Pod has a dozen."""
_HASHES: dict[bytes, str] = {}
_HASHES_KEPT = 4096


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


class PackedMetadata(Metadata):
    """Many labels and annotations, as text: in dictionaries they take ten times as much."""

    __slots__ = ("_text",)
    _text: bytes

    def __init__(self, metadata: Metadata) -> None:
        object.__setattr__(self, "_text", msgspec.json.encode((metadata.labels, metadata.annotations)))

    @property
    def labels(self) -> Mapping[str, str]:
        return self._read()[0]

    @property
    def annotations(self) -> Mapping[str, str]:
        return self._read()[1]

    def _read(self) -> tuple[dict[str, str], dict[str, str]]:
        return msgspec.json.decode(self._text, type=tuple[dict[str, str], dict[str, str]])


class TooLargeError(ValueError):
    """Why most of an object is not read, as the rest of a sentence that begins with the object."""


class Cut(dict[str, Any]):
    """The little that is read of an object which is too large; `why` is how."""

    def __init__(self, raw: Json, why: str) -> None:
        super().__init__(raw)
        self.why = why


@dataclass(frozen=True, slots=True)
class Template:
    """What a user writes of something that is made for them: its spec and its metadata, as text.

    Specs have any size and are seldom looked at, and as objects they take twenty times as much. `hash` is a short one
    of what they say: it changes when they are edited, and with nothing else. It is taken of the user's input, not of
    what is made from it here, so that a newer controller restarts nothing.
    """

    text: bytes = b"[{},{},{}]"
    hash: str = "ad734d578b"

    @classmethod
    def of(cls, spec: Json, metadata: Metadata = Metadata()) -> Self:
        """Raises TooLargeError."""
        try:
            text = msgspec.json.encode((spec, metadata.labels, metadata.annotations))
        except RecursionError as error:
            raise _too_deep() from error
        # Of each object there are many events, and few in which it was edited: a text is hashed faster than it is read.
        digest = hashlib.sha256(text).digest()
        if digest not in _HASHES:
            if len(_HASHES) >= _HASHES_KEPT:
                _HASHES.clear()
            _HASHES[digest] = hashlib.sha256(_canonical((spec, metadata)).encode()).hexdigest()[:10]
        return cls(text, _HASHES[digest])

    @property
    def spec(self) -> dict[str, Any]:
        """A new one each time."""
        spec: dict[str, Any] = msgspec.json.decode(self.text, type=tuple[dict[str, Any], msgspec.Raw, msgspec.Raw])[0]
        return spec

    @property
    def metadata(self) -> Metadata:
        parts = msgspec.json.decode(self.text, type=tuple[msgspec.Raw, dict[str, str], dict[str, str]])
        return Metadata(*parts[1:])


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
class Declared(Object):
    """What users declare: any of the Dask resources. Specs are as the user wrote them.

    `cluster_uid`: the uid of the DaskCluster that it names, if that is among its owners; `moved`: another one is, which
    it named before; `other_owners`: the owners that are no DaskClusters. `unread`: why it is not known what it wants,
    as it is too large; empty if it is known.
    """

    unread: str = ""
    generation: int = 0
    cluster_uid: str = ""
    moved: bool = False
    other_owners: tuple[Json, ...] = ()
    metadata: Metadata = Metadata()
    finalizers: tuple[str, ...] = ()
    status: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cluster(Declared):
    """A DaskCluster. `replicas` None: it does not say how many workers the default group has.

    `idle_timeout` in seconds, 0.0 for never; `job`: the DaskJob that it was made for. `tls`: its scheduler is told to
    speak TLS; `comm_port`: the port of its Service for Dask's own protocol.
    """

    replicas: int | None = 0
    idle_timeout: float = 0.0
    job: str = ""
    worker: Template = Template()
    scheduler: Template = Template()
    service: Template = Template()
    tls: bool = False
    comm_port: int = 8786

    @property
    def key(self) -> Key:
        return Key(self.namespace, self.name)


@dataclass(frozen=True, slots=True)
class Group(Declared):
    """A DaskWorkerGroup. `replicas_unset`: its user has set no number, and `replicas` is the number that counts
    instead.
    """

    cluster: str = ""
    replicas: int = 0
    replicas_unset: bool = False
    copied: str = ""
    """What was last copied from the DaskCluster (`build.replicas_note`); empty if nothing ever was."""
    worker: Template = Template()
    last_ordinal: int = -1
    template: str = ""
    """What the default group was made from (`model.Template`); empty if this controller did not make it."""
    given: str = ""
    """Which labels and annotations its cluster's user had named for it (`build.given`)."""
    adopted_template: str = ""
    """What the workers were made from that were there before this controller."""
    scaled: str = ""
    """When (RFC 3339) it was scaled the last time by which DaskAutoscaler and why, with spaces between."""


@dataclass(frozen=True, slots=True)
class Job(Declared):
    """A DaskJob. `backoff_limit`: failures of the runner that are borne; `deadline`, `ttl`: seconds; None: no limit.

    `restart_policy`: of its runner, if it says one.
    """

    cluster: Template = Template()
    runner: Template = Template()
    restart_policy: str = ""
    backoff_limit: int | None = None
    deadline: float | None = None
    ttl: float | None = None

    @property
    def key(self) -> Key:
        return Key(self.namespace, self.name)


@dataclass(frozen=True, slots=True)
class JobStatus:
    """The status of a DaskJob. Times as in RFC 3339; a missing text is empty. `raw`: the status as it was read."""

    phase: str = ""
    cluster: str = ""
    runner: str = ""
    """The name of the runner's Pod."""
    start_time: str = ""
    end_time: str = ""
    failed: int = 0
    """How many runners have failed."""
    last_failure_time: str = ""
    raw: Json = field(default_factory=dict)


class ScalingPolicy(NamedTuple):
    """At most `value` workers, or percent of the workers there were, within `period` seconds."""

    percent: bool
    value: int
    period: float


@dataclass(frozen=True, slots=True)
class Scaling:
    """One direction of autoscaling, as in a HorizontalPodAutoscaler. `window` in seconds.

    `select`: of several policies the one that allows most (Max) or least (Min); Disabled: no change in this direction.
    """

    window: float = 0.0
    policies: tuple[ScalingPolicy, ...] = ()
    select: str = "Max"


@dataclass(frozen=True, slots=True)
class Autoscaler(Declared):
    """A DaskAutoscaler. `group`: the name of the DaskWorkerGroup; `maximum` None: as many as the scheduler asks for."""

    cluster: str = ""
    group: str = ""
    minimum: int = 0
    maximum: int | None = None
    up: Scaling = Scaling()
    down: Scaling = Scaling()


@dataclass(frozen=True, slots=True)
class Pod(Object):
    """A scheduler, worker or runner Pod. Times are seconds since the epoch, 0.0 for never.

    It is what its program is, the container that runs the scheduler, the worker or the job: `phase` is `Succeeded` or
    `Failed` once that has ended for good, and `lingering` while other containers go on all the same; `started` and
    `finished` are its times. `failures`: how often it, or an init container, has ended with an error; `ending`: how it
    did the last time, of a runner. `restarted`: when a container that had crashed again and again was started the last
    time. `deployment`: the Deployment that made the Pod; `template`: what it was made from, if this controller made it.
    """

    cluster: str = ""
    component: str = ""
    group: str = ""
    phase: str = ""
    lingering: bool = False
    ready: bool = False
    ip: str = ""
    started: float = 0.0
    finished: float = 0.0
    restarted: float = 0.0
    ordinal: int = -1
    attempt: int = 0
    failures: int = 0
    ending: str = ""
    deployment: str = ""
    template: str = ""
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Deployment(Object):
    """A scheduler's Deployment, or one that an older operator made for a worker.

    `problem`: why its Pod could not be created; `given`: as of a Group.
    """

    cluster: str = ""
    component: str = ""
    group: str = ""
    template: str = ""
    given: str = ""
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Service(Object):
    """A scheduler's Service. `ports` by name; `ingress`: a load balancer has given it an address.

    `given`: as of a Group.
    """

    cluster: str = ""
    type: str = "ClusterIP"
    cluster_ip: str = ""
    ports: Mapping[str, int] = field(default_factory=dict)
    ingress: bool = False
    template: str = ""
    given: str = ""


class Endpoint(NamedTuple):
    """Where a scheduler is: the URL of its HTTP server, and its Dask address."""

    url: str
    address: str


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


class Sample(NamedTuple):
    """What a scheduler asked for at a time: workers in all; and how many each group wanted then, by name."""

    at: float
    target: int
    replicas: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Demand:
    """What a scheduler has asked for, the oldest first. `problem`: why it did not answer the last time, at `at`."""

    at: float
    samples: tuple[Sample, ...] = ()
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Idleness:
    """A scheduler's last answer, at `at`, to whether it is idle.

    `token`: what it calls the time since when, None if it is busy; `since`: when it first answered that, by our clock.
    """

    at: float
    token: float | None = None
    since: float = 0.0
    problem: Problem | None = None


class ObjectRef(NamedTuple):
    """What an action was about: the Pods of a group share one subject, since what stops one stops all."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Failure:
    """The API server or a scheduler refused: why, how many times in a row, and when to try again."""

    problem: Problem
    attempts: int
    until: float


class Written(NamedTuple):
    """A status that this process wrote, when, and the uid of what it is about.

    `inline`: it is a part of the object, as older definitions have it, and every write makes a new generation.
    """

    at: float
    status: Json
    uid: str
    inline: bool = False


@dataclass(frozen=True, slots=True)
class Observed:
    """All that is known about one cluster at one moment, besides its DaskCluster."""

    job: Job | None = None
    deployment: Deployment | None = None
    service: Service | None = None
    groups: tuple[Group, ...] = ()
    autoscalers: tuple[Autoscaler, ...] = ()
    pods: tuple[Pod, ...] = ()
    worker_deployments: tuple[Deployment, ...] = ()
    survey: Survey | None = None
    demand: Demand | None = None
    idleness: Idleness | None = None
    asking: frozenset[str] = frozenset()
    """The questions to the scheduler that are under way; their answers will be planned with."""
    retiring: frozenset[str] = frozenset()
    """The uids of the worker Pods whose retirement is under way."""
    retired: frozenset[str] = frozenset()
    """The uids of the worker Pods that the scheduler has retired: nothing is left on them."""
    refused: Mapping[str, float] = field(default_factory=dict)
    """The uids of the worker Pods that the scheduler would not retire, and when it said so."""
    failures: Mapping[ObjectRef, Failure] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    """What the API server warned about when it accepted an object."""
    written: Mapping[ObjectRef, Written] = field(default_factory=dict)
    """The statuses that this process wrote last."""


def _canonical(value: object, depth: int = 0) -> str:
    """The same text for the same JSON, whatever the order of its keys; nulls are as absent. Raises TooLargeError."""
    if isinstance(value, str):
        return repr(value)
    if depth > LARGEST_DEPTH:
        raise _too_deep()
    if isinstance(value, dict):
        pairs = [f"{key!r}:{_canonical(value[key], depth + 1)}" for key in sorted(value) if value[key] is not None]
        return f"{{{','.join(pairs)}}}"
    if isinstance(value, list | tuple):
        return f"[{','.join([_canonical(each, depth + 1) for each in value])}]" if value else "[]"
    if isinstance(value, Metadata):
        return _canonical({"labels": value.labels, "annotations": value.annotations}, depth)
    return repr(value)


def _too_deep() -> TooLargeError:
    return TooLargeError(f"has lists and objects in one another on more than {LARGEST_DEPTH} levels")
