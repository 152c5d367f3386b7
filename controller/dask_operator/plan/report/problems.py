"""What is wrong with a cluster or a group, in words on which a person can act; the reasons are listed in README.md."""

from __future__ import annotations

from collections.abc import Sequence

from dask_operator import names
from dask_operator.model import Cluster, Group, ObjectRef, Observed, Pod, Problem, Survey
from dask_operator.plan.report.unread import too_large
from dask_operator.plan.view import leaving, live, problem, removed_groups, scheduler_pod, workers
from dask_operator.plan.workers import replacement, rollout, victims
from dask_operator.resources import CLUSTER, DEPLOYMENT, GROUP, POD, SERVICE

_SAID_FOR = 2 * victims.REFUSAL_LASTS
_NAMED = 3
"""How many workers a message names."""


def cluster_problem(cluster: Cluster, groups: Sequence[Group], observed: Observed, now: float) -> Problem | None:
    """The most fundamental thing that is wrong: no scheduler comes before no workers."""
    if large := too_large(CLUSTER.kind, cluster):
        return large
    scheduler = scheduler_pod(observed)
    kinds = ((SERVICE, names.scheduler), (DEPLOYMENT, names.scheduler), (GROUP, names.default_group))
    own = [ObjectRef(kind.kind, name(cluster.name)) for kind, name in kinds]
    own += [ObjectRef(GROUP.kind, group.name) for group in groups]
    problems = [observed.failures[subject].problem for subject in own if subject in observed.failures]
    # A Deployment keeps its last failure for a while after its Pod has come.
    if observed.deployment and observed.deployment.problem and not scheduler:
        problems.append(observed.deployment.problem)
    if scheduler and (broken := problem(scheduler, now)):
        problems.append(broken)
    of_groups = ((group, group_problem(group, observed, now)) for group in groups)
    problems += [Problem(p.reason, f"group {group.name}: {p.message}") for group, p in of_groups if p]
    of_removed = (
        (name, _cannot_shrink(live(pods), observed, now)) for name, pods in removed_groups(cluster, observed).items()
    )
    problems += [Problem(p.reason, f"group {name}, which was removed: {p.message}") for name, p in of_removed if p]
    return next(iter(problems), None)


def group_problem(group: Group, observed: Observed, now: float) -> Problem | None:
    """Why a group has not the workers it wants, or cannot let go of those it has too many."""
    if large := too_large(GROUP.kind, group):
        return large
    pods = workers(group, observed)
    # About its Pods as a whole, or about one of them, of which there may be ten thousand.
    for name in (group.name, *(pod.name for pod in pods)) if observed.failures else ():
        if failure := observed.failures.get(ObjectRef(POD.kind, name)):
            return failure.problem
    staying = [pod for pod in live(pods) if not leaving(pod, observed)]
    _, old = rollout.split(group, staying)
    if (old or len(staying) > group.replicas) and (stuck := _cannot_shrink(staying, observed, now)):
        return stuck
    failing = ((pod.name, problem(pod, now) or _waits(pod, now)) for pod in pods)
    return next((Problem(broken.reason, f"{name}: {broken.message}") for name, broken in failing if broken), None)


def _waits(pod: Pod, now: float) -> Problem | None:
    """That a worker has ended well, too soon to be replaced at once."""
    if pod.deleting or pod.phase != "Succeeded" or now >= replacement.due(pod):
        return None
    why = "look at its log, at --lifetime and --death-timeout; it is replaced after a pause"
    return Problem("WorkerEndedEarly", f"ended without an error soon after its start, as those before it: {why}")


def _cannot_shrink(staying: Sequence[Pod], observed: Observed, now: float) -> Problem | None:
    if observed.survey and observed.survey.problem:
        return observed.survey.problem
    if observed.survey and (unnamed := _unnamed(staying, observed.survey, observed)):
        return unnamed
    # For as long as it takes to be refused again.
    refused = (pod.name for pod in staying if now < observed.refused.get(pod.uid, -_SAID_FOR) + _SAID_FOR)
    if not (name := next(refused, "")):
        return None
    why = "holds data that the scheduler cannot move to another worker, so it is kept; it is tried again"
    return Problem("RetirementRefused", f"worker {name} {why}")


def _unnamed(staying: Sequence[Pod], survey: Survey, observed: Observed) -> Problem | None:
    """That Pods stay because the scheduler knows workers of which nothing says in which Pod they are."""
    everyone = live(observed.pods)
    unmatched = victims.unmatched(everyone, survey)
    known = victims.registered(everyone, survey) if unmatched else {}
    if not unmatched or all(pod.uid in known or pod.phase != "Running" for pod in staying):
        return None
    listed = ", ".join(f'"{worker.name}" at {worker.address}' for worker in unmatched[:_NAMED])
    more = f" and {len(unmatched) - _NAMED} more" if len(unmatched) > _NAMED else ""
    why = "so the Pods that may be theirs are kept; start each worker with --name $(DASK_WORKER_NAME)"
    return Problem(
        "WorkerNotNamed", f"the scheduler has workers without the names of their Pods: {listed}{more}; {why}"
    )
