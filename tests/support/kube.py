"""A namespace of a real cluster by kubectl: what a person would type, with bounded waits that say for what."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
Manifest = Mapping[str, Any]
PATIENCE = 60.0


class CommandError(Exception):
    """kubectl ended with an error; the text is what it said."""


def eventually(look: Callable[[], T], what: str, seconds: float = PATIENCE) -> T:
    """What `look` returns as soon as that is true. Fails with the last thing seen."""
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {what}; last seen: {seen!r}")
        time.sleep(0.1)
    return seen


@dataclass(frozen=True)
class Kube:
    """`kubectl`: the program; `kubeconfig`: a file; `namespace`: where everything happens."""

    kubectl: str
    kubeconfig: Path
    namespace: str

    def run(self, *arguments: str, stdin: str | None = None, seconds: float = PATIENCE) -> str:
        """What kubectl prints. Raises CommandError."""
        command = [self.kubectl, "--kubeconfig", str(self.kubeconfig), "--namespace", self.namespace, *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=seconds, check=False)
        if done.returncode:
            raise CommandError(done.stderr.strip() or done.stdout.strip())
        return done.stdout

    def apply(self, *manifests: Manifest) -> None:
        # JSON, as kubectl reads YAML's unquoted y and no as booleans.
        self.run("apply", "--filename", "-", stdin="\n".join(map(json.dumps, manifests)))

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        """An object, None if there is none."""
        found = self.run("get", kind, name, "--ignore-not-found", "--output", "json")
        return json.loads(found) if found else None

    def objects(self, kind: str, selector: str = "") -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = json.loads(self.run("get", kind, "--selector", selector, "--output", "json"))[
            "items"
        ]
        return items

    def names(self, kind: str, selector: str = "") -> set[str]:
        return {item["metadata"]["name"] for item in self.objects(kind, selector)}

    def workers(self, group: str) -> list[dict[str, Any]]:
        """A group's worker Pods but for those on their way out."""
        pods = self.objects("pods", f"dask.org/workergroup-name={group}")
        return [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]

    def condition(self, kind: str, name: str, type_: str) -> dict[str, Any]:
        """A condition of an object's status; empty if it has none such."""
        conditions = (self.get(kind, name) or {}).get("status", {}).get("conditions", [])
        return next((condition for condition in conditions if condition["type"] == type_), {})

    def wait_for_condition(self, kind: str, name: str, type_: str, reason: str, seconds: float = PATIENCE) -> str:
        """The message of a condition once it has this reason."""

        def look() -> dict[str, Any] | None:
            condition = self.condition(kind, name, type_)
            return condition if condition.get("reason") == reason else None

        found = eventually(look, f"{kind} {name}: {type_} has reason {reason}", seconds)
        assert found is not None
        return str(found["message"])

    def wait_for_workers(self, cluster: str, number: int, seconds: float = PATIENCE) -> None:
        """Waits until a cluster's default group has so many workers, all ready, and both say so."""

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
        """Type, reason and message of the events about an object."""
        selector = f"involvedObject.kind={kind},involvedObject.name={name}"
        found = json.loads(self.run("get", "events", "--field-selector", selector, "--output", "json"))["items"]
        return [(event["type"], event["reason"], event["message"]) for event in found]
