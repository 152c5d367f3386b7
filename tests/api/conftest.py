"""The controller as a process of this machine, against a real API server. Pods run on fake nodes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.controller import LEADS, STANDS_BY, Controller
from tests.support.kube import Kube, eventually


@pytest.fixture
def controller(kube: Kube, tmp_path: Path) -> Iterator[Controller]:
    controller = Controller(kube.kubeconfig, tmp_path / "controller.log", f"--namespace={kube.namespace}")
    with controller.started():
        yield controller


@pytest.fixture
def replicas(kube: Kube, tmp_path: Path) -> Iterator[tuple[Controller, Controller]]:
    """The leader, and one that stands by."""
    lease = f"{kube.namespace}/controller"
    leader, standby = (
        Controller(kube.kubeconfig, tmp_path / f"{name}.log", f"--namespace={kube.namespace}", lease=lease)
        for name in ("first", "second")
    )
    leader.start()
    eventually(lambda: leader.does(LEADS), "the first leads")
    standby.start()
    eventually(lambda: standby.does(STANDS_BY), "the second stands by")
    yield leader, standby
    leader.kill()
    standby.kill()
