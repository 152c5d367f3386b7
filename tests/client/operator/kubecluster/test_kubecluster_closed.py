"""A KubeCluster that was never opened, is closed, or whose cluster is gone: its attributes and errors."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from dask_kubernetes.exceptions import ClusterNotFoundError, NamespaceNotFoundError, ValidationError
from dask_kubernetes.operator.kubecluster import kubecluster
from dask_kubernetes.operator.kubecluster.kubecluster import KubeCluster
from dask_kubernetes.operator.session import Session


class Opened:
    """A session with a cluster that somebody has deleted meanwhile."""

    cluster = SimpleNamespace(namespace="default")
    created = True
    address = "tcp://127.0.0.1:1"
    dashboard = ("127.0.0.1", 2)
    connection_args: dict[str, Any] = {}  # noqa: RUF012 - nobody writes to it

    async def refresh(self) -> None:
        raise ClusterNotFoundError("there is no DaskCluster mine")

    async def close(self) -> None: ...

    async def abandon(self) -> None: ...

    def threadsafe_close(self) -> Callable[[], None]:
        return lambda: None


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> None:
    async def open_(*_: Any) -> Opened:
        return Opened()

    monkeypatch.setattr(Session, "open", open_)


def test_a_cluster_that_cannot_be_opened_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: Any) -> None:
        raise NamespaceNotFoundError("no such place")

    monkeypatch.setattr(Session, "open", fail)
    threads = threading.enumerate()
    with pytest.raises(NamespaceNotFoundError, match="no such place"):
        KubeCluster(name="mine", quiet=True)
    assert threading.enumerate() == threads
    # Dask warns about clusters that are collected without being closed.
    gc.collect()


def test_a_closed_cluster_has_no_thread_and_says_that_it_is_closed(opened: None) -> None:
    threads = threading.enumerate()
    cluster = KubeCluster(name="mine", quiet=True, shutdown_on_close=False)
    assert len(threading.enumerate()) > len(threads)
    cluster.close()
    assert threading.enumerate() == threads
    with pytest.raises(ClusterNotFoundError, match="mine is closed: create another"):
        cluster.scale(1)


def test_a_cluster_is_scaled_to_a_number(opened: None) -> None:
    with KubeCluster(name="mine", quiet=True, shutdown_on_close=False) as cluster:
        for number in (None, -1, 1.5):
            with pytest.raises(ValidationError, match=f"n is {number}"):
                cluster.scale(number)  # type: ignore[arg-type]


def test_workers_of_a_cluster_that_is_gone_are_not_waited_for(opened: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubecluster, "_ANSWERS_WITHIN", 0.1)
    with (
        KubeCluster(name="mine", quiet=True, shutdown_on_close=False) as cluster,
        pytest.raises(ClusterNotFoundError, match="no DaskCluster mine"),
    ):
        cluster.wait_for_workers(1, timeout=60)
