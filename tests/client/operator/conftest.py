"""An API server for the tests, and the client's kubeconfig for it. Coroutines run in virtual time."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.clock import pytest_pyfunc_call, run
from tests.support.fake_api import FakeApi, serve
from tests.support.kubeconfig import write_kubeconfig

from dask_kubernetes.operator.access.credentials import Credentials
from dask_kubernetes.operator.access.kubernetes import Kubernetes

__all__ = ["pytest_pyfunc_call", "run"]
_OF_THIS_MACHINE = ("127.0.0.1", "0.0.0.0", "::1", "::", "localhost", "", None)


@dataclass
class Kubeconfig:
    """The file of `KUBECONFIG`."""

    path: Path

    def write(self, server: str, namespace: str | None = None, cluster: Any = None, **user: Any) -> None:
        """Write the file. `user`: its credentials; by default the token that a fake API server accepts."""
        user = user or {"token": "valid"}
        write_kubeconfig(self.path, server, namespace=namespace or "", cluster=cluster, **user)


@pytest.fixture
def kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kubeconfig:
    path = tmp_path / "kubeconfig"
    monkeypatch.setenv("KUBECONFIG", str(path))
    return Kubeconfig(path)


@pytest.fixture
def fake(kubeconfig: Kubeconfig) -> Iterator[FakeApi]:
    """An API server in a thread of its own, in the kubeconfig: for blocking code, and for other processes."""
    with _in_background() as fake:
        kubeconfig.write(fake.url)
        yield fake


@pytest.fixture(autouse=True)
def looked_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Names that are looked up, none of which resolves; and this machine is no Pod.

    In every test, no name of a Service that public DNS may know is among them.
    """
    names: list[str] = []
    known = socket.getaddrinfo

    def getaddrinfo(host: Any, *arguments: Any, **options: Any) -> Any:
        if host in _OF_THIS_MACHINE:
            return known(host, *arguments, **options)
        names.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_PORT", raising=False)
    yield names
    assert not [name for name in names if "-scheduler." in name and not name.endswith(".svc")]


@asynccontextmanager
async def connected(
    kubeconfig: Kubeconfig, patience: float = 0.0, *, inside: bool | None = None
) -> AsyncIterator[tuple[FakeApi, Kubernetes]]:
    """Yield an API server in the running event loop, and the client's connection to it.

    `inside`: whether this counts as a Pod of its Kubernetes; by default the client decides.
    """
    async with serve() as fake:
        kubeconfig.write(fake.url)
        credentials = await Credentials.read()
        kubernetes = Kubernetes(credentials if inside is None else replace(credentials, inside=inside), patience)
        try:
            yield fake, kubernetes
        finally:
            await kubernetes.close()


@contextmanager
def _in_background() -> Iterator[FakeApi]:
    started, ended = threading.Event(), asyncio.Event()
    found: list[FakeApi] = []
    loop = asyncio.new_event_loop()

    async def main() -> None:
        async with serve() as fake:
            found.append(fake)
            started.set()
            await ended.wait()

    def target() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(main())

    thread = threading.Thread(target=target, name="fake API server")
    thread.start()
    try:
        assert started.wait(10.0), "the fake API server starts"
        yield found[0]
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(10.0)
