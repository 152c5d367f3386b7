"""A real Dask cluster in this process, on loopback, configured like the controller's clusters."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import dask
from distributed import LocalCluster
from distributed.security import Security
from tests.support.process import Process

from dask_operator import agent, names
from dask_operator.model import Endpoint

HTTP_ROUTES = (*dask.config.get("distributed.scheduler.http.routes"), "distributed.http.scheduler.api")
"""The routes of a scheduler with the HTTP API."""
WITHOUT_API = tuple(route for route in HTTP_ROUTES if not route.endswith((".api", ".json")))
"""The routes of a scheduler without the HTTP API, or from before it existed."""


_START = 60.0


@contextmanager
def a_dask_cluster(
    workers: int,
    routes: tuple[str, ...] = HTTP_ROUTES,
    certificates: Path | None = None,
    idle_timeout: str | None = None,
) -> Iterator[LocalCluster]:
    """Run a Dask cluster. `certificates`: a folder filled by `make_certificates`, for a cluster with TLS."""
    settings = {
        "distributed.scheduler.http.routes": list(routes),
        "distributed.worker.http.routes": [],
        "distributed.admin.tick.limit": "1h",
    }
    with (
        TemporaryDirectory() as folder,
        dask.config.set(settings),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=False,
            protocol="tls://" if certificates else "tcp://",
            security=_security(certificates) if certificates else None,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            worker_dashboard_address=None,
            silence_logs=logging.CRITICAL,
            local_directory=folder,
            # Its pages take a second of CPU to import; its other routes are there without.
            scheduler_kwargs={"idle_timeout": idle_timeout, "dashboard": False},
        ) as cluster,
    ):
        yield cluster


class Scheduler(NamedTuple):
    """A scheduler in a process of its own: its addresses for Dask's protocol and for HTTP, both on loopback."""

    address: str
    http_port: int

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])


@contextmanager
def a_scheduler(folder: Path, routes: tuple[str, ...] = HTTP_ROUTES, *, agent_: bool = True) -> Iterator[Scheduler]:
    """Run a scheduler, with the controller's agent or without. Its log is `scheduler.log` in the folder."""
    file, log = folder / "scheduler.json", folder / "scheduler.log"
    # It ends with this process, also if that is killed.
    command = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "dask", "scheduler"]
    command += ["--host", "tcp://127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0", "--no-dashboard"]
    command += ["--scheduler-file", str(file)]
    preload = {names.AGENT_ENV: agent.TEXT, names.PRELOAD_ENV: repr([agent.PRELOAD])} if agent_ else {}
    environment = {**os.environ, **preload, "DASK_DISTRIBUTED__SCHEDULER__HTTP__ROUTES": repr(list(routes))}
    with Process(command, environment, log, ready="") as process:
        deadline = time.monotonic() + _START
        while not (identity := _identity(file)):
            if time.monotonic() > deadline or not process.pid:
                raise TimeoutError(f"no scheduler: {log.read_text()}")
            time.sleep(0.05)
        yield Scheduler(identity["address"], identity["services"]["dashboard"])


def _identity(file: Path) -> dict[str, Any] | None:
    # The file exists before it is complete.
    with suppress(FileNotFoundError, json.JSONDecodeError):
        identity: dict[str, Any] = json.loads(file.read_text())
        return identity
    return None


def endpoint(cluster: LocalCluster) -> Endpoint:
    return Endpoint(f"http://127.0.0.1:{http_port(cluster)}", str(cluster.scheduler_address))


def http_port(cluster: LocalCluster) -> int:
    """Return the port at which the cluster's scheduler answers HTTP."""
    assert cluster.scheduler is not None
    return int(cluster.scheduler.http_server.port)


def make_certificates(folder: Path) -> None:
    """Write an authority's certificate `ca.pem`, and a signed `cert.pem` and `key.pem`."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *new_key, "-keyout", "ca-key.pem", "-out", "ca.pem", "-subj", "/CN=authority")
    openssl("req", *new_key, "-keyout", "key.pem", "-out", "request.pem", "-subj", "/CN=dask")
    signed_by = ("-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial")
    openssl("x509", "-req", "-in", "request.pem", *signed_by, "-out", "cert.pem")


def client_tls(folder: Path) -> dict[str, Any]:
    """Return Dask's client settings for a cluster with these certificates."""
    return {
        "distributed.comm.tls.ca-file": str(folder / "ca.pem"),
        "distributed.comm.tls.client.cert": str(folder / "cert.pem"),
        "distributed.comm.tls.client.key": str(folder / "key.pem"),
    }


def _security(folder: Path) -> Security:
    paths = {"cert": str(folder / "cert.pem"), "key": str(folder / "key.pem")}
    roles = {f"tls_{role}_{kind}": path for role in ("scheduler", "worker", "client") for kind, path in paths.items()}
    return Security(tls_ca_file=str(folder / "ca.pem"), require_encryption=True, **roles)
