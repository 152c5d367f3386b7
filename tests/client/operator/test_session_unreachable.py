"""Errors about a cluster that exists, but cannot be reached, or without any way to Kubernetes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from distributed import Security
from tests.client.operator.objects import a_cluster, a_scheduler
from tests.support.kubeconfig import write_kubeconfig

from dask_kubernetes.exceptions import (
    DaskKubernetesError,
    KubernetesUnreachableError,
    NotPermittedError,
    SchedulerStartupError,
    SchedulerUnreachableError,
)
from dask_kubernetes.operator.access import kubernetes
from dask_kubernetes.operator.access.kubernetes import CLUSTER, POD, SERVICE, Kind, Kubernetes
from dask_kubernetes.operator.session import Session
from dask_kubernetes.operator.settings import Settings

AWAY = KubernetesUnreachableError("the node is away")
PORTS = [{"name": name, "port": port, "targetPort": port} for name, port in (("tcp-comm", 1), ("http-dashboard", 2))]


class Listener:
    """A listener without workers."""

    scheduler_info: Any = None

    def _update_worker_status(self, op: str, msg: Any) -> None: ...


class NoWay:
    """A Kubernetes with a running cluster whose ports cannot be reached. `why`: its message about that."""

    namespace = "default"

    def __init__(self, why: DaskKubernetesError, owner: str = "1") -> None:
        self.patience = 0.0
        self.why = why
        self.owner = owner

    async def get(self, kind: Kind, name: str, namespace: str) -> dict[str, Any] | None:
        metadata = {"name": name, "namespace": namespace}
        owned = metadata | {"ownerReferences": [{"uid": self.owner}]}
        service = {"metadata": owned, "spec": {"clusterIP": "10.96.0.7", "ports": PORTS}}
        return {CLUSTER: {**a_cluster(), "metadata": metadata | {"uid": "1"}}, SERVICE: service}.get(kind)

    async def list(self, kind: Kind, namespace: str | None, labels: Any = None) -> list[dict[str, Any]]:
        return [a_scheduler()] if kind == POD else []

    @asynccontextmanager
    async def port(self, pod: str, port: int, namespace: str) -> AsyncIterator[None]:
        raise self.why
        yield

    async def close(self) -> None: ...


def opening(resource_timeout: float) -> None:
    settings = Settings.of(name="mine", port_forward_cluster_ip=True, resource_timeout=resource_timeout)
    asyncio.run(Session.open(settings, Listener(), Security(), lambda *_: None))


@pytest.fixture
def no_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    async def connect(patience: float) -> NoWay:
        return NoWay(*request.param)

    monkeypatch.setattr(Kubernetes, "connect", connect)


@pytest.mark.parametrize("no_way", [[NotPermittedError("cannot get pods/portforward")]], indirect=True)
@pytest.mark.timeout(20)
def test_a_port_that_may_not_be_forwarded_is_not_waited_for(no_way: None) -> None:
    with pytest.raises(NotPermittedError, match="pods/portforward"):
        opening(resource_timeout=60)


@pytest.mark.parametrize("no_way", [[AWAY]], indirect=True)
def test_a_port_that_leads_nowhere_is_said_with_its_reason(no_way: None) -> None:
    with pytest.raises(SchedulerUnreachableError, match=r"mine runs but does not answer at .*the node is away"):
        opening(resource_timeout=1)


@pytest.mark.parametrize("no_way", [[AWAY, "2"]], indirect=True)
def test_a_service_of_somebody_else_is_none_of_the_cluster(no_way: None) -> None:
    with pytest.raises(SchedulerStartupError, match="mine has not started"):
        opening(resource_timeout=0.5)


@pytest.mark.timeout(20)
def test_an_api_server_that_never_answers_is_given_up_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubernetes, "_SHORTEST_TIMEOUT", 0.1)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        write_kubeconfig(tmp_path / "kubeconfig", f"http://127.0.0.1:{silent.getsockname()[1]}", token="t")
        with pytest.raises(KubernetesUnreachableError, match="does not answer"):
            opening(resource_timeout=0.5)
