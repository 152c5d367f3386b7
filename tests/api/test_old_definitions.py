"""The controller on the CustomResourceDefinitions of the operator that users migrate from, and then on ours.

Theirs have no status subresource except for jobs, and keep few fields of a status: the API server drops the rest.
INCUMBENT_CRDS is the folder of the released chart with them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.controller import Controller
from tests.support.kube import Kube, Manifest, eventually
from tests.support.manifests import ON_FAKE_NODES, dask_autoscaler, dask_cluster, dask_job, worker_group

pytestmark = pytest.mark.alone
OURS = Path(__file__).parents[2] / "charts/dask-kubernetes-operator/files/crds"
LAST_ORDINAL = "kubernetes.dask.org/last-ordinal"
ORDINAL = "kubernetes.dask.org/ordinal"
QUIET = 12.0
"""Seconds; the controller rewrites a status that never matches within four."""


class Definitions:
    """The CustomResourceDefinitions of the API server."""

    def __init__(self, kube: Kube, theirs: Path) -> None:
        self._kube = kube
        self._theirs = theirs
        self._now = OURS

    def are_theirs(self) -> None:
        self._are(self._theirs, {"daskjobs/status"})

    def are_ours(self) -> None:
        self._are(OURS, {f"dask{kind}/status" for kind in ("clusters", "workergroups", "jobs", "autoscalers")})

    def _are(self, folder: Path, statuses: set[str]) -> None:
        if self._now != folder:
            self._kube.run("replace", "--filename", str(folder))
            self._now = folder
        eventually(lambda: self._statuses() == statuses, f"the API server serves what {folder} says")

    def _statuses(self) -> set[str]:
        served = self._kube.server.get("/apis/kubernetes.dask.org/v1")["resources"]
        return {resource["name"] for resource in served if resource["name"].endswith("/status")}


@pytest.fixture(scope="module")
def _definitions() -> Iterator[Definitions]:
    kubeconfig, kubectl, theirs = (
        os.environ.get("KUBECONFIG"),
        shutil.which("kubectl"),
        os.environ.get("INCUMBENT_CRDS"),
    )
    if not kubeconfig or not kubectl or not theirs:
        pytest.fail("this test needs a cluster and INCUMBENT_CRDS: run it by `make test-api`")
    definitions = Definitions(Kube(kubectl, Path(kubeconfig), "default"), Path(theirs))
    yield definitions
    definitions.are_ours()


@pytest.fixture
def definitions(_definitions: Definitions) -> Definitions:
    """The other operator's definitions, at first."""
    _definitions.are_theirs()
    return _definitions


@pytest.fixture
def controller(definitions: Definitions, kube: Kube, tmp_path: Path) -> Iterator[Controller]:
    # After the definitions: at its start a controller would otherwise see them change.
    assert definitions
    controller = Controller(kube.kubeconfig, tmp_path / "controller.log", f"--namespace={kube.namespace}")
    with controller.started():
        yield controller


def _ready_workers(kube: Kube, group: str) -> set[str]:
    ready = {"type": "Ready", "status": "True"}
    return {
        pod["metadata"]["name"]
        for pod in kube.workers(group)
        if any(ready.items() <= condition.items() for condition in pod["status"].get("conditions", []))
    }


def _wait_for_workers(kube: Kube, cluster: str, number: int) -> set[str]:
    """Wait until so many worker Pods run, since no status tells; return their names."""

    def look() -> set[str]:
        found = _ready_workers(kube, f"{cluster}-default")
        return found if len(found) == number else set()

    return eventually(look, f"{cluster} has {number} ready workers")


def _wait_for_phase(kube: Kube, cluster: str, phase: str = "Running") -> None:
    def look() -> bool:
        return bool(kube.status("daskcluster", cluster).get("phase") == phase)

    eventually(look, f"{cluster} is {phase}")


def _create(kube: Kube, *manifests: Manifest) -> None:
    kube.run("create", "--validate=false", "--filename", "-", stdin="\n".join(map(json.dumps, manifests)))


def _changed(manifest: dict[str, Any], change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    change(manifest)
    return manifest


def _dask(kind: str, name: str, **fields: Any) -> dict[str, Any]:
    return {"apiVersion": "kubernetes.dask.org/v1", "kind": kind, "metadata": {"name": name}, **fields}


def _writes(controller: Controller) -> float:
    """Return the number of the controller's requests to write Dask objects, including refused and unchanged ones."""
    counted = re.compile(
        r'^\S+_api_requests_total\{(?=.*resource="dask)(?!.*verb="(?:get|list|watch)").*\} (\S+)$', re.MULTILINE
    )
    return sum(map(float, counted.findall(controller.get("/metrics"))))


@pytest.mark.usefixtures("controller")
def test_a_cluster_comes_up_and_scales(kube: Kube) -> None:
    kube.apply(dask_cluster("old", 3, pods=ON_FAKE_NODES))
    _wait_for_workers(kube, "old", 3)
    _wait_for_phase(kube, "old")
    header, row = kube.run("get", "daskclusters").splitlines()
    assert header.split()[:3] == ["NAME", "WORKERS", "STATUS"]
    assert row.split()[:3] == ["old", "3", "Running"]
    kube.run("scale", "--replicas=4", "daskcluster", "old")
    _wait_for_workers(kube, "old", 4)
    kube.run("scale", "--replicas=5", "daskworkergroup", "old-default")
    _wait_for_workers(kube, "old", 5)
    kube.run("patch", "daskcluster", "old", "--type=merge", "--patch", '{"spec":{"worker":{"replicas":6}}}')
    _wait_for_workers(kube, "old", 6)


def _wait_until_noted(kube: Kube, group: str, ordinal: int) -> None:
    """Wait until the status has the ordinal: after a kill the next controller knows only that."""

    def noted() -> bool:
        annotations = (kube.get("daskworkergroup", group) or {})["metadata"].get("annotations") or {}
        return int(annotations.get(LAST_ORDINAL, -1)) >= ordinal

    eventually(noted, f"ordinal {ordinal} is noted on {group}")


def test_no_workers_name_is_given_twice(kube: Kube, controller: Controller) -> None:
    kube.apply(dask_cluster("old", 3, pods=ON_FAKE_NODES))
    seen = _wait_for_workers(kube, "old", 3)
    for round_ in range(1, 4):
        ordinals = {
            p["metadata"]["name"]: int(p["metadata"]["annotations"][ORDINAL]) for p in kube.workers("old-default")
        }
        newest = max(ordinals, key=lambda name: ordinals[name])
        _wait_until_noted(kube, "old-default", ordinals[newest])
        if round_ % 2:
            controller.kill()
        # At once, as with a lost node: nobody sees it leave.
        kube.run("delete", "pod", newest, "--force", "--grace-period=0")
        if round_ % 2:
            controller.start()
        eventually(lambda newest=newest: newest not in kube.names("pods"), "the lost worker is gone")  # type: ignore[misc]
        seen |= _wait_for_workers(kube, "old", 3)
        assert len(seen) == 3 + round_


def test_a_jobs_worker_that_is_lost_is_not_followed_by_its_namesake(kube: Kube, controller: Controller) -> None:
    kube.apply(dask_job("job", 1, pods=ON_FAKE_NODES))
    (first,) = _wait_for_workers(kube, "job", 1)
    _wait_until_noted(kube, "job-default", 0)
    _wait_for_job(kube, "job", "Running")
    controller.kill()
    kube.run("delete", "pod", first, "--force", "--grace-period=0")
    controller.start()
    (second,) = _wait_for_workers(kube, "job", 1)
    assert second != first


def _end(kube: Kube, job: str) -> None:
    """End the runner's program with success."""
    status = json.dumps({"status": {"phase": "Succeeded"}})
    kube.run("patch", "pod", f"{job}-runner", "--subresource=status", "--type=merge", "--patch", status)


def _wait_for_job(kube: Kube, job: str, status: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        seen = kube.status("daskjob", job)
        return seen if seen.get("jobStatus") == status else None

    found = eventually(look, f"DaskJob {job} is {status}")
    assert found
    return found


def test_jobs_end(kube: Kube, controller: Controller) -> None:
    once = dask_job("once", 0, pods=ON_FAKE_NODES)
    once["spec"]["job"]["spec"]["restartPolicy"] = "Never"
    kube.apply(dask_job("job", 1, pods=ON_FAKE_NODES), dask_job("killed", 0, pods=ON_FAKE_NODES), once)
    for name in ("job", "killed", "once"):
        running = _wait_for_job(kube, name, "Running")
        assert running["clusterName"] == name
        assert running["startTime"]
    _end(kube, "job")
    assert _wait_for_job(kube, "job", "Successful")["endTime"]
    eventually(lambda: kube.status("daskjob", "once").get("jobRunnerPodName"), "the runner is noted")
    controller.kill()
    _end(kube, "killed")
    kube.run("delete", "pod", "once-runner", "--force", "--grace-period=0")
    controller.start()
    _wait_for_job(kube, "killed", "Successful")
    _wait_for_job(kube, "once", "Failed")
    eventually(lambda: not kube.names("daskclusters"), "the clusters go with their jobs' ends")


@pytest.mark.usefixtures("controller")
def test_autoscalers_keep_their_bounds(kube: Kube) -> None:
    def replicas() -> int:
        return int((kube.get("daskworkergroup", "bound-default") or {})["spec"]["worker"]["replicas"])

    kube.apply(dask_cluster("bound", 1, pods=ON_FAKE_NODES), dask_autoscaler("bound", "bound", 2, 5))
    _wait_for_workers(kube, "bound", 2)
    kube.run("scale", "--replicas=9", "daskworkergroup", "bound-default")
    eventually(lambda: replicas() == 5, "never above maximum")
    kube.run("delete", "daskautoscaler", "bound")
    # These definitions accept it; ours would not.
    _create(kube, dask_autoscaler("wrong", "bound", 7, 2))
    eventually(lambda: replicas() != 5, "the bounds that contradict each other hold somehow")
    assert replicas() == 2


def test_nothing_is_written_while_nothing_happens(kube: Kube, controller: Controller) -> None:
    kube.apply(dask_cluster("idle", 3, pods=ON_FAKE_NODES), dask_job("job", 1, pods=ON_FAKE_NODES))
    kube.apply(worker_group("second", "idle", 1, ON_FAKE_NODES), worker_group("stray", "nowhere", 1, ON_FAKE_NODES))
    kube.apply(dask_autoscaler("bound", "idle", 1, 5), dask_autoscaler("waiting", "nowhere", 1, 5))
    _wait_for_workers(kube, "idle", 3)
    _wait_for_phase(kube, "idle")
    _wait_for_job(kube, "job", "Running")
    # Anything later on a slow machine shows no needless write.
    _wait_for_workers(kube, "job", 1)
    eventually(lambda: _ready_workers(kube, "second"), "the second group has its worker")
    for group, ordinal in (("idle-default", 2), ("second", 0), ("job-default", 0)):
        _wait_until_noted(kube, group, ordinal)
    kube.wait_for_event("DaskWorkerGroup", "stray", "Warning", "ClusterNotFound")
    counts = [eventually(lambda: _writes(controller), "something has been written")]
    since = time.monotonic()

    def quiet() -> bool:
        nonlocal since
        if not (written := _writes(controller)):
            return False  # no answer yet
        counts.append(written)
        if counts[-1] != counts[-2]:
            since = time.monotonic()
        return time.monotonic() > since + QUIET

    eventually(quiet, f"nothing is written for {QUIET:.0f} s")
    # The pending writes: the last state of each, once.
    assert counts[-1] - counts[0] <= 10


def test_our_definitions_may_come_while_the_controller_runs(
    kube: Kube, definitions: Definitions, controller: Controller
) -> None:
    kube.apply(dask_cluster("moved", 3, pods=ON_FAKE_NODES), dask_job("job", 0, pods=ON_FAKE_NODES))
    before = _wait_for_workers(kube, "moved", 3)
    _wait_for_phase(kube, "moved")
    _wait_for_job(kube, "job", "Running")
    definitions.are_ours()
    kube.run("scale", "--replicas=4", "daskcluster", "moved")
    kube.wait_for_workers("moved", 4)
    assert before < _ready_workers(kube, "moved-default")
    status = kube.status("daskworkergroup", "moved-default")
    assert status["lastOrdinal"] == 3
    kube.apply(dask_cluster("new", 1, pods=ON_FAKE_NODES))
    kube.wait_for_workers("new", 1)
    _end(kube, "job")
    _wait_for_job(kube, "job", "Successful")
    assert controller.stop() == 0


def test_a_status_appears_with_the_next_start_once_the_definitions_have_one(
    kube: Kube, definitions: Definitions, controller: Controller
) -> None:
    kube.apply(dask_cluster("moved", 1, pods=ON_FAKE_NODES), dask_autoscaler("waiting", "nowhere", 1, 5))
    _wait_for_workers(kube, "moved", 1)
    _wait_for_phase(kube, "moved")
    definitions.are_ours()
    # As in an upgrade of the chart, with both.
    controller.stop()
    controller.start()
    kube.wait_for_condition("daskautoscaler", "waiting", "ScalingActive", "ClusterNotFound")
    kube.wait_for_workers("moved", 1)


HALF_VALID = (
    _dask("DaskWorkerGroup", "no-spec"),
    _dask("DaskWorkerGroup", "null-spec", spec=None),
    _dask("DaskWorkerGroup", "no-cluster", spec={"cluster": "", "worker": {"spec": {"containers": []}}}),
    worker_group("g" * 100, "no-service", 1, ON_FAKE_NODES),
    _dask("DaskAutoscaler", "no-spec"),
    _dask("DaskAutoscaler", "negative", spec={"cluster": "nowhere", "minimum": -5, "maximum": -1}),
    _dask("DaskJob", "no-spec"),
    _dask("DaskJob", "null-spec", spec=None),
    _changed(dask_job("no-program", 0, pods=ON_FAKE_NODES), lambda job: job["spec"].update(job={})),
    # On fake nodes: a real one would first report the image that it cannot pull.
    _changed(
        dask_cluster("no-worker", 1, pods=ON_FAKE_NODES), lambda c: c["spec"]["worker"]["spec"].update(containers=[])
    ),
    _changed(
        dask_cluster("no-scheduler", 0, pods=ON_FAKE_NODES),
        lambda c: c["spec"]["scheduler"]["spec"].update(containers=[]),
    ),
    _changed(dask_cluster("no-service", 0, pods=ON_FAKE_NODES), lambda c: c["spec"]["scheduler"].update(service={})),
    _changed(
        dask_cluster("nulls", 1, pods=ON_FAKE_NODES),
        lambda c: (
            c["spec"].update(idleTimeout=-5),
            c["spec"]["worker"].update(replicas=None, metadata={"labels": {"a": None}, "annotations": None}),
            c["spec"]["scheduler"].update(metadata=None),
        ),
    ),
    dask_cluster("dotted.name", 0, pods=ON_FAKE_NODES),
    dask_cluster("l" * 60, 1, pods=ON_FAKE_NODES),
)
SAID = {
    ("DaskCluster", "no-worker"): "containers: Required",
    ("DaskCluster", "no-scheduler"): "containers: Required",
    ("DaskCluster", "no-service"): "spec.ports: Required",
    ("DaskCluster", "dotted.name"): "must not contain dots",
    ("DaskCluster", "l" * 60): "no more than 63",
    ("DaskWorkerGroup", "g" * 100): "no more than 63",
    ("DaskWorkerGroup", "no-spec"): 'no DaskCluster ""',
    ("DaskJob", "no-spec"): "spec.scheduler: Required",
    ("DaskJob", "null-spec"): "spec.scheduler: Required",
    ("DaskJob", "no-program"): "containers: Required",
}


def test_what_is_half_valid_is_said_and_stops_nothing_else(
    kube: Kube, definitions: Definitions, controller: Controller
) -> None:
    _create(kube, dask_cluster("sound", 1, pods=ON_FAKE_NODES), *HALF_VALID)
    _wait_for_workers(kube, "sound", 1)
    _wait_for_workers(kube, "nulls", 1)

    def unsaid() -> list[str]:
        said = {about: " ".join(message for *_, message in kube.events(*about)) for about in SAID}
        return [name for (kind, name), sentence in SAID.items() if sentence not in said[kind, name]]

    eventually(lambda: not unsaid(), f"an Event each; none yet about {unsaid()}")
    controller.kill()
    definitions.are_ours()
    controller.start()

    def degraded(kind: str, name: str) -> str:
        condition = kube.condition(kind, name, "Degraded")
        return str(condition["message"]) if condition.get("status") == "True" else ""

    for (kind, name), sentence in SAID.items():
        # The first finding may differ from the last one.
        eventually(
            lambda kind=kind, name=name, sentence=sentence: sentence in degraded(kind, name),  # type: ignore[misc]
            f"{kind} {name} is Degraded: {sentence}",
        )
    kube.wait_for_condition("daskautoscaler", "no-spec", "ScalingActive", "ClusterNotFound")
    kube.wait_for_workers("sound", 1)
    kube.wait_for_workers("nulls", 1)
    kube.run("scale", "--replicas=2", "daskcluster", "sound")
    kube.wait_for_workers("sound", 2)
