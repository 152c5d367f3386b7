from __future__ import annotations

from typing import Any

import pytest
from tests.support.builders import (
    NOON,
    NOON_TEXT,
    WORKER_SPEC,
    raw_pod,
)

from dask_operator import parse
from dask_operator.model import Node, Pod, Problem


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


@pytest.mark.parametrize(
    "text", ["", "now", "0001-01-01", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "1e9", "²"]
)
def test_no_time_makes_a_parser_fail(text: str) -> None:
    parse.pod(raw_pod(status={"startTime": text}))


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


FAILED = {"terminated": {"exitCode": 1}}


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


@pytest.mark.parametrize("state", ["state", "lastState"])
def test_how_a_runner_ended_the_last_time_is_known_while_its_pod_goes_on(state: str) -> None:
    container = {"name": "job", state: {"terminated": {"exitCode": 7, "reason": "Error"}}}
    labels = {"dask.org/cluster-name": "simple", "dask.org/component": "job-runner"}
    raw = {"metadata": {"name": "simple-runner", "labels": labels}, "status": {"containerStatuses": [container]}}
    assert parse.pod(raw).ending == 'container "job" ended: exit code 7, Error'
    labels["dask.org/component"] = "worker"
    assert parse.pod(raw).ending == "", "ten thousand workers would each keep one"


def test_an_ordinal_that_no_group_reaches_counts_as_none() -> None:
    annotations = {"kubernetes.dask.org/ordinal": "999999999999999999"}
    assert parse.pod(raw_pod(metadata={"annotations": annotations})).ordinal == -1


@pytest.mark.parametrize(
    ("grace", "deleted"),
    [({"deletionGracePeriodSeconds": 30}, NOON - 30.0), ({}, NOON), ({"deletionGracePeriodSeconds": "x"}, NOON)],
)
def test_the_time_at_which_it_was_told_to_end(grace: dict[str, Any], deleted: float) -> None:
    assert parse.pod(raw_pod(metadata={"deletionTimestamp": NOON_TEXT, **grace})).deleted == deleted
    assert parse.pod(raw_pod()).deleted == 0.0


# Nodes


def _node(*taints: dict[str, Any], **spec: Any) -> Node:
    return parse.node({"metadata": {"name": "one"}, "spec": {"taints": list(taints), **spec}})


def _pod(*tolerations: dict[str, Any]) -> Pod:
    return parse.pod(raw_pod(spec={"nodeName": "one", "tolerations": list(tolerations)}))


CORDONED = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
GPU = {"key": "gpu", "value": "a", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    "node",
    [
        _node(unschedulable=True),
        _node(CORDONED),
        _node(CORDONED, unschedulable=True),
        _node(GPU),
        _node({"key": "ToBeDeletedByClusterAutoscaler", "value": "1767268800", "effect": "NoSchedule"}),
        _node({"key": "karpenter.sh/disrupted", "effect": "NoSchedule"}),
        _node({"key": "gone", "effect": "NoExecute"}),
    ],
)
def test_a_node_that_is_cordoned_or_tainted_keeps_pods_away(node: Node) -> None:
    assert len(node.taints) == 1
    assert _pod().is_kept_away_by(node.taints)
    assert _pod({"key": "other", "operator": "Exists"}).is_kept_away_by(node.taints)
    assert not _pod({"operator": "Exists"}).is_kept_away_by(node.taints)


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"unschedulable": False},
        {"unschedulable": "true"},
        {"taints": None},
        {"taints": ["x", 3, {}]},
        {"taints": [{"key": "node.kubernetes.io/memory-pressure", "effect": "NoSchedule"}]},
        {"taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}]},
        {"taints": [GPU | {"effect": "PreferNoSchedule"}]},
    ],
)
def test_a_node_in_another_condition_keeps_nobody_away(spec: dict[str, Any]) -> None:
    assert parse.node({"metadata": {"name": "one"}, "spec": spec}).taints == ()


@pytest.mark.parametrize(
    ("toleration", "is_kept_away"),
    [
        ({"key": "gpu", "operator": "Exists"}, False),
        ({"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}, False),
        ({"key": "gpu", "operator": "Equal", "value": "a"}, False),
        ({"key": "gpu", "value": "a", "effect": "NoSchedule"}, False),
        ({"key": "gpu", "operator": "Gt", "value": "3"}, False),
        ({"key": "gpu", "value": "b"}, True),
        ({"key": "gpu"}, True),
        ({"key": "gpu", "operator": "Exists", "effect": "NoExecute"}, True),
        ({"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}, True),
        ({"key": None, "operator": 3, "value": [], "effect": {}}, True),
    ],
)
def test_a_pod_tolerates_what_kubernetes_says(toleration: dict[str, Any], is_kept_away: bool) -> None:
    assert _pod(toleration).is_kept_away_by(_node(GPU).taints) is is_kept_away
    assert _pod(toleration, {"key": "gpu", "operator": "Exists"}).is_kept_away_by(_node(GPU).taints) is False


def test_pods_of_the_same_tolerations_share_them() -> None:
    toleration = {"key": "gpu", "operator": "Exists"}
    assert _pod(toleration).tolerations is _pod(toleration).tolerations
    assert _pod({"key": "node.kubernetes.io/not-ready", "operator": "Exists"}).tolerations == ()
    assert _pod().node == "one"
