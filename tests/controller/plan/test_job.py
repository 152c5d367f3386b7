from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from tests.support.builders import (
    NOON,
    NOON_TEXT,
    RUNNER_SPEC,
    a_cluster,
    a_failed_runner,
    a_failure,
    a_job,
    a_pending_pod,
    a_runner_pod,
    a_scheduler_pod,
    changes,
    condition,
    raw_cluster,
    raw_job,
    seen,
    statuses,
)
from tests.support.world import World

from dask_operator import manifests, names
from dask_operator.actions import Action, Create, Delete, Patch, RecordEvent, RequeueAt, SetStatus
from dask_operator.model import Cluster, Failure, Job, ObjectRef, Observed, Pod, Problem, Written
from dask_operator.parse import rfc3339
from dask_operator.plan.job import plan_job
from dask_operator.plan.report.conditions import by_type
from dask_operator.plan.report.status import JOB_INTERVAL as INTERVAL
from dask_operator.plan.view import View

OURS = a_cluster(owners=("uid-of-job-simple",), job="simple")
THE_JOB, THE_RUNNER = ObjectRef("DaskJob", "simple"), ObjectRef("Pod", "simple-runner")
THE_CLUSTER = ObjectRef("DaskCluster", "simple")
HOUR = 3600.0


def _planned(job: Job, observed: Observed, cluster: Cluster | None = OURS, now: float = NOON) -> list[Action]:
    view = View.of(cluster, observed) if cluster else None
    return list(plan_job(job, view, observed, now))


def _status(job: Job, observed: Observed, cluster: Cluster | None = OURS, now: float = NOON) -> Mapping[str, Any]:
    return statuses(_planned(job, observed, cluster, now))["DaskJob/simple"]


def _creates(actions: Sequence[Action], kind: str) -> list[Create]:
    return [action for action in actions if isinstance(action, Create) and action.manifest["kind"] == kind]


def _deletes(actions: Sequence[Action]) -> list[str]:
    return [f"{action.subject.kind}/{action.name}" for action in actions if isinstance(action, Delete)]


# One plan


def test_a_new_job_gets_its_cluster_and_no_runner() -> None:
    planned = _planned(a_job(), Observed(), cluster=None)
    assert Create(manifests.job_cluster_manifest(a_job()), THE_CLUSTER, "the job has no cluster") in planned
    assert _creates(planned, "Pod") == []


@pytest.mark.parametrize(
    "scheduler", [None, a_scheduler_pod(ready=False), a_scheduler_pod(phase="Pending", ready=False)]
)
def test_no_runner_starts_before_the_scheduler_is_ready(scheduler: Pod | None) -> None:
    assert _creates(_planned(a_job(), seen(0, scheduler=scheduler)), "Pod") == []


def test_a_runner_starts_when_the_scheduler_is_ready() -> None:
    (create,) = _creates(_planned(a_job(), seen(0)), "Pod")
    assert create == Create(manifests.runner_manifest(a_job(), OURS, 0), THE_RUNNER, "the scheduler is ready")


@pytest.mark.parametrize(
    ("pods", "cluster", "phase"),
    [
        ([], None, "JobCreated"),
        ([], OURS, "ClusterCreated"),
        ([a_runner_pod(phase="Pending", started=0.0)], OURS, "ClusterCreated"),
        ([a_runner_pod()], OURS, "Running"),
        ([a_runner_pod(phase="Succeeded", finished=NOON)], OURS, "Successful"),
        ([a_failed_runner()], OURS, "Running"),
    ],
)
def test_phases(pods: list[Pod], cluster: Cluster | None, phase: str) -> None:
    assert _status(a_job(), seen(pods), cluster)["jobStatus"] == phase


def test_the_status_of_a_job_that_has_succeeded() -> None:
    status = _status(a_job(), seen([a_runner_pod(phase="Succeeded", finished=NOON - 5.0)]))
    assert {key: value for key, value in status.items() if key != "conditions"} == {
        "jobStatus": "Successful",
        "clusterName": "simple",
        "jobRunnerPodName": "simple-runner",
        "startTime": "2026-01-01T11:50:00Z",
        "endTime": "2026-01-01T11:59:55Z",
        "failed": 0,
        "lastFailureTime": None,
        "progress": None,
        "observedGeneration": 1,
    }
    told = {each["type"]: (each["status"], each["reason"]) for each in status["conditions"]}
    assert told == {
        "Complete": ("True", "Completed"),
        "Failed": ("False", "Completed"),
        "Degraded": ("False", "AsExpected"),
        "Ready": ("True", "Ended"),
    }


@pytest.mark.parametrize(
    ("pods", "cluster", "reason"),
    [
        ([], None, "ClusterMissing"),
        ([a_scheduler_pod(ready=False)], OURS, "SchedulerStarting"),
        ([a_runner_pod(phase="Pending", started=0.0)], OURS, "RunnerStarting"),
        ([a_runner_pod()], OURS, "AsWanted"),
    ],
)
def test_a_job_is_ready_when_its_program_runs(pods: list[Pod], cluster: Cluster | None, reason: str) -> None:
    conditions = by_type(_status(a_job(), seen(pods, scheduler=None), cluster))
    ready = reason == "AsWanted"
    assert (conditions["Ready"]["status"], conditions["Ready"]["reason"]) == (str(ready), reason)
    assert ("Reconciling" in conditions) is not ready


def test_a_job_that_has_failed_needs_a_person() -> None:
    status = _status(a_job(runner_spec={"restartPolicy": "Never"}), seen([a_failed_runner()]))
    assert condition(status, "Ready")["status"] == "False"
    assert condition(status, "Stalled") == {**condition(status, "Failed"), "type": "Stalled"}


def test_that_a_job_has_stalled_is_written_at_once() -> None:
    no_room = Problem("Unschedulable", "0/3 nodes")
    nowhere = [a_runner_pod(phase="Pending", ready=False, started=0.0, problem=no_room)]
    status = _status(a_job(), seen(nowhere))
    written = {THE_JOB: Written(NOON + 599.0, status, a_job().uid)}
    later = statuses(_planned(a_job(status=status), seen(nowhere, written=written), now=NOON + 600.0))
    assert condition(later["DaskJob/simple"], "Stalled")["reason"] == "Unschedulable"


def test_what_is_wrong_with_workers_holds_up_no_program_that_may_start() -> None:
    worker = a_pending_pod(0, problem=Problem("ImagePullBackOff", "image x"))
    for scheduler, holds_up in ((a_scheduler_pod(), False), (None, True)):
        status = _status(a_job(), seen([worker], scheduler=scheduler))
        assert condition(status, "Degraded")["reason"] == "ImagePullBackOff"
        assert ("Stalled" in by_type(status)) is holds_up


@pytest.mark.parametrize(
    ("runner", "reasons"), [(a_runner_pod(phase="Succeeded"), []), (a_failed_runner(), ["RunnerFailed"])]
)
def test_an_event_is_for_the_end_that_somebody_should_look_at(runner: Pod, reasons: list[str]) -> None:
    planned = _planned(a_job(runner_spec={"restartPolicy": "Never"}), seen([runner]))
    assert [action.reason for action in planned if isinstance(action, RecordEvent)] == reasons


@pytest.mark.parametrize("phase", ["Successful", "Failed"])
def test_a_job_that_has_ended_never_starts_again(phase: str) -> None:
    job = a_job(status={"jobStatus": phase, "endTime": NOON_TEXT})
    for observed, cluster in ((Observed(), None), (seen(0), None), (seen(3), OURS)):
        planned = _planned(job, observed, cluster, NOON + HOUR)
        assert [action for action in planned if isinstance(action, Create | SetStatus)] == []


def test_a_runner_that_has_failed_may_say_so_before_its_pod_is_deleted() -> None:
    job = a_job(runner_spec={"restartPolicy": "Never"}, status={"jobStatus": "Failed", "endTime": NOON_TEXT})
    ending = a_runner_pod(phase="Running", failures=1, finished=NOON)
    assert _deletes(_planned(job, seen([ending]))) == ["DaskCluster/simple"]
    assert _deletes(_planned(job, seen([ending]), now=NOON + 60.0)) == ["DaskCluster/simple", "Pod/simple-runner"]
    again = a_job(runner_spec={"restartPolicy": "OnFailure"}, status=job.status)
    assert _deletes(_planned(again, seen([ending]))) == ["DaskCluster/simple", "Pod/simple-runner"]


def test_nothing_is_deleted_before_the_end_is_in_the_status() -> None:
    pods = [a_runner_pod(phase="Succeeded", finished=NOON)]
    planned = _planned(a_job(ttl=0.0), seen(pods))
    assert _deletes(planned) == []
    ended = a_job(ttl=0.0, status=statuses(planned)["DaskJob/simple"])
    assert _deletes(_planned(ended, seen(pods))) == ["DaskCluster/simple", "DaskJob/simple"]


def test_the_end_that_was_refused_is_written_later_and_nothing_is_deleted() -> None:
    pods = [a_runner_pod(phase="Succeeded", finished=NOON)]
    planned = _planned(a_job(), seen(pods, failures={THE_JOB: a_failure(until=NOON + 8.0)}))
    assert planned == [RequeueAt(NOON + 8.0, "the API server says Forbidden", holds=THE_JOB)]


def test_the_clusters_name_of_a_job_that_ends_stays_in_its_status() -> None:
    job = a_job(status={"clusterName": "simple"})
    assert _status(job, seen([a_runner_pod(phase="Succeeded")]), cluster=None)["clusterName"] == "simple"


def test_an_edit_of_a_job_that_has_ended_is_seen_and_changes_nothing() -> None:
    world = World(None)
    world.put(raw_job())
    world.settle()
    world.end("simple-runner", "Succeeded")
    world.settle()
    before = dict(world.status("DaskJob"))
    world.edit("DaskJob", "simple", backoffLimit=3)
    (written,) = changes(world.settle()) or statuses(world.done[-1:]).values()
    assert written == {**before, "observedGeneration": before["observedGeneration"] + 1}
    assert not [action for action in world.plan() if not isinstance(action, RequeueAt)]


def test_what_ended_remains_for_its_log_and_what_runs_goes() -> None:
    job = a_job(status={"jobStatus": "Failed", "endTime": NOON_TEXT})
    for pod, gone in ((a_failed_runner(), []), (a_runner_pod(), ["Pod/simple-runner"])):
        assert _deletes(_planned(job, seen([pod]), None)) == gone
    assert _deletes(_planned(job, seen([a_runner_pod(deleting=True)]), replace(OURS, deleting=True))) == []


def test_a_failure_in_the_future_comes_of_a_wrong_clock_and_holds_no_retry_up() -> None:
    status = {"jobStatus": "Running", "startTime": NOON_TEXT, "failed": 2, "lastFailureTime": rfc3339(NOON + HOUR)}
    job = a_job(backoff_limit=6, status=status)
    assert _status(job, seen(0))["lastFailureTime"] == NOON_TEXT
    runner = a_failed_runner(finished=NOON + HOUR, created=NOON - HOUR, attempt=1)
    assert _deletes(_planned(job, seen([runner]))) == ["Pod/simple-runner"]


@pytest.mark.parametrize(
    ("limit", "policy", "failures", "ended"),
    [
        (None, None, 1, False),
        (None, None, 99, False),
        (None, "OnFailure", 99, False),
        (None, "Never", 1, True),
        (0, None, 0, False),
        (0, None, 1, True),
        (0, "Never", 1, True),
        (1, None, 1, False),
        (1, "Never", 1, False),
        (1, None, 2, True),
        (5, "OnFailure", 5, False),
        (5, "OnFailure", 6, True),
    ],
)
def test_how_many_failures_are_borne(limit: int | None, policy: str | None, failures: int, ended: bool) -> None:
    job = a_job(backoff_limit=limit, runner_spec={"restartPolicy": policy})
    runner = a_runner_pod(failures=failures) if policy != "Never" else a_failed_runner(failures=failures)
    status = _status(job, seen([runner]))
    assert (status["jobStatus"] == "Failed", status["failed"]) == (ended, failures)


def test_restarts_in_place_and_pods_before_add_up() -> None:
    job = a_job(backoff_limit=3)
    assert _status(job, seen([a_runner_pod(attempt=2, failures=1)]))["failed"] == 3
    assert _status(job, seen([a_runner_pod(attempt=2, failures=2)]))["jobStatus"] == "Failed"


def test_a_deadline_counts_from_the_creation() -> None:
    job = a_job(deadline=900.0)
    assert RequeueAt(NOON + 300.0, "activeDeadlineSeconds") in _planned(job, seen([a_runner_pod()]))
    for observed, cluster in ((Observed(), None), (seen(0), OURS), (seen([a_runner_pod()]), OURS)):
        status = _status(job, observed, cluster, NOON + 300.0)
        assert condition(status, "Failed")["reason"] == "DeadlineExceeded"
        assert (status["jobStatus"], status["endTime"]) == ("Failed", "2026-01-01T12:05:00Z")


def test_a_job_that_ended_well_before_its_deadline_was_seen_is_no_failure() -> None:
    status = _status(a_job(deadline=1.0), seen([a_runner_pod(phase="Succeeded", finished=NOON)]))
    assert status["jobStatus"] == "Successful"


def test_an_end_is_an_event_and_its_status_comes_first() -> None:
    planned = _planned(a_job(backoff_limit=0), seen([a_failed_runner()]))
    assert [type(action) for action in planned] == [SetStatus, Patch, RecordEvent]
    (event,) = [action for action in planned if isinstance(action, RecordEvent)]
    assert (event.subject, event.type, event.reason) == (THE_JOB, "Warning", "BackoffLimitExceeded")
    assert "exit code 1" in event.message


def test_a_runner_that_does_not_start_is_looked_at_again_when_that_is_a_problem() -> None:
    creating = Problem("ContainerCreating", "node n has not set up its volumes")
    runner = a_runner_pod(phase="Pending", ready=False, problem=creating, problem_from=NOON + 45.0)
    assert RequeueAt(NOON + 45.0, "the runner has not started yet") in _planned(a_job(), seen([runner]))
    for later, reason in ((44.0, "AsExpected"), (45.0, "ContainerCreating")):
        status = _status(a_job(), seen([runner]), now=NOON + later)
        assert condition(status, "Degraded")["reason"] == reason


REFUSED = [
    ObjectRef("DaskCluster", "simple"),
    ObjectRef("Deployment", "simple-scheduler"),
    ObjectRef("Service", "simple-scheduler"),
    THE_RUNNER,
]


@pytest.mark.parametrize("refused", REFUSED)
def test_a_job_whose_parts_stay_refused_as_invalid_ends_and_says_why(refused: ObjectRef) -> None:
    observed = seen(0, failures={refused: a_failure("Invalid", attempts=6)})
    status = _status(a_job(), observed)
    told = condition(status, "Failed")
    assert (status["jobStatus"], told["reason"]) == ("Failed", "InvalidSpec")
    assert told["message"] == "the API server says Invalid"


@pytest.mark.parametrize(
    ("failure", "others", "job"),
    [
        (a_failure("Invalid", attempts=5), {}, {}),
        (a_failure("Forbidden", attempts=60), {}, {}),
        (a_failure("QuotaExceeded", attempts=60), {}, {}),
        (a_failure("Invalid", attempts=6), {"pods": [a_runner_pod()]}, {}),
        (a_failure("Invalid", attempts=6), {}, {"status": {"startTime": NOON_TEXT}}),
    ],
)
def test_a_job_that_may_still_run_does_not_end(failure: Failure, others: dict[str, Any], job: dict[str, Any]) -> None:
    observed = seen(others.get("pods", 0), failures={ObjectRef("Deployment", "simple-scheduler"): failure})
    assert _status(a_job(**job), observed)["jobStatus"] != "Failed"


def test_a_job_that_is_being_deleted_is_left_to_the_garbage_collector() -> None:
    assert _planned(a_job(deleting=True), Observed(), None) == []


def test_what_keeps_a_job_from_running_is_said() -> None:
    quota = Problem("QuotaExceeded", "no more than 3 pods")
    failures = {THE_RUNNER: replace(a_failure(), problem=quota)}
    status = _status(a_job(), seen(0, failures=failures))
    assert condition(status, "Degraded")["message"] == quota.message


def test_nothing_is_written_twice() -> None:
    for pods in ([], [a_runner_pod()]):
        first = _planned(a_job(), seen(pods))
        job = a_job(status=statuses(first)["DaskJob/simple"])
        for now in (NOON, NOON + INTERVAL, NOON + HOUR):
            assert statuses(_planned(job, seen(pods), now=now)) == {}


# Stories


def _job(*, settled: bool = True, **spec: Any) -> World:
    """Build a world with a job of three workers."""
    world = World(None)
    world.put(raw_job(**spec))
    if settled:
        world.settle()
    return world


def _runner(world: World) -> Pod:
    return next(pod for pod in world.observed().pods if pod.component == "job-runner")


def _ended(world: World, phase: str, failed: int) -> None:
    """Check an ended job: its end in the status, no cluster, nothing to do, and no more writes."""
    status = world.status("DaskJob")
    assert (status["jobStatus"], status["failed"]) == (phase, failed)
    assert status["endTime"]
    assert not world.has("DaskCluster", "simple")
    assert [name for name, times in world.names.items() if times > 1 and "worker" in name] == []
    before = world.writes()
    for later in (0.0, 60.0, HOUR):
        world.now += later
        assert world.plan() == ()
    world.restart_controller()
    world.settle()
    assert world.writes() == before
    assert status == world.status("DaskJob")


def test_a_job_that_succeeds() -> None:
    world = _job()
    assert world.status("DaskJob")["jobStatus"] == "Running"
    assert world.status("DaskJob")["jobRunnerPodName"] == "simple-runner"
    assert len(world.running()) == 3
    world.now += 100.0
    world.end("simple-runner", "Succeeded")
    world.settle()
    assert world.has("Pod", "simple-runner"), "its log can be read"
    _ended(world, "Successful", 0)


def test_the_runner_finds_its_cluster() -> None:
    world = _job(metadata={"annotations": {"hello": "world"}, "labels": {"team": "a"}})
    raw = world.raw("Pod", "simple-runner")
    env = {each["name"]: each["value"] for each in raw["spec"]["containers"][0]["env"]}
    assert env["DASK_SCHEDULER_ADDRESS"] == "tcp://simple-scheduler.default.svc:8786"
    assert raw["metadata"]["labels"]["dask.org/component"] == "job-runner"
    assert (raw["metadata"]["annotations"]["hello"], raw["metadata"]["labels"]["team"]) == ("world", "a")
    assert raw["spec"]["restartPolicy"] == "OnFailure"


@pytest.mark.parametrize(
    ("policy", "limit", "runners"), [("Never", 0, 1), ("Never", 1, 2), ("Never", 3, 4), ("Never", None, 1)]
)
@pytest.mark.parametrize("lingers", [0.0, 5.0])
def test_a_runner_that_fails_is_tried_again_until_its_limit(
    policy: str, limit: int | None, runners: int, lingers: float
) -> None:
    world = _job(runner={"restartPolicy": policy}, backoffLimit=limit)
    _fail_until_the_end(world, lingers)
    assert world.names["simple-runner"] == runners
    _ended(world, "Failed", runners)
    expected = "RunnerFailed" if limit is None else "BackoffLimitExceeded"
    assert condition(world.status("DaskJob"), "Failed")["reason"] == expected


def _fail_until_the_end(world: World, lingers: float) -> None:
    """Let every runner fail five seconds after its start; deleted objects stay for `lingers` seconds more."""
    gone: dict[str, float] = {}
    world.lingers = lambda pod: world.now < gone.setdefault(pod.uid, world.now) + lingers
    for _ in range(200):
        runner = next((pod for pod in world.observed().pods if pod.component == "job-runner"), None)
        if runner and runner.phase == "Running" and not runner.deleting and world.now >= runner.started + 5.0:
            world.end("simple-runner", "Failed")
        world.run(2.0)
        if world.status("DaskJob").get("jobStatus") == "Failed":
            world.run(10.0)
            return
    raise AssertionError("no end")


def test_the_pause_between_two_runners_doubles() -> None:
    world = _job(runner={"restartPolicy": "Never"}, backoffLimit=6)
    pauses = []
    for _ in range(6):
        world.end("simple-runner", "Failed")
        failed_at = world.now
        world.settle(HOUR)
        pauses.append(_runner(world).created - failed_at)
    assert pauses == [10.0, 20.0, 40.0, 80.0, 160.0, 320.0]


def test_restarts_in_place_count_for_the_limit() -> None:
    world = _job(backoffLimit=2)
    for failed in (1, 2):
        world.restart("simple-runner")
        world.settle()
        assert (world.status("DaskJob")["jobStatus"], world.status("DaskJob")["failed"]) == ("Running", failed)
    world.restart("simple-runner")
    world.settle()
    _ended(world, "Failed", 3)


def test_a_runner_that_is_lost_is_noticed_and_made_again() -> None:
    world = _job(backoffLimit=1)
    started = world.status("DaskJob")["startTime"]
    world.now += 30.0
    world.remove("Pod", "simple-runner")
    world.settle()
    assert world.status("DaskJob")["failed"] == 1
    assert world.status("DaskJob")["startTime"] == started
    assert world.running()
    assert _runner(world).attempt == 1
    world.now += 30.0
    world.remove("Pod", "simple-runner")
    world.settle()
    _ended(world, "Failed", 2)
    told = condition(world.status("DaskJob"), "Failed")
    assert (told["reason"], "node is gone" in told["message"]) == ("BackoffLimitExceeded", True)


def test_a_runner_that_is_lost_and_may_not_be_restarted_is_the_end() -> None:
    world = _job(runner={"restartPolicy": "Never"})
    world.remove("Pod", "simple-runner")
    world.settle()
    _ended(world, "Failed", 1)
    assert condition(world.status("DaskJob"), "Failed")["reason"] == "RunnerLost"


def test_a_runner_that_is_evicted_is_tried_again() -> None:
    world = _job()
    world.end("simple-runner", "Failed", reason="Evicted")
    world.settle(120.0)
    assert (world.status("DaskJob")["jobStatus"], world.status("DaskJob")["failed"]) == ("Running", 1)
    assert _runner(world).phase == "Running"


def test_a_runner_that_takes_long_to_go_is_one_failure_and_said() -> None:
    world = _job(backoffLimit=5)
    world.lingers = lambda pod: pod.component == "job-runner"
    world.delete("Pod", "simple-runner")
    world.run(600.0, 10.0)
    assert world.names["simple-runner"] == 1, "its name is taken"
    told = condition(world.status("DaskJob"), "Degraded")
    assert told["status"] == "True", "somebody must end the Pod of a dead node"
    assert "simple-runner" in told["message"]
    world.lingers = lambda _: False
    world.run(10.0)
    assert world.status("DaskJob")["failed"] == 1
    assert _runner(world).phase == "Running"


def test_a_program_that_ends_well_while_its_pod_is_being_deleted_has_succeeded() -> None:
    # As when its node is drained and it needs less than its grace period.
    world = _job()
    world.lingers = lambda pod: pod.component == "job-runner"
    world.delete("Pod", "simple-runner")
    world.settle(5.0)
    world.end("simple-runner", "Succeeded")
    world.settle(5.0)
    world.lingers = lambda _: False
    world.settle()
    assert world.names["simple-runner"] == 1
    _ended(world, "Successful", 0)


@pytest.mark.parametrize("ready", [True, False])
def test_a_deadline_ends_a_job_wherever_it_is(ready: bool) -> None:
    world = _job(settled=False, activeDeadlineSeconds=100)
    world.starts = lambda pod: ready or pod.component == "worker"
    world.settle()
    assert world.status("DaskJob")["jobStatus"] == ("Running" if ready else "ClusterCreated")
    world.settle(200.0)
    assert not world.has("Pod", "simple-runner")
    _ended(world, "Failed", 0)
    assert condition(world.status("DaskJob"), "Failed")["reason"] == "DeadlineExceeded"


def test_a_deadline_of_nothing() -> None:
    world = _job(activeDeadlineSeconds=0)
    world.settle()
    assert world.names["simple-runner"] == 0
    assert world.status("DaskJob")["jobStatus"] == "Failed"


@pytest.mark.parametrize("ttl", [0, 100])
def test_a_job_goes_some_time_after_its_end(ttl: int) -> None:
    world = _job(ttlSecondsAfterFinished=ttl)
    world.end("simple-runner", "Succeeded")
    ended = world.now
    world.settle(HOUR)
    assert world.now == ended + ttl
    assert not world.observed().pods
    assert not world.has("DaskJob", "simple")
    assert world.plan() == ()


def test_a_clusters_name_that_is_taken_is_said_and_harms_nobody() -> None:
    world = World(2)
    world.put(raw_job())
    world.run(300.0, 5.0)
    told = condition(world.status("DaskJob"), "Degraded")
    assert (told["status"], told["reason"]) == ("True", "NameTaken")
    assert world.status("DaskJob")["jobStatus"] == "JobCreated"
    assert world.names["simple-runner"] == 0, "no program runs on somebody else's cluster"
    assert len(world.running()) == 2
    asked = [action for action in world.done if isinstance(action, Create) and action.manifest["kind"] == "DaskCluster"]
    assert len(asked) <= 15, "not without end"


def test_a_clusters_name_that_is_taken_does_not_hold_up_that_cluster() -> None:
    world = World(2)
    world.put(raw_job())
    world.run(20.0)
    world.scale(5)
    world.run(5.0)
    assert world.status()["readyReplicas"] == 5, "the other cluster's status is not late"


def test_a_job_deleted_in_the_middle_takes_everything_along() -> None:
    world = _job()
    world.remove("DaskJob", "simple")
    world.settle()
    assert not world.observed().pods
    assert world.plan() == ()


def test_a_job_made_anew_under_its_name_runs_anew() -> None:
    world = _job()
    world.end("simple-runner", "Succeeded")
    world.settle()
    world.remove("DaskJob", "simple")
    world.put(raw_job(metadata={"uid": "uid-of-the-next"}))
    world.settle()
    assert world.status("DaskJob")["jobStatus"] == "Running"


def test_a_cluster_that_somebody_deletes_comes_back() -> None:
    world = _job()
    world.remove("DaskCluster", "simple")
    world.settle()
    assert len(world.running()) == 3
    assert world.status("DaskJob")["jobStatus"] == "Running"
    assert world.names["simple-runner"] == 1
    world.end("simple-runner", "Succeeded")
    world.settle()
    _ended(world, "Successful", 0)


def test_a_quota_that_stops_the_runner_is_said_and_lifts() -> None:
    world = _job(settled=False)
    quota = Problem("QuotaExceeded", "no more than 4 pods")
    world.refuses = lambda raw: quota if raw["metadata"]["name"] == "simple-runner" else None
    world.settle(120.0)
    assert condition(world.status("DaskJob"), "Degraded")["reason"] == "QuotaExceeded"
    world.refuses = lambda _: None
    world.settle(120.0)
    assert world.status("DaskJob")["jobStatus"] == "Running"
    assert condition(world.status("DaskJob"), "Degraded")["status"] == "False"


def test_a_job_costs_no_more_than_thirteen_writes() -> None:
    world = _job(settled=False)
    # As long as containers take: the scheduler before the workers, and the runner last.
    after = {"scheduler": 2.5, "worker": 4.0, "job-runner": 1.5}
    world.starts = lambda pod: world.now >= pod.created + after[pod.component]
    world.run(12.0, 0.5)
    assert _runner(world).phase == "Running"
    world.run(20.0, 0.5)
    world.end("simple-runner", "Succeeded")
    world.run(60.0, 0.5)
    writes = [_said(action) for action in world.done if isinstance(action, Create | Patch | Delete | SetStatus)]
    assert len(writes) == world.writes()
    assert world.writes() <= 13, writes
    _ended(world, "Successful", 0)


def _said(action: Create | Patch | Delete | SetStatus) -> str:
    return f"{type(action).__name__} {action.subject.kind} {action.because}"


# A backup, which has no status


def _restored(world: World, **spec: Any) -> World:
    """Build a world with the job of another one as a backup tool gives it back, and with an edited spec."""
    job = copy.deepcopy(world.raw("DaskJob", "simple"))
    restored = World(None)
    metadata = {"name": "simple", "annotations": job["metadata"]["annotations"]}
    restored.put(raw_job(metadata=metadata, **{**job["spec"], **spec}))
    return restored


def _job_that_succeeded() -> World:
    world = _job()
    world.end("simple-runner", "Succeeded")
    world.settle()
    return world


def test_a_job_that_had_ended_does_not_run_again_when_it_is_restored() -> None:
    before = _job_that_succeeded()
    world = _restored(before)
    world.settle()
    _ended(world, "Successful", 0)
    assert [action for action in world.done if isinstance(action, Create)] == []
    status = world.status("DaskJob")
    assert status["endTime"] == before.status("DaskJob")["endTime"]
    assert condition(status, "Complete")["reason"] == "EndedBeforeRestore"
    assert "create it without kubernetes.dask.org/ended" in condition(status, "Complete")["message"]


def test_a_job_that_had_failed_is_restored_as_failed() -> None:
    before = _job(backoffLimit=0, runner={"restartPolicy": "Never"})
    before.end("simple-runner", "Failed")
    before.settle()
    world = _restored(before)
    world.settle()
    _ended(world, "Failed", 0)


def test_a_job_that_is_edited_after_its_backup_runs() -> None:
    edited = {"job": {"spec": {"containers": [{"name": "job", "image": "dask:2"}]}}}
    world = _restored(_job_that_succeeded(), **edited)
    world.settle()
    assert _runner(world).phase == "Running"


def test_a_job_without_the_note_of_its_end_runs_again() -> None:
    before = _job_that_succeeded()
    del before.raw("DaskJob", "simple")["metadata"]["annotations"][names.ENDED_ANNOTATION]
    world = _restored(before)
    world.settle()
    assert _runner(world).phase == "Running"


def test_a_note_that_somebody_removes_is_not_written_again() -> None:
    world = _job_that_succeeded()
    world.now += 60.0
    del world.raw("DaskJob", "simple")["metadata"]["annotations"][names.ENDED_ANNOTATION]
    world.restart_controller()
    world.settle()
    assert names.ENDED_ANNOTATION not in world.raw("DaskJob", "simple")["metadata"]["annotations"]
    _ended(world, "Successful", 0)


def test_a_note_that_a_killed_controller_has_not_written_is_written_by_the_next() -> None:
    ended = {"jobStatus": "Successful", "endTime": NOON_TEXT}
    (patch,) = changes(_planned(a_job(status=ended), seen(0), None, NOON + 59.0))
    noted = patch.body["metadata"]["annotations"]["kubernetes.dask.org/ended"]  # type: ignore[call-overload, union-attr]
    assert noted.startswith(f"Successful {NOON_TEXT} simple-")
    assert not changes(_planned(a_job(status=ended, ended=noted), seen(0), None, NOON + 59.0))
    assert not changes(_planned(a_job(status=ended), seen(0), None, NOON + 60.0))


@pytest.mark.parametrize("note", ["", "Successful", "Successful now simple", "Running 2026-01-01T12:00:00Z x", "\n"])
def test_a_note_that_says_nothing_ends_no_job(note: str) -> None:
    assert changes(_planned(a_job(ended=note), Observed(), None))


# A controller that is killed anywhere


def _each_cut(story: str) -> list[tuple[str, int]]:
    return [(story, after) for after in range(30)]


def _play(story: str, killed_after: int | None) -> World:
    """Run a job's whole life; the controller is killed after so many actions, and another starts."""
    spec: dict[str, Any] = {"backoffLimit": 1, "runner": {"restartPolicy": "Never"}}
    world = _job(settled=False, **spec)
    left = -1 if killed_after is None else killed_after
    for _ in range(400):
        _, left = world.act(left)
        world.run_pods()
        _nothing_deleted_without_reason(world)
        world.now += 1.0
        runner = next((pod for pod in world.observed().pods if pod.component == "job-runner"), None)
        if runner and runner.phase == "Running" and world.now >= runner.started + 8.0:
            world.end("simple-runner", {"success": "Succeeded", "failure": "Failed", "lost": "Failed"}[story])
            if story == "lost":
                world.remove("Pod", "simple-runner")
    return world


def _nothing_deleted_without_reason(world: World) -> None:
    status = world.status("DaskJob")
    if not world.has("DaskCluster", "simple") and status.get("clusterName"):
        assert status["jobStatus"] in ("Successful", "Failed")


@pytest.mark.parametrize(("story", "killed_after"), [*_each_cut("success"), *_each_cut("failure"), *_each_cut("lost")])
def test_a_controller_that_is_killed_anywhere_ends_the_job_all_the_same(story: str, killed_after: int) -> None:
    world = _play(story, killed_after)
    runners, failed, phase = {"success": (1, 0, "Successful")}.get(story, (2, 2, "Failed"))
    assert world.names["simple-runner"] == runners
    _ended(world, phase, failed)


def test_a_foreign_cluster_is_never_the_jobs() -> None:
    world = World(None)
    world.put(raw_job())
    world.put(raw_cluster(metadata={"ownerReferences": [{"kind": "DaskJob", "name": "simple", "uid": "another"}]}))
    world.settle()
    assert not any(isinstance(action, Delete) for action in world.done)
    assert world.names["simple-runner"] == 0


def test_a_runner_that_is_lost_again_and_again_is_not_made_without_pause() -> None:
    # As by a program that deletes unknown objects.
    world = _job()
    for _ in range(600):
        if world.has("Pod", "simple-runner"):
            world.remove("Pod", "simple-runner")
        world.run(1.0)
    assert world.names["simple-runner"] <= 20, "in ten minutes"


def test_a_runner_that_is_always_restarted_has_succeeded_once_it_has_ended_well() -> None:
    world = _job(backoffLimit=0, runner={"restartPolicy": "Always"})
    raw = world.raw("Pod", "simple-runner")
    ended = {"exitCode": 0, "reason": "Completed", "finishedAt": rfc3339(world.now)}
    running = {"startedAt": "2026-01-01T12:00:00Z"}
    status = {"name": "job", "restartCount": 1, "state": {"running": running}, "lastState": {"terminated": ended}}
    raw["status"]["containerStatuses"] = [status]
    world.put(raw)
    world.settle()
    assert (world.status("DaskJob")["jobStatus"], world.status("DaskJob")["failed"]) == ("Successful", 0)


@pytest.mark.parametrize(("code", "phase"), [("Succeeded", "Successful"), ("Failed", "Failed")])
def test_a_job_ends_with_its_program_and_what_runs_beside_it_is_stopped(code: str, phase: str) -> None:
    proxy = {"name": "a-proxy", "image": "proxy"}
    world = _job(runner={"restartPolicy": "Never", "containers": [*RUNNER_SPEC["containers"], proxy]})
    world.now += 100.0
    world.end("simple-runner", code, beside="a-proxy")
    world.settle(1.0)
    assert world.status("DaskJob")["jobStatus"] == phase
    assert not world.has("DaskCluster", "simple")
    assert world.has("Pod", "simple-runner"), "the other containers may notice, and end as well"
    world.run(60.0)
    assert not world.has("Pod", "simple-runner")
    assert world.plan() == ()


def test_a_program_that_fails_beside_another_container_is_tried_again() -> None:
    proxy = {"name": "a-proxy", "image": "proxy"}
    runner = {"restartPolicy": "Never", "containers": [*RUNNER_SPEC["containers"], proxy]}
    world = _job(backoffLimit=1, runner=runner)
    first = world.raw("Pod", "simple-runner")["metadata"]["uid"]
    world.end("simple-runner", "Failed", beside="a-proxy")
    world.run(120.0)
    assert world.raw("Pod", "simple-runner")["metadata"]["uid"] != first
    assert (world.status("DaskJob")["jobStatus"], world.status("DaskJob")["failed"]) == ("Running", 1)


def test_an_init_container_that_fails_again_and_again_ends_the_job() -> None:
    world = _job(backoffLimit=3, runner={"initContainers": [{"name": "fetch", "image": "git"}]})
    raw = world.raw("Pod", "simple-runner")
    ended = {"exitCode": 128, "reason": "Error"}
    waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
    init = {"name": "fetch", "restartCount": 57, "state": waiting, "lastState": {"terminated": ended}}
    program = {"name": "job", "restartCount": 0, "state": {"waiting": {"reason": "PodInitializing"}}}
    raw["status"] = {"phase": "Pending", "initContainerStatuses": [init], "containerStatuses": [program]}
    world.put(raw)
    world.settle()
    status = world.status("DaskJob")
    failed = condition(status, "Failed")
    assert (status["jobStatus"], failed["reason"]) == ("Failed", "BackoffLimitExceeded")
    assert 'container "fetch" keeps ending: exit code 128' in failed["message"]
