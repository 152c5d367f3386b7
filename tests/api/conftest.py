"""The controller as a process of this machine, against a real API server. Pods run on fake nodes."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.support.kube import Kube, eventually


@dataclass
class Controller:
    """`start`, `kill` (SIGKILL) and `stop` (SIGTERM) it as often as a test likes."""

    kube: Kube
    log: Path
    _process: subprocess.Popen[bytes] | None = field(default=None)

    def start(self) -> None:
        """Returns once the controller has seen everything there is."""
        command = [sys.executable, "-m", "dask_operator", "--namespace", self.kube.namespace]
        environment = {"KUBECONFIG": str(self.kube.kubeconfig), "PATH": "/usr/bin:/bin"}
        with self.log.open("w") as log:
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        eventually(lambda: "synced" in self.log.read_text(), f"the controller has synced (log: {self.log})")

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """The exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> int:
        if self._process is None:
            return 0
        self._process.send_signal(how)
        code = self._process.wait(timeout=30)
        self._process = None
        return code


@pytest.fixture
def controller(kube: Kube, tmp_path: Path) -> Iterator[Controller]:
    controller = Controller(kube, tmp_path / "controller.log")
    controller.start()
    yield controller
    controller.kill()
