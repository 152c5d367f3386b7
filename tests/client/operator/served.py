"""A DaskCluster as an operator and Kubernetes serve it, on a fake API server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.client.operator.objects import READY
from tests.support.fake_api import FakeApi

NAMESPACE = "default"
LABELS = {"dask.org/cluster-name": "mine"}
SCHEDULER = LABELS | {"dask.org/component": "scheduler"}
WORKER = LABELS | {"dask.org/component": "worker", "dask.org/workergroup-name": "mine-default"}
PORTS = {"tcp-comm": 8786, "http-dashboard": 8787}


def a_pod(name: str, labels: dict[str, str] = SCHEDULER, phase: str = "Running", **status: Any) -> dict[str, Any]:
    ports = [{"name": port, "containerPort": number} for port, number in PORTS.items()]
    running = {"name": "dask", "image": "dask:1", "restartCount": 0, "state": {"running": {}}, "lastState": {}}
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
        "spec": {"containers": [{"name": "dask", "image": "dask:1", "ports": ports}]},
        "status": {"phase": phase, "conditions": [READY], "containerStatuses": [running]} | status,
    }


def a_group(name: str = "mine-default", replicas: int = 0, cluster: str = "mine") -> dict[str, Any]:
    spec = {"cluster": cluster, "worker": {"replicas": replicas}}
    return {"kind": "DaskWorkerGroup", "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}


def a_service(type_: str = "ClusterIP", **status: Any) -> dict[str, Any]:
    ports = [{"name": name, "port": number, "targetPort": name} for name, number in PORTS.items()]
    return {
        "kind": "Service",
        "metadata": {"name": "mine-scheduler", "namespace": NAMESPACE, "labels": SCHEDULER},
        "spec": {"type": type_, "clusterIP": "10.96.0.7", "ports": ports},
        "status": status,
    }


def owned(about: dict[str, Any], cluster: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object with a DaskCluster as its owner, as the operator sets it."""
    owner = {"kind": "DaskCluster", "name": cluster["metadata"]["name"], "uid": cluster["metadata"]["uid"]}
    return about | {"metadata": about["metadata"] | {"ownerReferences": [owner]}}


@dataclass
class Operator:
    """An operator that takes up each new DaskCluster `mine` at once; its scheduler is at ports of this machine.

    `scheduler`: the Pod that it makes.
    """

    fake: FakeApi
    comm: int = 0
    dashboard: int = 0
    absent: bool = False
    scheduler: dict[str, Any] = field(default_factory=lambda: a_pod("mine-scheduler-0"))

    def __post_init__(self) -> None:
        self.fake.made = self.take_up
        self.lead_to(self.comm, self.dashboard)

    def lead_to(self, comm: int, dashboard: int) -> None:
        name = self.scheduler["metadata"]["name"]
        self.fake.ports |= {(name, PORTS["tcp-comm"]): comm, (name, PORTS["http-dashboard"]): dashboard}

    def take_up(self, made: dict[str, Any]) -> None:
        if made["kind"] == "DaskCluster" and not self.absent:
            self.fake.put({**made, "status": {"phase": "Running"}})
            self.fake.put(a_group(replicas=made["spec"]["worker"].get("replicas", 0)))
            self.fake.put(owned(a_service(), made))
            self.fake.put(self.scheduler)
