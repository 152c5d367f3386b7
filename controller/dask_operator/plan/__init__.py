"""Decisions. `plan` looks at a whole cluster at once and returns the next actions; it never waits, reads or writes.

The same facts at the same time always give the same actions. When these actions are done and seen, the next plan is
shorter, until it is empty. So it does not matter how often a plan is made, after which event, or by which process.
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
from dask_operator.plan.autoscaler import plan_autoscalers, plan_waiting_autoscalers, plan_without_cluster
from dask_operator.plan.cluster import plan_cluster
from dask_operator.plan.group import plan_group, plan_removed_groups
from dask_operator.plan.job import plan_job
from dask_operator.plan.ownership.adoption import folded, plan_adoption, plan_finalizers
from dask_operator.plan.ownership.owners import plan_owners, plan_owners_without_cluster
from dask_operator.plan.policy import Policy
from dask_operator.plan.questions.deleted import plan_deleted
from dask_operator.plan.questions.idle import plan_idle
from dask_operator.plan.questions.progress import plan_progress
from dask_operator.plan.questions.survey import plan_survey
from dask_operator.plan.queue.admission import queued, within_queue
from dask_operator.plan.queue.lifecycle import plan_queue
from dask_operator.plan.report.status import plan_orphan, plan_status
from dask_operator.plan.report.suspended import CLUSTER_SUSPENDED, is_suspended, rests
from dask_operator.plan.report.unread import plan_unread, too_large
from dask_operator.plan.suspension import at_rest, plan_suspension
from dask_operator.plan.view import View
from dask_operator.plan.workers.precedence import behind_runner
from dask_operator.plan.workers.replicas import plan_replicas
from dask_operator.resources import CLUSTER, DEPLOYMENT, GROUP, POD

__all__ = ["Policy", "plan"]


def plan(desired: Cluster | None, observed: Observed, now: float, policy: Policy = Policy()) -> tuple[Action, ...]:
    """Return the next actions for one cluster and for the job that it was made for.

    `desired` is None if the DaskCluster does not exist. `now` is in seconds since the epoch. The children of a cluster
    that is being deleted are left to Kubernetes' garbage collector.
    """
    seen, known = desired, folded(observed)
    desired, observed = queued(seen, known)
    view = View.of(desired, observed, policy) if desired else None
    actions = (*plan_queue(seen, known, now), *_plan(view, observed, now))
    void = _void(desired, observed, actions)
    if not void:
        return actions
    failures = {ref: failure for ref, failure in observed.failures.items() if ref not in void}
    known, observed = (replace(each, failures=failures) for each in (known, observed))
    view = replace(view, observed=observed) if view else None
    return (ClearFailures(void), *plan_queue(seen, known, now), *_plan(view, observed, now))


def _void(cluster: Cluster | None, observed: Observed, actions: Sequence[Action]) -> frozenset[ObjectRef]:
    """Return the objects whose failures no longer matter, because no action about them is wanted."""
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


def _plan(view: View | None, observed: Observed, now: float) -> Iterator[Action]:
    yield from plan_finalizers(view.cluster if view else None, observed, now)
    if observed.job:
        yield from plan_job(observed.job, view, observed, now)
    if view is None:
        yield from _plan_orphans(observed, now)
    elif view.cluster.unread and not view.cluster.deleting:
        yield from _plan_unread(view, now)
    elif not view.cluster.deleting:
        yield from _plan_suspended(view, now) if is_suspended(view) else _plan_cluster(view, now)


def _plan_cluster(view: View, now: float) -> Iterator[Action]:
    # Restore owner references, so that deleting the cluster deletes everything that belongs to it.
    yield from plan_owners(view, now)
    # Record what another operator's objects were made from, so that only later edits restart them.
    yield from plan_adoption(view, now)
    # Create the scheduler's Service and Deployment and the default group, and roll out edits to them.
    edits = tuple(plan_cluster(view, now))
    yield from edits
    # Write down the number of workers of each group whose user has not set one.
    yield from plan_replicas(view, now)
    # Create, replace, retire and delete the workers of each group.
    for workers in view.workers.values():
        if not workers.group.unread:
            yield from plan_group(view, behind_runner(view, within_queue(workers), now), now)
    # Retire and delete the workers of groups that were removed.
    yield from plan_removed_groups(view, now)
    # Let workers drain that somebody deletes and that may not know it.
    yield from plan_deleted(view, now)
    # Ask the scheduler whether new workers have registered.
    yield from plan_survey(view, now)
    # Scale groups as the scheduler asks, within the bounds of their DaskAutoscalers.
    yield from plan_autoscalers(view, now)
    # Delete the cluster when its scheduler has been idle for `idleTimeout`.
    yield from plan_idle(view, now)
    # Ask the scheduler of a job how far it is.
    yield from plan_progress(view, now)
    # Write the status of the groups and of the cluster.
    yield from plan_status(view, now, edited=bool(edits))


def _plan_suspended(view: View, now: float) -> Iterator[Action]:
    # What stays of the cluster stays as its user wants it.
    yield from plan_owners(view, now)
    yield from plan_adoption(view, now)
    yield from plan_cluster(view, now)
    # Its groups keep their numbers, and want no workers for now.
    rest = at_rest(view) if rests(view) else view
    yield from plan_suspension(rest, now)
    yield from plan_waiting_autoscalers(rest, now, CLUSTER_SUSPENDED)
    yield from plan_status(rest, now)


def _plan_unread(view: View, now: float) -> Iterator[Action]:
    """Say that the cluster is too large to be read. Nothing else happens, as its user may want anything."""
    yield from plan_unread(CLUSTER.kind, view.cluster, view.observed, now)
    for group in view.observed.groups:
        if group.unread:
            yield from plan_unread(GROUP.kind, group, view.observed, now)
    yield from plan_waiting_autoscalers(view, now, too_large(CLUSTER.kind, view.cluster))


def _plan_orphans(observed: Observed, now: float) -> Iterator[Action]:
    yield from plan_owners_without_cluster(observed, now)
    for group in observed.groups:
        yield from plan_orphan(group, observed, now)
    for autoscaler in observed.autoscalers:
        yield from plan_without_cluster(autoscaler, observed, now)
