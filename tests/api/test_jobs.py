"""DaskJobs against a real API server. Runners are on fake nodes, so the test writes their statuses."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support.controller import Controller
from tests.support.kube import Kube, eventually
from tests.support.manifests import ON_FAKE_NODES, dask_job


def _wait_for_status(kube: Kube, job: str, status: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        seen = kube.status("daskjob", job)
        return seen if seen.get("jobStatus") == status else None

    found = eventually(look, f"DaskJob {job} is {status}")
    assert found is not None
    return found


def _end(kube: Kube, job: str, phase: str, code: int) -> None:
    """End the runner's program."""
    ended = {"exitCode": code, "reason": "Completed" if not code else "Error", "finishedAt": "2026-01-01T00:00:00Z"}
    container = {"name": "job", "image": "", "imageID": "", "ready": False, "restartCount": 0}
    status = {"phase": phase, "containerStatuses": [container | {"state": {"terminated": ended}}]}
    patch = json.dumps({"status": status})
    kube.run("patch", "pod", f"{job}-runner", "--subresource=status", "--type=merge", "--patch", patch)


def _noted(kube: Kube, job: str, failed: int) -> bool:
    """Return whether a job's status has the runner that came after so many failures."""
    status = kube.status("daskjob", job)
    return status.get("failed") == failed and bool(status.get("jobRunnerPodName"))


def _runner(kube: Kube, job: str) -> str:
    """Return the uid of the runner's Pod, or ""."""
    pod = kube.get("pod", f"{job}-runner")
    return str(pod["metadata"]["uid"]) if pod and not pod["metadata"].get("deletionTimestamp") else ""


@pytest.mark.usefixtures("controller")
def test_a_job_runs_beside_its_cluster_and_takes_it_along(kube: Kube) -> None:
    job = dask_job("simple-job", 2, pods=ON_FAKE_NODES)
    job["metadata"] |= {"labels": {"team": "a"}, "annotations": {"hello": "world"}}
    job["spec"]["job"]["metadata"] = {"labels": {"step": "train"}}
    job["spec"]["cluster"]["metadata"] = {"annotations": {"for": "cluster"}}
    kube.apply(job)
    running = _wait_for_status(kube, "simple-job", "Running")
    assert (running["clusterName"], running["jobRunnerPodName"]) == ("simple-job", "simple-job-runner")
    assert running["startTime"]
    runner, cluster = kube.get("pod", "simple-job-runner"), kube.get("daskcluster", "simple-job")
    assert runner
    assert cluster
    assert runner["spec"]["restartPolicy"] == "OnFailure"
    assert {
        "name": "DASK_SCHEDULER_ADDRESS",
        "value": f"tcp://simple-job-scheduler.{kube.namespace}.svc:8786",
    } in runner["spec"]["containers"][0]["env"]
    labels = runner["metadata"]["labels"]
    assert labels.items() >= {"team": "a", "step": "train", "dask.org/component": "job-runner"}.items()
    assert runner["metadata"]["annotations"]["hello"] == "world"
    assert cluster["metadata"]["labels"]["team"] == "a"
    assert cluster["metadata"]["annotations"].items() >= {"hello": "world", "for": "cluster"}.items()
    _end(kube, "simple-job", "Succeeded", 0)
    ended = _wait_for_status(kube, "simple-job", "Successful")
    assert ended["endTime"] >= "2026"
    eventually(lambda: not kube.names("daskclusters"), "the cluster goes with the job's end")
    assert kube.names("pods", "dask.org/component=job-runner") == {"simple-job-runner"}
    kube.run("delete", "daskjob", "simple-job")
    eventually(lambda: not kube.names("pods"), "nothing is left of a deleted job")


@pytest.mark.usefixtures("controller")
def test_a_lost_runner_is_started_again_until_the_limit(kube: Kube) -> None:
    kube.apply(dask_job("lossy", 0, pods=ON_FAKE_NODES, backoffLimit=1))
    for lost in range(2):
        _wait_for_status(kube, "lossy", "Running")
        before = eventually(lambda: _runner(kube, "lossy"), "a runner")
        # Until the status has the loss of the previous runner, it names that one, and the name is the same.
        eventually(lambda lost=lost: _noted(kube, "lossy", lost), "the runner is in the status")  # type: ignore[misc]
        kube.run("delete", "pod", "lossy-runner", "--force", "--grace-period=0")
        if not lost:
            eventually(lambda before=before: _runner(kube, "lossy") not in ("", before), "another runner")  # type: ignore[misc]
    assert _wait_for_status(kube, "lossy", "Failed")["failed"] == 2
    message = kube.wait_for_condition("daskjob", "lossy", "Failed", "BackoffLimitExceeded")
    assert "backoffLimit 1" in message
    for reason in ("BackoffLimitExceeded", "RunnerFailed"):
        kube.wait_for_event("DaskJob", "lossy", "Warning", reason)


@pytest.mark.usefixtures("controller")
def test_a_program_that_must_not_be_restarted_fails_the_job(kube: Kube) -> None:
    job = dask_job("once", 0, pods=ON_FAKE_NODES)
    job["spec"]["job"]["spec"]["restartPolicy"] = "Never"
    kube.apply(job)
    _wait_for_status(kube, "once", "Running")
    _end(kube, "once", "Failed", 3)
    _wait_for_status(kube, "once", "Failed")
    assert "exit code 3" in kube.wait_for_condition("daskjob", "once", "Failed", "RunnerFailed")
    eventually(lambda: not kube.names("daskclusters"), "the cluster goes with the job's end")


@pytest.mark.usefixtures("controller")
def test_a_deadline_ends_a_job_and_a_time_to_live_removes_it(kube: Kube) -> None:
    kube.apply(dask_job("late", 0, pods=ON_FAKE_NODES, activeDeadlineSeconds=3))
    assert "3 s" in kube.wait_for_condition("daskjob", "late", "Failed", "DeadlineExceeded")
    # Set from the beginning, it could remove the job before the test sees its condition.
    kube.apply(dask_job("late", 0, pods=ON_FAKE_NODES, activeDeadlineSeconds=3, ttlSecondsAfterFinished=3))
    eventually(lambda: not kube.names("daskjobs") | kube.names("daskclusters") | kube.names("pods"), "all is gone")


@pytest.mark.usefixtures("controller")
def test_a_job_whose_cluster_cannot_be_made_says_why(kube: Kube) -> None:
    kube.apply({**dask_job("taken", 0, pods=ON_FAKE_NODES)["spec"]["cluster"], **_named("DaskCluster", "taken")})
    kube.apply(dask_job("taken", 0, pods=ON_FAKE_NODES))
    assert "DaskCluster taken exists" in kube.wait_for_condition("daskjob", "taken", "Degraded", "NameTaken")
    kube.run("delete", "daskcluster", "taken")
    _wait_for_status(kube, "taken", "Running")


def test_killed_at_the_end_of_a_job_it_ends_the_same(kube: Kube, controller: Controller) -> None:
    kube.apply(dask_job("killed", 1, pods=ON_FAKE_NODES))
    _wait_for_status(kube, "killed", "Running")
    controller.kill()
    _end(kube, "killed", "Succeeded", 0)
    controller.start()
    _wait_for_status(kube, "killed", "Successful")
    eventually(lambda: not kube.names("daskclusters"), "the cluster goes with the job's end")
    assert kube.status("daskjob", "killed")["failed"] == 0


def _named(kind: str, name: str) -> dict[str, Any]:
    return {"apiVersion": "kubernetes.dask.org/v1", "kind": kind, "metadata": {"name": name}}
