"""Input that passes every schema but cannot work: the user gets one sentence, and everything else goes on."""

from __future__ import annotations

import json
import random
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.support.controller import Controller
from tests.support.kube import Kube, Manifest, eventually
from tests.support.loopback_schedulers import SITE, answered_by, listening
from tests.support.manifests import ON_FAKE_NODES, dask_autoscaler, dask_cluster, dask_job, worker_group

from dask_operator import names
from dask_operator.reconcile.workqueue import AT_ONCE

MANY_ANNOTATIONS = {f"a{number}": "" for number in range(10_000)}
# The API server's limit for an object's annotations, in bytes.
MOST_ANNOTATIONS = 256 * 1024

Change = Callable[[dict[str, Any]], object]


def _worker(manifest: Manifest) -> dict[str, Any]:
    worker: dict[str, Any] = manifest["spec"]["worker"]
    return worker


def _scheduler(manifest: Manifest) -> dict[str, Any]:
    scheduler: dict[str, Any] = manifest["spec"]["scheduler"]
    return scheduler


def _container(part: Mapping[str, Any]) -> dict[str, Any]:
    container: dict[str, Any] = part["spec"]["containers"][0]
    return container


def _cluster(name: str, change: Change, workers: int = 1) -> dict[str, Any]:
    manifest = dask_cluster(name, workers, pods=ON_FAKE_NODES)
    change(manifest)
    return manifest


def _create(kube: Kube, *manifests: Manifest) -> None:
    """Create objects as any client does, without kubectl's checks and without its annotation."""
    kube.run("create", "--validate=false", "--filename", "-", stdin="\n".join(map(json.dumps, manifests)))


def _sound_cluster_settles(kube: Kube, name: str = "sound") -> None:
    kube.apply(dask_cluster(name, 1, pods=ON_FAKE_NODES))
    kube.wait_for_workers(name, 1)


def _env(part: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    return [(variable["name"], variable.get("value")) for variable in _container(part)["env"]]


def _warnings(kube: Kube, kind: str, name: str) -> list[str]:
    return [reason for type_, reason, _ in kube.events(kind, name) if type_ == "Warning"]


REFUSED: dict[str, tuple[Change, str, str]] = {
    "service-without-ports": (lambda c: _scheduler(c)["service"].update(ports=None), "Invalid", "spec.ports: Required"),
    "ports-without-names": (
        lambda c: _scheduler(c)["service"].update(ports=[{"port": 1}, {"port": 2}]),
        "Invalid",
        "spec.ports[0].name: Required",
    ),
    "service-type": (lambda c: _scheduler(c)["service"].update(type="Nonsense"), "Invalid", "spec.type: Unsupported"),
    "annotations": (
        lambda c: c["metadata"].update(annotations={"a": "x" * (MOST_ANNOTATIONS - 1)}),
        "Invalid",
        "may not be more than 262144 bytes",
    ),
    "scheduler-image": (lambda c: _container(_scheduler(c)).pop("image"), "Invalid", "image: Required"),
    "worker-image": (lambda c: _container(_worker(c)).pop("image"), "Invalid", "image: Required"),
    "worker-affinity": (
        lambda c: _worker(c)["spec"].update(affinity="nonsense"),
        "BadRequest",
        "cannot unmarshal string into Go struct field PodSpec.spec.affinity",
    ),
    "worker-label": (lambda c: _worker(c).update(metadata={"labels": {"x y": "z"}}), "Invalid", 'Invalid value: "x y"'),
    "many-env-names": (
        lambda c: _container(_worker(c)).update(env=[{"name": f"a{number}=", "value": "x"} for number in range(1000)]),
        "Invalid",
        'Invalid value: "a0="',
    ),
    "env-name": (lambda c: _container(_worker(c)).update(env=[{"name": "Ü", "value": "ß"}]), "Invalid", '"Ü"'),
}


@pytest.mark.usefixtures("controller")
def test_what_the_api_server_refuses_is_said_once_and_stops_nothing_else(kube: Kube) -> None:
    _create(kube, *(_cluster(name, change) for name, (change, _, _) in REFUSED.items()))
    _sound_cluster_settles(kube)
    for name, (_, reason, sentence) in REFUSED.items():
        assert sentence in kube.wait_for_condition("daskcluster", name, "Degraded", reason)
        eventually(lambda name=name: _warnings(kube, "DaskCluster", name), f"an Event about {name}")  # type: ignore[misc]
        assert _warnings(kube, "DaskCluster", name) == [reason]


@pytest.mark.usefixtures("controller")
@pytest.mark.parametrize(
    "change",
    [
        lambda c: _scheduler(c)["service"].update(type="Nonsense"),
        lambda c: _scheduler(c)["service"].update(sessionAffinity=5),
        lambda c: _scheduler(c)["spec"].update(affinity="nonsense"),
    ],
    ids=["service-invalid", "service-unreadable", "scheduler-unreadable"],
)
def test_a_cluster_whose_scheduler_is_refused_is_in_error_and_not_settled(kube: Kube, change: Change) -> None:
    _create(kube, _cluster("broken", change, workers=0))
    eventually(lambda: kube.condition("daskcluster", "broken", "Degraded").get("status") == "True", "it says so")
    eventually(lambda: kube.status("daskcluster", "broken").get("phase") == "Error", "the phase is Error")
    assert kube.condition("daskcluster", "broken", "Progressing")["reason"] != "Settled"


@pytest.mark.usefixtures("controller")
def test_nulls_and_unknown_fields_are_as_absent(kube: Kube) -> None:
    def nulls(cluster: dict[str, Any]) -> None:
        cluster |= {"status": None}
        cluster["metadata"] |= {"labels": None, "annotations": None}
        cluster["spec"] |= {"idleTimeout": None}
        _scheduler(cluster)["metadata"] = None
        _scheduler(cluster)["service"] |= {"sessionAffinityConfig": None, "ipFamilies": None}
        _worker(cluster)["metadata"] = {"labels": {"team": None}, "annotations": None}
        _worker(cluster)["spec"] |= {"affinity": None, "securityContext": None, "restartPolicy": None}
        _container(_worker(cluster)).update(env=None, resources=None, livenessProbe=None, lifecycle=None)

    job = dask_job("nulls-job", 0, pods=ON_FAKE_NODES)
    job["spec"] |= {"backoffLimit": None, "activeDeadlineSeconds": None, "ttlSecondsAfterFinished": None}
    job["spec"]["job"]["metadata"] = job["spec"]["cluster"]["metadata"] = None
    _container(job["spec"]["job"]).update(env=None)
    unknown = _cluster("unknown", lambda c: c["spec"].update(colour="blue", extra={"deep": [None, {"er": 1}]}))
    _create(kube, _cluster("nulls", nulls), unknown, job, dask_autoscaler("nulls", "nulls", 0, 1, behavior=None))
    kube.wait_for_workers("nulls", 1)
    kube.wait_for_workers("unknown", 1)
    eventually(lambda: kube.status("daskjob", "nulls-job").get("jobStatus") == "Running", "the job runs")
    assert kube.get("daskcluster", "nulls")
    assert not _warnings(kube, "DaskCluster", "nulls") + _warnings(kube, "DaskJob", "nulls-job")


@pytest.mark.usefixtures("controller")
def test_ten_thousand_annotations_flow_down_and_their_cluster_can_be_edited(kube: Kube) -> None:
    _create(kube, _cluster("wordy", lambda c: c["metadata"].update(annotations=MANY_ANNOTATIONS)))
    _sound_cluster_settles(kube)
    kube.wait_for_workers("wordy", 1)
    for pod in kube.objects("pods", "dask.org/cluster-name=wordy"):
        assert MANY_ANNOTATIONS.items() <= pod["metadata"]["annotations"].items()
    edited = {"op": "replace", "path": "/spec/worker/spec/containers/0/image", "value": "other:1"}
    kube.run("patch", "daskcluster", "wordy", "--type=json", "--patch", json.dumps([edited]))

    # The old one stays: its scheduler, on a fake node, cannot release it.
    def images() -> set[str]:
        return {_container(pod)["image"] for pod in kube.workers("wordy-default")}

    eventually(lambda: "other:1" in images(), "a worker of the edited template")


@pytest.mark.usefixtures("controller")
def test_names_may_be_as_long_as_they_are_allowed_to_be(kube: Kube) -> None:
    cluster, group, job, autoscaler = "c" * 53, "g" * 63, "j" * 53, "a" * 253
    kube.apply(
        dask_cluster(cluster, 1, pods=ON_FAKE_NODES),
        worker_group(group, cluster, 1, ON_FAKE_NODES),
        dask_job(job, 0, pods=ON_FAKE_NODES),
        dask_autoscaler(autoscaler, cluster, 2, 3),
    )
    kube.wait_for_workers(cluster, 2)
    eventually(lambda: len(kube.workers(group)) == 1, "the group has its worker")
    eventually(lambda: kube.status("daskjob", job).get("jobStatus") == "Running", "the job runs")
    kube.wait_for_event("DaskAutoscaler", autoscaler, "Normal", "Scaled")


@pytest.mark.usefixtures("controller")
def test_a_long_name_is_nothing_to_warn_of(kube: Kube) -> None:
    kube.apply(dask_cluster("c" * 40, 1, pods=ON_FAKE_NODES))
    kube.wait_for_workers("c" * 40, 1)
    assert not _warnings(kube, "DaskCluster", "c" * 40)


@pytest.mark.usefixtures("controller")
def test_any_script_arrives_as_it_was_written(kube: Kube) -> None:
    text = "日本語 ßé \u202e \u200fעברית 👩\u200d🔬"
    cluster = _cluster("unicode", lambda c: c["metadata"].update(annotations={"note": text}))
    _container(_worker(cluster)).update(env=[{"name": "TEXT", "value": text}])
    _container(_worker(cluster))["args"].append(text)
    kube.apply(cluster)
    kube.wait_for_workers("unicode", 1)
    (worker,) = kube.workers("unicode-default")
    assert worker["metadata"]["annotations"]["note"] == text
    assert ("TEXT", text) in _env(worker)
    assert _container(worker)["args"][-1] == text


@pytest.mark.usefixtures("controller")
def test_ports_by_name_or_number(kube: Kube) -> None:
    ports = [
        {"name": "http-dashboard", "port": 80, "targetPort": "http-dashboard"},
        {"name": "tcp-comm", "port": 9000, "targetPort": 8786},
        {"name": "other", "port": 9001},
    ]
    kube.apply(_cluster("ports", lambda c: _scheduler(c)["service"].update(ports=ports)))
    kube.wait_for_workers("ports", 1)
    service = kube.get("service", "ports-scheduler")
    assert service
    assert [(p["name"], p["port"], p["targetPort"]) for p in service["spec"]["ports"]] == [
        ("http-dashboard", 80, "http-dashboard"),
        ("tcp-comm", 9000, 8786),
        ("other", 9001, 9001),
    ]
    (worker,) = kube.workers("ports-default")
    address = f"tcp://ports-scheduler.{kube.namespace}.svc:9000"
    assert ("DASK_SCHEDULER_ADDRESS", address) in _env(worker)
    assert address in kube.condition("daskcluster", "ports", "SchedulerReady")["message"]


@pytest.mark.usefixtures("controller")
def test_the_users_environment_wins(kube: Kube) -> None:
    routes = {"name": "DASK_DISTRIBUTED__SCHEDULER__HTTP__ROUTES", "value": "[]"}
    own = [{"name": "DASK_WORKER_NAME", "value": "mine"}, {"name": "DASK_SCHEDULER_ADDRESS", "value": "tcp://mine:1"}]
    cluster, job = dask_cluster("env", 1, pods=ON_FAKE_NODES), dask_job("env-job", 0, pods=ON_FAKE_NODES)
    _container(_worker(cluster))["env"] = own
    _container(_scheduler(cluster))["env"] = [routes]
    _container(job["spec"]["job"])["env"] = own[1:]
    kube.apply(cluster, job)
    kube.wait_for_workers("env", 1)
    (worker,) = kube.workers("env-default")
    assert _env(worker) == [
        ("DASK_WORKER_NAME", "mine"),
        ("DASK_SCHEDULER_ADDRESS", "tcp://mine:1"),
        (names.POD_ENV, worker["metadata"]["name"]),
        (names.DRAIN_SECONDS_ENV, "20"),
    ]
    (scheduler,) = kube.objects("pods", "dask.org/component=scheduler,dask.org/cluster-name=env")
    first, *others = _env(scheduler)
    assert first == (routes["name"], "[]")
    assert [name for name, _ in others] == [names.AGENT_ENV, names.PRELOAD_ENV]
    runner = eventually(lambda: kube.get("pod", "env-job-runner"), "the job's runner")
    assert runner
    assert _env(runner) == [("DASK_SCHEDULER_ADDRESS", "tcp://mine:1")]


@pytest.mark.usefixtures("controller")
def test_labels_that_are_ours_do_not_mislead(kube: Kube) -> None:
    _sound_cluster_settles(kube)
    ours = {
        "dask.org/cluster-name": "sound",
        "dask.org/component": "worker",
        "dask.org/workergroup-name": "sound-default",
    }
    kube.apply(_cluster("posing", lambda c: c["metadata"].update(labels=ours)))
    kube.wait_for_workers("posing", 1)
    kube.wait_for_workers("sound", 1)


@pytest.mark.usefixtures("controller")
def test_a_default_groups_name_that_is_taken_is_said(kube: Kube) -> None:
    kube.apply(dask_cluster("sound", 1, pods=ON_FAKE_NODES), worker_group("late-default", "sound", 1, ON_FAKE_NODES))
    eventually(lambda: len(kube.workers("late-default")) == 1, "the group of the sound cluster has its worker")
    before = kube.get("daskworkergroup", "late-default")
    kube.apply(dask_cluster("late", 1, pods=ON_FAKE_NODES))
    message = kube.wait_for_condition("daskcluster", "late", "Degraded", "NameTaken")
    assert "DaskWorkerGroup late-default exists" in message
    after = kube.get("daskworkergroup", "late-default")
    assert before
    assert after
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert len(kube.workers("late-default")) == 1
    kube.run("delete", "daskworkergroup", "late-default")
    lates = "dask.org/cluster-name=late,dask.org/component=worker"
    eventually(lambda: len(kube.names("pods", lates)) == 1, "the late cluster has its worker")
    # A scheduler on a fake node cannot move the results of the removed group's worker, so that worker stays.
    said = "group late-default, which was removed: "
    eventually(lambda: said in kube.condition("daskcluster", "sound", "Degraded").get("message", ""), said)
    kube.run("delete", "daskcluster", "sound")
    # Its workers are deleted with it, and only those of the late cluster are left.
    kube.wait_for_workers("late", 1)


@pytest.mark.usefixtures("controller")
def test_a_job_made_anew_under_its_name_is_another_job(kube: Kube) -> None:
    def runs() -> str:
        job, pod = kube.get("daskjob", "twice"), kube.get("pod", "twice-runner")
        if not job or not pod or job.get("status", {}).get("jobStatus") != "Running":
            return ""
        uid = str(job["metadata"]["uid"])
        return uid if pod["metadata"]["ownerReferences"][0]["uid"] == uid else ""

    kube.apply(dask_job("twice", 1, pods=ON_FAKE_NODES))
    first = eventually(runs, "the first runs")
    kube.run("delete", "daskjob", "twice", "--wait=false")
    kube.apply(dask_job("twice", 1, pods=ON_FAKE_NODES))
    second = eventually(runs, "the second runs")
    assert second != first
    assert kube.status("daskjob", "twice")["failed"] == 0


@pytest.mark.usefixtures("controller")
def test_a_jobs_program_waits_for_the_service_too(kube: Kube) -> None:
    job = dask_job("deaf", 0, pods=ON_FAKE_NODES)
    job["spec"]["cluster"]["spec"]["scheduler"]["service"] = {}
    _create(kube, job)
    assert "spec.ports: Required" in kube.wait_for_condition("daskjob", "deaf", "Degraded", "Invalid")
    eventually(lambda: len(kube.objects("pods", "dask.org/component=scheduler")) == 1, "the scheduler is there")
    kube.wait_for_condition("daskcluster", "deaf", "SchedulerReady", "SchedulerReady")
    assert not kube.get("pod", "deaf-runner")


@pytest.mark.usefixtures("controller")
def test_autoscalers_for_clusters_that_never_come_cost_nothing(kube: Kube) -> None:
    names = [f"waiting-{number}" for number in range(20)]
    kube.apply(*(dask_autoscaler(name, f"{name}-cluster", 1, 2) for name in names))
    for name in names:
        message = kube.wait_for_condition("daskautoscaler", name, "ScalingActive", "ClusterNotFound")
        assert f'no DaskCluster "{name}-cluster"' in message
    before = {a["metadata"]["name"]: a["metadata"]["resourceVersion"] for a in kube.objects("daskautoscalers")}
    _sound_cluster_settles(kube)
    after = {a["metadata"]["name"]: a["metadata"]["resourceVersion"] for a in kube.objects("daskautoscalers")}
    assert after == before


@pytest.mark.usefixtures("controller")
def test_more_workers_than_can_be_counted_are_made_as_far_as_the_quota_goes(kube: Kube) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}, "spec": {"hard": {"pods": "6"}}}
    kube.apply(quota)
    eventually(lambda: kube.status("resourcequota", "few").get("hard"), "the quota is in force")
    _sound_cluster_settles(kube)
    kube.apply(dask_cluster("huge", 2**31 - 1, pods=ON_FAKE_NODES))
    assert "pods=6" in kube.wait_for_condition("daskcluster", "huge", "Degraded", "QuotaExceeded")
    kube.run("scale", "--replicas=0", "daskworkergroup", "sound-default")
    kube.wait_for_condition("daskcluster", "sound", "Progressing", "ScalingDown")


def _garbage(connection: socketserver.StreamRequestHandler) -> None:
    connection.rfile.readline()
    connection.wfile.write(random.Random(0).randbytes(4096))


def _wrong_json(connection: socketserver.StreamRequestHandler) -> None:
    while connection.rfile.readline().strip():
        pass
    body = b'{"workers": [[null, {"a": 1}], "nonsense"], "num_workers": -1}'
    connection.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


def _drip(connection: socketserver.StreamRequestHandler) -> None:
    connection.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        connection.wfile.write(b" ")
        time.sleep(1)


def _say_nothing(connection: socketserver.StreamRequestHandler) -> None:
    connection.rfile.read()


class _Silence:
    """A server that never answers. `most`: the largest number of clients that waited at the same time."""

    def __init__(self) -> None:
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()

    def __call__(self, connection: socketserver.StreamRequestHandler) -> None:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        try:
            _say_nothing(connection)
        finally:
            with self._lock:
                self._now -= 1


@contextmanager
def _closed() -> Iterator[int]:
    """Keep a port on loopback where nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.fixture
def controller_with_schedulers(kube: Kube, tmp_path: Path) -> Iterator[Controller]:
    controller = Controller(kube.kubeconfig, tmp_path / "controller.log", f"--namespace={kube.namespace}", site=SITE)
    with controller.started():
        yield controller


@pytest.mark.usefixtures("controller_with_schedulers")
def test_schedulers_that_answer_wrongly_slowly_or_never_keep_their_workers(kube: Kube) -> None:
    with (
        listening(_garbage) as garbage,
        listening(_wrong_json) as wrong,
        listening(_drip) as drip,
        listening(_say_nothing) as silent,
        _closed() as closed,
    ):
        cases = {"garbage": garbage, "wrong": wrong, "slow": drip, "silent": silent, "closed": closed}
        kube.apply(*(answered_by(port, name, 3) for name, port in cases.items()))
        for name in cases:
            kube.wait_for_workers(name, 3)
        kube.apply(dask_autoscaler("wrong", "wrong", 0, 5))
        for name in cases:
            kube.run("scale", "--replicas=1", "daskworkergroup", f"{name}-default")
        _sound_cluster_settles(kube)
        kube.run("scale", "--replicas=3", "daskcluster", "sound")
        kube.wait_for_workers("sound", 3)
        for name, port in cases.items():
            reason = "SchedulerAnswer" if name == "wrong" else "SchedulerUnreachable"
            message = kube.wait_for_condition("daskcluster", name, "Degraded", reason)
            (scheduler,) = kube.objects("pods", f"dask.org/component=scheduler,dask.org/cluster-name={name}")
            assert f"http://{scheduler['status']['podIP']}:{port}/" in message
        kube.wait_for_condition("daskautoscaler", "wrong", "ScalingActive", "SchedulerAnswer")
        for name in cases:
            assert len(kube.workers(f"{name}-default")) == 3


def test_fifty_silent_schedulers_do_not_hold_up_a_sound_cluster(
    kube: Kube, controller_with_schedulers: Controller
) -> None:
    names = [f"silent-{number}" for number in range(50)]
    silence = _Silence()
    with listening(silence) as port:
        kube.apply(*(answered_by(port, name, 1) for name in names))
        running = "dask.org/component=worker"
        # Without a start, as far as the controller knows, it would delete the worker without asking.
        for name in names:
            kube.wait_for_workers(name, 1)
        down = '{"spec":{"worker":{"replicas":0}}}'
        # The watch reports all of them at once, however long this takes.
        controller_with_schedulers.pause()
        kube.run("patch", "daskcluster", *names, "--type=merge", "--patch", down)
        controller_with_schedulers.resume()
        kube.wait_for_condition("daskcluster", names[-1], "Progressing", "ScalingDown")
        eventually(lambda: silence.most > AT_ONCE, "more are waited for than clusters are worked on at a time")
        _sound_cluster_settles(kube)
        kube.run("delete", "pod", kube.workers("sound-default")[0]["metadata"]["name"], "--force")
        kube.wait_for_workers("sound", 1)
        assert len(kube.objects("pods", running)) == len(names) + 1
