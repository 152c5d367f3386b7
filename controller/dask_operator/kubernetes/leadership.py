"""The decisions of an election by Lease, of one leader among several controllers. `lease` carries them out.

Kubernetes' own components elect their leaders in the same way: the holder of a Lease leads and renews the Lease, and
another process takes it once it has not been renewed for a while. Client libraries accept two leaders for a moment: a
holder that stood still (a paused virtual machine, a blocked event loop, a slow request) learns of its loss only when it
tries to renew. Here both would create and delete the Pods of the same clusters. Four rules exclude that:

1. *The holder's term ends before anybody else's can begin.* A holder may write until `Times.deadline` (3 s) after it
   *sent* its last successful renewal. Another process takes the Lease the Lease's duration (4 s) after it *saw* the
   Lease change. A renewal is seen after it was sent, so at least one second lies between two terms. The duration is in
   the Lease, so processes with different times agree.
2. *The term is a time, not a flag.* Each write checks it when it is about to leave (`transport`), so a process that
   stood still for an hour writes nothing when it wakes up, although it has not noticed the loss yet.
3. *No clock is compared with another.* Each process measures with its own monotonic clock, from what it saw itself.
   The Lease's `renewTime` is for people. A clock that is wrong or set back changes nothing.
4. *The API server decides races.* A Lease is replaced only at the resource version that was read, so of several
   processes that take it at once one succeeds. The others try again after a random pause.

A holder that ends gives the Lease back by emptying `holderIdentity`, so that its successor need not wait. A person who
empties it asks for an election at once; the old holder then stops at its next renewal. A Lease that is deleted remains
the holder's until its time is up.

Everything here is pure: `decide` sees the Lease, the term and the time, and says what to do next.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from dask_operator.model import Json
from dask_operator.resources import LEASE

NEVER = float("-inf")


@dataclass(frozen=True, slots=True)
class Times:
    """The times of an election, in seconds, as Kubernetes' components have them as options. Raises ValueError.

    Others may take a Lease that nobody has renewed for `duration`. A renewal permits writes for `deadline`. The Lease
    is renewed every `retry`. Longer times bear with a slower API server, and a lost holder is replaced later.
    """

    duration: int = 4
    deadline: float = 3.0
    retry: float = 1.0

    def __post_init__(self) -> None:
        if not self.retry > 0:
            raise ValueError(f"the retry period of {self.retry:g} s must be more than 0")
        if not self.deadline >= 2 * self.retry:
            raise ValueError(
                f"the renew deadline of {self.deadline:g} s must be at least twice the retry period of "
                f"{self.retry:g} s, so that a renewal may fail once"
            )
        if self.duration < self.deadline + 1:
            raise ValueError(
                f"the lease duration of {self.duration:g} s must be at least a second longer than the renew deadline "
                f"of {self.deadline:g} s, so that never two controllers write"
            )

    @property
    def request(self) -> float:
        """The seconds for one request: a second attempt fits before the deadline."""
        return self.deadline / 2

    @property
    def poll(self) -> float:
        """The seconds between two looks at another process' Lease, and from a failed renewal to the next."""
        return self.retry / 2


class LeaseName(NamedTuple):
    """The namespace and the name of a Lease."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class KnownLease:
    """The Lease as this process last read it, and when this process saw its spec change.

    `exists` is False before the first Lease and after it was deleted, when `lease` still names the last holder.
    """

    lease: Json = field(default_factory=dict)
    exists: bool = False
    changed: float = NEVER

    @property
    def holder(self) -> str:
        """The identity of the holder, or an empty string."""
        return str(_spec(self.lease).get("holderIdentity") or "")

    @property
    def expires(self) -> float:
        """The time from which a process that does not hold the Lease may take it."""
        duration = _spec(self.lease).get("leaseDurationSeconds")
        return self.changed + (duration if isinstance(duration, int) and duration > 0 else Times().duration)

    def read(self, lease: Json | None, now: float) -> KnownLease:
        """Return what is known after the Lease has been read: its time begins anew only if its spec has changed."""
        if lease is None:
            return replace(self, exists=False)
        return KnownLease(lease, True, self.changed if lease.get("spec") == self.lease.get("spec") else now)


@dataclass(frozen=True, slots=True)
class Take:
    """Try to become the holder."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Look at the Lease again after this many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Renew:
    """Renew the Lease, which is still this process'."""


@dataclass(frozen=True, slots=True)
class Lost:
    """Stop leading. An empty `because` means that no renewal has succeeded in time."""

    because: str = ""


def decide(seen: KnownLease, identity: str, until: float, now: float, times: Times) -> Take | Wait | Renew | Lost:
    """Return the next step of the process `identity`, whose term ends at `until`, or NEVER began."""
    if until == NEVER:
        free = seen.holder in ("", identity) or now >= seen.expires
        return Take() if free else Wait(min(times.poll, seen.expires - now))
    if not seen.exists:
        return Lost("it was deleted")
    if seen.holder != identity:
        return Lost(f"{seen.holder or 'nobody'} holds it")
    return Renew() if now < until else Lost()


def taken(seen: KnownLease, name: LeaseName, identity: str, at: str, times: Times) -> Json:
    """Return the manifest that makes `identity` the holder; `at` is the time for people to read."""
    empty = {"apiVersion": LEASE.api_version, "kind": LEASE.kind, "metadata": name._asdict()}
    lease = seen.lease if seen.exists else empty
    transitions = _spec(lease).get("leaseTransitions")
    return _changed(
        lease,
        renewTime=at,
        holderIdentity=identity,
        leaseDurationSeconds=times.duration,
        acquireTime=at,
        leaseTransitions=transitions + 1 if isinstance(transitions, int) else 0,
    )


def renewed(lease: Json, at: str, times: Times) -> Json:
    """Return the manifest that renews the Lease. Somebody may have edited its duration, by which others go."""
    return _changed(lease, renewTime=at, leaseDurationSeconds=times.duration)


def given_back(lease: Json, at: str) -> Json:
    """Return the manifest that leaves the Lease to others."""
    return _changed(lease, renewTime=at, holderIdentity="")


def _changed(lease: Json, **fields: Any) -> Json:
    return {**lease, "spec": {**_spec(lease), **fields}}


def _spec(lease: Json) -> Json:
    # A Lease can be written by hand, in any shape.
    spec = lease.get("spec")
    return spec if isinstance(spec, dict) else {}
