"""What a plan may ask for, why, and the permissions that this takes.

An action says everything its execution needs: `execute` decides nothing. `because` is read by the log, by Events and by
tests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dask_operator.model import Endpoint, Json, ObjectRef


@dataclass(frozen=True, slots=True)
class Create:
    """Creates an object. That it exists already is success, if it is the cluster's own."""

    manifest: Json
    subject: ObjectRef
    because: str


@dataclass(frozen=True, slots=True)
class Patch:
    """Merges `body` into an object (RFC 7386), or does what it lists to it (RFC 6902).

    `pod`: one that the API server has to accept first, of which nothing is made: what the patch replaces by such a one
    works, and would be gone.
    """

    subject: ObjectRef
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
    subject: ObjectRef
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

    subject: ObjectRef
    status: Json
    because: str
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RecordEvent:
    """Records an Event about a Dask resource; the same one again is no second Event."""

    subject: ObjectRef
    uid: str
    type: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class ClearFailures:
    """Forgets that something was refused: nothing is to be done about these subjects any more."""

    subjects: frozenset[ObjectRef]


@dataclass(frozen=True, slots=True)
class RequeueAt:
    """Plan again at a time in seconds since the epoch, even if nothing happens until then.

    `holds`: the object whose failure makes an action wait until then.
    """

    at: float
    because: str
    holds: ObjectRef | None = None


Action = Create | Patch | Delete | Ask | Retire | SetStatus | RecordEvent | ClearFailures | RequeueAt
