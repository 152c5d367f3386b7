"""Problems of a cluster or a group, in words that a person can act on. docs/troubleshooting.md lists the reasons."""

from __future__ import annotations

from collections.abc import Sequence

from dask_operator import manifests, names
from dask_operator.model import Cluster, Group, Json, ObjectRef, Pod, Problem, Survey
from dask_operator.parse import timestamp
from dask_operator.plan.ownership import children
from dask_operator.plan.report.conditions import DEGRADED, PROGRESSING, RETIRING, by_type
from dask_operator.plan.report.unread import too_large
from dask_operator.plan.view import View, Workers, cluster_status, live, problem, status
from dask_operator.plan.workers import registration, replacement, victims
from dask_operator.resources import CLUSTER, GROUP, POD

_SAID_FOR = 2 * victims.REFUSAL_LASTS
NO_ANSWER = ("SchedulerUnreachable", "SchedulerError", "SchedulerAnswer", "SchedulerApiDisabled")
"""The reasons for which a scheduler gives no usable answer."""
_NOT_REGISTERED = "WorkerNotRegistered"
_NAMED = 3
"""The number of workers that a message names."""


def cluster_problem(view: View, now: float) -> Problem | None:
    """Return the most fundamental problem of a cluster: a missing scheduler comes before missing workers."""
    cluster, observed, scheduler = view.cluster, view.observed, view.scheduler
    if large := too_large(CLUSTER.kind, cluster):
        return large
    own = [*children.refs(cluster), *(ObjectRef(GROUP.kind, name) for name in view.workers)]
    problems = [observed.failures[ref].problem for ref in own if ref in observed.failures]
    # A Deployment keeps its last failure for a while after its Pod has been created.
    if observed.deployment and observed.deployment.problem and not scheduler:
        problems.append(observed.deployment.problem)
    if scheduler and (broken := problem(scheduler, now)):
        problems.append(broken)
    if observed.service and manifests.leads_nowhere(cluster):
        problems.append(_port_not_found(cluster))
    of_groups = ((name, group_problem(view, workers, now)) for name, workers in view.workers.items())
    problems += [Problem(p.reason, f"group {name}: {p.message}") for name, p in of_groups if p]
    of_removed = ((name, _cannot_shrink(view, live(workers.pods), now)) for name, workers in view.removed.items())
    problems += [Problem(p.reason, f"group {name}, which was removed: {p.message}") for name, p in of_removed if p]
    return next(iter(problems), None) or _silent(view)


def _silent(view: View) -> Problem | None:
    """Return why nobody knows whether workers that have run for long are registered."""
    survey = view.observed.survey
    if not view.scheduler or not view.scheduler.ready:
        return None
    if not survey and is_said_silent(view):
        said = _said(view)
        return Problem(str(said.get("reason")), str(said.get("message")))
    if not survey or not survey.problem:
        return None
    began = survey.at - 2 * registration.TAKES  # a first failure may have a cause that passes
    old = (pod.ready and pod.started <= began for workers in view.workers.values() for pod in workers.staying)
    return survey.problem if any(old) else None


def is_said_silent(view: View) -> bool:
    """Return whether the cluster's status says that its scheduler gives no usable answer."""
    said = _said(view)
    of_group = str(said.get("message")).startswith("group ")
    return said.get("reason") in NO_ANSWER and not of_group and any(workers.ready for workers in view.workers.values())


def said_since(view: View) -> float | None:
    """Return since when the cluster's status says that workers or the scheduler are not known to be well."""
    said = _said(view)
    counts = said.get("status") == "True" and said.get("reason") in (*NO_ANSWER, _NOT_REGISTERED)
    return timestamp(str(said.get("lastTransitionTime"))) if counts else None


def is_said_unregistered(view: View, group: Group) -> bool:
    """Return whether a group's status says that a worker has not registered."""
    return _said_of(view, group).get("reason") == _NOT_REGISTERED


def is_said_retiring(view: View) -> bool:
    """Return whether the cluster's status says that workers leave, of which a new controller does not know."""
    return by_type(cluster_status(view.cluster, view.observed)).get(PROGRESSING, {}).get("reason") == RETIRING


def _said(view: View) -> Json:
    return by_type(cluster_status(view.cluster, view.observed)).get(DEGRADED, {})


def _said_of(view: View, group: Group) -> Json:
    return by_type(status(group, GROUP.kind, view.observed)).get(DEGRADED, {})


def _port_not_found(cluster: Cluster) -> Problem:
    number = cluster.listening.comm
    where = f"no port of Service {names.scheduler(cluster.name)} leads to port {number} of the scheduler"
    fix = f"name the port {names.COMM_PORT}, or set its targetPort to {number}"
    return Problem("PortNotFound", f"{where}, so workers and clients cannot reach it: {fix}")


def group_problem(view: View, workers: Workers, now: float) -> Problem | None:
    """Return why a group does not have the workers that it wants, or cannot let go of surplus ones."""
    group = workers.group
    if large := too_large(GROUP.kind, group):
        return large
    if refused := _refused(view, workers):
        return refused
    surplus = workers.old or len(workers.staying) > group.replicas
    if surplus and (stuck := _cannot_shrink(view, workers.staying, now)):
        return stuck
    failing = ((pod.name, problem(pod, now) or _waits(pod, now)) for pod in workers.suspects)
    broken = next((Problem(broken.reason, f"{name}: {broken.message}") for name, broken in failing if broken), None)
    return broken or _unregistered(view, workers)


def _unregistered(view: View, workers: Workers) -> Problem | None:
    """Return the problem of workers that run and that the scheduler does not know."""
    if not view.observed.survey and workers.ready and is_said_unregistered(view, workers.group):
        # A controller that has just started knows less than the status says. It asks at once.
        return Problem(_NOT_REGISTERED, str(_said_of(view, workers.group).get("message")))
    missing = registration.unregistered(view, workers)
    if not missing:
        return None
    listed = ", ".join(pod.name for pod in missing[:_NAMED])
    more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
    address = manifests.scheduler_address(view.cluster)
    why = f"read the log, and check that they connect to {address} and that network policies allow it"
    return Problem(_NOT_REGISTERED, f"the scheduler does not know workers that run: {listed}{more}; {why}")


def _refused(view: View, workers: Workers) -> Problem | None:
    """Return why the API server refused something about a group's Pods as a whole, or about one of them."""
    failures = view.observed.failures
    if failure := failures.get(ObjectRef(POD.kind, names.workers(workers.group.name))):
        return failure.problem
    refused = view.refused_pods and view.refused_pods & workers.names
    return next((failures[ObjectRef(POD.kind, name)].problem for name in sorted(refused)), None)


def _waits(pod: Pod, now: float) -> Problem | None:
    """Return the problem of a worker that has ended without an error, too soon to be replaced at once."""
    if pod.deleting or pod.phase != "Succeeded" or now >= replacement.due(pod, now):
        return None
    why = "look at its log, at --lifetime and --death-timeout; it is replaced after a pause"
    return Problem("WorkerEndedEarly", f"ended without an error soon after its start, as those before it: {why}")


def _cannot_shrink(view: View, staying: Sequence[Pod], now: float) -> Problem | None:
    observed = view.observed
    if observed.survey and observed.survey.problem:
        return observed.survey.problem
    if observed.survey and (unnamed := _unnamed(view, staying, observed.survey)):
        return unnamed
    # For as long as it takes until the scheduler refuses again.
    refused = (pod.name for pod in staying if now < observed.refused.get(pod.uid, -_SAID_FOR) + _SAID_FOR)
    if not (name := next(refused, "")):
        return None
    if any(pod.name == name and pod.uid in observed.actors for pod in staying):
        why = "stays because it holds actors, which Dask never moves; release them, or delete its Pod"
    else:
        why = "stays because the scheduler cannot move its data to another worker; the operator retries"
    return Problem("RetirementRefused", f"worker {name} {why}")


def _unnamed(view: View, staying: Sequence[Pod], survey: Survey) -> Problem | None:
    """Return the problem of Pods that stay because the scheduler knows workers that cannot be matched to a Pod."""
    unmatched = victims.unmatched(view.live, survey)
    known = victims.registered(view.live, survey) if unmatched else {}
    if not unmatched or all(pod.uid in known or pod.phase != "Running" for pod in staying):
        return None
    listed = ", ".join(f'"{worker.name}" at {worker.address}' for worker in unmatched[:_NAMED])
    more = f" and {len(unmatched) - _NAMED} more" if len(unmatched) > _NAMED else ""
    why = "so Pods that may hold their data stay; start each worker with --name $(DASK_WORKER_NAME)"
    return Problem(
        "WorkerNotNamed", f"the scheduler has workers without the names of their Pods: {listed}{more}; {why}"
    )
