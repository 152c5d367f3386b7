"""Accessors for objects of the API server. Nulls and values of a wrong type count as absent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dask_kubernetes.operator.manifests import names

Json = Mapping[str, Any]

ENDED = ("Failed", "Succeeded")


@dataclass(frozen=True)
class Snapshot:
    """The objects of a cluster, as the API server returns them. `pods` has those of the scheduler and the workers."""

    cluster: Json | None
    groups: tuple[Json, ...] = ()
    service: Json | None = None
    pods: tuple[Json, ...] = ()
    autoscaler: Json | None = None


def scheduler_ready(snapshot: Snapshot) -> bool:
    """Return whether a scheduler Pod is ready and not being deleted."""
    return any(ready(pod) and not deleting(pod) for pod in _schedulers(snapshot))


def scheduler_pod(snapshot: Snapshot) -> Json | None:
    """Return the scheduler's Pod; while one replaces another, the newest that runs or may yet run."""
    pods = _schedulers(snapshot)
    return max(live(pods) or pods, key=lambda pod: text(_meta(pod).get("creationTimestamp")), default=None)


def workers(snapshot: Snapshot) -> list[Json]:
    """Return the worker Pods of all groups, in any state."""
    return [pod for pod in map(mapping, snapshot.pods) if _labels(pod).get(names.COMPONENT_LABEL) == names.WORKER]


def of_group(snapshot: Snapshot, group: Json) -> list[Json]:
    """Return the worker Pods of one group, in any state."""
    return [pod for pod in workers(snapshot) if _labels(pod).get(names.GROUP_LABEL) == name(group)]


def groups(snapshot: Snapshot) -> list[Json]:
    """Return the groups that are not being deleted, the default group first."""
    staying = [group for group in map(mapping, snapshot.groups) if group and not deleting(group)]
    return sorted(staying, key=lambda group: (not is_default(group, snapshot), name(group)))


def is_default(group: Json, snapshot: Snapshot) -> bool:
    return name(group) == names.worker_group(name(snapshot.cluster))


def replicas(obj: Json, default: int) -> int:
    """Return the number of workers in the spec of a DaskWorkerGroup or a DaskCluster."""
    number = mapping(mapping(obj.get("spec")).get("worker")).get("replicas")
    return max(integer(number, default), 0)


def live(pods: Sequence[Json]) -> list[Json]:
    """Return the Pods that run or may yet run."""
    return [pod for pod in pods if not deleting(pod) and mapping(pod.get("status")).get("phase") not in ENDED]


def ready(pod: Json) -> bool:
    return condition(pod, "Ready").get("status") == "True"


def unschedulable(pod: Json) -> str | None:
    """Return why no node fits a Pod; None if the Pod has a node, or scheduling has not been tried yet."""
    scheduled = condition(pod, "PodScheduled")
    return text(scheduled.get("message")) if scheduled.get("status") == "False" else None


def containers(pod: Json) -> list[Json]:
    """Return the statuses of a Pod's containers, in the order in which they start."""
    status = mapping(pod.get("status"))
    return [*mappings(status.get("initContainerStatuses")), *mappings(status.get("containerStatuses"))]


def failed(state: Json) -> Json:
    """Return the `terminated` part of a container's state if its exit code is not 0, else an empty mapping."""
    ended = mapping(state.get("terminated"))
    return ended if ended.get("exitCode") else {}


def image(pod: Json, container: Json) -> str:
    return text(container.get("image")) or text(_spec_of(pod, container).get("image"))


def memory_limit(pod: Json, container: Json) -> str:
    resources = mapping(_spec_of(pod, container).get("resources"))
    return str(mapping(resources.get("limits")).get("memory") or "")


def scheduler_commands(cluster: Json | None) -> list[list[str]]:
    """Return the words of the command and arguments of each container of a cluster's scheduler."""
    scheduler = mapping(mapping(mapping(cluster).get("spec")).get("scheduler"))
    return [words(container) for container in mappings(mapping(scheduler.get("spec")).get("containers"))]


def words(container: Json) -> list[str]:
    """Return the words of a container's command and arguments."""
    parts = (container.get(field) for field in ("command", "args"))
    return [word for part in parts if isinstance(part, list) for word in part if isinstance(word, str)]


def suspended(cluster: Json) -> bool:
    """Return whether a cluster is to have no Pods, or still ends those from before it was resumed."""
    wanted = mapping(cluster.get("spec")).get("suspend") is True
    return wanted or condition(cluster, "Suspended").get("status") == "True"


def phase(cluster: Json) -> str:
    return text(mapping(cluster.get("status")).get("phase"))


def condition(obj: Json, type_: str) -> Json:
    """Return the condition of this type, empty if the status has none."""
    conditions = mappings(mapping(obj.get("status")).get("conditions"))
    return next((each for each in conditions if each.get("type") == type_), {})


def is_stale(obj: Json) -> bool:
    """Return whether the operator has yet to see the latest spec; False if it records no observedGeneration."""
    observed = integer(mapping(obj.get("status")).get("observedGeneration"))
    return 0 < observed < integer(_meta(obj).get("generation"))


def deleting(obj: Json) -> bool:
    return bool(_meta(obj).get("deletionTimestamp"))


def name(obj: Json | None) -> str:
    return text(_meta(mapping(obj)).get("name"))


def mapping(value: object) -> Json:
    return value if isinstance(value, Mapping) else {}


def mappings(value: object) -> list[Json]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def text(value: object) -> str:
    return value if isinstance(value, str) else ""


def integer(value: object, default: int = 0) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def _schedulers(snapshot: Snapshot) -> list[Json]:
    return [pod for pod in map(mapping, snapshot.pods) if _labels(pod).get(names.COMPONENT_LABEL) == names.SCHEDULER]


def _spec_of(pod: Json, container: Json) -> Json:
    """Return the spec of the container to which a status belongs."""
    spec = mapping(pod.get("spec"))
    every = [*mappings(spec.get("initContainers")), *mappings(spec.get("containers"))]
    return next((each for each in every if each.get("name") == container.get("name")), {})


def _labels(obj: Json) -> Json:
    return mapping(_meta(obj).get("labels"))


def _meta(obj: Json) -> Json:
    return mapping(obj.get("metadata"))
