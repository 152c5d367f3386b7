"""The controller as a process of this machine."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import yaml
from tests.support.process import Process
from tests.support.server import free_port

from dask_operator.process.settings import LEASE_NAME, LEASE_NAMESPACE

LEADS, STANDS_BY = "leading", "standing by"
OURS = (sys.executable, "-m", "dask_operator")
_ROOT = Path(__file__).parents[2]
_VALUES = yaml.safe_load((_ROOT / "charts/dask-kubernetes-operator/values.yaml").read_text())
MEMORY_LIMIT = float(_VALUES["resources"]["limits"]["memory"].removesuffix("Mi"))
"""The limit in the operator's chart, in MiB."""
_INHERITED = ("PATH", "PYTHONPATH")


class Controller(Process):
    """A controller with a kubeconfig and arguments, such as the namespaces to watch.

    `lease`: namespace/name of the Lease by which several agree on a leader; without it each writes. `environment`:
    variables besides the paths. `site`: Python code executed before anything else. `program`: the command. `port`: of
    the probes; 0 for none, None for a free one.
    """

    def __init__(
        self,
        kubeconfig: Path,
        log: Path,
        *arguments: str,
        lease: str = "",
        environment: Mapping[str, str] | None = None,
        site: str = "",
        program: Sequence[str] = OURS,
        port: int | None = None,
    ) -> None:
        self.kubeconfig = kubeconfig
        self.port = free_port() if port is None else port
        probe = [f"--liveness=http://127.0.0.1:{self.port}/healthz"] if self.port else []
        self.arguments = [*arguments, *probe]
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        variables = {**inherited, **(environment or {}), "KUBECONFIG": str(kubeconfig)}
        if lease:
            variables |= dict(zip((LEASE_NAMESPACE, LEASE_NAME), lease.split("/"), strict=True))
        if site:
            packages = log.with_suffix(".site")
            packages.mkdir(exist_ok=True)
            (packages / "sitecustomize.py").write_text(site)
            variables["PYTHONPATH"] = f"{packages}:{_ROOT}"
        super().__init__((*program, *self.arguments), variables, log, ready="synced")

    def pause(self) -> None:
        self.send(signal.SIGSTOP)

    def resume(self) -> None:
        self.send(signal.SIGCONT)

    def get(self, path: str, seconds: float = 2.0) -> str:
        """Return the answer to a probe; "" if it does not answer."""
        try:
            with urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=seconds) as reply:
                text: str = reply.read().decode()
        except HTTPError as refused:
            return refused.read().decode()
        except (URLError, TimeoutError, ConnectionError):
            return ""
        return text

    def does(self, what: str) -> bool:
        """Return whether it reports that it is well, and that it LEADS or STANDS_BY."""
        return self.get("/readyz", 30.0).startswith(f"ok: {what}")
