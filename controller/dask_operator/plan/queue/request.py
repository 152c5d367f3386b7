"""The requests to a queue: the Pods of a cluster and of its job, as sets, with their priority."""

from __future__ import annotations

from collections.abc import Mapping

from dask_operator import manifests, names
from dask_operator.manifests import PodSet, PriorityReference, Request
from dask_operator.model import Cluster, Group, Job, Observed, Placement, Workload
from dask_operator.plan.view import fewest, owned
from dask_operator.resources import POD_PRIORITY

SCHEDULER, RUNNER, WORKERS = "scheduler", "runner", "workers"
"""The names of the pod sets that have not a group's."""


def asking(cluster: Cluster | None, observed: Observed) -> Cluster | Job | None:
    """Return the object that waits in a queue: a job, with its cluster, or a cluster; None if nothing does."""
    if observed.queues is None:
        return None
    job = observed.job
    about = job if job and (not cluster or job.uid in cluster.owners) else cluster
    return about if about and not about.unread and queue_of(about, cluster) else None


def queue_of(about: Cluster | Job, cluster: Cluster | None) -> str:
    """Return the queue that an object or its cluster names, empty if none does."""
    return _labels(about, cluster).get(names.QUEUE_LABEL, "")


def asked(about: Cluster | Job, cluster: Cluster | None, observed: Observed) -> Request | None:
    """Return what is asked of a queue, None as long as it is not known."""
    groups = groups_of(cluster, observed)
    if not cluster or names.default_group(cluster.name) not in {group.name for group in groups}:
        return None
    runner = [PodSet(RUNNER, about.runner, 1)] if isinstance(about, Job) else []
    workers = [_pod_set(group, cluster, observed) for group in groups]
    pod_sets = (PodSet(SCHEDULER, cluster.scheduler, 1), *runner, *workers)
    return _request(about, cluster, pod_sets, observed)


def asked_more(
    about: Cluster | Job, cluster: Cluster | None, group: Group, number: int, placement: Placement, observed: Observed
) -> Request:
    """Return what is asked of a queue for up to so many more workers of a group, on nodes like those that it has."""
    return _request(about, cluster, (PodSet(WORKERS, group.worker, number, 1, placement),), observed)


def groups_of(cluster: Cluster | None, observed: Observed) -> list[Group]:
    """Return the groups of a cluster that are read."""
    groups = (each for each in observed.groups if cluster and not each.deleting and owned(each, cluster))
    return [each for each in groups if not each.unread]


def is_stale(known: Workload, request: Request) -> bool:
    """Return whether an admission was for another queue, or for other templates of the same pod sets."""
    admitted, wanted = manifests.parts_of_note(known.note), manifests.parts_of_note(request.note)
    return any(admitted[part] != wanted[part] for part in admitted.keys() & wanted.keys() - {manifests.NUMBERS})


def pod_set_name(group: Group) -> str:
    """Return the name of the pod set of a group's first workers."""
    return group.name.replace(".", "-")


def _labels(about: Cluster | Job, cluster: Cluster | None) -> Mapping[str, str]:
    return {**(cluster.metadata.labels if cluster else {}), **about.metadata.labels}


def _request(
    about: Cluster | Job, cluster: Cluster | None, pod_sets: tuple[PodSet, ...], observed: Observed
) -> Request:
    labels = _labels(about, cluster)
    of = manifests.priority_class(labels, pod_sets)
    return Request(labels.get(names.QUEUE_LABEL, ""), pod_sets, _priority(*of, observed))


def _priority(kind: str, name: str, observed: Observed) -> PriorityReference:
    priorities = observed.queues.priorities if observed.queues else {}
    if name:
        known = priorities.get((kind, name))
        return PriorityReference(kind, name, known.value if known else 0, exists=bool(known))
    default = (each.value for (of, _), each in priorities.items() if of == POD_PRIORITY.kind and each.default)
    return PriorityReference(value=next(default, 0))


def _pod_set(group: Group, cluster: Cluster, observed: Observed) -> PodSet:
    """Return the workers that a group starts with: under an autoscaler its minimum."""
    minimum = fewest(group.name, cluster, observed)
    replicas = 1 if group.replicas_unset else group.replicas
    return PodSet(pod_set_name(group), group.worker, replicas if minimum is None else minimum)
