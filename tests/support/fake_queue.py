"""Kueue in a `World`, as far as the controller sees it: what it writes into the status of a Workload."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.support.builders import raw_object
from tests.support.object_store import Raw
from tests.support.world import World

from dask_operator import parse
from dask_operator.model import Flavor
from dask_operator.names import GROUP_LABEL, ORDINAL_ANNOTATION
from dask_operator.parse import rfc3339


class FakeQueue:
    """The queue `team` of a World, which decides nothing. Its verbs are about the cluster's Workload, or `of` part."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.add_flavor("default")

    def add_flavor(self, name: str, **spec: Any) -> None:
        flavor = parse.flavor(raw_object("ResourceFlavor", name, "kueue.x-k8s.io/v1beta2", spec=spec))
        assert isinstance(flavor, Flavor)
        self._world.store.queue_fact("ResourceFlavor", flavor)

    @property
    def workload(self) -> Raw:
        """The Workload of a cluster, for its first Pods."""
        (workload,) = (
            each for each in self._world.objects("Workload") if GROUP_LABEL not in each["metadata"]["labels"]
        )
        return workload

    @property
    def parts(self) -> list[Raw]:
        """The Workloads for more workers, in the order in which they were asked for."""
        more = [each for each in self._world.objects("Workload") if GROUP_LABEL in each["metadata"]["labels"]]
        return sorted(more, key=lambda each: int(each["metadata"]["annotations"][ORDINAL_ANNOTATION]))

    def numbers(self, of: Raw | None = None) -> dict[str, int]:
        """Return how many Pods are asked for, by pod set."""
        return {each["name"]: each["count"] for each in (of or self.workload)["spec"]["podSets"]}

    def is_true(self, condition: str, of: Raw | None = None) -> bool:
        return self._conditions(of or self.workload).get(condition, {}).get("status") == "True"

    def say(self, condition: str, status: str, reason: str, message: str, of: Raw | None = None) -> None:
        """Write a condition."""
        new = {"status": status, "reason": reason, "message": message, "lastTransitionTime": rfc3339(self._world.now)}
        conditions = {**self._conditions(of or self.workload), condition: {"type": condition, **new}}
        self._write(of, conditions=list(conditions.values()))

    def admit(self, flavor: str = "default", of: Raw | None = None, **numbers: int) -> None:
        """Write that all Pods are admitted, or these numbers."""
        wanted = self.numbers(of) | {name.replace("_", "-"): number for name, number in numbers.items()}
        sets = [{"name": name, "count": number, "flavors": {"cpu": flavor}} for name, number in wanted.items()]
        self._write(of, admission={"clusterQueue": "all", "podSetAssignments": sets})
        self.say("QuotaReserved", "True", "QuotaReserved", "Quota reserved in ClusterQueue all", of)
        self.say("Admitted", "True", "Admitted", "The workload is admitted", of)
        self.say("Evicted", "False", "QuotaReserved", "Previously: preempted", of)

    def evict(self, reason: str = "Preempted", of: Raw | None = None) -> None:
        self.say("Evicted", "True", reason, "preempted to make room for another team", of)

    def _conditions(self, of: Raw) -> Mapping[str, Raw]:
        now = self._world.raw("Workload", of["metadata"]["name"])
        return {each["type"]: each for each in (now.get("status") or {}).get("conditions") or ()}

    def _write(self, of: Raw | None, **status: Any) -> None:
        self._world.write_status("Workload", (of or self.workload)["metadata"]["name"], **status)
