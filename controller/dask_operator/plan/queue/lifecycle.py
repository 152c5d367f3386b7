"""The requests of an object to its queue, from the first to the report of its end."""

from __future__ import annotations

from collections.abc import Iterator

from dask_operator import manifests
from dask_operator.actions import Action, Create, Delete, Patch
from dask_operator.manifests import Request
from dask_operator.model import Cluster, Job, Json, Observed, Workload
from dask_operator.parse import job_status
from dask_operator.plan.job import FAILED, SUCCESSFUL
from dask_operator.plan.queue.growth import delete_part, parts_of, plan_growth, withdraw_growth
from dask_operator.plan.queue.request import asked, asking, groups_of, is_stale
from dask_operator.plan.queue.workload import (
    ADMITTED,
    EVICTED,
    FINISHED,
    PODS_READY,
    RESERVED,
    give_back,
    holds,
    kind_of,
    pods_left,
    reference,
    say,
    workload_of,
)
from dask_operator.plan.report.conditions import by_type, is_true
from dask_operator.plan.report.ready import READY
from dask_operator.plan.view import status, unless_blocked


def plan_queue(cluster: Cluster | None, observed: Observed, now: float) -> Iterator[Action]:
    """Ask the queue, and tell it what became of what it has admitted."""
    about = asking(cluster, observed)
    yield from _withdraw(about, cluster, observed, now)
    if not about or about.deleting:
        return
    known, wanted = workload_of(about, observed), asked(about, cluster, observed)
    over = about.suspended or has_ended(about, observed)
    if over and known and not pods_left(observed):
        yield from _end(about, known, observed, now)
    elif wanted and not over:
        yield from _ask(about, known, wanted, observed, now)
    groups = groups_of(cluster, observed)
    if cluster and known and wanted and not over and holds(known) and not is_stale(known, wanted):
        for group in groups:
            yield from plan_growth(about, cluster, group, known, observed, now)
        yield from withdraw_growth((about.uid,), {group.name for group in groups}, observed, now, "its group is gone")
    elif not pods_left(observed):
        yield from withdraw_growth((about.uid,), (), observed, now, "the cluster has no Pods")


def has_ended(about: Cluster | Job, observed: Observed) -> bool:
    """Return whether an object is a job that has ended."""
    return isinstance(about, Job) and job_status(_status(about, observed)).phase in (SUCCESSFUL, FAILED)


def _withdraw(about: Cluster | Job | None, cluster: Cluster | None, observed: Observed, now: float) -> Iterator[Action]:
    """Delete the Workloads of what waits in no queue any more."""
    if not observed.workloads:
        return
    because = "it waits in no queue any more"
    for each in (cluster, observed.job):
        known = workload_of(each, observed) if each and each is not about else None
        if each and known and not known.deleting:
            yield unless_blocked(_delete(known, each, because), observed, now)
    others = [each.uid for each in (cluster, observed.job) if each and each is not about]
    for part in parts_of(others, observed):
        yield unless_blocked(delete_part(part, because), observed, now)


def _ask(
    about: Cluster | Job, known: Workload | None, request: Request, observed: Observed, now: float
) -> Iterator[Action]:
    """Create the Workload, keep it as its user wants it, and give its quota back after an eviction."""
    subject = reference(about)
    if not known:
        manifest = manifests.workload_manifest(about, kind_of(about), request)
        yield unless_blocked(Create(manifest, subject, f"it asks queue {request.queue}"), observed, now)
        return
    if known.deleting or known.is_true(FINISHED):
        return
    reserved, left = known.is_true(RESERVED), pods_left(observed)
    if reserved and known.is_true(EVICTED) and not left:
        yield give_back(known, observed, now)
    elif reserved and is_stale(known, request) and not left:
        yield unless_blocked(_delete(known, about, "its Pods have other templates now"), observed, now)
    elif not reserved and known.note != request.note:
        patch = Patch(subject, manifests.workload_patch(request), "what it asks for was edited")
        yield unless_blocked(patch, observed, now)
    elif known.is_true(ADMITTED) and not known.is_true(PODS_READY) and _is_ready(about, observed):
        yield say(known, {PODS_READY: ("True", "Started", "all Pods that it needs are ready")}, observed, now)


def _end(about: Cluster | Job, known: Workload, observed: Observed, now: float) -> Iterator[Action]:
    """Report the end of a job, or leave the queue for what its user has suspended."""
    if not has_ended(about, observed):
        if not known.deleting:
            yield unless_blocked(_delete(known, about, "its user has suspended it"), observed, now)
    elif not known.is_true(FINISHED):
        yield _finish(about, known, observed, now)


def _is_ready(about: Cluster | Job, observed: Observed) -> bool:
    return is_true(by_type(_status(about, observed)), READY)


def _status(about: Cluster | Job, observed: Observed) -> Json:
    return status(about, kind_of(about).kind, observed)


def _finish(about: Cluster | Job, known: Workload, observed: Observed, now: float) -> Action:
    said = by_type(_status(about, observed))
    failed = is_true(said, "Failed")
    message = str(said.get("Failed" if failed else "Complete", {}).get("message") or "the job has ended")
    reason = "Failed" if failed else "Succeeded"
    return say(known, {FINISHED: ("True", reason, message)}, observed, now)


def _delete(known: Workload, about: Cluster | Job, because: str) -> Delete:
    return Delete(known.name, known.uid, reference(about), because)
