"""An HTTP server on loopback with a test's answers."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(answer: Answer, tls: ssl.SSLContext | None = None, port: int = 0) -> AsyncIterator[str]:
    """Run a server, and yield its URL; `port` 0 is a free one. A handler ends when its client disconnects."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls).start()
    try:
        yield "{}://{}:{}".format("https" if tls else "http", *runner.addresses[0][:2])
    finally:
        await runner.cleanup()


def free_port() -> int:
    """Return a free port on loopback."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def verify_strictly(patch: pytest.MonkeyPatch) -> None:
    """Make TLS contexts verify strictly by default, as Python 3.13 does, whichever Python this is."""
    make = ssl.SSLContext.__new__

    def strict(cls: type[ssl.SSLContext], *arguments: Any, **options: Any) -> ssl.SSLContext:
        context = make(cls, *arguments, **options)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    patch.setattr(ssl.SSLContext, "__new__", strict)
