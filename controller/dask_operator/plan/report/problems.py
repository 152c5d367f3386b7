"""Problems of a cluster or a group, in words that a person can act on. docs/troubleshooting.md lists the reasons."""

from __future__ import annotations

from collections.abc import Sequence

from dask_operator.model import ObjectRef, Pod, Problem, Survey
from dask_operator.plan.ownership import children
from dask_operator.plan.report.unread import too_large
from dask_operator.plan.view import View, Workers, live, problem
from dask_operator.plan.workers import replacement, victims
from dask_operator.resources import CLUSTER, GROUP, POD

_SAID_FOR = 2 * victims.REFUSAL_LASTS
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
    of_groups = ((name, group_problem(view, workers, now)) for name, workers in view.workers.items())
    problems += [Problem(p.reason, f"group {name}: {p.message}") for name, p in of_groups if p]
    of_removed = ((name, _cannot_shrink(view, live(workers.pods), now)) for name, workers in view.removed.items())
    problems += [Problem(p.reason, f"group {name}, which was removed: {p.message}") for name, p in of_removed if p]
    return next(iter(problems), None)


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
    return next((Problem(broken.reason, f"{name}: {broken.message}") for name, broken in failing if broken), None)


def _refused(view: View, workers: Workers) -> Problem | None:
    """Return why the API server refused something about a group's Pods as a whole, or about one of them."""
    failures = view.observed.failures
    if failure := failures.get(ObjectRef(POD.kind, workers.group.name)):
        return failure.problem
    names = view.refused_pods and view.refused_pods & workers.names
    return next((failures[ObjectRef(POD.kind, name)].problem for name in sorted(names)), None)


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
