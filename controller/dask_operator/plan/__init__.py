"""Decides. `plan` looks at a whole cluster at once and says what is to be done next; it never waits, reads or writes.

The same state and time always give the same actions, and once they are done and seen, the next plan is shorter, until
it is empty. So it does not matter how often, after which event or by which process it is called.
"""

from __future__ import annotations

from collections.abc import Iterator

from dask_operator.actions import Action
from dask_operator.model import Cluster, Observed
from dask_operator.plan.cluster import plan_cluster
from dask_operator.plan.group import plan_group
from dask_operator.plan.policy import Policy
from dask_operator.plan.status import plan_orphan, plan_status
from dask_operator.plan.view import owned

__all__ = ["Policy", "plan"]


def plan(desired: Cluster | None, observed: Observed, now: float, policy: Policy = Policy()) -> tuple[Action, ...]:
    """The next actions for one cluster. `now` in seconds since the epoch.

    `desired` is None where groups name a cluster that does not exist. What a cluster being deleted owns is left to
    Kubernetes' garbage collector.
    """
    if desired is None:
        return tuple(action for group in observed.groups for action in plan_orphan(group, observed, now))
    if desired.deleting:
        return ()
    return tuple(_plan(desired, observed, now, policy))


def _plan(cluster: Cluster, observed: Observed, now: float, policy: Policy) -> Iterator[Action]:
    yield from plan_cluster(cluster, observed, now)
    for group in observed.groups:
        if not group.deleting and owned(group, cluster):
            yield from plan_group(cluster, group, observed, now, policy)
    yield from plan_status(cluster, observed, now)
