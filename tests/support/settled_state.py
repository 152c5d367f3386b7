"""What a namespace holds, without what differs from one run to another: to compare how two stories end."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tests.support.outcome import GIVEN_NAMES

from dask_operator.actions import WATCHED
from dask_operator.api import Api
from dask_operator.names import ORDINAL_ANNOTATION, TEMPLATE_ANNOTATION

Raw = dict[str, Any]
State = dict[str, list[Raw]]

_METADATA = ("name", "labels", "annotations", "ownerReferences", "deletionTimestamp")
_VOLATILE = re.compile(r".*([Tt]ime|Timestamp|uid|[rR]esourceVersion|generation|Generation)")
_ASSIGNED = ("clusterIP", "clusterIPs", "nodeName", "nodePort", "hostIP", "hostIPs", "podIP", "podIPs", "startedAt")
_SELDOM = {"DaskAutoscaler": ("currentReplicas",)}
"""Written twice a minute at most: what stands there depends on the moment."""
_BY_CHANCE = {"Pod": (ORDINAL_ANNOTATION,), "Service": (TEMPLATE_ANNOTATION,)}
"""Annotations: which of equal workers is left, and the hash of ports that are other ones each time."""
_NOT_OURS = ("Pod", "Deployment")
"""Their status is others' doing, but for whether they run."""
_GIVEN_NAMES = (*GIVEN_NAMES, (re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "*"))


async def settled_state(api: Api, namespace: str, ports: Sequence[int] = ()) -> State:
    """The Dask resources of a namespace and what was made for them, by kind. `ports` are another time others."""
    pages = await asyncio.gather(*(api.list_page(resource, namespace, "") for resource in WATCHED))
    raw = {resource.kind: page.items for resource, page in zip(WATCHED, pages, strict=True)}
    chance = [(re.compile(re.escape(namespace)), "namespace"), *((re.compile(rf"\b{port}\b"), "0") for port in ports)]
    return {
        kind: sorted((_plain(kind, item, (*chance, *_GIVEN_NAMES)) for item in items), key=_order)
        for kind, items in raw.items()
    }


def orphans(state: Mapping[str, Any]) -> Iterator[str]:
    """What belongs to something that does not exist."""
    there = {(kind, item["metadata"]["name"]) for kind, items in state.items() for item in items}
    for kind, items in state.items():
        for item in items:
            owners = [(owner["kind"], owner["name"]) for owner in item["metadata"].get("ownerReferences", ())]
            if owners and not any(owner in there or owner[0] == "ReplicaSet" for owner in owners):
                yield f"{kind} {item['metadata']['name']} of {owners}"


def _plain(kind: str, item: Raw, chance: Iterable[tuple[re.Pattern[str], str]]) -> Raw:
    text = json.dumps(item)
    for pattern, name in chance:
        text = pattern.sub(name, text)
    raw = json.loads(text)
    status = raw.get("status", {})
    if kind in _NOT_OURS:
        status = {"phase": status.get("phase")}
    status = {key: value for key, value in status.items() if key not in _SELDOM.get(kind, ())}
    metadata = {key: raw["metadata"][key] for key in _METADATA if key in raw["metadata"]}
    for annotation in _BY_CHANCE.get(kind, ()):
        metadata.get("annotations", {}).pop(annotation, None)
    metadata["deleting"] = metadata.pop("deletionTimestamp", None) is not None
    plain: Raw = _without_volatile({"metadata": metadata, "spec": raw["spec"], "status": status})
    return plain


def _without_volatile(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_volatile(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {key: item for key, item in value.items() if not _VOLATILE.fullmatch(key) and key not in _ASSIGNED}
    return {key: _without_volatile(item) for key, item in kept.items()}


def _order(item: Raw) -> str:
    return json.dumps(item, sort_keys=True)
