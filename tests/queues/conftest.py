"""Kueue and the controller as processes of this machine, against a real API server with Pods on fake nodes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import kueue
from tests.support.controller import Controller
from tests.support.kube import Kube

from dask_operator.process.settings import KUEUE


@pytest.fixture(scope="session", autouse=True)
def queues(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Kueue, for all tests."""
    kubectl, kubeconfig = shutil.which("kubectl"), os.environ.get("KUBECONFIG")
    if not kubectl or not kubeconfig:
        pytest.fail("this test needs a cluster: run it by `make test-queues`")
    with kueue.running(Kube(kubectl, Path(kubeconfig), "default"), tmp_path_factory.mktemp("kueue")):
        yield


@pytest.fixture
def controller(kube: Kube, tmp_path: Path) -> Iterator[Controller]:
    log, within = tmp_path / "controller.log", f"--namespace={kube.namespace}"
    with Controller(kube.kubeconfig, log, within, environment={KUEUE: "true"}).started() as controller:
        yield controller
