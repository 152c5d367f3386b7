from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from distributed import Client
from tests.support.builders import (
    NOON,
    NOON_TEXT,
    SERVICE_SPEC,
    WORKER_SPEC,
    raw_autoscaler,
    raw_cluster,
    raw_deployment,
    raw_group,
    raw_job,
    raw_object,
    raw_pod,
    raw_service,
)
from tests.support.dask import a_dask_cluster, http_port

from dask_operator import parse
from dask_operator.model import LARGEST_DEPTH, Metadata, Problem, Registration, Scaling, ScalingPolicy


def test_a_cluster() -> None:
    raw = raw_cluster(workers=2)
    raw["metadata"] |= {"generation": 4, "labels": {"a": "b"}, "annotations": {"c": "d"}}
    raw["spec"]["worker"]["metadata"] = {"labels": {"e": "f"}}
    raw["spec"]["scheduler"]["metadata"] = {"annotations": {"g": "h"}}
    cluster = parse.cluster(raw | {"status": {"phase": "Running"}})
    assert cluster.key == ("default", "simple")
    assert (cluster.uid, cluster.resource_version, cluster.generation) == ("uid-of-simple", 7, 4)
    assert (cluster.replicas, cluster.created, cluster.deleting) == (2, NOON, False)
    assert cluster.metadata == Metadata({"a": "b"}, {"c": "d"})
    assert cluster.worker.metadata == Metadata({"e": "f"})
    assert cluster.scheduler.metadata == Metadata(annotations={"g": "h"})
    assert (cluster.worker.spec, cluster.service.spec) == (WORKER_SPEC, SERVICE_SPEC)
    assert cluster.status == {"phase": "Running"}


def test_what_users_write_is_read_anew_each_time() -> None:
    cluster = parse.cluster(raw_cluster())
    cluster.worker.spec["containers"].clear()
    assert cluster.worker.spec == WORKER_SPEC


@pytest.mark.parametrize("depth", [90, 110, 500, 5_000])
def test_what_is_too_deep_is_not_read(depth: int) -> None:
    deep: list[Any] = []
    for _ in range(depth):
        deep = [deep]
    for part in ("worker", "scheduler"):
        raw = raw_cluster(status={"conditions": [{"type": "Degraded"}], "phase": "Running"})
        raw["spec"][part]["spec"] = {"x": deep}
        cluster = parse.cluster(raw)
        assert (cluster.name, bool(cluster.unread)) == ("simple", depth > LARGEST_DEPTH)
        if depth > LARGEST_DEPTH:
            assert cluster.unread == "has lists and objects in one another on more than 100 levels"
            assert cluster.status == {"conditions": [{"type": "Degraded"}]}


@pytest.mark.parametrize("field", ["finalizers", "ownerReferences"])
@pytest.mark.parametrize("kind", ["DaskCluster", "DaskWorkerGroup", "DaskJob", "DaskAutoscaler"])
def test_what_has_too_many_owners_or_finalizers_is_not_read(kind: str, field: str) -> None:
    spec = {"cluster": "simple"}
    raw = raw_object(kind, "it", metadata={field: [{"kind": "A"}] * 1001, "labels": {"a": "b"}}, spec=spec)
    known: Any = parse.PARSERS[kind](raw)
    assert (known.name, known.unread) == ("it", f"has 1001 {field}, and at most 1000 are read")
    assert (known.metadata, known.finalizers) == (Metadata(), ())
    raw["metadata"][field].pop()
    sound: Any = parse.PARSERS[kind](raw)
    assert sound.unread == ""


def test_an_autoscaler_with_too_many_policies_is_not_read() -> None:
    behavior: dict[str, Any] = {"scaleUp": {"policies": [{}] * 101}}
    autoscaler = parse.autoscaler(raw_autoscaler(behavior=behavior, workerGroup="g"))
    assert autoscaler.unread == "has 101 scaling policies, and at most 100 are read"
    assert (autoscaler.cluster, autoscaler.group) == ("simple", "g")


def test_a_group() -> None:
    raw = raw_group(workers=0, status={"lastOrdinal": 11})
    raw["metadata"] |= {
        "annotations": {"kubernetes.dask.org/replicas": "3"},
        "deletionTimestamp": NOON_TEXT,
        "ownerReferences": [{"uid": "one"}, {"uid": "two"}],
    }
    raw["spec"]["worker"]["metadata"] = {"labels": {"e": "f"}}
    group = parse.group(raw)
    assert (group.cluster, group.replicas, group.copied, group.last_ordinal) == ("simple", 0, "3", 11)
    assert (group.deleting, group.owners) == (True, ("one", "two"))
    assert group.worker.metadata == Metadata({"e": "f"})


def test_replicas_that_were_never_copied() -> None:
    assert parse.group(raw_group(metadata={"annotations": {}})).copied == ""


def test_replicas_that_are_not_given() -> None:
    cluster, group = raw_cluster(), raw_group()
    cluster["spec"]["worker"]["replicas"] = None
    del (group["spec"]["worker"] | {})["replicas"]
    group["spec"]["worker"] = {"spec": WORKER_SPEC}
    assert parse.cluster(cluster).replicas is None
    assert (parse.group(group).replicas, parse.group(group).replicas_unset) == (1, True)
    assert not parse.group(raw_group()).replicas_unset


def test_a_running_worker() -> None:
    status = {
        "phase": "Running",
        "podIP": "10.0.0.5",
        "startTime": NOON_TEXT,
        "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "True"}],
        "containerStatuses": [{"name": "worker", "ready": True, "state": {"running": {"startedAt": NOON_TEXT}}}],
    }
    pod = parse.pod(raw_pod(4, status=status))
    assert (pod.cluster, pod.component, pod.group) == ("simple", "worker", "simple-default")
    assert (pod.phase, pod.ready, pod.ip, pod.started) == ("Running", True, "10.0.0.5", NOON)
    assert (pod.ordinal, pod.attempt, pod.finished, pod.problem) == (4, 0, 0.0, None)
    assert pod.owners == ("uid-of-simple-default",)


def test_the_attempt_of_a_worker() -> None:
    annotations = {"kubernetes.dask.org/ordinal": "8", "kubernetes.dask.org/attempt": "2"}
    assert parse.pod(raw_pod(metadata={"annotations": annotations})).attempt == 2


def test_an_image_that_cannot_be_pulled() -> None:
    message = 'Back-off pulling image "dusk": ErrImagePull: not found'
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": message}}
    container = {"name": "worker", "image": "dusk", "ready": False, "state": waiting}
    pod = parse.pod(raw_pod(status={"phase": "Pending", "containerStatuses": [container]}))
    assert pod.problem == Problem("ImagePullBackOff", f'container "worker", image "dusk": {message}')
    waiting["waiting"] = {"reason": "ErrImagePull", "message": "not found"}
    assert parse.pod(raw_pod(status={"containerStatuses": [container]})).problem == Problem(
        "ImagePullBackOff", 'container "worker", image "dusk": not found'
    ), "the two reasons alternate and are one problem"


def test_an_init_containers_image_that_cannot_be_pulled() -> None:
    container = {"name": "init", "state": {"waiting": {"reason": "InvalidImageName", "message": "bad"}}}
    waiting = {"name": "worker", "state": {"waiting": {"reason": "PodInitializing"}}}
    status = {"phase": "Pending", "initContainerStatuses": [container], "containerStatuses": [waiting]}
    assert parse.pod(raw_pod(status=status)).problem == Problem("InvalidImageName", 'container "init": bad')


def test_a_container_that_keeps_ending() -> None:
    container = {
        "name": "worker",
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container"}},
        "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": NOON_TEXT}},
        "restartCount": 3,
    }
    pod = parse.pod(raw_pod(status={"phase": "Running", "containerStatuses": [container]}))
    assert pod.problem == Problem("CrashLoopBackOff", 'container "worker" keeps ending: exit code 137, OOMKilled')


def test_a_pod_for_which_there_is_no_room() -> None:
    message = "0/3 nodes are available: 3 Insufficient cpu."
    scheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    pod = parse.pod(raw_pod(status={"phase": "Pending", "conditions": [scheduled]}))
    assert pod.problem == Problem("Unschedulable", message)


def test_an_evicted_pod() -> None:
    message = "The node was low on resource: memory."
    status = {"phase": "Failed", "reason": "Evicted", "message": message, "startTime": NOON_TEXT}
    pod = parse.pod(raw_pod(status=status))
    assert (pod.phase, pod.ready, pod.problem) == ("Failed", False, Problem("Evicted", message))


def test_a_worker_that_ended_with_an_error() -> None:
    ended = {"exitCode": 2, "reason": "Error", "message": " no such option\n", "finishedAt": "2026-01-01T12:00:20Z"}
    container = {"name": "worker", "state": {"terminated": ended}}
    pod = parse.pod(raw_pod(status={"phase": "Failed", "startTime": NOON_TEXT, "containerStatuses": [container]}))
    assert (pod.started, pod.finished) == (NOON, NOON + 20.0)
    assert pod.problem == Problem("Error", 'container "worker" ended: exit code 2, Error, no such option')


def test_a_worker_that_ended_well_has_no_problem() -> None:
    ended = {"exitCode": 0, "reason": "Completed", "finishedAt": NOON_TEXT}
    status = {"phase": "Succeeded", "containerStatuses": [{"name": "worker", "state": {"terminated": ended}}]}
    assert parse.pod(raw_pod(status=status)).problem is None


def test_containers_that_are_being_created_are_no_problem() -> None:
    container = {"name": "worker", "state": {"waiting": {"reason": "ContainerCreating"}}}
    assert parse.pod(raw_pod(status={"phase": "Pending", "containerStatuses": [container]})).problem is None


def test_a_deployment_whose_pod_is_refused() -> None:
    conditions = [
        {"type": "Progressing", "status": "True", "reason": "NewReplicaSetCreated"},
        {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota"},
    ]
    deployment = parse.deployment(raw_deployment(status={"conditions": conditions}))
    assert (deployment.cluster, deployment.problem) == ("simple", Problem("FailedCreate", "exceeded quota"))
    conditions[1]["status"] = "False"
    assert parse.deployment(raw_deployment(status={"conditions": conditions})).problem is None


def test_a_service() -> None:
    service = parse.service(raw_service())
    assert (service.cluster, service.type, service.cluster_ip) == ("simple", "ClusterIP", "10.96.0.7")
    assert (service.ports, service.ingress) == ({"tcp-comm": 8786, "http-dashboard": 8787}, False)


def test_a_service_whose_type_was_not_given_is_as_kubernetes_makes_it() -> None:
    assert parse.service(raw_service(spec={"type": None})).type == "ClusterIP"


def test_a_load_balancer_with_and_without_an_address() -> None:
    spec = {"type": "LoadBalancer", "clusterIP": "10.96.0.7"}
    assert not parse.service(raw_service(spec=spec, status={"loadBalancer": {}})).ingress
    status = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}
    assert parse.service(raw_service(spec=spec, status=status)).ingress


ODD: list[Any] = [None, True, 0, -1, 1.5, "", "x", "é🙂\u0000", [], [None], ["x"], [[]], {}, {"x": None}, {"": []}]


def _twisted(raw: Any) -> Iterator[Any]:
    """Yield the JSON with each of its parts in turn missing or odd."""
    if isinstance(raw, dict):
        for key, value in raw.items():
            yield {k: v for k, v in raw.items() if k != key}
            for odd in ODD:
                yield raw | {key: odd}
            for inner in _twisted(value):
                yield raw | {key: inner}
    if isinstance(raw, list):
        for place, value in enumerate(raw):
            for inner in [*ODD, *_twisted(value)]:
                yield [*raw[:place], inner, *raw[place + 1 :]]


def _whole(kind: str) -> dict[str, Any]:
    """Return an object with every field that a parser reads."""
    terminated = {"exitCode": 1, "reason": "Error", "message": "m", "finishedAt": NOON_TEXT}
    container = {
        "name": "c",
        "image": "i",
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "m"}, "terminated": terminated},
        "lastState": {"terminated": terminated},
    }
    conditions = [
        {"type": "Ready", "status": "False", "reason": "r", "message": "m", "lastTransitionTime": NOON_TEXT},
        {"type": "ReplicaFailure", "status": "True", "reason": "r", "message": "m"},
    ]
    status = {
        "phase": "Failed",
        "reason": "",
        "startTime": NOON_TEXT,
        "podIP": "10.0.0.1",
        "lastOrdinal": 3,
        "conditions": conditions,
        "initContainerStatuses": [container],
        "containerStatuses": [container],
        "loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]},
    }
    part = {"replicas": 3, "metadata": {"labels": {"a": "b"}}, "spec": WORKER_SPEC, "service": SERVICE_SPEC}
    metadata = {
        "deletionTimestamp": None,
        "generation": 1,
        "labels": {"dask.org/cluster-name": "simple"},
        "annotations": {"kubernetes.dask.org/ordinal": "3", "kubernetes.dask.org/replicas": "3"},
        "ownerReferences": [{"uid": "u"}],
    }
    spec = {"cluster": "simple", "worker": part, "scheduler": part, **SERVICE_SPEC}
    return raw_object(kind, "whole", metadata=metadata, spec=spec, status=status)


@pytest.mark.parametrize("kind", parse.PARSERS)
def test_no_object_makes_a_parser_fail(kind: str) -> None:
    for raw in _twisted(_whole(kind)):
        parsed = parse.PARSERS[kind](raw)
        assert isinstance(parsed.name, str)
        assert isinstance(parsed.uid, str)


@pytest.mark.parametrize("replicas", ["3", 2.0, [3]])
def test_replicas_of_a_wrong_type_are_not_given(replicas: Any) -> None:
    raw = raw_group()
    raw["spec"] = {"worker": {"replicas": replicas}}
    parsed = parse.group(raw).replicas
    assert (parsed, type(parsed)) == (1, int)


@pytest.mark.parametrize("annotation", ["kubernetes.dask.org/ordinal", "kubernetes.dask.org/replicas"])
def test_a_number_of_any_length_makes_no_parser_fail(annotation: str) -> None:
    endless = {"annotations": {annotation: "9" * 5000}}
    parse.pod(raw_pod(metadata=endless))
    parse.group(raw_group(metadata=endless))


@pytest.mark.parametrize(
    "text", ["", "now", "0001-01-01", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "1e9", "²"]
)
def test_no_time_makes_a_parser_fail(text: str) -> None:
    parse.pod(raw_pod(status={"startTime": text}))


def test_times() -> None:
    assert parse.timestamp(NOON_TEXT) == NOON
    assert parse.timestamp("2026-01-01T12:00:00.250000Z") == NOON + 0.25
    assert parse.timestamp("noon") == 0.0


def test_the_version_of_a_list() -> None:
    assert parse.resource_version({"metadata": {"resourceVersion": "12"}}) == 12
    assert parse.resource_version({"metadata": {}}) == 0


@pytest.mark.parametrize("identity", [{}, {"workers": None}, {"workers": {"tcp://x:1": None}}, {"workers": []}])
def test_half_an_identity_makes_no_parser_fail(identity: dict[str, Any]) -> None:
    parse.registrations(identity)


def test_odd_identities_make_no_parser_fail() -> None:
    metrics = {"managed_bytes": 1, "spilled_bytes": {"memory": 1}, "task_counts": {"executing": 1}}
    for identity in _twisted({"workers": {"tcp://10.0.0.1:4000": {"name": 1, "metrics": metrics}}}):
        parse.registrations(identity)


def test_what_was_retired() -> None:
    assert parse.retired({"tcp://10.0.0.1:4000": {"name": "a"}}) == {"tcp://10.0.0.1:4000"}
    assert parse.retired({}) == frozenset()


_RELEASED = threading.Event()


def _wait_for_release() -> None:
    _RELEASED.wait(60.0)


def test_the_identity_of_a_real_scheduler() -> None:
    """Use two workers: one holds a result and runs a task, the other does nothing."""
    with a_dask_cluster(workers=2) as cluster, Client(cluster) as client:
        busy, idle = (worker.address for worker in cluster.workers.values())
        held = client.submit(bytes, 1_000_000, workers=[busy], pure=False)
        held.result()
        running = client.submit(_wait_for_release, workers=[busy])
        try:
            found = _once_known(http_port(cluster), busy)
        finally:
            _RELEASED.set()
        running.result()
        assert set(found) == {busy, idle}
        assert found[busy].name == str(next(name for name, w in cluster.workers.items() if w.address == busy))
        assert found[busy].nbytes >= 1_000_000
        assert found[busy].tasks == 1
        assert (found[idle].nbytes, found[idle].tasks) == (0, 0)


def _once_known(port: int, busy: str) -> dict[str, Registration]:
    """Return the scheduler's answer once a heartbeat has told it about the worker's task."""
    deadline = time.monotonic() + 15.0
    found: dict[str, Registration] = {}
    while time.monotonic() < deadline:
        # Until the heartbeat after a task's end, distributed 2026.8 cannot write its own identity (500).
        with suppress(HTTPError), urlopen(f"http://127.0.0.1:{port}/json/identity.json") as reply:
            found = {worker.address: worker for worker in parse.registrations(json.load(reply))}
            if found[busy].nbytes and found[busy].tasks:
                return found
        time.sleep(0.05)
    raise AssertionError(f"waited 15 s for the worker's heartbeat to tell of its result and task: {found}")


def test_a_cluster_that_a_job_has_made() -> None:
    owners = [{"kind": "Application", "name": "x"}, {"kind": "DaskJob", "name": "etl"}]
    assert parse.cluster(raw_cluster(metadata={"ownerReferences": owners})).job == "etl"
    assert parse.cluster(raw_cluster()).job == ""


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, 0.0),
        (0, 0.0),
        (-5, 0.0),
        (60, 60.0),
        (0.5, 0.5),
        ("60", 0.0),
        (True, 0.0),
        (float("inf"), 0.0),
        ([], 0.0),
    ],
)
def test_idle_timeouts(given: object, expected: float) -> None:
    raw = raw_cluster()
    raw["spec"]["idleTimeout"] = given
    assert parse.cluster(raw).idle_timeout == expected


def test_a_groups_notes() -> None:
    notes = {"adopted-template": "a", "template": "t", "last-ordinal": "7", "replicas": "3"}
    raw = raw_group(metadata={"annotations": {f"kubernetes.dask.org/{key}": value for key, value in notes.items()}})
    group = parse.group(raw)
    assert (group.adopted_template, group.template, group.last_ordinal, group.copied) == ("a", "t", 7, "3")
    assert parse.group(raw | {"status": {"lastOrdinal": 9}}).last_ordinal == 9, "the greater of both"
    assert parse.group(raw | {"status": {"lastOrdinal": 5}}).last_ordinal == 7


def test_a_job() -> None:
    raw = raw_job(backoffLimit=2, activeDeadlineSeconds=600, ttlSecondsAfterFinished=0, status={})
    raw["spec"]["job"]["metadata"] = {"labels": {"a": "b"}}
    raw["spec"]["cluster"]["metadata"] = {"annotations": {"c": "d"}}
    job = parse.job(raw | {"status": {"jobStatus": "Running"}})
    assert job.key == ("default", "simple")
    assert (job.backoff_limit, job.deadline, job.ttl) == (2, 600.0, 0.0)
    assert (job.runner.metadata, job.cluster.metadata) == (Metadata({"a": "b"}), Metadata(annotations={"c": "d"}))
    assert job.runner.spec["containers"][0]["name"] == "job"
    assert job.cluster.spec["worker"]["replicas"] == 3
    assert job.status == {"jobStatus": "Running"}


@pytest.mark.parametrize("nothing", [None, "3", True, [], {}])
def test_what_is_no_limit_of_a_job(nothing: object) -> None:
    job = parse.job(raw_job(backoffLimit=nothing, activeDeadlineSeconds=nothing, ttlSecondsAfterFinished=nothing))
    assert (job.backoff_limit, job.deadline, job.ttl) == (None, None, None)


def test_limits_of_a_job_below_nothing() -> None:
    job = parse.job(raw_job(backoffLimit=-1, activeDeadlineSeconds=-1, ttlSecondsAfterFinished=-1))
    assert (job.backoff_limit, job.deadline, job.ttl) == (0, None, None)


def test_an_autoscaler() -> None:
    policies = [
        {"type": "Pods", "value": 4, "periodSeconds": 60},
        {"type": "Percent", "value": 10, "periodSeconds": 30},
    ]
    behavior = {
        "scaleUp": {"stabilizationWindowSeconds": 5, "policies": policies, "selectPolicy": "Min"},
        "scaleDown": {"selectPolicy": "Disabled"},
    }
    autoscaler = parse.autoscaler(raw_autoscaler(workerGroup="simple-gpu", minimum=2, maximum=9, behavior=behavior))
    assert (autoscaler.cluster, autoscaler.group) == ("simple", "simple-gpu")
    assert (autoscaler.minimum, autoscaler.maximum) == (2, 9)
    assert autoscaler.up == Scaling(5.0, (ScalingPolicy(False, 4, 60.0), ScalingPolicy(True, 10, 30.0)), "Min")
    assert (autoscaler.down.select, autoscaler.down.policies) == ("Disabled", ())


def test_an_autoscaler_that_says_little() -> None:
    autoscaler = parse.autoscaler(raw_autoscaler(minimum=None, maximum=None, behavior=None, workerGroup=None))
    assert (autoscaler.group, autoscaler.minimum, autoscaler.maximum) == ("simple-default", 0, None)
    assert (autoscaler.up, autoscaler.down.select) == (Scaling(), "Max")
    assert autoscaler.down.window > 0.0, "a pause between two computations costs nobody"
    zero = {"scaleDown": {"stabilizationWindowSeconds": 0}}
    assert parse.autoscaler(raw_autoscaler(behavior=zero)).down.window == 0.0


FAILED = {"terminated": {"exitCode": 1}}


def _runner(*statuses: dict[str, Any], phase: str = "Running") -> int:
    return parse.pod(raw_pod(status={"phase": phase, "containerStatuses": list(statuses)})).failures


def test_how_often_a_runner_has_failed() -> None:
    ended = {"terminated": {"exitCode": 1}}
    assert _runner() == 0
    assert _runner({"restartCount": 0, "state": {"running": {"startedAt": NOON_TEXT}}}) == 0
    assert _runner({"restartCount": 0, "state": ended}) == 1
    assert _runner({"restartCount": 0, "state": {"terminated": {"exitCode": 0}}}, phase="Succeeded") == 0
    assert _runner({"restartCount": 1, "state": {"running": {"startedAt": NOON_TEXT}}, "lastState": ended}) == 1
    assert _runner({"restartCount": 1, "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": ended}) == 2
    assert _runner({"restartCount": 2, "state": {"terminated": {"exitCode": 0}}}, phase="Succeeded") == 2


def test_init_containers_count_as_in_a_kubernetes_job_and_what_runs_beside_the_program_does_not() -> None:
    failing = {"restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": FAILED}
    program = {"name": "worker", "restartCount": 0, "state": {"running": {"startedAt": NOON_TEXT}}}
    native = {"name": "native", "restartPolicy": "Always"}
    spec = {**WORKER_SPEC, "initContainers": [{"name": "fetch"}, native]}

    def failures(*, init: str = "", beside: str = "") -> int:
        status: dict[str, Any] = {"phase": "Running", "containerStatuses": [program]}
        status |= {"initContainerStatuses": [{"name": init, **failing}]} if init else {}
        status["containerStatuses"] += [{"name": beside, **failing}] if beside else []
        return parse.pod(raw_pod(spec=spec, status=status)).failures

    assert failures(init="fetch") == 4
    assert failures(init="native") == 0
    assert failures(beside="proxy") == 0


@pytest.mark.parametrize(
    ("policy", "code", "expected"),
    [
        ("OnFailure", 0, "Succeeded"),
        ("OnFailure", 1, "Running"),
        ("Never", 0, "Succeeded"),
        ("Never", 1, "Failed"),
        ("Always", 0, "Running"),
        ("Always", 1, "Running"),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_a_worker_is_its_dask_container_whatever_runs_beside_it(
    policy: str, code: int, expected: str, first: bool
) -> None:
    ended = {"exitCode": code, "startedAt": NOON_TEXT, "finishedAt": "2026-01-01T13:00:00Z"}
    own = {"name": "worker", "restartCount": 0, "state": {"terminated": ended}}
    other = {"name": "a-proxy", "restartCount": 0, "state": {"running": {"startedAt": "2026-01-01T13:30:00Z"}}}
    dask = {"name": "worker", "env": [{"name": "DASK_SCHEDULER_ADDRESS", "value": "tcp://a:8786"}]}
    containers = [dask, {"name": "a-proxy"}] if first else [{"name": "a-proxy"}, dask]
    spec = {"restartPolicy": policy, "containers": containers}
    status = {"phase": "Running", "startTime": NOON_TEXT, "containerStatuses": [other, own]}
    pod = parse.pod(raw_pod(spec=spec, status=status))
    assert (pod.phase, pod.lingering) == (expected, expected != "Running")
    assert (pod.started, pod.finished) == (NOON, NOON + 3600.0)
    # A container beside it has failed, and so Kubernetes reports that the Pod has.
    failed = {"name": "a-proxy", "restartCount": 0, "state": {"terminated": {"exitCode": 137}}}
    over = parse.pod(raw_pod(spec=spec, status={"phase": "Failed", "containerStatuses": [failed, own]}))
    assert (over.phase, over.lingering) == ("Failed" if expected == "Running" else expected, False)


@pytest.mark.parametrize(("policy", "code"), [("OnFailure", 0), ("Never", 0), ("Never", 1)])
def test_a_pod_in_which_nothing_goes_on_is_about_to_say_how_it_ended(policy: str, code: int) -> None:
    def phase(other: dict[str, Any]) -> str:
        own = {"name": "worker", "state": {"terminated": {"exitCode": code}}}
        spec = {"restartPolicy": policy, "containers": [{"name": "worker"}, {"name": "a-proxy"}]}
        status = {"phase": "Running", "containerStatuses": [{"name": "a-proxy", "state": other}, own]}
        return parse.pod(raw_pod(spec=spec, status=status)).phase

    ended = "Failed" if code else "Succeeded"
    assert phase({"terminated": {"exitCode": 0}}) == "Running", "the kubelet says so later than of its containers"
    assert phase({"running": {"startedAt": NOON_TEXT}}) == ended
    assert phase({"waiting": {"reason": "CrashLoopBackOff"}}) == ended
    assert phase({"terminated": {"exitCode": 1}}) == ("Running" if policy == "Never" else ended)


def test_a_pod_that_is_evicted_has_failed_however_its_program_ended() -> None:
    own = {"name": "worker", "state": {"terminated": {"exitCode": 0}}}
    spec = {**WORKER_SPEC, "restartPolicy": "OnFailure"}
    status = {"phase": "Failed", "reason": "Evicted", "message": "disk", "containerStatuses": [own]}
    pod = parse.pod(raw_pod(spec=spec, status=status))
    assert (pod.phase, pod.problem) == ("Failed", Problem("Evicted", "disk"))


def test_a_container_with_rules_of_its_own_for_restarts_has_ended_when_the_kubelet_says_so() -> None:
    own = {"name": "worker", "state": {"terminated": {"exitCode": 42}}}
    program = {"name": "worker", "restartPolicy": "Never", "restartPolicyRules": [{"action": "Restart"}]}
    spec = {"restartPolicy": "Never", "containers": [program]}
    assert parse.pod(raw_pod(spec=spec, status={"phase": "Running", "containerStatuses": [own]})).phase == "Running"
    own_policy = {"restartPolicy": "OnFailure", "containers": [{"name": "worker", "restartPolicy": "Never"}]}
    beside = [{"name": "a-proxy", "state": {"running": {"startedAt": NOON_TEXT}}}, own]
    assert (
        parse.pod(raw_pod(spec=own_policy, status={"phase": "Running", "containerStatuses": beside})).phase == "Failed"
    )


def test_what_is_wrong_with_the_program_is_said_before_what_is_with_the_others() -> None:
    waiting = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
    status = {"phase": "Pending", "containerStatuses": [{"name": "a-proxy", **waiting}, {"name": "worker", **waiting}]}
    problem = parse.pod(raw_pod(status=status)).problem
    assert problem == Problem("ImagePullBackOff", 'container "worker": no such image')


def test_the_deployment_by_which_a_pod_was_made() -> None:
    owner = {"kind": "ReplicaSet", "name": "simple-default-worker-1f6c670fba-5d9f8b7c6", "uid": "rs"}
    pod = parse.pod(raw_pod(metadata={"ownerReferences": [owner]}))
    assert pod.deployment == "simple-default-worker-1f6c670fba"
    assert parse.pod(raw_pod()).deployment == ""


def test_what_a_pod_was_made_from() -> None:
    notes = {"kubernetes.dask.org/template": "abc", "kubernetes.dask.org/attempt": "2"}
    pod = parse.pod(raw_pod(metadata={"annotations": notes}))
    assert (pod.template, pod.attempt, pod.ordinal) == ("abc", 2, -1)


def test_finalizers() -> None:
    assert parse.cluster(raw_cluster(metadata={"finalizers": ["a/b", "c"]})).finalizers == ("a/b", "c")
    assert parse.cluster(raw_cluster(metadata={"finalizers": None})).finalizers == ()


@pytest.mark.parametrize(
    "odd", ["", "soon", "0001-01-01T00:00:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "1e9"]
)
def test_odd_times_are_no_errors(odd: str) -> None:
    assert isinstance(parse.timestamp(odd), float)


@pytest.mark.parametrize("state", ["state", "lastState"])
def test_how_a_runner_ended_the_last_time_is_known_while_its_pod_goes_on(state: str) -> None:
    container = {"name": "job", state: {"terminated": {"exitCode": 7, "reason": "Error"}}}
    labels = {"dask.org/cluster-name": "simple", "dask.org/component": "job-runner"}
    raw = {"metadata": {"name": "simple-runner", "labels": labels}, "status": {"containerStatuses": [container]}}
    assert parse.pod(raw).ending == 'container "job" ended: exit code 7, Error'
    labels["dask.org/component"] = "worker"
    assert parse.pod(raw).ending == "", "ten thousand workers would each keep one"
