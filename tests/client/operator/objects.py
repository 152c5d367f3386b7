"""Objects of the API server for tests, complete by default; arguments set the fields that a test is about."""

from __future__ import annotations

from typing import Any

from dask_kubernetes.operator.diagnosis.facts import Snapshot

LABELS = {"dask.org/cluster-name": "mine"}
READY = {"type": "Ready", "status": "True"}
NOT_READY = {"type": "Ready", "status": "False"}


def a_cluster(
    phase: str | None = "Running", replicas: int = 3, degraded: tuple[str, str] | None = None
) -> dict[str, Any]:
    status: dict[str, Any] = {} if phase is None else {"phase": phase}
    if degraded:
        status["conditions"] = [a_condition(*degraded)]
    return {
        "metadata": {"name": "mine"},
        "spec": {"worker": {"replicas": replicas}, "scheduler": {"spec": {"containers": []}}},
        "status": status,
    }


def a_group(name: str = "mine-default", replicas: int = 3, degraded: tuple[str, str] | None = None) -> dict[str, Any]:
    status = {"conditions": [a_condition(*degraded)]} if degraded else {}
    return {"metadata": {"name": name}, "spec": {"worker": {"replicas": replicas}}, "status": status}


def a_condition(reason: str, message: str) -> dict[str, Any]:
    return {"type": "Degraded", "status": "True", "reason": reason, "message": message}


def a_service(type_: str = "ClusterIP", ingress: list[dict[str, str]] | None = None) -> dict[str, Any]:
    balancer = {"ingress": ingress} if ingress else {}
    return {
        "metadata": {"name": "mine-scheduler"},
        "spec": {"type": type_, "clusterIP": "10.96.0.7"},
        "status": {"loadBalancer": balancer},
    }


def a_scheduler(*containers: dict[str, Any], name: str = "mine-scheduler-0", **status: Any) -> dict[str, Any]:
    return _pod(name, {"dask.org/component": "scheduler"}, containers or (a_container("scheduler"),), status)


def a_worker(number: int, *containers: dict[str, Any], group: str = "mine-default", **status: Any) -> dict[str, Any]:
    labels = {"dask.org/component": "worker", "dask.org/workergroup-name": group}
    return _pod(f"{group}-worker-{number}", labels, containers or (a_container("worker"),), status)


def a_container(name: str = "scheduler", restarts: int = 0, last: Any = None, **state: Any) -> dict[str, Any]:
    """Return a container's status. `state`: waiting, running or terminated; `last`: its previous end."""
    return {
        "name": name,
        "image": "dask:1",
        "restartCount": restarts,
        "state": state or {"running": {}},
        "lastState": {"terminated": last} if last else {},
    }


def unready(*containers: dict[str, Any], phase: str = "Pending") -> dict[str, Any]:
    """Return the status of a Pod that is not ready."""
    return {"phase": phase, "conditions": [NOT_READY], "containerStatuses": list(containers)}


def deleted(about: dict[str, Any]) -> dict[str, Any]:
    return {**about, "metadata": {**about["metadata"], "deletionTimestamp": "2026-01-01T12:00:00Z"}}


def seen(*pods: dict[str, Any], **others: Any) -> Snapshot:
    """Return a running cluster with these Pods."""
    whole: dict[str, Any] = {"cluster": a_cluster(), "groups": (a_group(),), "service": a_service()}
    return Snapshot(**(whole | others), pods=pods)


def _pod(name: str, labels: dict[str, str], containers: Any, status: dict[str, Any]) -> dict[str, Any]:
    running = {"phase": "Running", "conditions": [READY], "containerStatuses": list(containers)}
    return {
        "metadata": {"name": name, "labels": LABELS | labels, "creationTimestamp": "2026-01-01T12:00:00Z"},
        "spec": {"containers": [{"name": container["name"], "image": "dask:1"} for container in containers]},
        "status": running | status,
    }
