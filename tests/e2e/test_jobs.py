"""DaskJobs with real programs on real clusters: their ends, and their remains."""

from __future__ import annotations

import re

import yaml
from tests.e2e.conftest import Image, put_quota
from tests.support.documents import blocks
from tests.support.kube import PATIENCE, Kube, eventually
from tests.support.manifests import dask_job
from tests.support.tools import ROOT

DOCUMENTED = ROOT / "tests/examples/job.yaml"
DASK = "ghcr.io/dask/dask:2026.8.0-py3.13"
PHASES = ["", "JobCreated", "ClusterCreated", "Running", "Successful"]
GO = "/tmp/go"
# It waits for a signal, since the test's checks and acts may take long. It finds its cluster through its environment
# alone.
COMPUTE = f"""
import os, time
from dask.distributed import Client
while not os.path.exists("{GO}"):
    time.sleep(0.1)
client = Client(timeout="240s")
print(client.submit(sum, range(1000)).result())
"""
# Dask forgets the first ten tasks, and no worker can run the other five.
COMPUTE_IN_PARTS = f"""
from dask.distributed import Client
client = Client(timeout="240s")
client.gather(client.map(lambda n: n, range(10), pure=False))
left = client.map(lambda n: n, range(5), resources={{"NONE": 1}})
{COMPUTE}
"""
SUM = "499500"
COMPUTE_AT_ONCE = f"""
from dask.distributed import Client
assert Client(timeout="240s").submit(sum, range(1000)).result() == {SUM}
"""
# A starting worker ignores a request to end.
AT_ONCE = {"terminationGracePeriodSeconds": 0}


def _wait_for(kube: Kube, job: str, phase: str) -> list[str]:
    """Wait for a phase, and return the phases until then."""
    seen: list[str] = []
    for found in kube.follow("daskjob", job, PATIENCE):
        now = str(found.get("status", {}).get("jobStatus", ""))
        if [now] != seen[-1:]:
            seen.append(now)
        if now == phase:
            return seen
    raise AssertionError(f"not within {PATIENCE:.0f} s: DaskJob {job} is {phase}; seen: {seen}")


def _go(kube: Kube, job: str) -> None:
    kube.run("exec", f"{job}-runner", "--", "touch", GO)


def _cluster_goes(kube: Kube, job: str) -> None:
    """Wait until only the runner's objects are left."""
    eventually(
        lambda: (
            kube.names("pods", f"dask.org/cluster-name={job}") <= {f"{job}-runner"}
            and not kube.names("services,daskclusters,daskworkergroups,deployments")
        ),
        f"the cluster of DaskJob {job} is gone",
    )


def _progress(kube: Kube, job: str) -> tuple[int, int]:
    """Return how many tasks are done, and how many there are."""
    progress = kube.status("daskjob", job).get("progress") or {}
    return progress.get("tasksDone", 0), progress.get("tasksTotal", 0)


def _metadata(key: str, value: str) -> dict[str, dict[str, str]]:
    return {"labels": {key: value}, "annotations": {f"{key}.example.com": value}}


def test_the_documented_job_succeeds_and_takes_its_cluster_along(kube: Kube, dask_image: Image) -> None:
    job = yaml.safe_load(DOCUMENTED.read_text().replace(DASK, str(dask_image)))
    job["spec"]["job"]["spec"]["containers"][0]["args"] = ["python", "-c", COMPUTE_IN_PARTS]
    job["metadata"] = {"name": "simple-job", **_metadata("from", "job")}
    job["spec"]["job"]["metadata"] = _metadata("only", "runner")
    job["spec"]["cluster"]["metadata"] = _metadata("only", "cluster")
    kube.apply(job)
    cluster = eventually(lambda: kube.get("daskcluster", "simple-job"), "the job's cluster") or {}
    seen = _wait_for(kube, "simple-job", "Running")
    eventually(lambda: _progress(kube, "simple-job") == (10, 15), "its status tells the tasks")
    assert re.search(r"^simple-job +Running +2 +\w+ +10 +15\b", kube.run("get", "daskjob", "simple-job"), re.MULTILINE)
    _go(kube, "simple-job")
    seen += _wait_for(kube, "simple-job", "Successful")
    assert seen == sorted(seen, key=PHASES.index)
    # The program has ended, and its Pod ends a moment later.
    eventually(lambda: kube.status("pod", "simple-job-runner").get("phase") == "Succeeded", "its Pod says so, too")
    status, runner = kube.status("daskjob", "simple-job"), kube.get("pod", "simple-job-runner") or {}
    assert (status["clusterName"], status["jobRunnerPodName"]) == ("simple-job", "simple-job-runner")
    assert status["startTime"] <= status["endTime"]
    assert "Completed" in kube.run("get", "pod", "simple-job-runner")
    assert SUM in kube.run("logs", "simple-job-runner").split()
    for child, only in ((cluster, "cluster"), (runner, "runner")):
        labels, annotations = child["metadata"]["labels"], child["metadata"]["annotations"]
        assert labels.items() >= {"from": "job", "only": only, "dask.org/cluster-name": "simple-job"}.items()
        assert annotations.items() >= {"from.example.com": "job", "only.example.com": only}.items()
    assert runner["metadata"]["labels"]["dask.org/component"] == "job-runner"
    _cluster_goes(kube, "simple-job")
    kube.run("delete", "daskjob", "simple-job")
    eventually(lambda: not kube.names("pods"), "the runner goes with the job")


def test_a_job_runs_in_a_quota_that_its_workers_have_used_up(kube: Kube, dask_image: Image) -> None:
    put_quota(kube, "few", 3)
    kube.apply(dask_job("squeezed", 2, program=COMPUTE_AT_ONCE, image=str(dask_image), pods=AT_ONCE))
    message = kube.wait_for_condition("daskjob", "squeezed", "Degraded", "QuotaExceeded")
    assert "few" in message
    _wait_for(kube, "squeezed", "Successful")
    assert kube.status("daskjob", "squeezed")["failed"] == 0
    _cluster_goes(kube, "squeezed")


def test_a_job_whose_program_fails_too_often_has_failed(kube: Kube, dask_image: Image) -> None:
    job = dask_job("failing", 1, program="raise SystemExit(7)", image=str(dask_image), pods=AT_ONCE, backoffLimit=1)
    kube.apply(job)
    _wait_for(kube, "failing", "Failed")
    message = kube.wait_for_condition("daskjob", "failing", "Failed", "BackoffLimitExceeded")
    assert "exit code 7" in message
    assert kube.status("daskjob", "failing")["endTime"]
    _cluster_goes(kube, "failing")


def test_a_job_that_must_not_be_tried_again_has_failed_at_once(kube: Kube, dask_image: Image) -> None:
    job = dask_job("once", 1, program="raise SystemExit(7)", image=str(dask_image), pods=AT_ONCE)
    job["spec"]["job"]["spec"]["restartPolicy"] = "Never"
    kube.apply(job)
    _wait_for(kube, "once", "Failed")
    assert "exit code 7" in kube.wait_for_condition("daskjob", "once", "Failed", "RunnerFailed")
    _cluster_goes(kube, "once")
    eventually(lambda: kube.status("pod", "once-runner").get("phase") == "Failed", "its Pod stays, and says so")


def test_a_job_that_takes_too_long_has_failed(kube: Kube, dask_image: Image) -> None:
    program = "import time; time.sleep(3600)"
    job = dask_job("late", 1, program=program, image=str(dask_image), pods=AT_ONCE)
    kube.apply(job)
    _wait_for(kube, "late", "Running")
    # Not before: it may take longer to start.
    job["spec"]["activeDeadlineSeconds"] = 15
    kube.apply(job)
    _wait_for(kube, "late", "Failed")
    kube.wait_for_condition("daskjob", "late", "Failed", "DeadlineExceeded")
    _cluster_goes(kube, "late")
    eventually(lambda: not kube.names("pods"), "a runner that is not to go on is stopped")


def test_a_job_that_loses_its_runner_starts_another_and_succeeds(kube: Kube, dask_image: Image) -> None:
    kube.apply(dask_job("losing", 1, program=COMPUTE, image=str(dask_image)))
    _wait_for(kube, "losing", "Running")
    lost = (kube.get("pod", "losing-runner") or {})["metadata"]["uid"]
    # As with a lost node: the Pod no longer exists, and nobody has seen it end.
    kube.run("delete", "pod", "losing-runner", "--force", "--grace-period=0")

    def another_runs() -> bool:
        pod = kube.get("pod", "losing-runner")
        return bool(pod and pod["metadata"]["uid"] != lost and pod["status"].get("phase") == "Running")

    eventually(another_runs, "another runner runs")
    _go(kube, "losing")
    _wait_for(kube, "losing", "Successful")
    assert kube.status("daskjob", "losing")["failed"] == 1
    assert SUM in kube.run("logs", "losing-runner").split()
    _cluster_goes(kube, "losing")


def test_a_cron_job_creates_jobs_by_the_role_for_clients(kube: Kube, dask_image: Image) -> None:
    kubectl = str(Image.from_environment("KUBECTL_IMAGE"))
    text = (DOCUMENTED.parent / "cronjob" / "nightly.yaml").read_text()
    text = text.replace(DASK, str(dask_image)).replace("registry.k8s.io/kubectl:v1.37.2", kubectl)
    role = yaml.safe_load(blocks(ROOT / "docs/python-rbac.md", "yaml")[0].text)
    kube.run("create", "serviceaccount", "dask-sa")
    kube.apply({**role, "kind": "Role"})
    kube.run("create", "rolebinding", "dask", "--role=dask-cluster-role", f"--serviceaccount={kube.namespace}:dask-sa")
    kube.apply(*yaml.safe_load_all(text))
    kube.run("create", "job", "now", "--from=cronjob/nightly")
    (name,) = eventually(lambda: kube.names("daskjobs"), "the CronJob's Pod creates a DaskJob")
    assert name.startswith("nightly-")
    assert _wait_for(kube, name, "Successful")
    _cluster_goes(kube, name)
