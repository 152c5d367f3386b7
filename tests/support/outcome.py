"""What objects have come to, without what differs from one time to another: to compare how two stories end."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Raw = Mapping[str, Any]
Outcome = dict[str, list[Any]]
"""By kind and name. Where names are given by what makes the objects there are several of one name."""

GIVEN_NAMES = (
    (re.compile(r"-worker-[0-9a-f]{10}\b"), "-worker-#"),
    (re.compile(r"-scheduler-[0-9a-z]+-[0-9a-z]+\b"), "-scheduler-#"),
    (re.compile(r"\bkube-api-access-[0-9a-z]{5}\b"), "kube-api-access-#"),
)
_METADATA = ("name", "labels", "annotations", "ownerReferences")
_HISTORY = frozenset(
    {
        "kubernetes.dask.org/ordinal",
        "kubernetes.dask.org/attempt",
        "kubernetes.dask.org/scaled",
        "deployment.kubernetes.io/revision",
        "pod-template-hash",
        "lastOrdinal",
        "lastOrdinals",
        "lastDecision",
        "lastScaleTime",
        "lastTransitionTime",
        "lastFailureTime",
        "startTime",
        "endTime",
    }
)
"""When something happened, and how often."""
_ALLOCATED = frozenset({"uid", "clusterIP", "clusterIPs", "nodePort", "healthCheckNodePort", "nodeName"})
_STATUS_OF_OTHERS = {"Pod": ("phase",), "Deployment": (), "Service": ()}
"""What counts of a status that is not ours."""


def outcome(objects: Iterable[Raw]) -> Outcome:
    found: Outcome = {}
    for raw in objects:
        plain = _plain(raw)
        found.setdefault(f"{raw['kind']} {plain['metadata']['name']}", []).append(plain)
    return {name: sorted(same, key=_order) for name, same in sorted(found.items())}


def difference(left: Outcome, right: Outcome) -> list[str]:
    """Each value that is in one of them only, by its path."""
    values = [dict(_values(each)) for each in (left, right)]
    paths = sorted({path for each in values for path in each})
    lines = [(path, *(each.get(path, "nothing") for each in values)) for path in paths]
    return [f"{path}: {was} ≠ {should_be}" for path, was, should_be in lines if was != should_be]


def _plain(raw: Raw) -> dict[str, Any]:
    status = dict(raw.get("status") or {})
    if raw["kind"] in _STATUS_OF_OTHERS:
        status = {key: status[key] for key in _STATUS_OF_OTHERS[raw["kind"]] if key in status}
    if "observedGeneration" in status:
        status["observedGeneration"] = status["observedGeneration"] == raw["metadata"]["generation"]
    metadata = {key: raw["metadata"][key] for key in _METADATA if key in raw["metadata"]}
    text = json.dumps({"metadata": metadata, "spec": raw.get("spec"), "status": status})
    namespace = raw["metadata"]["namespace"]
    text = text.replace(f".{namespace}.svc", ".#.svc").replace(f"in namespace {namespace}", "in namespace #")
    for pattern, name in GIVEN_NAMES:
        text = pattern.sub(name, text)
    plain: dict[str, Any] = _lasting(json.loads(text))
    return plain


def _lasting(value: Any) -> Any:
    """Without what is of one time only; what is empty is as absent."""
    if isinstance(value, list):
        return [_lasting(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {key: _lasting(item) for key, item in value.items() if key not in _HISTORY | _ALLOCATED}
    if "type" in kept and "reason" in kept:
        kept.pop("observedGeneration", None)  # the status has it as well
    return {key: item for key, item in kept.items() if item not in (None, {}, [])}


def _values(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from _values(item, f"{path}/{key}" if path else str(key))
    if not isinstance(value, dict | list):
        yield path, json.dumps(value)


def _order(value: object) -> str:
    return json.dumps(value, sort_keys=True)
