from __future__ import annotations

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
from dask_kubernetes.operator.diagnosis.problems import Problem, pod_problem, scheduler_problem, workers_problem
from dask_operator.plan.report.suspended import QUEUED

CRASH = {"exitCode": 1, "reason": "Error"}
OUT_OF_MEMORY = {"exitCode": 137, "reason": "OOMKilled"}
NO_IMAGE = {"reason": "ErrImagePull", "message": 'failed to pull and unpack image "dask:1": not found'}


def a_broken_scheduler(*containers: dict[str, Any], phase: str = "Pending", **others: Any) -> dict[str, Any]:
    return a_scheduler(*containers, **(unready(*containers, phase=phase) | others))


def a_broken_worker(number: int, *containers: dict[str, Any], **others: Any) -> dict[str, Any]:
    return a_worker(number, *containers, **(unready(*containers) | others))


def unscheduled(message: str) -> list[dict[str, str]]:
    return [
        NOT_READY,
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message},
    ]


def test_a_cluster_that_is_well_has_no_problem() -> None:
    snapshot = seen(a_scheduler(), a_worker(0), a_worker(1), a_worker(2))
    assert scheduler_problem(snapshot) is None
    assert workers_problem(snapshot) is None


def test_a_cluster_that_is_starting_has_no_problem() -> None:
    creating = a_container(waiting={"reason": "ContainerCreating"})
    assert scheduler_problem(seen(cluster=a_cluster("Created"), groups=(), service=None)) is None
    assert scheduler_problem(seen(a_broken_scheduler(creating))) is None
    assert workers_problem(seen(a_broken_worker(0, creating))) is None


@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull"])
def test_an_image_that_cannot_be_pulled_is_named(reason: str) -> None:
    container = a_container(waiting={"reason": reason, "message": "not found"})
    assert pod_problem(a_broken_scheduler(container)) == Problem(
        "ImagePullBackOff", 'Pod mine-scheduler-0 cannot pull image "dask:1": not found.'
    )


def test_between_two_attempts_to_pull_an_image_the_last_one_is_told() -> None:
    said = f'Back-off pulling image "dask:1": ErrImagePull: {NO_IMAGE["message"]}'
    waiting = a_broken_scheduler(a_container(waiting={"reason": "ImagePullBackOff", "message": said}))
    assert pod_problem(waiting) == pod_problem(a_broken_scheduler(a_container(waiting=NO_IMAGE)))


def test_an_image_that_is_named_wrongly_will_never_be_there() -> None:
    container = a_container(waiting={"reason": "InvalidImageName", "message": "must be lowercase"})
    assert pod_problem(a_broken_scheduler(container)) == Problem(
        "InvalidImageName",
        'Pod mine-scheduler-0 has an invalid image name, "dask:1": must be lowercase.',
        fatal=True,
    )


def test_the_image_is_that_of_the_spec_where_the_status_has_none() -> None:
    container = {**a_container(waiting=NO_IMAGE), "image": ""}
    found = pod_problem(a_broken_scheduler(container))
    assert found
    assert 'cannot pull image "dask:1"' in found.message


def test_a_pod_for_which_there_is_no_node() -> None:
    pod = a_broken_scheduler(conditions=unscheduled("0/3 nodes are available: 3 Insufficient cpu."))
    assert pod_problem(pod) == Problem(
        "Unschedulable",
        "Pod mine-scheduler-0 cannot be scheduled: 0/3 nodes are available: 3 Insufficient cpu.",
    )


@pytest.mark.parametrize(
    "container",
    [
        a_container(restarts=1, last=CRASH, waiting={"reason": "CrashLoopBackOff", "message": "back-off 10s"}),
        a_container(restarts=2, last=CRASH, terminated=CRASH),
        a_container(restarts=2, last=CRASH, running={}),
        a_container(restarts=2, last=CRASH, waiting={"reason": "ContainerCreating"}),
    ],
    ids=["backs off", "ended again", "runs again", "is made again"],
)
def test_a_container_that_crashes_again_and_again_has_a_log(container: dict[str, Any]) -> None:
    assert pod_problem(a_broken_scheduler(container, phase="Running")) == Problem(
        "CrashLoopBackOff",
        'Pod mine-scheduler-0: container "scheduler" keeps ending with exit code 1 (Error).',
        pod="mine-scheduler-0",
        container="scheduler",
    )


def test_a_container_that_crashed_once_and_runs_again_may_be_well() -> None:
    assert pod_problem(a_broken_scheduler(a_container(restarts=1, last=CRASH), phase="Running")) is None


def test_a_container_that_ends_well_each_time_crashes_too() -> None:
    done = {"exitCode": 0, "reason": "Completed"}
    found = pod_problem(a_broken_scheduler(a_container(last=done, waiting={"reason": "CrashLoopBackOff"})))
    assert found
    assert found.message.endswith("keeps ending with exit code 0 (Completed).")


def test_a_container_that_has_just_ended() -> None:
    ended = {**CRASH, "reason": "StartError", "message": "exec: not found\nin $PATH"}
    assert pod_problem(a_broken_scheduler(a_container(terminated=ended), phase="Running")) == Problem(
        "StartError",
        'Pod mine-scheduler-0: container "scheduler" has ended with exit code 1 (StartError): '
        "exec: not found in $PATH.",
        pod="mine-scheduler-0",
        container="scheduler",
    )
    assert pod_problem(a_broken_scheduler(a_container(terminated={"exitCode": 0}), phase="Running")) is None


@pytest.mark.parametrize(
    "container",
    [
        a_container("worker", terminated=OUT_OF_MEMORY),
        a_container("worker", restarts=3, last=OUT_OF_MEMORY, waiting={"reason": "CrashLoopBackOff"}),
    ],
)
def test_a_container_without_enough_memory_says_how_much_it_had(container: dict[str, Any]) -> None:
    pod = a_broken_worker(0, container)
    found = pod_problem(pod)
    assert found
    assert found.message.endswith("was killed because it used more memory than the node has (OOMKilled).")
    pod["spec"]["containers"][0]["resources"] = {"limits": {"memory": "64Mi"}}
    assert pod_problem(pod) == Problem(
        "OOMKilled",
        'Pod mine-default-worker-0: container "worker" was killed because it used more memory than its limit of 64Mi '
        "(OOMKilled).",
    )


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("CreateContainerConfigError", 'cannot create container "scheduler"'),
        ("CreateContainerError", 'cannot create container "scheduler"'),
        ("RunContainerError", 'cannot start container "scheduler"'),
    ],
)
def test_a_container_that_cannot_be_made(reason: str, said: str) -> None:
    container = a_container(waiting={"reason": reason, "message": 'secret "keys" not found'})
    assert pod_problem(a_broken_scheduler(container)) == Problem(
        reason, f'Pod mine-scheduler-0 {said}: secret "keys" not found.'
    )


def test_init_containers_count() -> None:
    waiting = a_container(waiting={"reason": "PodInitializing"})
    pod = a_broken_scheduler(waiting, initContainerStatuses=[a_container("packages", terminated=CRASH)])
    found = pod_problem(pod)
    assert found
    assert (found.pod, found.container) == ("mine-scheduler-0", "packages")


def test_a_pod_that_was_evicted_says_why() -> None:
    ended = a_container("worker", terminated=CRASH)
    pod = a_broken_worker(0, ended, phase="Failed", reason="Evicted", message="The node was low on resource: memory. ")
    assert pod_problem(pod) == Problem(
        "Evicted", "Pod mine-default-worker-0 has failed (Evicted): The node was low on resource: memory."
    )


def test_a_pod_that_failed_silently() -> None:
    pod = a_broken_worker(0, phase="Failed")
    assert pod_problem(pod) == Problem("Failed", "Pod mine-default-worker-0 has failed without a reason.")


def test_a_pod_that_is_ready_has_ended_well_or_goes_has_no_problem() -> None:
    crashed = a_container(restarts=5, last=CRASH)
    assert pod_problem(a_scheduler(crashed)) is None
    assert pod_problem(a_broken_worker(0, crashed, phase="Succeeded")) is None
    assert pod_problem(deleted(a_broken_worker(0, a_container(waiting=NO_IMAGE)))) is None


def test_words_without_end_are_cut() -> None:
    container = a_container(waiting={"reason": "RunContainerError", "message": "x" * 5000})
    found = pod_problem(a_broken_scheduler(container))
    assert found
    assert found.message.endswith("xxx…")
    assert len(found.message) < 600


def test_the_pod_of_the_scheduler_is_the_newest() -> None:
    old = a_broken_scheduler(a_container(waiting=NO_IMAGE), phase="Failed", reason="Evicted")
    new = a_broken_scheduler(a_container(waiting=NO_IMAGE))
    new["metadata"]["creationTimestamp"] = "2026-01-01T12:00:01Z"
    found = scheduler_problem(seen(new, old))
    assert found
    assert found.reason == "ImagePullBackOff"
    found = scheduler_problem(seen(old))
    assert found
    assert found.reason == "Evicted"


def test_a_cluster_that_is_deleted_is_never_going_to_run() -> None:
    found = scheduler_problem(seen(a_scheduler(), cluster=deleted(a_cluster())))
    assert found == Problem("Deleted", "DaskCluster mine is being deleted.", fatal=True)


def test_a_cluster_that_is_refused_is_never_going_to_run() -> None:
    refused = a_cluster("Error", degraded=("Invalid", "Deployment mine-scheduler is invalid: spec.template"))
    assert scheduler_problem(seen(cluster=refused, service=None)) == Problem(
        "Invalid",
        "DaskCluster mine (Invalid): Deployment mine-scheduler is invalid: spec.template.",
        fatal=True,
    )


def test_a_cluster_that_is_refused_without_a_word_has_a_wrong_name() -> None:
    found = scheduler_problem(seen(cluster=a_cluster("Error"), groups=(), service=None))
    assert found
    assert found.fatal
    assert found.message.startswith("The operator rejected DaskCluster mine: its name is not valid; choose")


def test_a_scheduler_that_runs_is_no_problem_when_an_edit_is_refused() -> None:
    assert scheduler_problem(seen(a_scheduler(), cluster=a_cluster("Error"))) is None


def test_what_no_pod_can_say_the_conditions_of_the_cluster_say() -> None:
    quota = a_cluster("Created", degraded=("FailedCreate", "exceeded quota: pods"))
    expected = Problem("FailedCreate", "DaskCluster mine (FailedCreate): exceeded quota: pods.")
    assert scheduler_problem(seen(cluster=quota)) == expected
    assert scheduler_problem(seen(a_scheduler(), cluster=quota, service=None)) == expected
    # Its message about a starting scheduler is empty.
    assert scheduler_problem(seen(a_broken_scheduler(a_container()), cluster=quota)) is None
    broken = scheduler_problem(seen(a_broken_scheduler(a_container(waiting=NO_IMAGE)), cluster=quota))
    assert broken
    assert broken.reason == "ImagePullBackOff"


@pytest.mark.parametrize("cluster", [a_cluster(None), {**a_cluster(), "status": None}])
def test_a_cluster_that_no_operator_has_answered(cluster: dict[str, Any]) -> None:
    found = scheduler_problem(Snapshot(cluster))
    assert found
    assert found.reason == "NotTakenUp"
    assert not found.fatal
    assert "No operator has taken up DaskCluster mine" in found.message
    assert scheduler_problem(Snapshot(cluster, service=a_service())) is None
    assert scheduler_problem(Snapshot(cluster, pods=(a_broken_scheduler(),))) is None
    assert scheduler_problem(Snapshot(None)) is None


def test_of_several_workers_the_most_fundamental_problem_is_told() -> None:
    evicted = a_broken_worker(0, phase="Failed", reason="Evicted")
    crashing = a_broken_worker(1, a_container("worker", restarts=2, last=CRASH))
    unschedulable = a_broken_worker(2, conditions=unscheduled("0/3 nodes"))
    no_image = a_broken_worker(3, a_container("worker", waiting=NO_IMAGE))
    pods = (evicted, crashing, unschedulable, no_image)
    found = [workers_problem(seen(*pods[: count + 1])) for count in range(len(pods))]
    expected = ["Evicted", "CrashLoopBackOff", "Unschedulable", "ImagePullBackOff"]
    assert [problem.reason for problem in found if problem] == expected


def test_workers_that_cannot_be_made_are_told_by_their_group() -> None:
    group = a_group(degraded=("Forbidden", "exceeded quota: pods"))
    expected = Problem("Forbidden", "DaskWorkerGroup mine-default (Forbidden): exceeded quota: pods.")
    assert workers_problem(seen(a_worker(0), groups=(group,))) == expected
    assert workers_problem(seen(a_worker(0), a_worker(1), a_worker(2), groups=(group,))) is None


def test_what_a_group_does_not_say_its_cluster_says() -> None:
    cluster = a_cluster(degraded=("Forbidden", "group mine-default: exceeded quota: pods"))
    found = workers_problem(seen(a_scheduler(), cluster=cluster))
    assert found
    assert found.message == "DaskCluster mine (Forbidden): group mine-default: exceeded quota: pods."
    assert workers_problem(seen(cluster=cluster)) is None


def a_changed_group(observed: int | None, **others: Any) -> dict[str, Any]:
    group = a_group(**others)
    group["metadata"]["generation"] = 2
    return group | {"status": group["status"] | {"observedGeneration": observed}}


def test_a_change_that_the_operator_has_not_acted_on() -> None:
    found = workers_problem(seen(a_scheduler(), groups=(a_changed_group(1),)))
    assert found
    assert (found.reason, found.fatal) == ("NotFollowed", False)
    assert "not acted on the last change of DaskWorkerGroup mine-default: see that it runs" in found.message


def test_what_the_operator_has_acted_on_or_says_nothing_of_is_no_problem() -> None:
    assert workers_problem(seen(a_scheduler(), groups=(a_changed_group(2),))) is None
    assert workers_problem(seen(a_scheduler(), groups=(a_changed_group(None),))) is None
    assert workers_problem(seen(a_scheduler(), groups=(a_changed_group(1, replicas=0),))) is None


def test_what_the_operator_says_comes_before_that_it_has_not_acted() -> None:
    group = a_changed_group(1, degraded=("Forbidden", "exceeded quota: pods"))
    found = workers_problem(seen(a_scheduler(), groups=(group,)))
    assert found
    assert found.reason == "Forbidden"


def test_a_suspended_cluster_says_how_it_is_resumed() -> None:
    cluster = a_cluster()
    cluster["spec"] = {**cluster.get("spec", {}), "suspend": True}
    for found in (scheduler_problem(seen(cluster=cluster)), workers_problem(seen(cluster=cluster))):
        assert found
        assert (found.reason, found.fatal) == ("Suspended", True)
        assert (
            """resume(), or with: kubectl patch daskcluster mine --type merge --patch '{"spec": {"suspend": false}}'"""
            in (found.message)
        )


def test_a_resumed_cluster_is_not_up_before_its_old_pods_are_gone() -> None:
    cluster = a_cluster()
    cluster["status"]["conditions"] = [{"type": "Suspended", "status": "True"}]
    found = scheduler_problem(seen(cluster=cluster))
    assert found
    assert (found.reason, found.fatal) == ("Suspended", False)


def test_a_cluster_in_a_queue_says_what_it_waits_for() -> None:
    cluster = a_cluster()
    said = {"reason": QUEUED, "message": "it waits in queue team: insufficient quota"}
    cluster["status"]["conditions"] = [{"type": "Suspended", "status": "True", **said}]
    found = scheduler_problem(seen(cluster=cluster))
    assert found
    assert (found.reason, found.fatal) == ("Queued", False)
    assert found.message.startswith("DaskCluster mine has no Pods yet: it waits in queue team: insufficient quota. ")
    assert "resource_timeout" in found.message
