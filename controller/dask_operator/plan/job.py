"""A DaskJob: creates its cluster, runs its program in a runner Pod, and cleans up after both.

A decision is written to the status before anything is deleted because of it, and a job that has ended never starts
again. A job's program is the first container of its runner: containers beside it neither keep the job running nor fail
it. A runner fails when the program or an init container ends with an error, when its Pod fails, or when its Pod is
lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dask_operator import manifests, names
from dask_operator.actions import Action, Create, Delete, Patch, RecordEvent, RequeueAt, SetStatus
from dask_operator.backoff import Backoff
from dask_operator.model import Cluster, Job, JobStatus, Json, ObjectRef, Observed, Pod, Problem
from dask_operator.parse import job_status, may_have_passed, rfc3339, timestamp
from dask_operator.plan.ownership import children
from dask_operator.plan.report import ready
from dask_operator.plan.report.conditions import (
    DEGRADED,
    SUSPENDED,
    Condition,
    as_said,
    by_type,
    degraded,
    is_true,
    rendered,
    write,
)
from dask_operator.plan.report.problems import cluster_problem
from dask_operator.plan.report.status import INVALID, JOB_INTERVAL
from dask_operator.plan.report.suspended import is_suspended, reason_of, set_true
from dask_operator.plan.report.unread import plan_unread
from dask_operator.plan.view import ENDED, View, problem, status, unless_blocked
from dask_operator.plan.workers import replacement
from dask_operator.resources import CLUSTER, JOB, POD

CREATED, CLUSTER_CREATED, RUNNING = "JobCreated", "ClusterCreated", "Running"
SUCCESSFUL, FAILED = "Successful", "Failed"
_PAUSE = Backoff(first=10.0, longest=360.0)
_TRIES = 6
"""Refusals after which a job ends: about a minute."""
_NOTED_WITHIN = 60.0
_ENDING = 30.0
"""Seconds that a Pod gets to end after its program has ended, with the other containers in it."""


@dataclass(frozen=True, slots=True)
class _JobView:
    """A job at one moment.

    `cluster`: the cluster that was made for the job; `namesake`: a cluster of the same name that somebody else made.
    `runners`: the job's Pods; `runner`: the one that is not being deleted. `failed`: how many runners have failed.
    """

    job: Job
    view: View | None
    cluster: Cluster | None
    namesake: Cluster | None
    runners: Sequence[Pod]
    runner: Pod | None
    status: JobStatus
    failed: int
    observed: Observed
    now: float


@dataclass(frozen=True, slots=True)
class _End:
    """The end of a job: `Successful` or `Failed`, why, and when."""

    phase: str
    problem: Problem
    at: float


def plan_job(job: Job, view: View | None, observed: Observed, now: float) -> Iterator[Action]:
    """Bring a job closer to its end. `view`: the cluster of the job's name, None if there is none."""
    if job.deleting:
        return
    if job.unread:
        yield from plan_unread(JOB.kind, job, observed, now)
        return
    state = _job_view(job, view, observed, now)
    if state.status.phase in (SUCCESSFUL, FAILED):
        yield from _acknowledge(state)
        yield from _note_again(state)
        yield from _clean_up(state)
        return
    end = _end_before_restore(state) or _end(state)
    yield from _write_status(state, end)
    if not end:
        yield from _suspend(state) if _is_suspended(state) else _run(state)


def _job_view(job: Job, view: View | None, observed: Observed, now: float) -> _JobView:
    known = job_status(status(job, JOB.kind, observed))
    runners = [pod for pod in observed.pods if pod.component == names.JOB_RUNNER and job.uid in pod.owners]
    runner = next((pod for pod in runners if not pod.deleting), None)
    cluster = view.cluster if view else None
    # A cluster of the same name that somebody else made is not taken over, because it would be deleted with the job.
    ours = cluster if cluster and job.uid in cluster.owners else None
    return _JobView(
        job,
        view,
        cluster=ours,
        namesake=None if ours else cluster,
        runners=runners,
        runner=runner,
        status=known,
        # Whatever a suspension does to the runner is no failure of its program.
        failed=known.failed if job.suspended or _is_said_suspended(known) else _failed(known, runner, runners),
        observed=observed,
        now=now,
    )


def _failed(known: JobStatus, runner: Pod | None, runners: Sequence[Pod]) -> int:
    """Return how many times the program has failed or its Pod was lost."""
    if runner:
        return max(known.failed, runner.attempt + max(runner.failures, runner.phase == "Failed"))
    # A Pod whose name is in the status existed; the name of a failed Pod is removed before the Pod is deleted.
    return known.failed + (bool(known.runner) and not runners)


def _end(state: _JobView) -> _End | None:
    # A runner that is being deleted may succeed too, as when its node is drained.
    for runner in state.runners:
        if runner.phase == "Succeeded":
            return _End(
                SUCCESSFUL, Problem("Completed", "the program ended with success"), runner.finished or state.now
            )
    if state.failed > _failures_borne(state.job):
        return _End(FAILED, _exhausted(state), state.now)
    if refused := _refused_for_good(state):
        return _End(FAILED, Problem("InvalidSpec", refused.message), state.now)
    deadline = _deadline(state)
    if deadline is not None and state.now >= deadline:
        of = "the end of its suspension" if _resumed_at(state) else "its creation"
        message = f"the job did not finish within {state.job.deadline:.0f} s of {of} (activeDeadlineSeconds)"
        return _End(FAILED, Problem("DeadlineExceeded", message), state.now)
    return None


def _note(job: Job, phase: str, end_time: str) -> str:
    """Return the note of a job's end, which tells a job that is restored from one that its user has edited."""
    return f"{phase} {end_time} {job.name}-{job.runner.hash}-{job.cluster.hash}"


def _patch(job: Job, note: str) -> Patch:
    body = {"metadata": {"annotations": {names.ENDED_ANNOTATION: note}}}
    return Patch(ObjectRef(JOB.kind, job.name), body, because="a backup has no status")


def _note_again(state: _JobView) -> Iterator[Action]:
    """Note the end of a job if a controller was killed before it could. Whoever removes the note later wants it so."""
    if not state.job.ended and state.now < timestamp(state.status.end_time) + _NOTED_WITHIN:
        patch = _patch(state.job, _note(state.job, state.status.phase, state.status.end_time))
        yield unless_blocked(patch, state.observed, state.now)


def _end_before_restore(state: _JobView) -> _End | None:
    """Return the end of a job that ended before it was restored from a backup."""
    phase, _, rest = state.job.ended.partition(" ")
    end_time = rest.partition(" ")[0]
    known = timestamp(end_time) and state.job.ended == _note(state.job, phase, end_time)
    if state.status.phase or phase not in (SUCCESSFUL, FAILED) or not known:
        return None
    message = f"the job had ended when it was backed up; to run it again, create it without {names.ENDED_ANNOTATION}"
    return _End(phase, Problem("EndedBeforeRestore", message), timestamp(end_time))


def _refused_for_good(state: _JobView) -> Problem | None:
    """Return why the API server keeps refusing the job's cluster or its runner as invalid, before the job has run."""
    if state.runners or state.status.start_time:
        return None
    refs = [ObjectRef(CLUSTER.kind, state.job.name), _runner(state.job)]
    refs += children.refs(state.cluster) if state.cluster else []
    failures = filter(None, map(state.observed.failures.get, refs))
    # Some refusals pass, such as that of a port that another Service is about to give back.
    lasting = (failure.problem for failure in failures if failure.attempts >= _TRIES)
    return next((problem for problem in lasting if problem.reason in INVALID), None)


def _failures_borne(job: Job) -> float:
    if job.backoff_limit is not None:
        return job.backoff_limit
    return 0 if job.restart_policy == "Never" else float("inf")


def _last(state: _JobView) -> str:
    """Return how the last runner failed."""
    if not state.runner:
        return "its Pod was deleted, or its node is gone"
    last = state.runner.problem if not state.runner.problem_from else None
    return f"{last.reason}: {last.message}" if last else state.runner.ending or "its program failed"


def _exhausted(state: _JobView) -> Problem:
    why = _last(state)
    if state.job.backoff_limit is not None:
        times = f"failed {state.failed} times, more than backoffLimit {state.job.backoff_limit} allows"
        return Problem("BackoffLimitExceeded", f"the runner {times}; the last time: {why}")
    if state.runner:
        return Problem("RunnerFailed", f"the runner failed, and restartPolicy Never forbids a retry: {why}")
    return Problem("RunnerLost", f"the runner failed, and restartPolicy Never forbids a retry: {why}")


def _deadline(state: _JobView) -> float | None:
    # While the status says that the job is suspended, the time of its end is not written down yet.
    if state.job.deadline is None or state.job.suspended or _is_said_suspended(state.status):
        return None
    return (_resumed_at(state) or state.job.created) + state.job.deadline


def _is_said_suspended(known: JobStatus) -> bool:
    return is_true(by_type(known.raw), SUSPENDED)


def _resumed_at(state: _JobView) -> float:
    """Return when the job's last suspension ended; 0.0 if there was none, or if it lasts."""
    said = by_type(state.status.raw).get(SUSPENDED, {})
    return timestamp(str(said.get("lastTransitionTime"))) if said.get("status") == "False" else 0.0


def _is_suspended(state: _JobView) -> bool:
    """Return whether a job is to have no Pods, or its status has not said yet that it was resumed."""
    return state.job.suspended or _is_said_suspended(state.status)


def _rests(state: _JobView) -> bool:
    """Return whether a job is to have no Pods, or has a runner from before it was resumed."""
    return state.job.suspended or (_is_said_suspended(state.status) and bool(state.runners))


def _suspend(state: _JobView) -> Iterator[Action]:
    """Delete the runner, once the status says that it has not failed, and suspend the job's cluster."""
    yield from _follow(state)
    if state.runner and _is_said_suspended(state.status) and not state.status.runner:
        delete = Delete(state.runner.name, state.runner.uid, _runner(state.job), because="the job is suspended")
        yield unless_blocked(delete, state.observed, state.now)


def _follow(state: _JobView) -> Iterator[Action]:
    """Create the job's cluster, or suspend and resume it with the job."""
    subject = ObjectRef(CLUSTER.kind, state.job.name)
    if not state.cluster and not state.namesake:
        create = Create(manifests.job_cluster_manifest(state.job), subject, because="the job has no cluster")
        yield unless_blocked(create, state.observed, state.now)
    elif state.cluster and not state.cluster.unread and state.cluster.suspended != state.job.suspended:
        because = f"the job is {'suspended' if state.job.suspended else 'not suspended'}"
        patch = Patch(subject, {"spec": {"suspend": state.job.suspended or None}}, because)
        yield unless_blocked(patch, state.observed, state.now)


def _run(state: _JobView) -> Iterator[Action]:
    if (deadline := _deadline(state)) is not None:
        yield RequeueAt(deadline, because="activeDeadlineSeconds")
    if state.runner and state.now < state.runner.problem_from:
        yield RequeueAt(state.runner.problem_from, because="the runner has not started yet")
    if state.cluster and state.cluster.unread:
        return
    yield from _follow(state)
    if not state.cluster or state.cluster.suspended:
        return
    if state.runner and state.runner.phase == "Failed":
        yield from _retry(state, state.runner)
    elif not state.runners and state.now < (due := _next_try(state)):
        yield RequeueAt(due, because=f"the runner failed {state.failed} times")
    elif not state.runners and _scheduler_is_ready(state):
        attempt = f", after {state.failed} failures" if state.failed else ""
        create = Create(
            manifests.runner_manifest(
                state.job, state.cluster, state.failed, state.view.service if state.view else None
            ),
            _runner(state.job),
            f"the scheduler is ready{attempt}",
        )
        yield unless_blocked(create, state.observed, state.now)


def _scheduler_is_ready(state: _JobView) -> bool:
    # A program that starts earlier gives up after some time, and would use up its attempts.
    view = state.view
    if not view or is_suspended(view):
        return False
    return bool(view.scheduler and view.scheduler.ready and state.observed.service)


def _next_try(state: _JobView) -> float:
    """Return when a runner that is gone may be replaced: at once the first time."""
    if state.failed <= 1:
        return state.now
    return timestamp(_last_failure(state) or "") + _PAUSE.after(state.failed - 1)


def _last_failure(state: _JobView) -> str | None:
    noted = state.status.last_failure_time
    if state.failed == state.status.failed and may_have_passed(timestamp(noted), state.now):
        return noted or None
    return rfc3339(state.now)


def _retry(state: _JobView, runner: Pod) -> Iterator[Action]:
    due = replacement.ended(runner, state.now) + _PAUSE.after(state.failed)
    if state.now < due:
        yield RequeueAt(due, because=f"the runner failed {state.failed} times")
    elif state.status.failed == state.failed and not state.status.runner:
        delete = Delete(runner.name, runner.uid, _runner(state.job), because="failed, and is tried again")
        yield unless_blocked(delete, state.observed, state.now)


def _acknowledge(state: _JobView) -> Iterator[Action]:
    """Say that an edit of a job that has ended has been seen, although it has no effect."""
    if "observedGeneration" not in state.status.raw:
        return  # it ended under an older operator, which writes no generation
    wanted = {**state.status.raw, "observedGeneration": state.job.generation}
    set_status = SetStatus(ObjectRef(JOB.kind, state.job.name), wanted, because="edited after its end")
    yield from write(set_status, state.job, state.observed, state.now, JOB_INTERVAL, awaited=True)


def _clean_up(state: _JobView) -> Iterator[Action]:
    if state.cluster and not state.cluster.deleting:
        subject = ObjectRef(CLUSTER.kind, state.cluster.name)
        yield unless_blocked(
            Delete(state.cluster.name, state.cluster.uid, subject, because="its job has ended"),
            state.observed,
            state.now,
        )
    if state.runner and (state.runner.lingering or state.runner.phase not in ENDED):
        yield _stop(state, state.runner)
    if state.job.ttl is None:
        return
    due = timestamp(state.status.end_time) + state.job.ttl
    if state.now < due:
        yield RequeueAt(due, because="ttlSecondsAfterFinished")
        return
    subject = ObjectRef(JOB.kind, state.job.name)
    because = f"ended more than {state.job.ttl:.0f} s ago (ttlSecondsAfterFinished)"
    yield unless_blocked(Delete(state.job.name, state.job.uid, subject, because), state.observed, state.now)


def _stop(state: _JobView, runner: Pod) -> Action:
    """Delete a runner that goes on. One that ends by itself is kept, so that its log can be read."""
    ended = runner.finished + _ENDING
    ending = runner.lingering or (state.job.restart_policy == "Never" and runner.failures)
    if ending and state.now < ended:
        return RequeueAt(ended, because="the program has ended, and its Pod must end too")
    because = "its job has ended" + (", and other containers of its Pod have not" if runner.lingering else "")
    return unless_blocked(Delete(runner.name, runner.uid, _runner(state.job), because), state.observed, state.now)


def _write_status(state: _JobView, end: _End | None) -> Iterator[Action]:
    wanted = _status(state, end)
    subject, phase = ObjectRef(JOB.kind, state.job.name), wanted["jobStatus"]
    # The status has to say it before the Pod of a failed runner may be deleted.
    noted = wanted["failed"] != state.status.failed
    awaited = noted or (phase in (RUNNING, SUCCESSFUL, FAILED) and phase != state.status.phase)
    awaited = awaited or SUSPENDED in (phase, state.status.phase)
    # The name in the status is the only trace of a Pod that is lost.
    another = bool(state.status.start_time) and (wanted["jobRunnerPodName"] or "") != state.status.runner
    awaited = awaited or another or _has_changed_health(state.status.raw, wanted)
    set_status = SetStatus(subject, wanted, because=phase)
    written = tuple(write(set_status, state.job, state.observed, state.now, JOB_INTERVAL, awaited=awaited))
    yield from written
    yield from ready.plan_stall(state.job, wanted, state.now)
    if set_status not in written:
        return
    if end and state.job.ended != (note := _note(state.job, end.phase, rfc3339(end.at))):
        yield _patch(state.job, note)
    # The status says that a job succeeded; an Event as well would be one more write for every job.
    if end and end.phase == FAILED:
        yield RecordEvent(subject, state.job.uid, "Warning", *end.problem)
    elif noted and not end:
        yield RecordEvent(
            subject, state.job.uid, "Warning", "RunnerFailed", f"failure {state.failed}, retrying: {_last(state)}"
        )


def _has_changed_health(old: Json, new: Json) -> bool:
    before, after = by_type(old), by_type(new)
    stalls = (ready.STALLED in before) != (ready.STALLED in after)
    return stalls or str(before.get(DEGRADED, {}).get("reason", "AsExpected")) != str(after[DEGRADED]["reason"])


def _status(state: _JobView, end: _End | None) -> dict[str, Any]:
    # The name of a failed Pod is removed before the Pod is deleted, so that it does not count as lost.
    suspended = not end and _rests(state)
    there = not suspended and any(end or runner.phase != "Failed" for runner in state.runners)
    started = None if suspended else state.status.start_time or _started(state)
    return {
        "jobStatus": end.phase if end else SUSPENDED if suspended else _phase(state, started),
        "clusterName": state.job.name if state.cluster or state.status.cluster else None,
        "jobRunnerPodName": names.runner(state.job.name) if there else None,
        "startTime": started,
        "endTime": rfc3339(end.at) if end else None,
        "failed": state.failed,
        "lastFailureTime": _last_failure(state),
        "progress": None if suspended else _progress(state),
        "observedGeneration": state.job.generation,
        "conditions": rendered(state.job, state.status.raw, _conditions(state, end), state.now),
    }


def _progress(state: _JobView) -> Any:
    """Return how far the program is by its scheduler's last answer, and when that was first seen."""
    known, scheduler = state.observed.progress, state.view.scheduler if state.view else None
    said = state.status.raw.get("progress")
    if not known or not known.tasks or not any(known.tasks[:2]) or not scheduler or known.at < scheduler.started:
        return said
    done, left, workers = known.tasks
    before = said if isinstance(said, Mapping) and said.get("tasksDone") == done else {}
    since = before.get("lastProgressTime") or rfc3339(known.at)
    return {"tasksDone": done, "tasksTotal": done + left, "workers": workers, "lastProgressTime": since}


def _started(state: _JobView) -> str | None:
    has_run = state.runner and state.runner.phase in ("Running", "Succeeded", "Failed") and state.runner.started
    return rfc3339(state.runner.started) if state.runner and has_run else None


def _phase(state: _JobView, started: str | None) -> str:
    if started:
        return RUNNING
    return CLUSTER_CREATED if state.cluster else CREATED


def _conditions(state: _JobView, end: _End | None) -> Iterator[Condition]:
    for type_, phase in (("Complete", SUCCESSFUL), ("Failed", FAILED)):
        unfinished = Problem("Unfinished", "the job has not ended yet")
        why = end.problem if end else unfinished
        yield Condition(type_, bool(end and end.phase == phase), *why)
    if end:
        yield degraded(None)
        yield from ready.ended(end.problem if end.phase == FAILED else None)
    else:
        yield from _health(state)
    if not end and _rests(state):
        yield Condition(SUSPENDED, True, reason_of(state.job), _why_suspended(state))
    elif SUSPENDED in by_type(state.status.raw):
        over = ("Ended", "the job has ended") if end else ("Resumed", "spec.suspend is not true")
        yield Condition(SUSPENDED, False, *over)


def _why_suspended(state: _JobView) -> str:
    if not state.job.suspended:
        return "the job was resumed, and its program starts anew when the Pod from before is gone"
    why = state.job.waits or set_true(state.job.suspended_by)
    if state.runners:
        return f"{why}: the program ends, and the cluster with its results; when it is false, they start as new ones"
    if state.job.waits:
        return why
    return f"{why}: the job has no Pods; set it to false to start the cluster and the program as new ones"


def _health(state: _JobView) -> Iterator[Condition]:
    """Yield what a job that has not ended says about problems, and whether it runs."""
    own, old = _problem(state), state.status.raw
    problem = as_said(own or _cluster_problem(state), old)
    yield degraded(problem)
    if _rests(state):
        yield ready.suspended(_why_suspended(state))
        return
    # The program runs as soon as the scheduler is ready, whatever is wrong with workers.
    holds_up = problem if own or not _scheduler_is_ready(state) else None
    yield from ready.readiness(state.job, old, _missing(state), holds_up, state.now)


def _missing(state: _JobView) -> Problem | None:
    """Return what a job waits for whose program does not run."""
    if state.runner and state.runner.phase == "Running":
        return None
    if state.runner or state.runners:
        return Problem("RunnerStarting", f"Pod {names.runner(state.job.name)} does not run yet")
    if state.failed:
        return Problem("RunnerFailed", f"the runner failed {state.failed} times, and is tried again after a pause")
    if not state.cluster:
        return Problem("ClusterMissing", "the job has no DaskCluster yet")
    return Problem("SchedulerStarting", "the runner starts when the scheduler is ready")


def _problem(state: _JobView) -> Problem | None:
    """Return what is wrong with the job itself, and keeps it from running."""
    if state.namesake:
        message = (
            f"DaskCluster {state.namesake.name} exists and was not made for this job: delete or rename one of them"
        )
        return Problem("NameTaken", message)
    if not state.job.suspended and any(pod.deleting and pod.phase == "Running" for pod in state.runners):
        message = f"Pod {names.runner(state.job.name)} is being deleted, and a new Pod must wait until it is gone"
        return Problem("RunnerTerminating", f"{message}; if its node is dead, delete it with --force")
    for subject in (ObjectRef(CLUSTER.kind, state.job.name), _runner(state.job)):
        if failure := state.observed.failures.get(subject):
            return failure.problem
    if state.runner and (broken := problem(state.runner, state.now)):
        return Problem(broken.reason, f"runner {state.runner.name}: {broken.message}")
    return None


def _cluster_problem(state: _JobView) -> Problem | None:
    return cluster_problem(state.view, state.now) if state.view and state.cluster else None


def _runner(job: Job) -> ObjectRef:
    return ObjectRef(POD.kind, names.runner(job.name))
