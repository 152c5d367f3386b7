"""Groups without `replicas` keep the workers that they have; a new one starts with its autoscaler's minimum, or one.

Users leave the number out, or remove it, where an autoscaler decides it. So `View.of` counts the workers, and the
number is written down before anything else happens to the group.
"""

from __future__ import annotations

from collections.abc import Iterator

from dask_operator import manifests
from dask_operator.actions import Action, Patch
from dask_operator.model import ObjectRef
from dask_operator.plan.view import View, unless_blocked
from dask_operator.resources import GROUP


def plan_replicas(view: View, now: float) -> Iterator[Action]:
    """Write down how many workers each group has whose user has not set a number."""
    for group in view.groups:
        if group.replicas_unset and not group.unread:
            because = f"{group.name} has no replicas set, so it keeps {group.replicas}"
            patch = Patch(ObjectRef(GROUP.kind, group.name), manifests.replicas_patch(group.replicas), because)
            yield unless_blocked(patch, view.observed, now)
