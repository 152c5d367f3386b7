"""How many workers a group has of which nobody says it: as many as there are, and at first one.

The number is left out, or taken away, where an autoscaler is to decide it. Who takes it away means it to stay as it is
until then; so it is written down before anything else is done.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from dask_operator import build
from dask_operator.actions import Action, Patch
from dask_operator.model import Cluster, Group, ObjectRef, Observed
from dask_operator.plan.view import leaving, live, owned, unless_blocked, workers
from dask_operator.resources import GROUP


def with_replicas(observed: Observed) -> Observed:
    """The same world in which each group says how many workers it has."""
    if not any(group.unsaid for group in observed.groups):
        return observed
    groups = (replace(group, replicas=_there(group, observed)) if group.unsaid else group for group in observed.groups)
    return replace(observed, groups=tuple(groups))


def plan_replicas(cluster: Cluster, observed: Observed, now: float) -> Iterator[Action]:
    for group in observed.groups:
        if group.unsaid and not (group.deleting or group.unread) and owned(group, cluster):
            because = f"nobody says how many workers {group.name} has, so they stay {group.replicas}"
            patch = Patch(ObjectRef(GROUP.kind, group.name), build.with_replicas(group.replicas), because)
            yield unless_blocked(patch, observed, now)


def _there(group: Group, observed: Observed) -> int:
    return max(sum(not leaving(pod, observed) for pod in live(workers(group, observed))), 1)
