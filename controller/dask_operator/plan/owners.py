"""Groups and autoscalers belong to the cluster that they name: they go with it, and no longer with one named before."""

from __future__ import annotations

from collections.abc import Iterator

from dask_operator import build
from dask_operator.actions import AUTOSCALER, GROUP, Action, Patch
from dask_operator.model import Autoscaler, Cluster, Group, Observed, Subject
from dask_operator.plan.view import unless_blocked


def plan_owners(cluster: Cluster | None, observed: Observed, now: float) -> Iterator[Action]:
    """`cluster`: the one that they name; None if there is none such, or not yet."""
    children: list[tuple[str, Group | Autoscaler]] = [(GROUP.kind, group) for group in observed.groups]
    children += [(AUTOSCALER.kind, autoscaler) for autoscaler in observed.autoscalers]
    for kind, child in children:
        if child.deleting or child.unread or not (child.moved or (cluster and not child.owners)):
            continue
        because = "names another cluster now" if child.moved else "goes with its cluster"
        patch = Patch(Subject(kind, child.name), build.owned_by(cluster, child.other_owners), because)
        yield unless_blocked(patch, observed, now)
