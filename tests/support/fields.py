"""Edits of a Dask resource: every field of its CRD, with other values, its bounds, null, and none at all.

If a CRD keeps unknown fields, as in a Pod's spec, the edits use Kubernetes' own fields, given its API server's
description of them, and else one field that stands for all.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ci.verify import crds
from ci.verify.schemas import crd_kinds
from jsonschema import Draft202012Validator

Raw = dict[str, Any]
Schema = Mapping[str, Any]
Path = tuple[str, ...]
"""Keys from the top of an object to a field."""

FIRST = "[]"
"""A key in a path: the first item of a list."""
NONE = object()
"""A removed field."""
_OPEN = "x-kubernetes-preserve-unknown-fields"
_INT_OR_STRING = "x-kubernetes-int-or-string"
_UNKNOWN = "fieldOfKubernetes"
_OF_TYPE: Mapping[str, tuple[object, ...]] = {
    "string": ("", "text", 7),
    "boolean": (True, False, "text"),
    "array": ([], "text"),
    "object": ({}, "text"),
}
_TEXT_BY_TEXT = {"type": "object", "additionalProperties": {"type": "string"}}
_OF_ALL = {("metadata", "labels"): _TEXT_BY_TEXT, ("metadata", "annotations"): _TEXT_BY_TEXT}
"""Fields of every object, whatever its CRD."""
_IN_KUBERNETES = {
    "spec": "PodSpec",
    "containers[]": "Container",
    "initContainers[]": "Container",
    "env[]": "EnvVar",
    "ports[]": "ContainerPort",
    "volumes[]": "Volume",
    "volumeMounts[]": "VolumeMount",
    "imagePullSecrets[]": "LocalObjectReference",
    "tolerations[]": "Toleration",
    "service": "ServiceSpec",
}
"""Kubernetes' definitions of the parts that a CRD keeps open, by the end of the path."""


class Edit(NamedTuple):
    """Another value for a field of a kind. `accepted`: whether the outcome fits the schemas."""

    kind: str
    path: Path
    value: Any
    accepted: bool

    def __str__(self) -> str:
        where = ".".join(self.path).replace(f".{FIRST}", FIRST)
        return f"{self.kind} {where} " + ("removed" if self.value is NONE else f"= {self.value!r}")

    def of(self, raw: Raw) -> Raw:
        """Return the object with the edit. Missing parents of the field are as small as possible."""
        return _with(raw, self.path, self.value, _schema(self.kind))


def edits(raw: Raw, kubernetes: Mapping[str, Schema] | None = None) -> Iterator[Edit]:
    """Yield the edits of an object's spec, labels and annotations. `kubernetes`: the API server's definitions."""
    kind = raw["kind"]
    schema, validator = _schema(kind), Draft202012Validator(_strict(kind))
    spec = schema["properties"]["spec"]
    for path, field in (*_fields(spec, ("spec",), kubernetes), *_OF_ALL.items()):
        before = _at(raw, path)
        for value in _values(field, kubernetes):
            if type(value) is type(before) and value == before:
                continue
            edited = _with(raw, path, value, schema)
            accepted = validator.is_valid(edited) and not _breaks_a_rule(edited)
            yield Edit(kind, path, value, accepted and value != "text" if path in _OF_ALL else accepted)


def _breaks_a_rule(raw: Raw) -> bool:
    """Return whether the CRDs' rules, unlike JSON schemas, refuse the object (tests/charts/refused.yaml)."""
    spec = raw["spec"]
    if raw["kind"] == "DaskAutoscaler":
        least, most = spec.get("minimum"), spec.get("maximum")
        return isinstance(least, int) and isinstance(most, int) and least > most
    job = spec.get("job")
    pod = job.get("spec") if isinstance(job, dict) else None
    return isinstance(pod, dict) and pod.get("restartPolicy") == "Always"


def _fields(schema: Schema, path: Path, kubernetes: Mapping[str, Schema] | None) -> Iterator[tuple[Path, Schema]]:
    """Yield every field below a part of a schema, including parts with fields of their own."""
    properties = dict(schema.get("properties", {}))
    if schema.get(_OPEN):
        properties = dict(_kept(path, kubernetes)) | properties
    for name, field in properties.items():
        yield (*path, name), field
        yield from _fields(field, (*path, name), kubernetes)
    if "items" in schema:
        yield from _fields(schema["items"], (*path, FIRST), kubernetes)


def _kept(path: Path, kubernetes: Mapping[str, Schema] | None) -> Mapping[str, Schema]:
    if kubernetes is None:
        return {_UNKNOWN: {"type": "string"}}
    end = "".join(path[-2:]) if path[-1] == FIRST else path[-1]
    definition = "ServicePort" if path[-3:-1] == ("service", "ports") else _IN_KUBERNETES[end]
    properties: Mapping[str, Schema] = kubernetes[f"io.k8s.api.core.v1.{definition}"]["properties"]
    return properties


def _values(field: Schema, kubernetes: Mapping[str, Schema] | None) -> Iterator[object]:
    """Yield one or two valid values, the nearest invalid ones, null if allowed, and NONE."""
    field = _resolved(field, kubernetes)
    yield from _own_values(field)
    if field.get("type") == "array":
        yield [_smallest(field["items"], kubernetes)]
    elif "additionalProperties" in field:
        yield {"dask.org/a-key": _smallest(field["additionalProperties"], kubernetes)}
    elif field.get("type") == "object" and (properties := field.get("properties")):
        yield {name: _smallest(each, kubernetes) for name, each in list(properties.items())[:1]}
    if field.get("nullable"):
        yield None
    yield NONE


def _own_values(field: Schema) -> Iterator[object]:
    if "enum" in field:
        yield from (*field["enum"], "Nonsense")
    elif field.get(_INT_OR_STRING):
        yield from (1, "500m", "text")
    elif "pattern" in field:
        yield from ("500m", "a", "Not a name")
    elif field.get("type") == "integer":
        least, most = field.get("minimum", 0), field.get("maximum", 7)
        yield from dict.fromkeys((least, least + 1, most, least - 1, most + 1 if "maximum" in field else 8))
        yield "text"
    else:
        yield from _OF_TYPE[str(field.get("type", "object"))]


def _smallest(field: Schema, kubernetes: Mapping[str, Schema] | None = None) -> Any:
    """Return the smallest valid value of a field."""
    field = _resolved(field, kubernetes)
    match field.get("type"):
        case _ if "enum" in field:
            return field["enum"][0]
        case "integer":
            return field.get("minimum", 1)
        case "boolean":
            return True
        case "array":
            return [_smallest(field["items"], kubernetes)] * field.get("minItems", 0)
        case "string" | None if "properties" not in field:
            return "a"
    properties = field.get("properties", {})
    return {name: _smallest(properties[name], kubernetes) for name in field.get("required", ())}


def _resolved(field: Schema, kubernetes: Mapping[str, Schema] | None) -> Schema:
    name = str(field.get("$ref", "")).removeprefix("#/definitions/")
    if not name or not kubernetes:
        return field
    if name.endswith(("IntOrString", "Quantity")):
        return {_INT_OR_STRING: True}
    return kubernetes[name]


def _at(raw: object, path: Path) -> object:
    for name in path:
        if name == FIRST:
            raw = raw[0] if isinstance(raw, list) and raw else NONE
        else:
            raw = raw.get(name, NONE) if isinstance(raw, dict) else NONE
    return raw


def _with(raw: Raw, path: Path, value: Any, schema: Schema) -> Raw:
    edited = copy.deepcopy(raw)
    at: Any = edited
    for name, after in zip(path, (*path[1:], None), strict=False):
        field = schema.get("items" if name == FIRST else "properties", {})
        schema = field if name == FIRST else field.get(name, {})
        if after is None:
            break
        at = _into(at, name, schema)
    if value is NONE:
        at.pop(path[-1], None)
    else:
        at[path[-1]] = copy.deepcopy(value)
    return edited


def _into(at: Any, name: str, schema: Schema) -> Any:
    if name == FIRST:
        if not at:
            at.append(_smallest(schema))
        return at[0]
    if at.get(name) is None:
        at[name] = [] if schema.get("type") == "array" else _smallest({"type": "object", **schema})
    return at[name]


@functools.cache
def _schema(kind: str) -> Schema:
    (version,) = crds.load()[kind.lower()]["spec"]["versions"]
    schema: Schema = version["schema"]["openAPIV3Schema"]
    return schema


@functools.cache
def _strict(kind: str) -> Schema:
    """Return the CRD's strict JSON schema."""
    (made,) = crd_kinds(crds.load()[kind.lower()])
    return made.schema
