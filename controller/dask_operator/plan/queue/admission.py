"""Admissions: an object that waits in a queue is one that is suspended, and one that is admitted has its nodes."""

from __future__ import annotations

from dataclasses import replace

from dask_operator import names
from dask_operator.manifests import Request
from dask_operator.model import (
    Cluster,
    Group,
    Job,
    Metadata,
    Observed,
    Placement,
    Workload,
)
from dask_operator.plan.queue.growth import admission_of
from dask_operator.plan.queue.lifecycle import has_ended
from dask_operator.plan.queue.request import RUNNER, SCHEDULER, asked, asking, is_stale, queue_of
from dask_operator.plan.queue.workload import (
    ADMITTED,
    EVICTED,
    FINISHED,
    RESERVED,
    placement_of,
    pods_left,
    reference,
    workload_of,
)
from dask_operator.plan.view import ENDED, Workers


def queued(cluster: Cluster | None, observed: Observed) -> tuple[Cluster | None, Observed]:
    """Return the facts as the queue makes them: what waits there is suspended, what is admitted has its nodes."""
    about = asking(cluster, observed)
    if not about:
        return cluster, observed
    follows = not about.suspended and not has_ended(about, observed)
    waits = _waits(about, cluster, observed) if follows else ""
    cluster = replace(cluster, metadata=_unqueued(cluster.metadata)) if cluster else None
    about = replace(about, metadata=_unqueued(about.metadata))
    groups = (replace(group, metadata=_unqueued(group.metadata)) for group in observed.groups)
    observed = replace(observed, groups=tuple(groups))
    if waits:
        about = replace(about, suspended=True, waits=waits)
    elif follows:
        about, cluster, observed = _admitted(about, cluster, observed)
    return (cluster, replace(observed, job=about)) if isinstance(about, Job) else (about, observed)


def within_queue(workers: Workers) -> Workers:
    """Return a group's workers with at most the number that its queue has admitted."""
    admitted = workers.group.admitted
    return workers if admitted is None else workers.at_most(admitted)


def _unqueued(metadata: Metadata) -> Metadata:
    """Return metadata without Kueue's labels, by which it would queue each Pod once more."""
    ours = (names.QUEUE_LABEL, names.PRIORITY_LABEL)
    return Metadata({key: value for key, value in metadata.labels.items() if key not in ours}, metadata.annotations)


def _waits(about: Cluster | Job, cluster: Cluster | None, observed: Observed) -> str:
    """Return why an object has no Pods yet, empty if it may have them."""
    known, queue = workload_of(about, observed), queue_of(about, cluster)
    if not known or known.deleting:
        # A Workload that vanishes is asked for again: where Kueue itself is gone, what runs goes on.
        return "" if _runs(observed) else f"it asks queue {queue} for admission{_refusal(about, observed)}"
    if known.is_true(FINISHED):
        return f"Workload {known.name} has finished{_said(known, FINISHED)}; delete it to wait in queue {queue} again"
    if known.is_true(EVICTED):
        return f"queue {queue} has evicted it{_said(known, EVICTED)}"
    wanted = asked(about, cluster, observed)
    if not known.is_true(ADMITTED):
        said = _said(known, ADMITTED if known.is_true(RESERVED) else RESERVED) or ": Kueue has not answered yet"
        return f"it waits in queue {queue}{said}{_without_class(wanted)}"
    if wanted and is_stale(known, wanted):
        return f"its Pods have other templates than queue {queue} has admitted, so it asks again"
    flavors = {name for each in known.assignments.values() for name in each.flavors}
    queues = observed.queues
    missing = sorted(name for name in flavors if not queues or name not in queues.flavors)
    return f"queue {queue} has admitted it to ResourceFlavor {missing[0]}, which does not exist" if missing else ""


def _runs(observed: Observed) -> bool:
    return bool(observed.deployment) or pods_left(observed)


def _refusal(about: Cluster | Job, observed: Observed) -> str:
    failure = observed.failures.get(reference(about))
    return f": {failure.problem.message}" if failure else ""


def _said(known: Workload, condition: str) -> str:
    message = str(known.conditions.get(condition, {}).get("message") or "")
    return f": {message}" if message else ""


def _without_class(wanted: Request | None) -> str:
    if not wanted or wanted.priority.exists:
        return ""
    return f"; {wanted.priority.kind} {wanted.priority.name} does not exist, so its priority is 0"


def _admitted(
    about: Cluster | Job, cluster: Cluster | None, observed: Observed
) -> tuple[Cluster | Job, Cluster | None, Observed]:
    """Return the facts with the nodes and the numbers that are admitted."""
    known = workload_of(about, observed)
    groups = tuple(_admitted_group(group, known, observed) for group in observed.groups)
    placements = [placement_of(known, name, observed) if known else Placement() for name in (SCHEDULER, RUNNER)]
    observed = replace(observed, groups=groups)
    if isinstance(about, Job):
        cluster = replace(cluster, placement=placements[0]) if cluster else None
        return replace(about, placement=placements[1]), cluster, observed
    return replace(about, placement=placements[0]), cluster, observed


def _admitted_group(group: Group, known: Workload | None, observed: Observed) -> Group:
    if not known or not known.assignments:
        # Nobody says anything about it, or more than is read: it keeps what it has, and gets no others.
        present = (pod for pod in observed.pods if pod.group == group.name and not pod.deleting)
        return replace(group, admitted=sum(pod.phase not in ENDED for pod in present))
    number, placement = admission_of(group, known, observed)
    return replace(group, placement=placement, admitted=number)
