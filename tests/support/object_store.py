"""Objects as an API server keeps them, in memory, for stand-ins."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dask_operator.parse import rfc3339

Raw = dict[str, Any]
Body = Mapping[str, Any] | Sequence[Mapping[str, Any]]
"""A merge patch, or a list of RFC 6902's "add" and "remove"."""
ADDED, MODIFIED, DELETED = "ADDED", "MODIFIED", "DELETED"
CLUSTER_IP = "10.96.0.7"


class ObjectStore:
    """Objects by kind, namespace and name, each with a uid, a resource version and a generation.

    `told` is called with each that is ADDED, MODIFIED or DELETED, in its new state. `version`: the newest.
    """

    def __init__(self, told: Callable[[str, Raw], None], version: int) -> None:
        self.version = version
        self._told = told
        self._uids = 0
        self._objects: dict[tuple[str, str, str], Raw] = {}

    def find(self, kind: str, name: str, namespace: str) -> Raw | None:
        return self._objects.get((kind, namespace, name))

    def every(self, kind: str = "") -> list[Raw]:
        """Return all objects, or those of a kind."""
        return [raw for raw in self._objects.values() if kind in ("", raw["kind"])]

    def put(self, raw: Raw, now: float) -> Raw:
        """Create or replace an object, with Kubernetes' own fields where they are missing."""
        made = copy.deepcopy(raw)
        self._uids += 1
        known = self._objects.get(_key(made))
        uid = known["metadata"]["uid"] if known else f"uid-{self._uids}"
        made["metadata"] = {"uid": uid, "creationTimestamp": rfc3339(now), "generation": 1, **made["metadata"]}
        if made["kind"] == "Service":
            made["spec"] = {"clusterIP": CLUSTER_IP, **made.get("spec", {})}
        if made["kind"] == "Pod":
            made.setdefault("status", {"phase": "Pending"})
        return self._keep(made)

    def update(self, raw: Raw, *apart: str) -> Raw:
        """Replace an object by another state of it, unless it is equal.

        Changes outside the metadata and the fields `apart` make a new generation.
        """
        known = self._objects[_key(raw)]
        if raw == known:
            return known
        before, after = (
            {key: value for key, value in each.items() if key not in ("metadata", *apart) and value != {}}
            for each in (known, raw)
        )
        generation = known["metadata"].get("generation", 0) + (before != after)
        return self._keep({**raw, "metadata": {**raw["metadata"], "generation": generation}})

    def remove(self, kind: str, name: str, namespace: str) -> None:
        """Remove an object if it exists."""
        if gone := self.lose(kind, name, namespace):
            self._told(DELETED, self._of_next_version(gone))

    def lose(self, kind: str, name: str, namespace: str) -> Raw | None:
        """Remove an object if it exists, without calling `told`. Return it."""
        return self._objects.pop((kind, namespace, name), None)

    def remove_with_owned(self, kind: str, name: str, namespace: str) -> None:
        """Remove an object with all objects that it alone owns, as the garbage collector does."""
        if not (gone := self.find(kind, name, namespace)):
            return
        self.remove(kind, name, namespace)
        for key, raw in list(self._objects.items()):
            if gone["metadata"]["uid"] in owners(raw) and key in self._objects:
                self._lose_owner(self._objects[key])

    def _lose_owner(self, raw: Raw) -> None:
        there = {each["metadata"]["uid"] for each in self._objects.values()}
        left = [owner for owner in raw["metadata"]["ownerReferences"] if owner["uid"] in there]
        if left:
            self._keep({**raw, "metadata": {**raw["metadata"], "ownerReferences": left}})
        else:
            self.remove_with_owned(raw["kind"], raw["metadata"]["name"], raw["metadata"].get("namespace", ""))

    def _keep(self, raw: Raw) -> Raw:
        key = _key(raw)
        what = MODIFIED if key in self._objects else ADDED
        kept = self._objects[key] = self._of_next_version(raw)
        self._told(what, kept)
        return kept

    def _of_next_version(self, raw: Raw) -> Raw:
        self.version += 1
        return {**raw, "metadata": {**raw["metadata"], "resourceVersion": str(self.version)}}


def pod_of(template: Mapping[str, Any], name: str, namespace: str, **metadata: Any) -> Raw:
    """Return the Pod made from a template."""
    meta = {**template["metadata"], "name": name, "namespace": namespace, **metadata}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": template.get("spec", {})}


def owners(raw: Mapping[str, Any]) -> list[str]:
    """Return the uids of an object's owners."""
    return [owner["uid"] for owner in raw["metadata"].get("ownerReferences") or []]


def is_outdated(body: Body, raw: Mapping[str, Any]) -> bool:
    """Return whether a patch is for another version of an object."""
    version = (body.get("metadata") or {}).get("resourceVersion") if isinstance(body, Mapping) else None
    return version not in (None, raw["metadata"]["resourceVersion"])


def patched(raw: Raw, body: Body) -> Raw:
    """Return an object after a patch. Raises LookupError for an "add" without a parent."""
    if isinstance(body, Mapping):
        merged: Raw = merge(raw, body)
        return merged
    changed = copy.deepcopy(raw)
    for operation in body:
        *parents, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
        at: Any = changed
        for parent in parents:
            at = at[parent]
        if operation["op"] == "remove":
            del at[last]
        else:
            assert operation["op"] == "add"
            at[last] = copy.deepcopy(operation["value"])
    return changed


def merge(target: Any, patch: Any) -> Any:
    """Return the result of a JSON merge patch (RFC 7386)."""
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    merged = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


def _key(raw: Raw) -> tuple[str, str, str]:
    return raw["kind"], raw["metadata"].get("namespace", ""), raw["metadata"]["name"]
