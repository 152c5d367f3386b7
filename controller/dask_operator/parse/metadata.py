"""The metadata of all objects."""

from __future__ import annotations

from typing import Any

from dask_operator.model import Json, Metadata
from dask_operator.parse.values import integer, mapping, mappings, number, seconds, text, texts


def object_fields(raw: Json) -> dict[str, Any]:
    meta = meta_of(raw)
    return {
        "namespace": text(meta.get("namespace")),
        "name": text(meta.get("name")),
        "uid": text(meta.get("uid")),
        "resource_version": resource_version(raw),
        "created": seconds(meta.get("creationTimestamp")),
        "deleting": bool(meta.get("deletionTimestamp")),
        "owners": tuple(text(owner.get("uid")) for owner in mappings(meta.get("ownerReferences"))),
    }


def resource_version(raw: Json) -> int:
    """Return the resource version of an object or a list. It grows, so that it tells which of two states is newer."""
    return version_number(text(meta_of(raw).get("resourceVersion")))


def version_number(version: str) -> int:
    """Return a resource version as a number."""
    return integer(number(version))


def meta_of(raw: Json) -> Json:
    return mapping(raw.get("metadata"))


def metadata_of(raw: Json) -> Metadata:
    return Metadata(texts(raw.get("labels")), texts(raw.get("annotations")))
