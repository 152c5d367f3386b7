"""Decoding of schedulers' answers in bounded memory, from JSON or from the first frame of a Dask message.

A scheduler may send anything, and `{},{},…` takes a hundred times its bytes once it is decoded. So entries are counted
first, and of each worker only the fields needed are decoded. An answer is read in full or it is an error, because a
worker that its scheduler does not know counts as one without data.
"""

from __future__ import annotations

import json
import math
import re
from typing import Annotated, Any, Protocol, TypeVar

import msgspec

from dask_operator import parse
from dask_operator.model import Drained, Need, Registration, Tasks

_WORKERS_PER_POD = 64
_WORKERS_OF_NONE = 1000
_LEAST_PER_OBJECT = 32
"""Bytes of JSON per object: half of the average in a real scheduler's answer."""
_LONGEST_FIELD = 2**10
_ANSWER_OF_NONE = 2**12
_PER_WORKER = 2**10
_LARGEST_TARGET = 2**31 - 1  # The range of a resource's replicas.
_LARGEST_NUMBER = 2**53 - 1  # The range in which all programs read the same number from JSON.
MOST_RESOURCES = 20
LONGEST_NAME = 64
# Python writes these numbers, which are not JSON.
_NO_NUMBERS = re.compile(rb"(?<=[\[,:\s])(?:NaN|-?Infinity)(?=[\],}\s])")
_NONE = msgspec.Raw()
_Text = Annotated[str, msgspec.Meta(max_length=_LONGEST_FIELD)]
_Count = Annotated[int, msgspec.Meta(ge=0)]
_T = TypeVar("_T")


class TooManyError(ValueError):
    """The answer is about more workers than there can be."""


class UnexpectedError(ValueError):
    """The answer is a value of the wrong kind."""

    def __init__(self, value: Any) -> None:
        super().__init__(value)
        self.value = value


class _Spilled(msgspec.Struct):
    memory: msgspec.Raw = _NONE


class _Drained(msgspec.Struct):
    retired: list[str]
    overdue: list[str]
    kept: dict[str, str]
    draining: dict[str, str]


class _Resumed(msgspec.Struct):
    resumed: list[str]


class _Burden(msgspec.Struct):
    name: _Text
    pod: _Text
    nbytes: _Count
    tasks: _Count
    seconds: Annotated[float, msgspec.Meta(ge=0.0)]
    shuffles: bool
    draining: bool
    leaves: bool


class _Need(msgspec.Struct):
    resources: dict[Annotated[str, msgspec.Meta(max_length=LONGEST_NAME)], Annotated[float, msgspec.Meta(ge=0.0)]]
    threads: Annotated[int, msgspec.Meta(ge=1, le=_LARGEST_TARGET)]
    offered: bool


class _Demand(msgspec.Struct):
    target: Annotated[int, msgspec.Meta(ge=0, le=_LARGEST_TARGET)]
    needs: list[_Need]


class _Progress(msgspec.Struct):
    done: Annotated[int, msgspec.Meta(ge=0, le=_LARGEST_NUMBER)]
    left: Annotated[int, msgspec.Meta(ge=0, le=_LARGEST_NUMBER)]
    workers: Annotated[int, msgspec.Meta(ge=0, le=_LARGEST_TARGET)]


class _Counts(msgspec.Struct):
    executing: msgspec.Raw = _NONE
    ready: msgspec.Raw = _NONE
    constrained: msgspec.Raw = _NONE
    long_running: msgspec.Raw = msgspec.field(name="long-running", default=_NONE)
    flight: msgspec.Raw = _NONE
    fetch: msgspec.Raw = _NONE
    waiting: msgspec.Raw = _NONE


class _Metrics(msgspec.Struct):
    managed_bytes: msgspec.Raw = _NONE
    spilled_bytes: _Spilled | None = None
    task_counts: _Counts | None = None


class _Worker(msgspec.Struct):
    name: msgspec.Raw = _NONE
    address: msgspec.Raw = _NONE
    metrics: _Metrics | None = None


class _Identity(msgspec.Struct):
    workers: msgspec.Raw


class _List(msgspec.Struct):
    num_workers: int
    workers: msgspec.Raw


class Wire(Protocol):
    """An encoding of answers. All methods raise ValueError, TypeError or RecursionError for other bytes."""

    def decoded(self, text: bytes | msgspec.Raw, type_: type[_T]) -> _T:
        """Return the bytes as a type; fields that it does not have are skipped."""

    def value(self, text: bytes, key: str) -> Any:
        """Return a small answer, which routes have under a key and operations have bare."""

    def require_few(self, text: bytes | msgspec.Raw, most: int) -> None:
        """Raise TooManyError if an object has more entries than this, or too many to count."""


class Json:
    """The encoding of HTTP routes."""

    def decoded(self, text: bytes | msgspec.Raw, type_: type[_T]) -> _T:
        try:
            return msgspec.json.decode(text, type=type_)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            return msgspec.json.decode(_NO_NUMBERS.sub(b"null", bytes(text)), type=type_)

    def value(self, text: bytes, key: str) -> Any:
        answer = json.loads(text)
        if not isinstance(answer, dict) or key not in answer:
            raise UnexpectedError(answer)
        return answer[key]

    def require_few(self, text: bytes | msgspec.Raw, most: int) -> None:
        whole = bytes(text)
        if whole.count(b"{") > len(whole) // _LEAST_PER_OBJECT + 100:
            raise TooManyError("it has more objects than its workers could have")


class Message:
    """The encoding of Dask's own protocol, msgpack."""

    def decoded(self, text: bytes | msgspec.Raw, type_: type[_T]) -> _T:
        return msgspec.msgpack.decode(text, type=type_)

    def value(self, text: bytes, key: str) -> Any:
        return msgspec.msgpack.decode(text)

    def require_few(self, text: bytes | msgspec.Raw, most: int) -> None:
        number = _entries(bytes(memoryview(text)[:5]))
        if number > most:
            raise TooManyError(f"it is about {number} workers, and at most {most} are read")


JSON, MESSAGE = Json(), Message()


def target(value: Any) -> int:
    """Return a number of workers. Raises UnexpectedError."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _LARGEST_TARGET:
        raise UnexpectedError(value)
    return value


def demand(text: bytes, wire: Wire) -> tuple[int, tuple[Need, ...]]:
    """Return the agent's answer: how many workers are wanted, and what tasks want that need resources.

    Raises ValueError, TypeError or RecursionError.
    """
    found = wire.decoded(text, _Demand)
    if sum(len(need.resources) for need in found.needs) > MOST_RESOURCES:
        raise TooManyError(f"its tasks need more than the {MOST_RESOURCES} resources that are read")
    needs = (
        Need(tuple(sorted(need.resources.items())), need.threads, need.offered)
        for need in found.needs
        if need.resources
    )
    return found.target, tuple(needs)


def idle_since(value: Any) -> float | None:
    """Return the time since when a scheduler is idle, or None for a busy one. Raises UnexpectedError."""
    if value is None or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise UnexpectedError(value)


def progress(text: bytes, wire: Wire) -> Tasks:
    """Return how far the agent says that the scheduler is. Raises ValueError, TypeError or RecursionError."""
    return Tasks(*msgspec.structs.astuple(wire.decoded(text, _Progress)))


def workers(text: bytes, wire: Wire, pods: int) -> tuple[Registration, ...]:
    """Return the workers in a scheduler's identity, which run in this many Pods.

    Raises ValueError, TypeError or RecursionError.
    """
    found = _entries_of(wire.decoded(text, _Identity).workers, wire, _most(pods))
    registrations: list[Registration] = []
    for address, worker in found.items():
        outline = _built(wire.decoded(worker, _Worker), wire)
        registrations += parse.registrations({"workers": {address: outline}})
    return tuple(registrations)


def listed(text: bytes, pods: int) -> tuple[Registration, ...]:
    """Return the workers in the reply to `/api/v1/get_workers`, which does not tell their burdens."""
    JSON.require_few(text, _most(pods))
    reply = JSON.decoded(text, _List)
    found = JSON.decoded(reply.workers, list[_Worker])
    workers_ = parse.listed_workers({"workers": [_built(each, JSON) for each in found]})
    if reply.num_workers != len(workers_) or not all(worker.address for worker in workers_):
        raise ValueError("not all of its workers have an address")
    return workers_


def retired(text: bytes, wire: Wire, asked: int) -> frozenset[str]:
    """Return the addresses in the reply to a retirement of this many workers. Raises as `workers` does."""
    return parse.retired(_entries_of(text, wire, _most(asked)))


def burdens(text: bytes, wire: Wire, pods: int) -> tuple[Registration, ...]:
    """Return the workers in the agent's reply, which run in this many Pods. Raises as `workers` does."""
    found = _entries_of(wire.decoded(text, _Identity).workers, wire, _most(pods))
    told = {address: wire.decoded(worker, _Burden) for address, worker in found.items()}
    return tuple(Registration(address=address, **msgspec.structs.asdict(each)) for address, each in told.items())


def drained(text: bytes, wire: Wire, asked: int) -> Drained:
    """Return what the agent replies about this many workers that drain. Raises as `workers` does."""
    told = _bounded(text, wire, _Drained, asked)
    return Drained(frozenset(told.retired), frozenset(told.overdue), told.kept, told.draining)


def resumed(text: bytes, wire: Wire, asked: int) -> frozenset[str]:
    """Return the addresses of those of this many workers that the agent has taken back. Raises as `workers` does."""
    return frozenset(_bounded(text, wire, _Resumed, asked).resumed)


def _bounded(text: bytes, wire: Wire, type_: type[_T], asked: int) -> _T:
    # Each worker is in few of its lists. No answer is much longer than the addresses in it.
    if len(text) > _ANSWER_OF_NONE + _PER_WORKER * asked:
        raise TooManyError(f"it has {len(text)} bytes about {asked} workers")
    return wire.decoded(text, type_)


def _most(pods: int) -> int:
    return _WORKERS_OF_NONE + _WORKERS_PER_POD * pods


def _entries_of(text: bytes | msgspec.Raw, wire: Wire, most: int) -> dict[str, msgspec.Raw]:
    wire.require_few(text, most)
    found = wire.decoded(text, dict[str, msgspec.Raw])
    if len(found) > most:
        raise TooManyError(f"it is about {len(found)} workers, and at most {most} are read")
    return found


def _entries(head: bytes) -> int:
    """Return how many entries a msgpack map has, by its head, or 0 for another value."""
    match head[:1]:
        case b"\xde":
            return int.from_bytes(head[1:3])
        case b"\xdf":
            return int.from_bytes(head[1:5])
    return head[0] & 0x0F if head and head[0] & 0xF0 == 0x80 else 0


def _built(seen: msgspec.Struct, wire: Wire) -> dict[str, Any]:
    fields = zip(seen.__struct_encode_fields__, seen.__struct_fields__, strict=True)
    built = ((name, _value(getattr(seen, field), wire)) for name, field in fields)
    return {name: value for name, value in built if value is not None}


def _value(value: Any, wire: Wire) -> Any:
    if isinstance(value, msgspec.Struct):
        return _built(value, wire)
    short = value is not None and 0 < len(memoryview(value)) <= _LONGEST_FIELD
    return wire.decoded(value, object) if short else None
