"""Decides. `plan` looks at a whole cluster at once and says what is to be done next; it never waits, reads or writes.

The same state and time always give the same actions, and once they are done and seen, the next plan is shorter, until
it is empty. So it does not matter how often, after which event or by which process it is called.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from dask_operator.actions import (
    WORKERS,
    Action,
    Ask,
    ClearFailures,
    Create,
    Delete,
    Patch,
    RequeueAt,
    Retire,
    SetStatus,
)
from dask_operator.model import Cluster, ObjectRef, Observed
from dask_operator.plan.adoption import folded, plan_adoption, plan_finalizers
from dask_operator.plan.autoscaler import plan_autoscalers, plan_idle_autoscalers, plan_without_cluster
from dask_operator.plan.cluster import plan_cluster
from dask_operator.plan.group import plan_group, plan_removed_groups
from dask_operator.plan.idle import plan_idle
from dask_operator.plan.job import plan_job
from dask_operator.plan.owners import plan_owners
from dask_operator.plan.policy import Policy
from dask_operator.plan.report.status import plan_orphan, plan_status, with_ordinals
from dask_operator.plan.report.unread import plan_unread
from dask_operator.plan.view import owned
from dask_operator.plan.workers.replicas import plan_replicas, with_replicas
from dask_operator.resources import CLUSTER, DEPLOYMENT, GROUP, POD

__all__ = ["Policy", "plan"]


def plan(desired: Cluster | None, observed: Observed, now: float, policy: Policy = Policy()) -> tuple[Action, ...]:
    """The next actions for one cluster and for the job that it was made for. `now` in seconds since the epoch.

    `desired` is None where there is no such DaskCluster. What a cluster being deleted owns is left to Kubernetes'
    garbage collector.
    """
    observed = folded(observed)
    actions = tuple(_plan(desired, observed, now, policy))
    void = _void(desired, observed, actions)
    if not void:
        return actions
    failures = {subject: failure for subject, failure in observed.failures.items() if subject not in void}
    return (ClearFailures(void), *_plan(desired, replace(observed, failures=failures), now, policy))


def _void(cluster: Cluster | None, observed: Observed, actions: Sequence[Action]) -> frozenset[ObjectRef]:
    """Return the failures that no longer matter, because no action about their subject is wanted."""
    if not observed.failures:
        return frozenset()
    wanted = {action.subject for action in actions if isinstance(action, Create | Patch | Delete | SetStatus)}
    wanted |= {action.holds for action in actions if isinstance(action, RequeueAt) and action.holds}
    undecided = frozenset(_undecided(cluster, observed, actions))
    return frozenset(ref for ref in observed.failures if ref not in wanted and ref.kind not in undecided)


def _undecided(cluster: Cluster | None, observed: Observed, actions: Sequence[Action]) -> Iterator[str]:
    """Yield the kinds whose deletion waits for the scheduler's next answer."""
    if cluster and cluster.idle_timeout:
        yield CLUSTER.kind
    asked = {action.question for action in actions if isinstance(action, Ask)} | observed.asking
    if WORKERS in asked or observed.retiring or any(isinstance(action, Retire) for action in actions):
        yield from (POD.kind, DEPLOYMENT.kind)


def _plan(cluster: Cluster | None, observed: Observed, now: float, policy: Policy) -> Iterator[Action]:
    yield from plan_finalizers(cluster, observed, now)
    if observed.job:
        yield from plan_job(observed.job, cluster, observed, now)
    if cluster is None:
        yield from _plan_orphans(observed, now)
    elif cluster.unread and not cluster.deleting:
        yield from _plan_unread(cluster, observed, now)
    elif not cluster.deleting:
        yield from _plan_cluster(cluster, observed, now, policy)


def _plan_cluster(cluster: Cluster, observed: Observed, now: float, policy: Policy) -> Iterator[Action]:
    observed = with_replicas(with_ordinals(cluster, observed))
    yield from plan_owners(cluster, observed, now)
    yield from plan_adoption(cluster, observed, now)
    yield from plan_cluster(cluster, observed, now)
    yield from plan_replicas(cluster, observed, now)
    for group in observed.groups:
        if not group.deleting and not group.unread and owned(group, cluster):
            yield from plan_group(cluster, group, observed, now, policy)
    yield from plan_removed_groups(cluster, observed, now, policy)
    yield from plan_autoscalers(cluster, observed, now)
    yield from plan_idle(cluster, observed, now)
    yield from plan_status(cluster, observed, now)


def _plan_unread(cluster: Cluster, observed: Observed, now: float) -> Iterator[Action]:
    """Nothing but what it and its parts say of themselves, as its user may want anything."""
    yield from plan_unread(CLUSTER.kind, cluster, observed, now)
    for group in observed.groups:
        if group.unread:
            yield from plan_unread(GROUP.kind, group, observed, now)
    yield from plan_idle_autoscalers(cluster, observed, now)


def _plan_orphans(observed: Observed, now: float) -> Iterator[Action]:
    yield from plan_owners(None, observed, now)
    for group in observed.groups:
        yield from plan_orphan(group, observed, now)
    for autoscaler in observed.autoscalers:
        yield from plan_without_cluster(autoscaler, observed, now)
