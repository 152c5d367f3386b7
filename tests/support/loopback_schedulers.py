"""Redirection of addresses in a cluster to this machine, where a test has its schedulers, for a process on request."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.manifests import ON_FAKE_NODES, dask_cluster

SITE = """
from tests.support.loopback_schedulers import schedulers_are_here

schedulers_are_here()
"""
"""Code executed by a controller before anything else, to find schedulers on loopback at their Services' ports."""
_IN_CLUSTERS = "10."  # of Services, and of Pods on fake nodes


def schedulers_are_here() -> None:
    """Redirect connections to Services, and to Pods on fake nodes, to 127.0.0.1 from now on."""
    connect = socket.socket.connect

    def connected(itself: socket.socket, address: Any) -> None:
        inside = isinstance(address, tuple) and str(address[0]).startswith(_IN_CLUSTERS)
        connect(itself, ("127.0.0.1", address[1]) if inside else address)

    socket.socket.connect = connected  # type: ignore[assignment, method-assign]


@contextmanager
def listening(behave: Callable[[socketserver.StreamRequestHandler], None]) -> Iterator[int]:
    """Listen on loopback with this behaviour, and yield the port."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            try:
                behave(self)
            except OSError:
                return  # the other side has left

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False
        request_queue_size = 128

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def answered_by(port: int, name: str, workers: int) -> dict[str, Any]:
    """Return a cluster whose scheduler is replaced by a port of this machine."""
    cluster = dask_cluster(name, workers, pods=ON_FAKE_NODES)
    # Nobody listens at the other port.
    ports = [{"name": "http-dashboard", "port": port}, {"name": "tcp-comm", "port": 1}]
    cluster["spec"]["scheduler"]["service"] |= {"clusterIP": "None", "ports": ports}
    return cluster
