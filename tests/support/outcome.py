"""Final states of objects, without values that differ from one time to another, for comparing how two stories end."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dask_operator.names import ENDED_ANNOTATION, ORDINAL_ANNOTATION, TEMPLATE_ANNOTATION

Raw = Mapping[str, Any]
Outcome = dict[str, list[Any]]
"""Objects by kind and name. Generated names become equal, so a name may have several objects."""

_GIVEN_NAMES = {
    r"-worker-[0-9a-f]{10}\b": "-worker-#",
    r"-scheduler-[0-9a-z]{6,10}(-[0-9a-z]+)?\b": "-scheduler-#",
    r"\bkube-api-access-[0-9a-z]{5}\b": "kube-api-access-#",
}
_METADATA = ("name", "labels", "annotations", "ownerReferences", "deletionTimestamp")
_ALLOCATED = ("uid", "clusterIP", "clusterIPs", "nodePort", "healthCheckNodePort", "nodeName")
_STATUS_OF_OTHERS = {"Pod": ("phase",), "Deployment": (), "Service": ()}
"""The compared status fields of kinds that are not ours."""


def _fields(*names: str) -> re.Pattern[str]:
    """Return a pattern of a kind, a space and the name of a field or an annotation; `names` are expressions."""
    return re.compile("|".join([*names, *(rf"\w+ {name}" for name in _ALLOCATED)]))


HISTORY = _fields(
    r"\w+ kubernetes\.dask\.org/(ordinal|attempt|scaled|ended)",
    r"\w+ (deployment\.kubernetes\.io/revision|pod-template-hash)",
    "DaskJob progress",
    r"\w+ (lastOrdinals?|lastDecision|lastScaleTime|lastTransitionTime|lastFailureTime|startTime|endTime)",
)
"""Fields for times and counts, which differ between two stories that end the same."""
CHANCE = _fields(
    r"\w+ .*([Tt]ime|Timestamp|uid|[rR]esourceVersion|[gG]eneration|startedAt)",
    f"Pod {ORDINAL_ANNOTATION}",  # which of equal workers is left
    f"Service {TEMPLATE_ANNOTATION}",  # the hash of ports that are other ones each time
    f"DaskJob {ENDED_ANNOTATION}",  # it has the time
    "DaskJob progress",  # it is asked for now and then
    "DaskAutoscaler currentReplicas",  # the controller writes it at most twice a minute
)
"""Fields that differ between two runs of one story."""


def outcome(
    objects: Iterable[Raw], ignored: re.Pattern[str] = HISTORY, texts: Mapping[str, str] | None = None
) -> Outcome:
    """Return the final states of objects; `texts`: expressions and their replacements."""
    found: Outcome = {}
    for raw in objects:
        plain = _plain(raw, ignored, {**(texts or {}), **_GIVEN_NAMES})
        found.setdefault(f"{raw['kind']} {plain['metadata']['name']}", []).append(plain)
    return {name: sorted(same, key=_order) for name, same in sorted(found.items())}


def difference(left: Outcome, right: Outcome) -> list[str]:
    """Return each value that is in one of them only, by its path."""
    values = [dict(_values(each)) for each in (left, right)]
    paths = sorted({path for each in values for path in each})
    lines = [(path, *(each.get(path, "nothing") for each in values)) for path in paths]
    return [f"{path}: {was} ≠ {should_be}" for path, was, should_be in lines if was != should_be]


def orphans(found: Outcome) -> Iterator[str]:
    """Yield objects whose owner does not exist."""
    for name, same in found.items():
        for item in same:
            owners = [f"{owner['kind']} {owner['name']}" for owner in item["metadata"].get("ownerReferences", ())]
            if owners and not any(owner in found or owner.startswith("ReplicaSet ") for owner in owners):
                yield f"{name} of {owners}"


def _plain(raw: Raw, ignored: re.Pattern[str], texts: Mapping[str, str]) -> dict[str, Any]:
    status = dict(raw.get("status") or {})
    if raw["kind"] in _STATUS_OF_OTHERS:
        status = {key: status[key] for key in _STATUS_OF_OTHERS[raw["kind"]] if key in status}
    if "observedGeneration" in status:
        status["observedGeneration"] = status["observedGeneration"] == raw["metadata"]["generation"]
    metadata = {key: raw["metadata"][key] for key in _METADATA if key in raw["metadata"]}
    if metadata.pop("deletionTimestamp", None):
        metadata["deleting"] = True
    if conditions := status.get("conditions"):
        status["conditions"] = [each for each in conditions if not _is_over(each)]
    text = json.dumps({"metadata": metadata, "spec": raw.get("spec"), "status": status})
    namespace = raw["metadata"]["namespace"]
    text = text.replace(f".{namespace}.svc", ".#.svc").replace(f"in namespace {namespace}", "in namespace #")
    for pattern, name in texts.items():
        text = re.sub(pattern, name, text)
    plain: dict[str, Any] = _lasting(json.loads(text), raw["kind"], ignored)
    return plain


def _is_over(condition: Raw) -> bool:
    """Return whether a condition only tells that its object was suspended once."""
    return (condition["type"], condition["status"]) == ("Suspended", "False")


def _lasting(value: Any, kind: str, ignored: re.Pattern[str]) -> Any:
    """Return a value without fields of one time only, and without empty ones, which equal absent ones."""
    if isinstance(value, list):
        return [_lasting(item, kind, ignored) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {key: _lasting(item, kind, ignored) for key, item in value.items() if not ignored.fullmatch(f"{kind} {key}")}
    if "type" in kept and "reason" in kept:
        kept.pop("observedGeneration", None)  # same as in the status
    return {key: item for key, item in kept.items() if item not in (None, {}, [])}


def _values(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from _values(item, f"{path}/{key}" if path else str(key))
    if not isinstance(value, dict | list):
        yield path, json.dumps(value)


def _order(value: object) -> str:
    return json.dumps(value, sort_keys=True)
