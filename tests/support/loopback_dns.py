"""Names of Services lead to this machine, where a test has its schedulers. Only in a process that says so."""

from __future__ import annotations

import socket
from typing import Any


def services_are_here() -> None:
    """From now on a name in `.svc`, as a Service without an address of its own is called by, means 127.0.0.1."""
    resolve = socket.getaddrinfo

    def resolved(host: Any, *rest: Any, **more: Any) -> Any:
        return resolve("127.0.0.1" if str(host).endswith(".svc") else host, *rest, **more)

    socket.getaddrinfo = resolved
