"""Addresses in a cluster lead to this machine, where a test has its schedulers. Only in a process that says so."""

from __future__ import annotations

import socket
from typing import Any

SITE = """
from tests.support.loopback_schedulers import schedulers_are_here

schedulers_are_here()
"""
"""What a controller executes before anything else, to find schedulers at the ports that their Services say."""
_IN_CLUSTERS = "10."  # of Services, and of Pods on fake nodes


def schedulers_are_here() -> None:
    """From now on the address of a Service, or of a Pod on a fake node, means 127.0.0.1."""
    connect = socket.socket.connect

    def connected(itself: socket.socket, address: Any) -> None:
        inside = isinstance(address, tuple) and str(address[0]).startswith(_IN_CLUSTERS)
        connect(itself, ("127.0.0.1", address[1]) if inside else address)

    socket.socket.connect = connected  # type: ignore[assignment, method-assign]
