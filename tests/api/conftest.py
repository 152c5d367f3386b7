"""The controller as a process of this machine, against a real API server with Pods on fake nodes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.controller import LEADS, Controller
from tests.support.kube import Kube, eventually


@pytest.fixture
def controller(kube: Kube, tmp_path: Path) -> Iterator[Controller]:
    controller = Controller(kube.kubeconfig, tmp_path / "controller.log", f"--namespace={kube.namespace}")
    with controller.started():
        yield controller


@pytest.fixture
def replicas(kube: Kube, tmp_path: Path) -> Iterator[tuple[Controller, Controller]]:
    """Two controllers. The first leads, unless the machine stands still for so long that the Lease expires."""
    lease = f"{kube.namespace}/controller"
    first, second = (
        Controller(kube.kubeconfig, tmp_path / f"{name}.log", f"--namespace={kube.namespace}", lease=lease)
        for name in ("first", "second")
    )
    first.start()
    eventually(lambda: first.does(LEADS), "the first leads")
    second.start()
    yield first, second
    first.kill()
    second.kill()
