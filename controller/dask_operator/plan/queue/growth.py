"""Workers beyond those that a group starts with: they are asked for in parts, which a queue admits and evicts singly.

So a more urgent tenant takes parts, whose workers leave as on any scale-down, and the scheduler stays. All workers of a
group have nodes of the same flavor: which of them leave, their scheduler decides.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence

from dask_operator import manifests, names
from dask_operator.actions import Action, Create, Delete
from dask_operator.model import Cluster, Group, Job, ObjectRef, Observed, Placement, Workload
from dask_operator.plan.queue.request import WORKERS, asked_more, pod_set_name
from dask_operator.plan.queue.workload import (
    EVICTED,
    FINISHED,
    PODS_READY,
    RESERVED,
    give_back,
    holds,
    kind_of,
    placement_of,
    say,
)
from dask_operator.plan.view import ENDED, unless_blocked
from dask_operator.resources import WORKLOAD

_PARTS = 8
"""The number of Workloads for one scale-up: an eviction takes one or more of them."""


def parts_of(owners: Container[str], observed: Observed) -> list[Workload]:
    """Return the Workloads for more workers, in the order in which they were asked for. `owners`: uids."""
    its = (each for each in observed.workloads if each.group and any(uid in owners for uid in each.owners))
    return sorted((each for each in its if not each.deleting), key=lambda each: each.ordinal)


def counts(part: Workload, group: Group) -> bool:
    """Return whether the workers of a part may exist: it is admitted, for the template that the group has."""
    return holds(part) and not _is_stale(part, group)


def admission_of(group: Group, base: Workload, observed: Observed) -> tuple[int, Placement]:
    """Return how many workers of a group are admitted, and on which nodes. `base`: its cluster's Workload."""
    start = _start(group, base)
    parts = [part for part in parts_of(base.owners, observed) if part.group == group.name and counts(part, group)]
    number = start + sum(map(_size, parts))
    if parts and not start:
        return number, placement_of(parts[0], WORKERS, observed)
    return number, placement_of(base, pod_set_name(group), observed) if start else Placement()


def plan_growth(
    about: Cluster | Job, cluster: Cluster, group: Group, base: Workload, observed: Observed, now: float
) -> Iterator[Action]:
    """Ask for the workers that a group lacks, and give back what it does not need or may not keep."""
    parts = [part for part in parts_of(base.owners, observed) if part.group == group.name]
    pods = [pod for pod in observed.pods if pod.group == group.name]
    admitted, placement = admission_of(group, base, observed)
    over = sum(pod.phase not in ENDED for pod in pods) - admitted
    yield from _return(group, parts, over, observed, now)
    live = [part for part in parts if not part.is_true(FINISHED) and not _is_stale(part, group)]
    lacking = group.replicas - _start(group, base) - sum(map(_size, live))
    if lacking < 0:
        yield from _shed(live, group, -lacking, over, observed, now)
    elif not group.replicas_unset:
        ordinal = max((part.ordinal for part in parts), default=-1) + 1
        subject, because = _reference(group.name), f"the group wants {group.replicas} workers"
        # What an admission in part has left over is asked for at once.
        waits = any(not part.is_true(RESERVED) for part in live)
        for number in _portions(lacking, 1 if waits else _PARTS):
            request = asked_more(about, cluster, group, number, placement, observed)
            manifest = manifests.growth_manifest(about, kind_of(about), group.name, ordinal, request)
            yield unless_blocked(Create(manifest, subject, because), observed, now)
            ordinal += 1
    ready = sum(pod.ready and not pod.deleting for pod in pods)
    for part in parts:
        if ready >= admitted and counts(part, group) and not part.is_true(PODS_READY):
            yield say(part, {PODS_READY: ("True", "Started", "the workers are ready")}, observed, now)


def withdraw_growth(
    owners: Container[str], groups: Container[str], observed: Observed, now: float, because: str
) -> Iterator[Action]:
    """Delete the parts of all but these groups, when their workers are gone."""
    present = {pod.group for pod in observed.pods if pod.phase not in ENDED}
    for part in parts_of(owners, observed):
        if part.group not in groups and part.group not in present:
            yield unless_blocked(delete_part(part, because), observed, now)


def _size(part: Workload) -> int:
    """Return how many workers a part is for: as many as are admitted, if any are."""
    admitted = part.assignments.get(WORKERS)
    return admitted.number if admitted else part.number


def _portions(lacking: int, most: int) -> list[int]:
    """Return the numbers of workers of the parts of a scale-up, about equal ones."""
    parts = min(max(lacking, 0), most)
    return [lacking // parts + (number < lacking % parts) for number in range(parts)]


def _return(group: Group, parts: Sequence[Workload], over: int, observed: Observed, now: float) -> Iterator[Action]:
    """Give back the quota of evicted parts, and delete those that hold no longer, when as many workers are gone.

    `over`: how many workers more there are than are admitted.
    """
    gone = [part for part in parts if part.is_true(RESERVED) and not counts(part, group)]
    gone = [part for part in gone if part.is_true(EVICTED) or part.is_true(FINISHED) or _is_stale(part, group)]
    room = sum(map(_size, gone))
    for part in gone:
        room -= _size(part)
        if over > room:
            return
        if part.is_true(EVICTED) and not part.is_true(FINISHED):
            yield give_back(part, observed, now)
        else:
            yield unless_blocked(delete_part(part, "it holds for its workers no longer"), observed, now)


def _shed(
    parts: Sequence[Workload], group: Group, surplus: int, over: int, observed: Observed, now: float
) -> Iterator[Action]:
    """Delete parts that nobody needs, the last first: those that are not admitted at once, others without workers."""
    for part in reversed(parts):
        idle = not counts(part, group) and not (part.is_true(RESERVED) and part.is_true(EVICTED))
        if _size(part) <= surplus and (idle or over + _size(part) <= 0):
            surplus -= _size(part)
            over += 0 if idle else _size(part)
            yield unless_blocked(delete_part(part, "its workers are not needed"), observed, now)


def _start(group: Group, base: Workload) -> int:
    """Return how many workers were admitted with the cluster."""
    first = base.assignments.get(pod_set_name(group))
    return first.number if first else 0


def _is_stale(part: Workload, group: Group) -> bool:
    return manifests.parts_of_note(part.note).get(WORKERS) != manifests.needs_hash(group.worker)


def delete_part(part: Workload, because: str) -> Delete:
    """Return the deletion of a part."""
    return Delete(part.name, part.uid, _reference(part.group), because)


def _reference(group: str) -> ObjectRef:
    """Return what stands for all parts of a group: what stops one of them stops all."""
    return ObjectRef(WORKLOAD.kind, names.workers(group))
