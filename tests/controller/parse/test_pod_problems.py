from __future__ import annotations

from typing import Any

import pytest
from tests.support.builders import NOON, NOON_TEXT, raw_pod

from dask_operator import parse
from dask_operator.model import Pod, Problem

DESCRIBE = "kubectl describe pod says why"


def _pod(
    phase: str,
    containers: list[dict[str, Any]],
    *,
    prepared: bool = True,
    init: list[dict[str, Any]] | None = None,
    spec: dict[str, Any] | None = None,
    **status: Any,
) -> Pod:
    """Parse a scheduled Pod whose state has not changed since noon."""
    conditions = [
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": NOON_TEXT},
        {"type": "PodReadyToStartContainers", "status": str(prepared), "lastTransitionTime": NOON_TEXT},
        {
            "type": "Ready",
            "status": "False",
            "reason": "ContainersNotReady",
            "message": "containers with unready status: [worker]",
            "lastTransitionTime": NOON_TEXT,
        },
    ]
    statuses = {"containerStatuses": containers, "initContainerStatuses": init or []}
    body = {"containers": [{"name": "worker", "image": "dask"}], "nodeName": "node-1"} | (spec or {})
    return parse.pod(raw_pod(spec=body, status={"phase": phase, "conditions": conditions, **statuses, **status}))


def _waiting(reason: str, name: str = "worker") -> dict[str, Any]:
    return {"name": name, "image": "dask", "state": {"waiting": {"reason": reason}}}


def _running(name: str = "worker", **others: Any) -> dict[str, Any]:
    return {"name": name, "state": {"running": {"startedAt": NOON_TEXT}}, **others}


def _volumes(*sources: dict[str, Any]) -> dict[str, Any]:
    return {"volumes": [{"name": f"volume-{number}", **source} for number, source in enumerate(sources)]}


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ({"secret": {"secretName": "keys"}}, "Secret keys"),
        ({"configMap": {"name": "settings"}}, "ConfigMap settings"),
        ({"persistentVolumeClaim": {"claimName": "disk"}}, "PersistentVolumeClaim disk"),
        ({"hostPath": {"path": "/data", "type": "Directory"}}, "hostPath /data"),
        ({"csi": {"driver": "secrets-store.csi.k8s.io"}}, "volume of secrets-store.csi.k8s.io"),
        ({"nfs": {"server": "files", "path": "/"}}, "NFS server files"),
        ({"projected": {"sources": [{"secret": {"name": "keys"}}]}}, "Secret keys"),
        ({"projected": {"sources": [{"configMap": {"name": "settings"}}]}}, "ConfigMap settings"),
    ],
)
def test_a_volume_that_is_not_mounted_is_a_problem_after_a_while(source: dict[str, Any], named: str) -> None:
    pod = _pod("Pending", [_waiting("ContainerCreating")], prepared=False, spec=_volumes(source))
    message = f"node node-1 has not set up its volumes ({named}) or its network; {DESCRIBE}"
    assert (pod.problem, pod.problem_from) == (Problem("ContainerCreating", message), NOON + 45.0)


@pytest.mark.parametrize(
    "source",
    [
        {"secret": {"secretName": "keys", "optional": True}},
        {"projected": {"sources": [{"configMap": {"name": "settings", "optional": True}}]}},
        {"emptyDir": {}},
        {"name": "kube-api-access-x2x7q", "projected": {"sources": [{"configMap": {"name": "kube-root-ca.crt"}}]}},
    ],
)
def test_a_volume_that_a_pod_can_do_without_is_not_named(source: dict[str, Any]) -> None:
    pod = _pod("Pending", [_waiting("ContainerCreating")], prepared=False, spec=_volumes(source))
    assert pod.problem == Problem("ContainerCreating", f"node node-1 has not set up its network; {DESCRIBE}")
    assert pod.volumes == frozenset()


def test_what_a_pod_mounts() -> None:
    claim, secret = {"persistentVolumeClaim": {"claimName": "disk"}}, {"secret": {"secretName": "keys"}}
    pod = _pod("Running", [_running()], spec=_volumes(claim, secret))
    assert pod.volumes == {"PersistentVolumeClaim disk", "Secret keys"}


def test_the_pods_of_a_group_share_the_names_of_their_volumes() -> None:
    claim = _volumes({"persistentVolumeClaim": {"claimName": "disk"}})
    assert _pod("Running", [], spec=claim).volumes is _pod("Pending", [], spec=claim).volumes


def test_an_image_that_is_pulled_for_long() -> None:
    pod = _pod("Pending", [_waiting("ContainerCreating")])
    message = f'container "worker" is not created yet: its node may still pull "dask"; {DESCRIBE}'
    assert (pod.problem, pod.problem_from) == (Problem("ContainerCreating", message), NOON + 300.0)


def test_an_init_container_that_does_not_end() -> None:
    pod = _pod("Pending", [_waiting("PodInitializing")], init=[_running("fetch")])
    message = 'init container "fetch" runs and holds the others back; read its log'
    assert (pod.problem, pod.problem_from) == (Problem("PodInitializing", message), NOON + 300.0)


@pytest.mark.parametrize(("started", "reason"), [(True, None), (False, "PodInitializing")])
def test_a_sidecar_holds_the_others_back_until_it_has_started(started: bool, reason: str | None) -> None:
    spec = {"initContainers": [{"name": "proxy", "restartPolicy": "Always"}]}
    pod = _pod("Pending", [_waiting("PodInitializing")], init=[_running("proxy", started=started)], spec=spec)
    assert (pod.problem and pod.problem.reason) == reason


def test_a_container_that_does_not_get_ready() -> None:
    pod = _pod("Running", [_running()])
    message = "containers with unready status: [worker]; read its log, and check its readiness and startup probes"
    assert (pod.problem, pod.problem_from) == (Problem("ContainersNotReady", message), NOON + 120.0)


def test_a_container_between_two_runs_is_not_unready() -> None:
    ended = {"name": "worker", "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}
    assert _pod("Running", [ended]).problem is None


def test_a_pod_on_a_node_that_is_gone() -> None:
    pod = _pod("Running", [_running()], reason="NodeLost", message="Node node-1 is unresponsive")
    assert pod.problem
    assert pod.problem.reason == "NodeLost"
    assert pod.problem.message.startswith("Node node-1 is unresponsive")


def test_a_configmap_that_does_not_exist_is_a_problem_at_once() -> None:
    waiting = {"reason": "CreateContainerConfigError", "message": 'configmap "settings" not found'}
    pod = _pod("Pending", [{"name": "worker", "image": "dask", "state": {"waiting": waiting}}])
    message = 'container "worker", image "dask": configmap "settings" not found'
    assert (pod.problem, pod.problem_from) == (Problem("CreateContainerConfigError", message), 0.0)


@pytest.mark.parametrize(
    ("spec", "missing"),
    [
        ({}, "Kubernetes' scheduler default-scheduler"),
        ({"schedulerName": "volcano"}, "Kubernetes' scheduler volcano"),
        ({"nodeName": "node-9"}, "node node-9, which spec.nodeName names,"),
    ],
)
def test_a_pod_that_nobody_takes_up(spec: dict[str, Any], missing: str) -> None:
    pod = parse.pod(raw_pod(spec=spec, status={"phase": "Pending"}))
    message = f"{missing} has not taken it up; see that it runs"
    assert (pod.problem, pod.problem_from) == (Problem("NotScheduled", message), NOON + 45.0)


def test_a_pod_in_a_queue_has_no_problem() -> None:
    gated = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated", "message": "Scheduling is blocked"}
    pod = parse.pod(raw_pod(status={"phase": "Pending", "conditions": [gated]}))
    assert (pod.problem, pod.gated) == (None, True)


def test_a_pod_whose_kubelet_reports_no_preparation_has_no_problem() -> None:
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": NOON_TEXT}
    status = {"phase": "Pending", "conditions": [scheduled], "containerStatuses": [_waiting("ContainerCreating")]}
    assert parse.pod(raw_pod(status=status)).problem is None
