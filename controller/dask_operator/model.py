"""The facts that decisions are made from: Kubernetes objects and answers of schedulers, cut down to what a plan reads.

Everything is immutable and small: a cluster may have ten thousand workers, and the facts of a plan must not change
while it is made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, NamedTuple, Self

import msgspec

Json = Mapping[str, Any]
CLAIM = "PersistentVolumeClaim "
"""The prefix of a claim's name among a Pod's volumes."""
DRAIN_TIMEOUT = 3600.0
"""Seconds within which workers that leave end their tasks, unless their user sets another time."""
LARGEST_DEPTH = 100
"""The most levels of lists and objects that a user may nest. A Pod has a dozen."""
_HASHES: dict[bytes, str] = {}
_HASHES_KEPT = 4096


class Key(NamedTuple):
    """The name of a DaskCluster, which is also the unit that is planned as a whole."""

    namespace: str
    name: str


class Problem(NamedTuple):
    """The cause of a failure: a CamelCase reason as conditions have it, and a sentence for a person."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Metadata:
    """Labels and annotations that a user sets on the objects made for them."""

    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


class PackedMetadata(Metadata):
    """Many labels and annotations, kept as text: as dictionaries they take ten times the memory."""

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
    """The reason why most of an object is not read; the message continues a sentence that begins with the object."""


class Cut(dict[str, Any]):
    """The few fields that are read of an object that is too large; `why` is the reason."""

    def __init__(self, raw: Json, why: str) -> None:
        super().__init__(raw)
        self.why = why


@dataclass(frozen=True, slots=True)
class Template:
    """The spec and the metadata that a user writes for a Pod or a Service, as text.

    Specs have any size and are seldom read, and as objects they take twenty times the memory. `hash` is a short hash of
    the content. It changes when the user edits the template and at no other time: it covers the user's input, not the
    manifest that is built from it, so that a newer controller restarts nothing.
    """

    text: bytes = b"[{},{},{}]"
    hash: str = "ad734d578b"

    @classmethod
    def of(cls, spec: Json, metadata: Metadata = Metadata()) -> Self:
        """Return the template of a spec and its metadata. Raises TooLargeError."""
        try:
            text = msgspec.json.encode((spec, metadata.labels, metadata.annotations))
        except RecursionError as error:
            raise _too_deep() from error
        # Most events about an object are no edits of it, and hashing a text is faster than reading it.
        digest = hashlib.sha256(text).digest()
        if digest not in _HASHES:
            if len(_HASHES) >= _HASHES_KEPT:
                _HASHES.clear()
            _HASHES[digest] = hashlib.sha256(_canonical((spec, metadata)).encode()).hexdigest()[:10]
        return cls(text, _HASHES[digest])

    @property
    def spec(self) -> dict[str, Any]:
        """The spec, as a new dictionary each time."""
        spec: dict[str, Any] = msgspec.json.decode(self.text, type=tuple[dict[str, Any], msgspec.Raw, msgspec.Raw])[0]
        return spec

    @property
    def metadata(self) -> Metadata:
        parts = msgspec.json.decode(self.text, type=tuple[msgspec.Raw, dict[str, str], dict[str, str]])
        return Metadata(*parts[1:])


@dataclass(frozen=True, slots=True)
class Object:
    """The fields that all objects have. `created` is in seconds since the epoch."""

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
    """A Dask resource as its user wrote it.

    `cluster_uid`: the uid of the owner that is the DaskCluster named in the spec; `moved`: an owner is another
    DaskCluster, which the spec named before; `other_owners`: owners that are not DaskClusters. `unread`: the reason why
    the spec is not read, empty if it is.
    """

    unread: str = ""
    generation: int = 0
    cluster_uid: str = ""
    moved: bool = False
    other_owners: tuple[Json, ...] = ()
    metadata: Metadata = Metadata()
    finalizers: tuple[str, ...] = ()
    status: Json = field(default_factory=dict)


class ServicePort(NamedTuple):
    """A TCP port of a Service. `target`: the number or the name of the Pod's port.

    `protocol`: Dask's protocol that its `appProtocol` names, empty if it names none.
    """

    name: str
    number: int
    target: int | str
    protocol: str = ""


class Listening(NamedTuple):
    """The protocol and the ports of a scheduler, as far as its Pod's template says them.

    `protocol`: empty if unsaid. `comm`, `dashboard`: the ports of Dask's own protocol and of HTTP. `prefix`: that of
    the paths over HTTP. `named`: the numbers of the ports that its containers name.
    """

    protocol: str = ""
    comm: int = 8786
    dashboard: int = 8787
    prefix: str = ""
    named: Mapping[str, int] = MappingProxyType({})


class Placement(NamedTuple):
    """The nodes that a queue has chosen for Pods: labels that they need, and tolerations of their taints."""

    node_selector: tuple[tuple[str, str], ...] = ()
    tolerations: tuple[Json, ...] = ()


@dataclass(frozen=True, slots=True)
class Cluster(Declared):
    """A DaskCluster. `replicas` is None if the spec sets no number of workers for the default group.

    `drain_timeout`: the seconds that the default group's workers have to drain, None if the spec sets none.
    `idle_timeout` is in seconds, 0.0 for never. `job`: the DaskJob that the cluster was made for. `ports`: those of its
    Service. `headless`: its Service has no address of its own. `ipv6`: its Pods may have addresses of IPv6 only.
    `suspended`: it is to have no Pods; `suspended_by`: who has last set that, empty if it is not known; `waits`: what
    its queue says, empty unless it is suspended because it waits there. `placement`: that of its scheduler.
    """

    suspended: bool = False
    suspended_by: str = ""
    waits: str = ""
    placement: Placement = Placement()
    replicas: int | None = 0
    drain_timeout: int | None = None
    idle_timeout: float = 0.0
    job: str = ""
    worker: Template = Template()
    scheduler: Template = Template()
    service: Template = Template()
    listening: Listening = Listening()
    ports: tuple[ServicePort, ...] = ()
    headless: bool = False
    ipv6: bool = False

    @property
    def key(self) -> Key:
        return Key(self.namespace, self.name)


class Offer(NamedTuple):
    """The resources and the threads of each worker in a Pod, as far as its template says them, and their number."""

    resources: tuple[tuple[str, float], ...] = ()
    threads: int | None = None
    workers: int = 1


@dataclass(frozen=True, slots=True)
class Group(Declared):
    """A DaskWorkerGroup. `replicas_unset`: its user has set no number, and `replicas` is the number that counts
    instead.

    `drain_timeout`: the seconds within which a worker that leaves ends its tasks. `drain_timeout_unset`: its user has
    set none, and `drain_timeout` is the default.
    """

    cluster: str = ""
    replicas: int = 0
    replicas_unset: bool = False
    drain_timeout: float = DRAIN_TIMEOUT
    drain_timeout_unset: bool = True
    copied: str = ""
    """The replicas last copied from the DaskCluster (`manifests.replicas_note`); empty if never."""
    worker: Template = Template()
    placement: Placement = Placement()
    admitted: int | None = None
    """The number of workers that a queue has admitted; None if they wait in none."""
    offer: Offer = Offer()
    last_ordinal: int = -1
    template: str = ""
    """The hash of the template that the default group was made from; empty if this controller did not make it."""
    declared_keys: str = ""
    """The labels and annotations that its cluster's user had set on it (`manifests.declared_keys`)."""
    adopted_template: str = ""
    """The hash of the template of the workers that another operator made."""
    scaled: str = ""
    """The last scaling by a DaskAutoscaler: its time (RFC 3339), the autoscaler and the reason, separated by spaces."""


@dataclass(frozen=True, slots=True)
class Job(Declared):
    """A DaskJob. `restart_policy` is its runner's, empty if unset; `ended`: the note of its end.

    `backoff_limit`: how many failures of the runner are allowed; `deadline`, `ttl`: seconds. None stands for no limit.
    `suspended`, `suspended_by`, `waits`: as of a Cluster. `placement`: that of its runner.
    """

    suspended: bool = False
    suspended_by: str = ""
    waits: str = ""
    placement: Placement = Placement()
    cluster: Template = Template()
    runner: Template = Template()
    restart_policy: str = ""
    backoff_limit: int | None = None
    deadline: float | None = None
    ttl: float | None = None
    ended: str = ""

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
    """The number of runners that have failed."""
    last_failure_time: str = ""
    raw: Json = field(default_factory=dict)


class ScalingPolicy(NamedTuple):
    """A limit of `value` workers, or percent of the workers at its start, within a period of `period` seconds."""

    percent: bool
    value: int
    period: float


@dataclass(frozen=True, slots=True)
class Scaling:
    """A direction of autoscaling, as in a HorizontalPodAutoscaler. `window` is in seconds.

    `select`: of several policies, the one that allows most (Max) or least (Min) counts; Disabled stops this direction.
    """

    window: float = 0.0
    policies: tuple[ScalingPolicy, ...] = ()
    select: str = "Max"


@dataclass(frozen=True, slots=True)
class Autoscaler(Declared):
    """A DaskAutoscaler. `group`: the name of the DaskWorkerGroup; `maximum` is None if there is none."""

    cluster: str = ""
    group: str = ""
    minimum: int = 0
    maximum: int | None = None
    up: Scaling = Scaling()
    down: Scaling = Scaling()


class Assignment(NamedTuple):
    """An admission of a Workload's pod set by a queue: the number of Pods, and their ResourceFlavors."""

    number: int
    flavors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Workload(Object):
    """A request to a queue of Kueue: for the first Pods of a cluster and of its job, or for more workers of a `group`.

    `ordinal`: the number of such a request; `number`: of its Pods. `note`: what it was made from
    (`manifests.Request.note`). `conditions`: those of its status, by type; `assignments`: what is admitted, by pod set,
    empty if nothing is.
    """

    cluster: str = ""
    group: str = ""
    ordinal: int = -1
    number: int = 0
    note: str = ""
    conditions: Mapping[str, Json] = field(default_factory=dict)
    assignments: Mapping[str, Assignment] = field(default_factory=dict)

    def is_true(self, condition: str) -> bool:
        """Return whether a condition is there and true."""
        return bool(self.conditions.get(condition, {}).get("status") == "True")


@dataclass(frozen=True, slots=True)
class Flavor(Object):
    """A ResourceFlavor: nodes of one sort."""

    placement: Placement = Placement()


@dataclass(frozen=True, slots=True)
class Priority(Object):
    """A PriorityClass, or a WorkloadPriorityClass. `default`: it is that of Pods that name none."""

    value: int = 0
    default: bool = False


class Queues(NamedTuple):
    """The facts that all queues share. `priorities`: by kind and name."""

    flavors: Mapping[str, Flavor]
    priorities: Mapping[tuple[str, str], Priority]


class Taint(NamedTuple):
    """A mark of a node: Pods that do not tolerate it are not to run there."""

    key: str
    value: str
    effect: str


class Toleration(NamedTuple):
    """The taints that a Pod tolerates. An empty `key` or `effect` stands for all, as does a `value` of None."""

    key: str
    value: str | None
    effect: str

    def of(self, taint: Taint) -> bool:
        """Return whether it tolerates a taint."""
        return self.key in ("", taint.key) and self.value in (None, taint.value) and self.effect in ("", taint.effect)


@dataclass(frozen=True, slots=True)
class Node(Object):
    """A node. `taints`: those that somebody gave it, and that keep new Pods away; a cordoned node has one, too."""

    taints: tuple[Taint, ...] = ()


@dataclass(frozen=True, slots=True)
class Pod(Object):
    """A scheduler, worker or runner Pod. Times are in seconds since the epoch, 0.0 for never.

    A Pod counts as its program: the container that runs the scheduler, the worker or the job. `phase` is `Succeeded` or
    `Failed` once that container has ended for good, and `lingering` is true while other containers still run. `started`
    and `finished` are the program's times. `failures`: how often it or an init container has ended with an error;
    `ending`: how a runner ended the last time. `restarted`: the last start of a container that had crashed more than
    once. `deployment`: the Deployment that made the Pod; `template`: the hash of the template that this controller made
    it from. `gated`: it has a scheduling gate; `volumes`: what its volumes need, claims with the prefix `CLAIM`.
    `node`: where it runs; `tolerations`: those of taints that somebody may give a node.
    `problem` counts from `problem_from`: a state that every Pod passes through is a problem only if it lasts.
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
    gated: bool = False
    volumes: frozenset[str] = frozenset()
    node: str = ""
    tolerations: tuple[Toleration, ...] = ()
    deleted: float = 0.0
    """The time of the request to delete it."""
    problem: Problem | None = None
    problem_from: float = 0.0

    def problem_at(self, now: float) -> Problem | None:
        """Return the problem if it counts by now."""
        return self.problem if now >= self.problem_from else None

    def is_kept_away_by(self, taints: Iterable[Taint]) -> bool:
        """Return whether it does not tolerate one of these taints."""
        return any(not any(toleration.of(taint) for toleration in self.tolerations) for taint in taints)


@dataclass(frozen=True, slots=True)
class Deployment(Object):
    """A scheduler's Deployment, or one that an older operator made for a worker.

    `problem`: the reason why its Pod could not be created; `rolling`: its Pod is not of its latest template;
    `declared_keys`: as of a Group.
    """

    cluster: str = ""
    component: str = ""
    group: str = ""
    template: str = ""
    declared_keys: str = ""
    problem: Problem | None = None
    rolling: bool = False


@dataclass(frozen=True, slots=True)
class Service(Object):
    """A scheduler's Service. `ingress`: a load balancer has given it an address.

    `declared_keys`: as of a Group.
    """

    cluster: str = ""
    type: str = "ClusterIP"
    cluster_ip: str = ""
    ports: tuple[ServicePort, ...] = ()
    ingress: bool = False
    template: str = ""
    declared_keys: str = ""


class Endpoint(NamedTuple):
    """A scheduler's addresses: the URL of its HTTP server, and its Dask address."""

    url: str
    address: str


@dataclass(frozen=True, slots=True)
class Registration:
    """A worker as its scheduler knows it. `nbytes`: bytes of results; `tasks`: tasks that it runs or has queued.

    The agent tells more. `pod`: the name of its Pod; `seconds`: how long its tasks will take; `shuffles`: it takes part
    in a P2P shuffle; `draining`: it takes no new task; `leaves`: nobody can take it back, because its process ends.
    """

    name: str
    address: str
    nbytes: int = 0
    tasks: int = 0
    pod: str = ""
    seconds: float = 0.0
    shuffles: bool = False
    draining: bool = False
    leaves: bool = False


@dataclass(frozen=True)
class Survey:
    """A scheduler's answer about its workers, or why it did not answer. `at` is in seconds since the epoch.

    `agent`: the controller's agent in the scheduler has given it.
    """

    at: float
    workers: tuple[Registration, ...] = ()
    problem: Problem | None = None
    agent: bool = False

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of the workers and of their Pods, and these without the number that `--nworkers` adds."""
        workers = self.workers
        return frozenset(name for each in workers for name in (each.name, each.name.rpartition("-")[0], each.pod))


class Drained(NamedTuple):
    """The agent's answer about workers that drain, by Dask address.

    `overdue`: of the `retired`, those that were at work when their time ended. `kept`: those that stay, and why.
    `draining`: those that have not ended yet, and what they wait for. It does not know the others, or they were taken
    back.
    """

    retired: frozenset[str] = frozenset()
    overdue: frozenset[str] = frozenset()
    kept: Mapping[str, str] = MappingProxyType({})
    draining: Mapping[str, str] = MappingProxyType({})


class Departure(NamedTuple):
    """The retirement of a Pod's workers that is under way: their Dask addresses, and since when.

    `waits_for`: what they still do, empty if that is not known. `final`: it is too late to take them back.
    """

    addresses: tuple[str, ...] = ()
    since: float = 0.0
    waits_for: str = ""
    final: bool = False


class Need(NamedTuple):
    """Tasks that need certain resources of a worker: so many `threads` should run them at once.

    `offered`: a worker that their scheduler has now offers these.
    """

    resources: tuple[tuple[str, float], ...]
    threads: int
    offered: bool = False


class Sample(NamedTuple):
    """An answer of a scheduler: the number of workers that it wants in all, and the `replicas` of each group then.

    `needs`: what its tasks want that need resources. `target` is without the workers for these.
    """

    at: float
    target: int
    replicas: Mapping[str, int]
    needs: tuple[Need, ...] = ()


@dataclass(frozen=True, slots=True)
class Demand:
    """A scheduler's answers about the workers that it wants, the oldest first. `problem`: why the last one, at `at`,
    failed.
    """

    at: float
    samples: tuple[Sample, ...] = ()
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Idleness:
    """A scheduler's last answer, given at `at`, to the question whether it is idle.

    `token`: its own time since when it is idle, None if it is busy; `since`: when it first gave this answer, by our
    clock.
    """

    at: float
    token: float | None = None
    since: float = 0.0
    problem: Problem | None = None


class Tasks(NamedTuple):
    """Numbers of a scheduler: the tasks that have ended since its start, those that are left, and its workers now."""

    done: int
    left: int
    workers: int


@dataclass(frozen=True, slots=True)
class Progress:
    """A scheduler's last answer, given at `at`, to the question how far it is. `tasks`: None if it does not tell."""

    at: float
    tasks: Tasks | None = None


class ObjectRef(NamedTuple):
    """The object that an action is about.

    All workers of a group share one reference (`names.workers`): what stops one of them stops all.
    """

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Failure:
    """A refusal by the API server or a scheduler: its cause, how many there were in a row, and when to try again."""

    problem: Problem
    attempts: int
    until: float


class Written(NamedTuple):
    """A status that this process wrote: when, its content, and the uid of its object.

    `inline`: the status is a part of the object, as older definitions have it, so that every write makes a new
    generation.
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
    workloads: tuple[Workload, ...] = ()
    queues: Queues | None = None
    """Absent if nothing waits in queues."""
    survey: Survey | None = None
    demand: Demand | None = None
    idleness: Idleness | None = None
    progress: Progress | None = None
    asking: frozenset[str] = frozenset()
    """Questions to the scheduler that are under way; a later plan gets their answers."""
    retiring: Mapping[str, Departure] = field(default_factory=dict)
    """The uids of the worker Pods whose retirement is under way."""
    resuming: frozenset[str] = frozenset()
    """The uids of those that are about to be taken back."""
    retired: frozenset[str] = frozenset()
    """The uids of the worker Pods that the scheduler has retired: they hold no data."""
    overdue: frozenset[str] = frozenset()
    """The uids of those that were at work when their drain time ended."""
    refused: Mapping[str, float] = field(default_factory=dict)
    """The uids of the worker Pods that the scheduler refused to retire, and when."""
    actors: frozenset[str] = frozenset()
    """The uids of those that it refused because they hold actors, which never move."""
    displaced: frozenset[str] = frozenset()
    """The uids of the Pods whose node takes no more Pods like them, because it is cordoned or tainted."""
    failures: Mapping[ObjectRef, Failure] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    """Warnings of the API server about objects that it accepted."""
    written: Mapping[ObjectRef, Written] = field(default_factory=dict)
    """The statuses that this process wrote last."""


def _canonical(value: object, depth: int = 0) -> str:
    """Return the same text for the same JSON, in whatever order its keys are. Nulls count as absent. Raises
    TooLargeError.
    """
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
