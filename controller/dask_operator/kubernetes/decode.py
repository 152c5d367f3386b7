"""Decoding of objects, from bytes to the JSON that `parse` takes, in bounded memory.

Decoded, `[[],[],…]` takes thirty times its size, and users may write such objects. So a large object is decoded only in
the fields that `parse` reads. A large Dask resource is decoded only as far as to say which one it is. The rest is
skipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

import msgspec
import orjson

from dask_operator import names
from dask_operator.model import Cut, Json
from dask_operator.resources import AUTOSCALER, CLUSTER, GROUP, JOB

LARGEST_OBJECT = 384 * 2**10
"""Bytes of an object that is decoded whole. Most have some thousands; annotations alone may have 256 KiB."""
ORDINARY = 64 * 2**10
"""Bytes of a small object, or of one field of a large object, that are always decoded."""
_SMALL = 16 * 2**10
_MOST_PARTS = 50_000
"""The most lists, objects and members in a Dask resource. In a real one each takes a dozen bytes or more."""
_DECLARED = frozenset(resource.kind for resource in (CLUSTER, GROUP, JOB, AUTOSCALER))
_TOO_DEEP = "has too many lists and objects in one another"
_DEEPEST = 200
LARGEST_LEVELLED = 2 * 2**20
# Shallow values are matched in one go, as there may be a million of them.
_FLAT = rb'[^][{}"]|"(?:[^"\\]|\\.)*+"'
_SHALLOW = rb"[\[{](?:" + _FLAT + rb"|[\[{](?:" + _FLAT + rb")*+[\]}])*+[\]}]"
_TOKENS = re.compile(rb"(?:" + _FLAT + rb"|" + _SHALLOW + rb")++|[\[{]++|[\]}]++", re.DOTALL)
_NONE = msgspec.Raw()
_T = TypeVar("_T")


class _Labels(msgspec.Struct):
    cluster: msgspec.Raw = msgspec.field(name=names.CLUSTER_LABEL, default=_NONE)
    component: msgspec.Raw = msgspec.field(name=names.COMPONENT_LABEL, default=_NONE)
    group: msgspec.Raw = msgspec.field(name=names.GROUP_LABEL, default=_NONE)


class _Annotations(msgspec.Struct):
    ordinal: msgspec.Raw = msgspec.field(name=names.ORDINAL_ANNOTATION, default=_NONE)
    attempt: msgspec.Raw = msgspec.field(name=names.ATTEMPT_ANNOTATION, default=_NONE)
    template: msgspec.Raw = msgspec.field(name=names.TEMPLATE_ANNOTATION, default=_NONE)
    given: msgspec.Raw = msgspec.field(name=names.DECLARED_ANNOTATION, default=_NONE)


class _Identity(msgspec.Struct, rename="camel"):
    name: msgspec.Raw = _NONE
    namespace: msgspec.Raw = _NONE
    uid: msgspec.Raw = _NONE
    resource_version: msgspec.Raw = _NONE
    generation: msgspec.Raw = _NONE
    creation_timestamp: msgspec.Raw = _NONE
    deletion_timestamp: msgspec.Raw = _NONE
    owner_references: msgspec.Raw = _NONE


class _Metadata(_Identity):
    labels: _Labels | None = None
    annotations: _Annotations | None = None


class _Conditions(msgspec.Struct, rename="camel"):
    conditions: msgspec.Raw = _NONE
    observed_generation: msgspec.Raw = _NONE


class _Belonging(msgspec.Struct, rename="camel"):
    cluster: msgspec.Raw = _NONE
    worker_group: msgspec.Raw = _NONE


class _Variable(msgspec.Struct):
    name: msgspec.Raw = _NONE


class _Container(msgspec.Struct, rename="camel"):
    name: msgspec.Raw = _NONE
    env: list[_Variable] | None = None
    restart_policy: msgspec.Raw = _NONE
    restart_policy_rules: msgspec.Raw = _NONE


class _Spec(msgspec.Struct, rename="camel"):
    """The spec of a Pod or a Service."""

    containers: list[_Container] | None = None
    init_containers: list[_Container] | None = None
    restart_policy: msgspec.Raw = _NONE
    type: msgspec.Raw = _NONE
    cluster_ip: msgspec.Raw = msgspec.field(name="clusterIP", default=_NONE)
    ports: msgspec.Raw = _NONE


class _Status(msgspec.Struct, rename="camel"):
    """The status of a Pod, a Service or a Deployment."""

    phase: msgspec.Raw = _NONE
    reason: msgspec.Raw = _NONE
    message: msgspec.Raw = _NONE
    pod_ip: msgspec.Raw = msgspec.field(name="podIP", default=_NONE)
    pod_ips: msgspec.Raw = msgspec.field(name="podIPs", default=_NONE)
    start_time: msgspec.Raw = _NONE
    conditions: msgspec.Raw = _NONE
    container_statuses: msgspec.Raw = _NONE
    init_container_statuses: msgspec.Raw = _NONE
    load_balancer: msgspec.Raw = _NONE
    observed_generation: msgspec.Raw = _NONE
    replicas: msgspec.Raw = _NONE
    updated_replicas: msgspec.Raw = _NONE


class _Kind(msgspec.Struct):
    kind: str = ""


class _Bare(msgspec.Struct):
    """The fields that all objects have."""

    kind: msgspec.Raw = _NONE
    metadata: _Identity | None = None


class _Declared(_Bare):
    spec: _Belonging | None = None
    status: _Conditions | None = None


class _Made(msgspec.Struct):
    kind: msgspec.Raw = _NONE
    metadata: _Metadata | None = None
    spec: _Spec | None = None
    status: _Status | None = None


class _Refusal(msgspec.Struct):
    reason: str = ""
    message: str = ""
    details: msgspec.Raw = _NONE


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _ListMetadata(msgspec.Struct, rename="camel"):
    resource_version: str
    continued: str | None = msgspec.field(name="continue", default=None)


class _List(msgspec.Struct):
    metadata: _ListMetadata
    items: list[msgspec.Raw] | None


class TooDeepError(ValueError):
    """A text so long and so deep that cutting it off would take too long."""


class Page(NamedTuple):
    """A page of a list. `items` are decoded one by one. `continued` is the token of the next page, or empty."""

    items: Iterator[dict[str, Any]]
    version: str
    continued: str


def read(text: bytes | msgspec.Raw, kind: str = "") -> dict[str, Any]:
    """Return an object, or a `Cut` for a Dask resource that is too large. Raises ValueError for anything else.

    `kind` is for the items of lists, which do not name theirs.
    """
    seen = memoryview(text)
    parts = _parts(bytes(seen)) if _SMALL < len(seen) <= LARGEST_OBJECT else 0
    if len(seen) <= LARGEST_OBJECT and parts <= _MOST_PARTS:
        # orjson rejects a text that is too deep.
        with suppress(orjson.JSONDecodeError):
            whole = _mapping(orjson.loads(seen))
            return whole if len(seen) <= ORDINARY else _with_short_status(whole)
        return Cut(_outline(seen, kind), _TOO_DEEP)
    outline = _outline(seen, kind)
    if outline.get("kind") not in _DECLARED:
        return outline
    if parts:
        return Cut(outline, f"has {parts:,} parts, and at most {_MOST_PARTS:,} are read")
    return Cut(outline, f"has {len(seen):,} bytes, and at most {LARGEST_OBJECT:,} are read")


def _parts(text: bytes) -> int:
    """Return the most lists, objects and members that a text can have. Each takes the memory of 100 bytes of text."""
    return sum(map(text.count, (b"[", b"{", b",")))


def event(line: bytes, kind: str) -> Json:
    """Return a watch's event with its `type` and its `object`. Raises ValueError."""
    if len(line) <= _SMALL:
        with suppress(orjson.JSONDecodeError):
            return _mapping(orjson.loads(line))
    seen = _decoded(line, _Event)
    return {"type": seen.type, "object": read(seen.object, kind)}


def page(text: bytes, kind: str) -> Page:
    """Return a page of a list. Raises ValueError."""
    seen = _decoded(text, _List)
    items = (read(item, kind) for item in seen.items or ())
    return Page(items, seen.metadata.resource_version, seen.metadata.continued or "")


def status(text: bytes) -> Json:
    """Return the Status of a refusal. Raises ValueError for anything else."""
    return _built(_decoded(text, _Refusal))


def _mapping(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise ValueError("no object")


def _with_short_status(whole: dict[str, Any]) -> dict[str, Any]:
    """Return an object without a long status, because statuses are kept decoded, unlike specs."""
    status = whole.get("status")
    if not isinstance(status, dict) or _is_short(status):
        return whole
    conditions = {"conditions": status.get("conditions")}
    return {**whole, "status": conditions if _is_short(conditions) else {}}


def _is_short(value: object) -> bool:
    try:
        return len(orjson.dumps(value)) <= ORDINARY
    except orjson.JSONEncodeError:
        return False  # orjson reads deeper values than it writes.


def _outline(text: memoryview, kind: str) -> dict[str, Any]:
    """Return the fields of an object that `parse` reads."""
    kind = kind or _decoded(text, _Kind).kind
    try:
        seen: msgspec.Struct = _decoded(text, _Declared if kind in _DECLARED else _Made)
    except msgspec.ValidationError:
        seen = _decoded(text, _Bare)
    return {**_built(seen), "kind": kind}


def _built(seen: msgspec.Struct) -> dict[str, Any]:
    fields = zip(seen.__struct_encode_fields__, seen.__struct_fields__, strict=True)
    values = ((name, getattr(seen, field)) for name, field in fields)
    return {name: _value(value) for name, value in values if value and not _is_long(value)}


def _is_long(value: object) -> bool:
    return isinstance(value, msgspec.Raw) and len(memoryview(value)) > ORDINARY


def _value(value: Any) -> Any:
    match value:
        case str():
            return value
        case msgspec.Raw():
            return orjson.loads(memoryview(value))
        case list():
            return [_built(each) for each in value]
    return _built(value)


def _decoded(text: bytes | memoryview, type_: type[_T]) -> _T:
    """Decode a text to a type, without its deepest levels if it is too deep. Raises ValueError."""
    try:
        return msgspec.json.decode(text, type=type_)
    except RecursionError:
        return msgspec.json.decode(_levelled(bytes(text)), type=type_)


def _levelled(text: bytes) -> bytes:
    """Return the same JSON with null in place of its deepest levels. Raises TooDeepError."""
    if len(text) > LARGEST_LEVELLED:
        raise TooDeepError(_TOO_DEEP)
    kept: list[bytes] = []
    depth = 0
    for token in _TOKENS.findall(text):
        before, number = depth, len(token)
        if token[-1] in b"[{":
            depth += number
            kept += [token[: max(_DEEPEST - before, 0)], b"null"] if before <= _DEEPEST < depth else _if(depth, token)
        elif token[0] in b"]}":
            depth -= number
            kept += [token[before - _DEEPEST :]] if depth <= _DEEPEST < before else _if(before, token)
        else:
            kept += _if(depth, token)
    return b"".join(kept)


def _if(depth: int, token: bytes) -> tuple[bytes, ...]:
    return (token,) if depth <= _DEEPEST else ()
