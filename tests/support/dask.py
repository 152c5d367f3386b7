"""A real Dask cluster in this process, on loopback, as the controller's clusters are configured."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory

import dask
from distributed import LocalCluster

from dask_operator.build import HTTP_ROUTES


@contextmanager
def a_dask_cluster(workers: int, routes: tuple[str, ...] = HTTP_ROUTES) -> Iterator[LocalCluster]:
    settings = {
        "distributed.scheduler.http.routes": list(routes),
        "distributed.worker.http.routes": [],
        "distributed.admin.tick.limit": "1h",
    }
    with (
        TemporaryDirectory() as folder,
        dask.config.set(settings),
        LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=workers,
            threads_per_worker=1,
            processes=False,
            protocol="tcp://",
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            worker_dashboard_address=None,
            silence_logs=logging.CRITICAL,
            local_directory=folder,
        ) as cluster,
    ):
        yield cluster


def http_port(cluster: LocalCluster) -> int:
    """Where the cluster's scheduler answers HTTP."""
    assert cluster.scheduler is not None
    return int(cluster.scheduler.http_server.port)
