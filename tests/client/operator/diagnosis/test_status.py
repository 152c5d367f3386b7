from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from tests.client.operator.objects import (
    NOT_READY,
    a_cluster,
    a_container,
    a_group,
    a_scheduler,
    a_service,
    a_worker,
    deleted,
    seen,
    unready,
)

from dask_kubernetes.operator.diagnosis.facts import Snapshot
from dask_kubernetes.operator.diagnosis.status import (
    Row,
    requested,
    service_ready,
    startup,
    uses_jupyter,
    uses_tls,
    worker_names,
)
from dask_operator import manifests, parse

CREATING = a_container(waiting={"reason": "ContainerCreating"})
NO_IMAGE = a_container(waiting={"reason": "ImagePullBackOff", "message": "not found"})
CRASH = {"exitCode": 1, "reason": "Error"}
UNSCHEDULABLE = [NOT_READY, {"type": "PodScheduled", "status": "False", "message": "0/3 nodes"}]


def row(label: str, snapshot: Snapshot, registered: int = 0) -> Row:
    (found,) = (row for row in startup(snapshot, registered).rows if row.label == label)
    return found


def test_a_cluster_that_runs() -> None:
    found = startup(seen(a_scheduler(), a_worker(0), a_worker(1), a_worker(2)), 3)
    assert found.rows == (
        Row("DaskCluster", "Running", "good"),
        Row("Scheduler Pod", "Running", "good"),
        Row("Scheduler Service", "Created", "good"),
        Row("Default Worker Group", "3 of 3 registered", "good"),
    )
    assert found.scheduler_ready
    assert found.problem is None


def test_before_there_is_a_cluster() -> None:
    labels = ("DaskCluster", "Scheduler Pod", "Scheduler Service", "Default Worker Group")
    found = startup(Snapshot(None), 0)
    assert found.rows == tuple(Row(label, "-", "none") for label in labels)
    assert not found.scheduler_ready
    assert found.problem is None


@pytest.mark.parametrize(
    ("phase", "mood"), [("Created", "waiting"), ("Pending", "waiting"), ("Running", "good"), ("Error", "bad")]
)
def test_the_phase_of_the_cluster(phase: str, mood: str) -> None:
    assert row("DaskCluster", seen(cluster=a_cluster(phase))) == Row("DaskCluster", phase, mood)  # type: ignore[arg-type]
    assert row("DaskCluster", seen(cluster=a_cluster(None))).status == "-"
    assert row("DaskCluster", seen(cluster=deleted(a_cluster(phase)))).status == "Terminating"


@pytest.mark.parametrize(
    ("status", "shown", "mood"),
    [
        ({"phase": "Pending", "conditions": [NOT_READY], "containerStatuses": []}, "Pending", "waiting"),
        ({"phase": "Pending", "conditions": UNSCHEDULABLE}, "Unschedulable", "waiting"),
        (unready(CREATING), "ContainerCreating", "waiting"),
        (unready(NO_IMAGE), "ImagePullBackOff", "bad"),
        (unready(a_container(last=CRASH, waiting={"reason": "CrashLoopBackOff"})), "CrashLoopBackOff", "bad"),
        (unready(a_container(terminated=CRASH), phase="Running"), "Error", "bad"),
        (unready(a_container(), phase="Running"), "Health Checking", "waiting"),
        (unready(phase="Failed"), "Failed", "bad"),
        ({**unready(phase="Failed"), "reason": "Evicted"}, "Evicted", "bad"),
        ({"initContainerStatuses": [NO_IMAGE], **unready(CREATING)}, "ImagePullBackOff", "bad"),
        ({"phase": "Running"}, "Running", "good"),
    ],
)
def test_the_state_of_the_scheduler(status: dict[str, Any], shown: str, mood: str) -> None:
    found = startup(seen(a_scheduler(**status)), 0)
    assert found.rows[1] == Row("Scheduler Pod", shown, mood)  # type: ignore[arg-type]
    assert found.scheduler_ready == (shown == "Running")


def test_a_scheduler_that_goes() -> None:
    assert row("Scheduler Pod", seen(deleted(a_scheduler()))) == Row("Scheduler Pod", "Terminating", "waiting")


def test_a_load_balancer_without_an_address_is_not_ready() -> None:
    pending, there = a_service("LoadBalancer"), a_service("LoadBalancer", ingress=[{"ip": "192.0.2.1"}])
    assert not service_ready(pending)
    assert service_ready(there)
    assert row("Scheduler Service", seen(service=pending)) == Row("Scheduler Service", "Pending", "waiting")
    assert row("Scheduler Service", seen(service=there)) == Row("Scheduler Service", "Created", "good")


def test_other_services_are_ready_with_an_address_of_the_cluster() -> None:
    assert service_ready(a_service("NodePort"))
    assert service_ready(a_service("ClusterIP"))
    assert not service_ready({"metadata": {"name": "mine-scheduler"}, "spec": {"type": "ClusterIP"}})
    assert not service_ready(None)


@pytest.mark.parametrize(
    ("pods", "registered", "shown", "mood"),
    [
        ([], 0, "0 of 3 registered", "waiting"),
        ([a_worker(0), a_worker(1), a_worker(2)], 1, "1 of 3 registered, 2 starting", "waiting"),
        ([a_worker(0), a_worker(1, **unready(NO_IMAGE))], 1, "1 of 3 registered, 1 failing", "bad"),
        ([a_worker(0, phase="Pending", conditions=UNSCHEDULABLE)], 0, "0 of 3 registered, 1 starting", "waiting"),
        ([deleted(a_worker(0))], 0, "0 of 3 registered", "waiting"),
        ([], 4, "4 of 3 registered", "good"),
    ],
)
def test_how_many_workers_there_are(pods: list[Any], registered: int, shown: str, mood: str) -> None:
    found = row("Default Worker Group", seen(*pods), registered)
    assert found == Row("Default Worker Group", shown, mood)  # type: ignore[arg-type]


def test_further_groups_have_rows_of_their_own() -> None:
    groups = (a_group("mine-gpu", replicas=2), a_group(replicas=1))
    snapshot = seen(a_worker(0), a_worker(1, group="mine-gpu", **unready(CREATING)), groups=groups)
    assert startup(snapshot, 1).rows[3:] == (
        Row("Default Worker Group", "1 of 1 running", "good"),
        Row("Worker Group mine-gpu", "0 of 2 running, 1 starting", "waiting"),
        Row("Workers", "1 of 3 registered", "waiting"),
    )
    assert startup(snapshot, 3).rows[-1].mood == "good"


def test_the_default_group_is_awaited_also_when_another_is_there() -> None:
    found = startup(seen(groups=(a_group("mine-gpu"),)), 0).rows[3:]
    assert [each.label for each in found] == ["Default Worker Group", "Worker Group mine-gpu"]
    assert found[0].status == "-"


def test_an_autoscaler_says_between_which_limits_it_scales() -> None:
    bounded = seen(autoscaler={"spec": {"minimum": 1, "maximum": 10}})
    assert row("Autoscaler", bounded) == Row("Autoscaler", "1 to 10 workers", "none")
    assert row("Autoscaler", seen(autoscaler={"spec": {"minimum": 1}})).status == "1 or more workers"


def test_the_problem_is_that_of_the_scheduler_before_that_of_the_workers() -> None:
    scheduler = a_scheduler(**unready(a_container(waiting={"reason": "InvalidImageName"})))
    worker = a_worker(0, **unready(NO_IMAGE))
    reasons = [
        problem.reason for pods in ((scheduler, worker), (worker,)) if (problem := startup(seen(*pods), 0).problem)
    ]
    assert reasons == ["InvalidImageName", "ImagePullBackOff"]


def test_the_names_of_the_workers_that_stay() -> None:
    pods = (a_scheduler(), a_worker(0), deleted(a_worker(1)), a_worker(2, phase="Failed"), a_worker(3, phase="Pending"))
    assert worker_names(seen(*pods)) == {"mine-default-worker-0", "mine-default-worker-3"}


def test_what_is_requested_of_all_groups() -> None:
    assert requested(seen(groups=(a_group(replicas=2), a_group("mine-gpu", replicas=3)))) == 5
    assert requested(seen(groups=(a_group(replicas=2), deleted(a_group("mine-gpu", replicas=3))))) == 2
    assert requested(seen(cluster=a_cluster(replicas=4), groups=(a_group("mine-gpu", replicas=3),))) == 7
    assert requested(Snapshot(None)) == 0


@pytest.mark.parametrize(
    ("container", "tls"),
    [
        ({"args": ["dask", "scheduler"]}, False),
        ({"args": ["dask", "scheduler", "--protocol", "tcp"]}, False),
        ({"args": ["dask", "scheduler", "--protocol", "tls"]}, True),
        ({"args": ["dask", "scheduler", "--protocol=tls"]}, True),
        ({"command": ["dask", "scheduler"], "args": ["--tls-cert", "/tls/cert.pem"]}, True),
        ({"command": ["dask", "scheduler"], "args": ["--tls-key=/tls/key.pem"]}, True),
        ({"command": ["sh", "-c", "exec dask scheduler --tls-ca-file=/tls/ca.pem"]}, True),
        (
            {"args": ["dask"], "env": [{"name": "DASK_DISTRIBUTED__COMM__DEFAULT_SCHEME", "value": "tls"}]},
            False,
        ),  # not the scheduler's container
        ({"args": None}, False),
        ({"args": "dask scheduler"}, False),
    ],
)
def test_tls_is_seen_by_the_signs_by_which_the_operator_sees_it(container: dict[str, Any], tls: bool) -> None:
    cluster = a_cluster()
    cluster["spec"]["scheduler"]["spec"]["containers"] = [{"name": "sidecar"}, container]
    assert uses_tls(cluster) == tls
    assert manifests.scheduler_address(parse.cluster(cluster)).startswith("tls://") == tls


@pytest.mark.parametrize(
    ("container", "jupyter"),
    [
        ({"args": ["dask", "scheduler"]}, False),
        ({"args": ["dask", "scheduler", "--jupyter"]}, True),
        ({"args": ["dask", "scheduler", "--no-jupyter"]}, False),
        ({"command": ["sh", "-c", "pip install x && dask scheduler --jupyter"]}, True),
    ],
)
def test_jupyter_is_seen_by_its_option(container: dict[str, Any], jupyter: bool) -> None:
    cluster = a_cluster()
    cluster["spec"]["scheduler"]["spec"]["containers"] = [container]
    assert uses_jupyter(cluster) == jupyter


ODD: tuple[Any, ...] = (None, "", "text", 0, -1, True, [], [None], ["text"], {}, {"name": None}, [{}], [{"name": 1}])
WHOLE = {
    "cluster": a_cluster(degraded=("Invalid", "name")),
    "groups": a_group(degraded=("Forbidden", "quota")),
    "service": a_service("LoadBalancer", ingress=[{"ip": "192.0.2.1"}]),
    "pods": a_scheduler(
        initContainerStatuses=[a_container("packages", waiting={"reason": "ErrImagePull", "message": "no"})],
        **unready(a_container(restarts=3, last=CRASH, terminated=CRASH), phase="Failed"),
    ),
    "autoscaler": {"spec": {"minimum": 1, "maximum": 2}},
}


def paths(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in items:
        yield (*above, key)
        yield from paths(below, (*above, key))


def with_odd(whole: Any, path: tuple[Any, ...], odd: Any) -> Any:
    broken = copy.deepcopy(whole)
    at = broken
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = odd
    return broken


@pytest.mark.parametrize("part", list(WHOLE))
def test_no_object_makes_a_function_fail(part: str) -> None:
    for path in paths(WHOLE[part]):
        for odd in ODD:
            snapshot = seen_with(part, with_odd(WHOLE[part], path, odd))
            found = startup(snapshot, 0)
            assert all(isinstance(row.status, str) and row.status for row in found.rows), (path, odd)
            assert isinstance(requested(snapshot), int)
            assert all(isinstance(name, str) for name in worker_names(snapshot))
            assert uses_tls(snapshot.cluster or {}) is uses_jupyter(snapshot.cluster or {}) is False


def seen_with(part: str, broken: Any) -> Snapshot:
    if part == "pods":
        return seen(broken)
    return seen(a_worker(0), **{part: (broken,) if part == "groups" else broken})
