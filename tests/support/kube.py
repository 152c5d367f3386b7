"""A namespace of a real cluster: API requests, kubectl commands as people type them, and bounded waits."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tests.support.api_server import ApiServer, RequestError, Resource, api_server
from tests.support.wait import recorded

T = TypeVar("T")
Manifest = Mapping[str, Any]
PATIENCE = 240.0  # seconds, many times the need of a quiet machine; only a failing test waits so long
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5


class CommandError(Exception):
    """kubectl or helm failed; the text is its error output."""


def eventually(look: Callable[[], T], what: str, seconds: float = PATIENCE) -> T:
    """Return the result of `look` as soon as it is true. Fails with the last result."""
    with recorded(what):
        deadline = time.monotonic() + seconds
        pause = _FIRST_PAUSE
        while not (seen := look()):
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds:.0f} s: {what}; last seen: {seen!r}")
            time.sleep(pause)
            pause = min(pause * 1.2, _LONGEST_PAUSE)
        return seen


@dataclass(frozen=True)
class Kube:
    """A namespace. `kubectl`: the program; `kubeconfig`: a file."""

    kubectl: str
    kubeconfig: Path
    namespace: str

    @property
    def server(self) -> ApiServer:
        return api_server(self.kubeconfig)

    def run(self, *arguments: str, stdin: str | None = None, seconds: float = PATIENCE) -> str:
        """Return the output of kubectl. Raises CommandError."""
        command = [self.kubectl, "--kubeconfig", str(self.kubeconfig), "--namespace", self.namespace, *arguments]
        with recorded(f"kubectl {' '.join(arguments[:2])}"):
            done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=seconds, check=False)
        if done.returncode:
            raise CommandError(done.stderr.strip() or done.stdout.strip())
        return done.stdout

    def create_namespace(self) -> None:
        """Create the namespace, and wait until it accepts Pods."""
        self.server.create("/api/v1/namespaces", {"metadata": {"name": self.namespace}})
        eventually(lambda: self.get("serviceaccount", "default"), "the namespace has its default ServiceAccount")

    def delete_namespace(self) -> None:
        """Start deleting the namespace and everything in it, if it exists."""
        try:
            self.server.delete(f"/api/v1/namespaces/{self.namespace}")
        except RequestError as refused:
            if refused.reason != "NotFound":
                raise

    def apply(self, *manifests: Manifest) -> None:
        """Apply manifests as `kubectl apply --server-side --force-conflicts` does. Raises RequestError."""
        for manifest in manifests:
            resource = self.server.resource_of(manifest)
            metadata = manifest["metadata"]
            self.server.apply(resource.path(metadata.get("namespace", self.namespace), metadata["name"]), manifest)

    def is_refused(self, manifest: Manifest, why: str) -> bool:
        """Return whether the API server would refuse to create this, with `why` in its message."""
        try:
            self.run("create", "--dry-run=server", "--filename", "-", stdin=json.dumps(manifest))
        except CommandError as refused:
            return why in str(refused)
        return False

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        """Return an object, or None."""
        try:
            return self.server.get(self._path(kind, name))
        except RequestError as refused:
            if refused.reason == "NotFound":
                return None
            raise

    def status(self, kind: str, name: str) -> dict[str, Any]:
        """Return an object's status, empty if it has none (yet)."""
        found: dict[str, Any] = (self.get(kind, name) or {}).get("status") or {}
        return found

    def objects(self, kinds: str, selector: str = "") -> list[dict[str, Any]]:
        """Return the objects of a kind or category, or of several separated by commas."""
        found = [resource for kind in kinds.split(",") for resource in self.server.resources(kind)]
        return [item for resource in found for item in self._list(resource, [("labelSelector", selector)])]

    def names(self, kinds: str, selector: str = "") -> set[str]:
        return {item["metadata"]["name"] for item in self.objects(kinds, selector)}

    def workers(self, group: str) -> list[dict[str, Any]]:
        """Return a group's worker Pods, without those being deleted."""
        pods = self.objects("pods", f"dask.org/workergroup-name={group}")
        return [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]

    def condition(self, kind: str, name: str, type_: str) -> dict[str, Any]:
        """Return a condition of an object's status; empty if missing."""
        return _condition(self.get(kind, name) or {}, type_)

    def follow(self, kind: str, name: str, seconds: float) -> Iterator[dict[str, Any]]:
        """Yield an object now and after every change, but nothing before it exists. Ends after `seconds`."""
        path = self._path(kind)
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            query = [("fieldSelector", f"metadata.name={name}")]
            try:
                listed = self.server.get(path, query)
                yield from listed["items"]
                query.append(("resourceVersion", listed["metadata"]["resourceVersion"]))
                for event in self.server.watch(path, query, left):
                    if event["type"] in ("ADDED", "MODIFIED"):
                        yield event["object"]
            except RequestError:
                time.sleep(_LONGEST_PAUSE)  # the API server may be restarting; the deadline bounds the retries

    def wait_for_condition(self, kind: str, name: str, type_: str, reason: str, seconds: float = PATIENCE) -> str:
        """Return the message of a condition once it has this reason."""
        what = f"{kind} {name}: {type_} has reason {reason}"
        seen: dict[str, Any] = {}
        with recorded(what):
            for found in self.follow(kind, name, seconds):
                seen = _condition(found, type_)
                if seen.get("reason") == reason:
                    return str(seen["message"])
        raise AssertionError(f"not within {seconds:.0f} s: {what}; last seen: {seen!r}")

    def wait_for_workers(self, cluster: str, number: int, seconds: float = PATIENCE) -> None:
        """Wait until a cluster's default group has exactly `number` workers, all ready, in both statuses."""

        def look() -> bool:
            group = self.get("daskworkergroup", f"{cluster}-default") or {}
            status = group.get("status", {})
            return bool(
                len(self.workers(f"{cluster}-default")) == status.get("readyReplicas") == number
                and status.get("observedGeneration") == group["metadata"]["generation"]
            )

        eventually(look, f"{cluster} has {number} ready workers", seconds)
        self.wait_for_condition("daskcluster", cluster, "Progressing", "Settled", seconds)

    def events(self, kind: str, name: str) -> list[tuple[str, str, str]]:
        """Return type, reason and message of the Events about an object."""
        selector = f"involvedObject.kind={kind},involvedObject.name={name}"
        found = self._list(self.server.resource("events"), [("fieldSelector", selector)])
        return [(event["type"], event["reason"], event["message"]) for event in found]

    def wait_for_event(self, kind: str, name: str, type_: str, reason: str) -> str:
        """Return the message of an Event once it exists, which may be later than the matching status."""

        def look() -> str:
            found = self.events(kind, name)
            return next((message for *what, message in found if what == [type_, reason]), "")

        return eventually(look, f"a {type_} Event {reason} about {kind} {name}")

    def _path(self, kind: str, name: str = "") -> str:
        return self.server.resource(kind).path(self.namespace, name)

    def _list(self, resource: Resource, query: list[tuple[str, str]]) -> list[dict[str, Any]]:
        return [_typed(item, resource) for item in self.server.get(resource.path(self.namespace), query)["items"]]


def _condition(found: Mapping[str, Any], type_: str) -> dict[str, Any]:
    conditions: list[dict[str, Any]] = found.get("status", {}).get("conditions", [])
    return next((condition for condition in conditions if condition["type"] == type_), {})


def _typed(item: dict[str, Any], resource: Resource) -> dict[str, Any]:
    """Return an item of a list with its kind, which lists leave out."""
    return {"apiVersion": resource.api_version, "kind": resource.kind, **item}
