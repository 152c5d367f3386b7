"""A DaskJob: its cluster, its program in a runner Pod, and what becomes of both.

What has been decided stands in the status before anything is deleted because of it; a job that has ended is never
started again. A job's program is its runner's first container: what runs beside it neither keeps the job nor fails it.
A runner fails when the program or an init container ends with an error, when its Pod does, or when its Pod is lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dask_operator import build, names
from dask_operator.actions import Action, Create, Delete, RecordEvent, RequeueAt, SetStatus
from dask_operator.backoff import doubling
from dask_operator.model import Cluster, Job, Json, ObjectRef, Observed, Pod, Problem
from dask_operator.parse import rfc3339, timestamp
from dask_operator.plan.report.conditions import DEGRADED, Condition, by_type, degraded, rendered, write
from dask_operator.plan.report.problems import cluster_problem
from dask_operator.plan.report.status import JOB_INTERVAL
from dask_operator.plan.report.unread import plan_unread
from dask_operator.plan.view import ENDED, owned, problem, scheduler_pod, status, unless_blocked
from dask_operator.resources import CLUSTER, JOB, POD

CREATED, CLUSTER_CREATED, RUNNING = "JobCreated", "ClusterCreated", "Running"
SUCCESSFUL, FAILED = "Successful", "Failed"
_FIRST_PAUSE = 10.0
_LONGEST_PAUSE = 360.0
_ENDING = 30.0
"""Seconds in which the Pod of a program that has ended is to end, with what else runs in it."""


@dataclass(frozen=True, slots=True)
class _Situation:
    """A job at one moment. `runner`: its Pod, unless that is being deleted; `failed`: how many runners have failed.

    `cluster`: its own; `namesake`: one that somebody else made.
    """

    job: Job
    cluster: Cluster | None
    namesake: Cluster | None
    runner: Pod | None
    status: Json
    failed: int
    observed: Observed
    now: float


@dataclass(frozen=True, slots=True)
class _End:
    """How a job ended: `Successful` or `Failed`, why, and when."""

    phase: str
    problem: Problem
    at: float


def plan_job(job: Job, cluster: Cluster | None, observed: Observed, now: float) -> Iterator[Action]:
    if job.deleting:
        return
    if job.unread:
        yield from plan_unread(JOB.kind, job, observed, now)
        return
    at = _situation(job, cluster, observed, now)
    if at.status.get("jobStatus") in (SUCCESSFUL, FAILED):
        yield from _acknowledge(at)
        yield from _clean_up(at)
        return
    end = _end(at)
    yield from _write_status(at, end)
    if not end:
        yield from _run(at)


def _situation(job: Job, cluster: Cluster | None, observed: Observed, now: float) -> _Situation:
    known = status(job, JOB.kind, observed)
    runner = next((pod for pod in _runners(job, observed) if not pod.deleting), None)
    # One of the same name that somebody made is not taken over: it would go with the job.
    ours = cluster if cluster and job.uid in cluster.owners else None
    namesake = None if ours else cluster
    return _Situation(job, ours, namesake, runner, known, _failed(known, runner, observed, job), observed, now)


def _runners(job: Job, observed: Observed) -> Iterator[Pod]:
    return (pod for pod in observed.pods if pod.component == names.JOB_RUNNER and job.uid in pod.owners)


def _failed(known: Json, runner: Pod | None, observed: Observed, job: Job) -> int:
    """How many times the program has failed, or its Pod was lost."""
    noted = known.get("failed")
    before = noted if isinstance(noted, int) else 0
    if runner:
        return max(before, runner.attempt + max(runner.failures, runner.phase == "Failed"))
    # One whose name is in the status was there; one that failed has been taken out of it before it is deleted.
    lost = bool(known.get("jobRunnerPodName")) and not any(_runners(job, observed))
    return before + lost


def _end(at: _Situation) -> _End | None:
    # Also one that ends well while its node is being drained.
    for runner in _runners(at.job, at.observed):
        if runner.phase == "Succeeded":
            return _End(SUCCESSFUL, Problem("Completed", "the program ended with success"), runner.finished or at.now)
    if at.failed > _failures_borne(at.job):
        return _End(FAILED, _exhausted(at), at.now)
    deadline = _deadline(at.job)
    if deadline is not None and at.now >= deadline:
        message = f"the job was to end within {at.job.deadline:.0f} s of its creation (activeDeadlineSeconds)"
        return _End(FAILED, Problem("DeadlineExceeded", message), at.now)
    return None


def _failures_borne(job: Job) -> float:
    if job.backoff_limit is not None:
        return job.backoff_limit
    return 0 if job.restart_policy == "Never" else float("inf")


def _last(at: _Situation) -> str:
    """How the last runner failed."""
    if not at.runner:
        return "its Pod was deleted, or its node is gone"
    last = at.runner.problem
    return f"{last.reason}: {last.message}" if last else at.runner.ending or "its program failed"


def _exhausted(at: _Situation) -> Problem:
    why = _last(at)
    if at.job.backoff_limit is not None:
        times = f"failed {at.failed} times, more than backoffLimit {at.job.backoff_limit} allows"
        return Problem("BackoffLimitExceeded", f"the runner {times}; the last time: {why}")
    if at.runner:
        return Problem("RunnerFailed", f"the runner is not to be restarted (restartPolicy Never): {why}")
    return Problem("RunnerLost", f"the runner is not to be restarted (restartPolicy Never): {why}")


def _deadline(job: Job) -> float | None:
    return job.created + job.deadline if job.deadline is not None else None


def _run(at: _Situation) -> Iterator[Action]:
    if (deadline := _deadline(at.job)) is not None:
        yield RequeueAt(deadline, because="activeDeadlineSeconds")
    if at.cluster and at.cluster.unread:
        return
    if not at.cluster:
        if at.namesake:
            return
        subject = ObjectRef(CLUSTER.kind, at.job.name)
        create = Create(build.job_cluster(at.job), subject, because="the job has no cluster")
        yield unless_blocked(create, at.observed, at.now)
    elif at.runner and at.runner.phase == "Failed":
        yield from _retry(at, at.runner)
    elif not any(_runners(at.job, at.observed)) and at.now < (due := _next_try(at)):
        yield RequeueAt(due, because=f"the runner failed {at.failed} times")
    elif not any(_runners(at.job, at.observed)) and _scheduler_is_ready(at):
        attempt = f", after {at.failed} failures" if at.failed else ""
        create = Create(
            build.runner(at.job, at.cluster, at.failed), _runner(at.job), f"the scheduler is ready{attempt}"
        )
        yield unless_blocked(create, at.observed, at.now)


def _scheduler_is_ready(at: _Situation) -> bool:
    # A program that is started before gives up after some time, and would use up its attempts.
    scheduler = scheduler_pod(at.observed)
    return bool(scheduler and scheduler.ready and at.observed.service)


def _next_try(at: _Situation) -> float:
    """When another runner may come for one that is gone: at once the first time."""
    if at.failed <= 1:
        return at.now
    return timestamp(_last_failure(at) or "") + doubling(_FIRST_PAUSE, at.failed - 1, _LONGEST_PAUSE)


def _last_failure(at: _Situation) -> str | None:
    noted = at.status.get("lastFailureTime")
    return rfc3339(at.now) if at.failed != at.status.get("failed", 0) else str(noted) if noted else None


def _retry(at: _Situation, runner: Pod) -> Iterator[Action]:
    due = (runner.finished or runner.created) + doubling(_FIRST_PAUSE, at.failed, _LONGEST_PAUSE)
    if at.now < due:
        yield RequeueAt(due, because=f"the runner failed {at.failed} times")
    elif at.status.get("failed") == at.failed and not at.status.get("jobRunnerPodName"):
        delete = Delete(runner.name, runner.uid, _runner(at.job), because="failed, and is tried again")
        yield unless_blocked(delete, at.observed, at.now)


def _acknowledge(at: _Situation) -> Iterator[Action]:
    """That an edit of a job that has ended has been seen, though nothing comes of it."""
    if "observedGeneration" not in at.status:
        return  # it ended under an older operator, which said nothing of the kind
    wanted = {**at.status, "observedGeneration": at.job.generation}
    set_status = SetStatus(ObjectRef(JOB.kind, at.job.name), wanted, because="edited after its end")
    yield from write(set_status, at.job, at.observed, at.now, JOB_INTERVAL, awaited=True)


def _clean_up(at: _Situation) -> Iterator[Action]:
    if at.cluster and not at.cluster.deleting:
        subject = ObjectRef(CLUSTER.kind, at.cluster.name)
        yield unless_blocked(
            Delete(at.cluster.name, at.cluster.uid, subject, because="its job has ended"), at.observed, at.now
        )
    if at.runner and (at.runner.lingering or at.runner.phase not in ENDED):
        yield _stop(at, at.runner)
    if at.job.ttl is None:
        return
    due = timestamp(str(at.status.get("endTime"))) + at.job.ttl
    if at.now < due:
        yield RequeueAt(due, because="ttlSecondsAfterFinished")
        return
    subject = ObjectRef(JOB.kind, at.job.name)
    because = f"ended more than {at.job.ttl:.0f} s ago (ttlSecondsAfterFinished)"
    yield unless_blocked(Delete(at.job.name, at.job.uid, subject, because), at.observed, at.now)


def _stop(at: _Situation, runner: Pod) -> Action:
    """Deletes a runner that goes on; one that ends by itself is left, so that its log can be read."""
    ended = runner.finished + _ENDING
    ending = runner.lingering or (at.job.restart_policy == "Never" and runner.failures)
    if ending and at.now < ended:
        return RequeueAt(ended, because="the program has ended, and its Pod is to end as well")
    because = "its job has ended" + (", and other containers of its Pod have not" if runner.lingering else "")
    return unless_blocked(Delete(runner.name, runner.uid, _runner(at.job), because), at.observed, at.now)


def _write_status(at: _Situation, end: _End | None) -> Iterator[Action]:
    wanted = _status(at, end)
    subject, phase = ObjectRef(JOB.kind, at.job.name), wanted["jobStatus"]
    # To be read before the Pod of a failed runner may go.
    noted = wanted["failed"] != at.status.get("failed", 0)
    awaited = noted or (phase in (RUNNING, SUCCESSFUL, FAILED) and phase != at.status.get("jobStatus"))
    # One that is lost is known to have been there by its name in the status.
    another = bool(at.status.get("startTime")) and wanted["jobRunnerPodName"] != at.status.get("jobRunnerPodName")
    awaited = awaited or another or _has_changed_health(at.status, wanted)
    set_status = SetStatus(subject, wanted, because=phase)
    written = tuple(write(set_status, at.job, at.observed, at.now, JOB_INTERVAL, awaited=awaited))
    yield from written
    if set_status not in written:
        return
    # Success is in the status, where who waits for it looks; an Event more would be a write more for every job.
    if end and end.phase == FAILED:
        yield RecordEvent(subject, at.job.uid, "Warning", *end.problem)
    elif noted and not end:
        yield RecordEvent(
            subject, at.job.uid, "Warning", "RunnerFailed", f"failure {at.failed}, tried again: {_last(at)}"
        )


def _has_changed_health(old: Json, new: Json) -> bool:
    before = str(by_type(old).get(DEGRADED, {}).get("reason", "AsExpected"))
    return before != str(by_type(new)[DEGRADED]["reason"])


def _status(at: _Situation, end: _End | None) -> dict[str, Any]:
    # One that failed is taken out before it is deleted, so that it is not taken for lost.
    there = any(end or runner.phase != "Failed" for runner in _runners(at.job, at.observed))
    started = at.status.get("startTime") or _started(at)
    return {
        "jobStatus": end.phase if end else _phase(at, started),
        "clusterName": at.job.name if at.cluster or at.status.get("clusterName") else None,
        "jobRunnerPodName": names.runner(at.job.name) if there else None,
        "startTime": started,
        "endTime": rfc3339(end.at) if end else None,
        "failed": at.failed,
        "lastFailureTime": _last_failure(at),
        "observedGeneration": at.job.generation,
        "conditions": rendered(at.job, at.status, _conditions(at, end), at.now),
    }


def _started(at: _Situation) -> str | None:
    has_run = at.runner and at.runner.phase in ("Running", "Succeeded", "Failed") and at.runner.started
    return rfc3339(at.runner.started) if at.runner and has_run else None


def _phase(at: _Situation, started: str | None) -> str:
    if started:
        return RUNNING
    return CLUSTER_CREATED if at.cluster else CREATED


def _conditions(at: _Situation, end: _End | None) -> Iterator[Condition]:
    for type_, phase in (("Complete", SUCCESSFUL), ("Failed", FAILED)):
        unfinished = Problem("Unfinished", "the job has not ended yet")
        why = end.problem if end else unfinished
        yield Condition(type_, bool(end and end.phase == phase), *why)
    yield degraded(None if end else _problem(at))


def _problem(at: _Situation) -> Problem | None:
    """What keeps the job from running, or from running well."""
    if at.namesake:
        message = f"DaskCluster {at.namesake.name} exists and was not made for this job: delete or rename one of them"
        return Problem("NameTaken", message)
    if any(pod.deleting and pod.phase == "Running" for pod in _runners(at.job, at.observed)):
        message = f"Pod {names.runner(at.job.name)} is being deleted, and another can come only when it is gone"
        return Problem("RunnerTerminating", f"{message}; if its node is dead, delete it with --force")
    for subject in (ObjectRef(CLUSTER.kind, at.job.name), _runner(at.job)):
        if failure := at.observed.failures.get(subject):
            return failure.problem
    if at.runner and (broken := problem(at.runner, at.now)):
        return Problem(broken.reason, f"runner {at.runner.name}: {broken.message}")
    if not at.cluster:
        return None
    groups = [group for group in at.observed.groups if owned(group, at.cluster)]
    return cluster_problem(at.cluster, groups, at.observed, at.now)


def _runner(job: Job) -> ObjectRef:
    return ObjectRef(POD.kind, names.runner(job.name))
