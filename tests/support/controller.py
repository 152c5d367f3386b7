"""The controller as a process of this machine."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from tests.support.kube import Kube, eventually
from tests.support.server import free_port

from dask_operator.settings import LEASE_NAME, LEASE_NAMESPACE

LEADS, STANDS_BY = "leading", "standing by"
_ROOT = Path(__file__).parents[2]


@dataclass
class Controller:
    """`start`, `kill` (SIGKILL), `stop` (SIGTERM), `pause` and `resume` it as often as a test likes.

    `lease`: the name of the Lease by which several agree on who writes; without one each writes. `options`: more
    arguments of the program. `site`: Python that it executes before anything else.
    """

    kube: Kube
    log: Path
    lease: str = ""
    options: Sequence[str] = ()
    site: str = ""
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = field(default=None)

    def start(self) -> None:
        """Returns once the controller has seen everything there is."""
        probe = f"--liveness=http://127.0.0.1:{self.port}/healthz"
        command = [sys.executable, "-m", "dask_operator", "--namespace", self.kube.namespace, probe, *self.options]
        environment = {"KUBECONFIG": str(self.kube.kubeconfig), "PATH": "/usr/bin:/bin"}
        if self.lease:
            environment |= {LEASE_NAME: self.lease, LEASE_NAMESPACE: self.kube.namespace}
        if self.site:
            packages = self.log.with_suffix(".site")
            packages.mkdir(exist_ok=True)
            (packages / "sitecustomize.py").write_text(self.site)
            environment["PYTHONPATH"] = f"{packages}:{_ROOT}"
        with self.log.open("w") as log:
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        eventually(lambda: "synced" in self.log.read_text(), f"the controller has synced (log: {self.log})")

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """The exit code."""
        return self._end(signal.SIGTERM)

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def get(self, path: str) -> str:
        """What it answers to a probe; empty while it does not."""
        try:
            with urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=2.0) as reply:
                text: str = reply.read().decode()
        except HTTPError as refused:
            return refused.read().decode()
        except (URLError, TimeoutError, ConnectionError):
            return ""
        return text

    def memory(self) -> int:
        """The bytes of memory that it has taken at most since its start."""
        assert self._process
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return 1024 * int(status.partition("VmHWM:")[2].split()[0])

    def does(self, what: str) -> bool:
        """Whether it says that it is well, and that it LEADS or STANDS_BY."""
        return self.get("/readyz").startswith(f"ok: {what}")

    @property
    def pid(self) -> int:
        """Of its process; 0 if it was ended, or has ended by itself."""
        return self._process.pid if self._process and self._process.poll() is None else 0

    def _signal(self, which: signal.Signals) -> None:
        assert self._process
        self._process.send_signal(which)

    def _end(self, how: signal.Signals) -> int:
        if self._process is None:
            return 0
        self._process.send_signal(how)
        code = self._process.wait(timeout=30)
        self._process = None
        return code
