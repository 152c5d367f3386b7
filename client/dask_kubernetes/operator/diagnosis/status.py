"""The state of a cluster as rows of text for users, from its objects in Kubernetes.

Functions never raise: unreadable values count as absent. See `problems` for the reasons why a cluster does not start.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from dask_kubernetes.operator.diagnosis import facts, listening
from dask_kubernetes.operator.diagnosis.facts import Json, Snapshot, scheduler_ready
from dask_kubernetes.operator.diagnosis.problems import (
    UNSCHEDULABLE,
    Problem,
    pod_problem,
    scheduler_problem,
    workers_problem,
)

Mood = Literal["good", "waiting", "bad", "none"]

NOT_THERE = "-"
"""The status of a part that does not exist yet."""


@dataclass(frozen=True)
class Row:
    """A part of a cluster and its status."""

    label: str
    status: str
    mood: Mood


@dataclass(frozen=True)
class Startup:
    """The state of a starting cluster, with its most fundamental `problem`, if any."""

    rows: tuple[Row, ...]
    scheduler_ready: bool
    problem: Problem | None


def startup(snapshot: Snapshot, registered: int) -> Startup:
    """Return the state of a cluster.

    Parameters
    ----------
    snapshot
        The cluster's objects.
    registered
        The number of workers known to the scheduler.
    """
    rows = (
        _cluster_row(facts.mapping(snapshot.cluster)),
        _scheduler_row(facts.scheduler_pod(snapshot)),
        _service_row(snapshot.service),
        *_worker_rows(snapshot, registered),
        *_autoscaler_rows(facts.mapping(snapshot.autoscaler)),
    )
    problem = scheduler_problem(snapshot) or workers_problem(snapshot)
    return Startup(rows, scheduler_ready(snapshot), problem)


def service_ready(service: Json | None) -> bool:
    """Return whether the scheduler's Service has an address, for type LoadBalancer that of its load balancer."""
    spec, status = (facts.mapping(facts.mapping(service).get(part)) for part in ("spec", "status"))
    if spec.get("type") == "LoadBalancer":
        return bool(facts.mappings(facts.mapping(status.get("loadBalancer")).get("ingress")))
    return bool(facts.text(spec.get("clusterIP")))


def worker_names(snapshot: Snapshot) -> frozenset[str]:
    """Return the names of the worker Pods that run or may yet run."""
    return frozenset(facts.name(pod) for pod in facts.live(facts.workers(snapshot)))


def requested(snapshot: Snapshot) -> int:
    """Return the replicas of all groups together, including a default group that does not exist yet."""
    groups = facts.groups(snapshot)
    there = any(facts.is_default(group, snapshot) for group in groups)
    to_come = 0 if there else facts.replicas(facts.mapping(snapshot.cluster), 0)
    return sum(facts.replicas(group, 1) for group in groups) + to_come


def uses_tls(cluster: Json) -> bool:
    """Return whether the scheduler's protocol is encrypted."""
    return listening.protocol(cluster) in listening.ENCRYPTED


def uses_jupyter(cluster: Json) -> bool:
    """Return whether a cluster's scheduler serves Jupyter."""
    return any("--jupyter" in word.split() for command in facts.scheduler_commands(cluster) for word in command)


def _cluster_row(cluster: Json) -> Row:
    if facts.deleting(cluster):
        return Row("DaskCluster", "Terminating", "bad")
    phase = facts.phase(cluster)
    moods: dict[str, Mood] = {"": "none", "Running": "good", "Error": "bad"}
    return Row("DaskCluster", phase or NOT_THERE, moods.get(phase, "waiting"))


def _scheduler_row(pod: Json | None) -> Row:
    if not pod:
        return Row("Scheduler Pod", NOT_THERE, "none")
    status = _pod_status(pod)
    if status == "Running":
        return Row("Scheduler Pod", status, "good")
    return Row("Scheduler Pod", status, "bad" if _fails(pod) else "waiting")


def _service_row(service: Json | None) -> Row:
    if not service:
        return Row("Scheduler Service", NOT_THERE, "none")
    if service_ready(service):
        return Row("Scheduler Service", "Created", "good")
    return Row("Scheduler Service", "Pending", "waiting")


def _worker_rows(snapshot: Snapshot, registered: int) -> Iterator[Row]:
    groups = facts.groups(snapshot)
    if not any(facts.is_default(group, snapshot) for group in groups):
        yield Row("Default Worker Group", NOT_THERE, "none")
    # The scheduler does not know the groups of its workers.
    if len(groups) == 1:
        yield _group_row(groups[0], snapshot, registered, "registered")
        return
    for group in groups:
        running = sum(facts.ready(pod) for pod in facts.live(facts.of_group(snapshot, group)))
        yield _group_row(group, snapshot, running, "running")
    if groups:
        wanted = sum(facts.replicas(group, 1) for group in groups)
        yield Row("Workers", f"{registered} of {wanted} registered", "good" if registered >= wanted else "waiting")


def _group_row(group: Json, snapshot: Snapshot, there: int, how: str) -> Row:
    """Return the row of a group, `there` of whose workers are "registered" or "running", as `how` says."""
    label = "Default Worker Group" if facts.is_default(group, snapshot) else f"Worker Group {facts.name(group)}"
    wanted, pods = facts.replicas(group, 1), facts.of_group(snapshot, group)
    if there >= wanted:
        return Row(label, f"{there} of {wanted} {how}", "good")
    failing = sum(_fails(pod) for pod in pods)
    starting = max(sum(not _fails(pod) for pod in facts.live(pods)) - there, 0)
    others = [f"{count} {what}" for count, what in ((starting, "starting"), (failing, "failing")) if count]
    return Row(label, ", ".join([f"{there} of {wanted} {how}", *others]), "bad" if failing else "waiting")


def _autoscaler_rows(autoscaler: Json) -> Iterator[Row]:
    spec = facts.mapping(autoscaler.get("spec"))
    if spec:
        minimum, maximum = facts.integer(spec.get("minimum")), spec.get("maximum")
        limits = f"{minimum} or more" if maximum is None else f"{minimum} to {maximum}"
        yield Row("Autoscaler", f"{limits} workers", "none")


def _pod_status(pod: Json) -> str:
    """Return a Pod's status as in `kubectl get pods`, or "Health Checking" until it is ready."""
    status = facts.mapping(pod.get("status"))
    if facts.deleting(pod):
        return "Terminating"
    if facts.unschedulable(pod) is not None:
        return UNSCHEDULABLE
    phase = facts.text(status.get("phase")) or "Pending"
    if phase in facts.ENDED:
        return facts.text(status.get("reason")) or phase
    # A waiting init container comes first, as it holds up the others.
    states = [facts.mapping(container.get("state")) for container in facts.containers(pod)]
    held = chain.from_iterable((facts.mapping(state.get("waiting")), facts.failed(state)) for state in states)
    reasons = (facts.text(state.get("reason")) for state in held)
    if reason := next(filter(None, reasons), ""):
        return reason
    return "Health Checking" if phase == "Running" and not facts.ready(pod) else phase


def _fails(pod: Json) -> bool:
    """Return whether a Pod needs a user's action. An unschedulable one does not, as a node may still be added."""
    problem = pod_problem(pod)
    return problem is not None and problem.reason != UNSCHEDULABLE
