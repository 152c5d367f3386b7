"""Facts in what the API server gives. Nulls, missing keys and wrong types end here: they are taken as absent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dask_kubernetes.operator import names

Json = Mapping[str, Any]

ENDED = ("Failed", "Succeeded")


@dataclass(frozen=True)
class Snapshot:
    """What there is of one cluster, as the API server gives it. `pods`: of its scheduler and of its workers."""

    cluster: Json | None
    groups: tuple[Json, ...] = ()
    service: Json | None = None
    pods: tuple[Json, ...] = ()
    autoscaler: Json | None = None


def scheduler_ready(snapshot: Snapshot) -> bool:
    """Whether a scheduler answers that is to stay."""
    return any(ready(pod) and not deleting(pod) for pod in _schedulers(snapshot))


def scheduler_pod(snapshot: Snapshot) -> Json | None:
    """The scheduler's Pod: where one replaces another, the newest that may yet run."""
    pods = _schedulers(snapshot)
    return max(live(pods) or pods, key=lambda pod: text(_meta(pod).get("creationTimestamp")), default=None)


def workers(snapshot: Snapshot) -> list[Json]:
    """The worker Pods of all groups, in any state."""
    return [pod for pod in map(mapping, snapshot.pods) if _labels(pod).get(names.COMPONENT_LABEL) == names.WORKER]


def of_group(snapshot: Snapshot, group: Json) -> list[Json]:
    """The worker Pods of one group, in any state."""
    return [pod for pod in workers(snapshot) if _labels(pod).get(names.GROUP_LABEL) == name(group)]


def groups(snapshot: Snapshot) -> list[Json]:
    """The groups that stay, the default one first."""
    staying = [group for group in map(mapping, snapshot.groups) if group and not deleting(group)]
    return sorted(staying, key=lambda group: (not is_default(group, snapshot), name(group)))


def is_default(group: Json, snapshot: Snapshot) -> bool:
    return name(group) == names.worker_group(name(snapshot.cluster))


def replicas(about: Json, default: int) -> int:
    """How many workers a DaskWorkerGroup or a DaskCluster wants."""
    number = mapping(mapping(about.get("spec")).get("worker")).get("replicas")
    return max(integer(number, default), 0)


def live(pods: Sequence[Json]) -> list[Json]:
    """The Pods that run or may yet run."""
    return [pod for pod in pods if not deleting(pod) and mapping(pod.get("status")).get("phase") not in ENDED]


def ready(pod: Json) -> bool:
    return condition(pod, "Ready").get("status") == "True"


def unschedulable(pod: Json) -> str | None:
    """Why no node is found for a Pod; None if one is, or is just looked for."""
    scheduled = condition(pod, "PodScheduled")
    return text(scheduled.get("message")) if scheduled.get("status") == "False" else None


def containers(pod: Json) -> list[Json]:
    """What a Pod says of its containers, in the order in which they start."""
    status = mapping(pod.get("status"))
    return [*mappings(status.get("initContainerStatuses")), *mappings(status.get("containerStatuses"))]


def failed(state: Json) -> Json:
    """How a container has ended that failed; empty for any other."""
    ended = mapping(state.get("terminated"))
    return ended if ended.get("exitCode") else {}


def image(pod: Json, container: Json) -> str:
    return text(container.get("image")) or text(_spec_of(pod, container).get("image"))


def memory_limit(pod: Json, container: Json) -> str:
    resources = mapping(_spec_of(pod, container).get("resources"))
    return str(mapping(resources.get("limits")).get("memory") or "")


def scheduler_commands(cluster: Json | None) -> list[list[str]]:
    """The words by which each container of a cluster's scheduler is started."""
    scheduler = mapping(mapping(mapping(cluster).get("spec")).get("scheduler"))
    return [_words(container) for container in mappings(mapping(scheduler.get("spec")).get("containers"))]


def phase(cluster: Json) -> str:
    return text(mapping(cluster.get("status")).get("phase"))


def condition(about: Json, type_: str) -> Json:
    """A condition of a status by its type, empty if there is none."""
    conditions = mappings(mapping(about.get("status")).get("conditions"))
    return next((each for each in conditions if each.get("type") == type_), {})


def lags(about: Json) -> bool:
    """Whether its operator has yet to see how it was changed; one that notes nothing of that is taken at its word."""
    observed = integer(mapping(about.get("status")).get("observedGeneration"))
    return 0 < observed < integer(_meta(about).get("generation"))


def deleting(about: Json) -> bool:
    return bool(_meta(about).get("deletionTimestamp"))


def name(about: Json | None) -> str:
    return text(_meta(mapping(about)).get("name"))


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
    """A container as its Pod's spec has it."""
    spec = mapping(pod.get("spec"))
    every = [*mappings(spec.get("initContainers")), *mappings(spec.get("containers"))]
    return next((each for each in every if each.get("name") == container.get("name")), {})


def _words(container: Json) -> list[str]:
    parts = (container.get(field) for field in ("command", "args"))
    return [word for part in parts if isinstance(part, list) for word in part if isinstance(word, str)]


def _labels(about: Json) -> Json:
    return mapping(_meta(about).get("labels"))


def _meta(about: Json) -> Json:
    return mapping(about.get("metadata"))
