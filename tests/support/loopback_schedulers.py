"""Redirection of addresses in a cluster to this machine, where a test has its schedulers, for a process on request."""

from __future__ import annotations

import socket
from typing import Any

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
