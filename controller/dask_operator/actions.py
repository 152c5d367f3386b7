"""The actions of a plan.

An action has everything that its execution needs: `execute` decides nothing. `because` goes to the log, to Events and
to tests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dask_operator.model import Endpoint, Json, ObjectRef


@dataclass(frozen=True, slots=True)
class Create:
    """Create an object. If it exists already and belongs to the cluster, the action has succeeded."""

    manifest: Json
    subject: ObjectRef
    because: str


@dataclass(frozen=True, slots=True)
class Patch:
    """Merge `body` into an object (RFC 7386), or apply it as a JSON Patch if it is a list (RFC 6902).

    `pod`: a Pod that the API server must accept in a dry run first, because the patch replaces one that works.
    """

    subject: ObjectRef
    body: Json | Sequence[Json]
    because: str
    pod: Json | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete the object with this uid, and what it owns.

    `resource_version`: delete it only in this state. `grace`: the seconds in which a Pod has to end, if not its own.
    """

    name: str
    uid: str
    subject: ObjectRef
    because: str
    resource_version: int | None = None
    grace: int | None = None


WORKERS, TARGET, IDLE, PROGRESS = "workers", "target", "idle", "progress"
"""Questions: which workers the scheduler has, how many it wants, since when it is idle, and how far its tasks are."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the scheduler a question. A later plan finds the answer among the facts.

    For TARGET: `keep` is for how many seconds the answer matters, `replicas` how many workers each group wants now. For
    WORKERS: `pods` is the number of worker Pods, which bounds how much of the answer is read.
    """

    question: str
    scheduler: Endpoint
    because: str
    keep: float = 0.0
    replicas: Mapping[str, int] = field(default_factory=dict)
    pods: int = 0


@dataclass(frozen=True, slots=True)
class Retire:
    """Ask the scheduler to move the data of these workers to others. `workers`: uid and Dask address of each.

    `seconds`: the time within which their tasks end first, by the agent; None where the scheduler has none.
    """

    scheduler: Endpoint
    workers: tuple[tuple[str, str], ...]
    because: str
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Resume:
    """Ask the scheduler to take back workers that drain. `workers` as of Retire."""

    scheduler: Endpoint
    workers: tuple[tuple[str, str], ...]
    because: str


@dataclass(frozen=True, slots=True)
class SetStatus:
    """Write the status of a Dask resource or a Workload.

    `notes`: annotations to write where its definition keeps no status. `resource_version`: write it only in this state.
    """

    subject: ObjectRef
    status: Json
    because: str
    notes: Mapping[str, str] = field(default_factory=dict)
    resource_version: int | None = None


@dataclass(frozen=True, slots=True)
class RecordEvent:
    """Record an Event about a Dask resource. The same Event again makes no second one."""

    subject: ObjectRef
    uid: str
    type: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class ClearFailures:
    """Forget the failures of these objects, because no action about them is wanted."""

    subjects: frozenset[ObjectRef]


@dataclass(frozen=True, slots=True)
class RequeueAt:
    """Plan again at a time in seconds since the epoch, even if nothing happens until then.

    `holds`: the object whose failure makes an action wait until then.
    """

    at: float
    because: str
    holds: ObjectRef | None = None


Action = Create | Patch | Delete | Ask | Retire | Resume | SetStatus | RecordEvent | ClearFailures | RequeueAt
