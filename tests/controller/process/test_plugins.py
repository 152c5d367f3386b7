"""Plugins that are imported, and kopf's operator with their handlers, against an API server that knows no resources.

What handlers do with objects is tested on a real one, in tests/api.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import kopf
import pytest
from aiohttp import web
from tests.support.plugins import install
from tests.support.server import serving
from tests.support.wait import meanwhile, until

from dask_operator.backoff import Backoff
from dask_operator.kubernetes.login.credentials import Credentials
from dask_operator.process import plugins
from dask_operator.reconcile.scope import Scope

pytestmark = pytest.mark.real_time


@pytest.fixture(autouse=True)
def registry() -> Iterator[kopf.OperatorRegistry]:
    """Kopf's default registry, empty."""
    before, fresh = kopf.get_default_registry(), type(kopf.get_default_registry())()
    kopf.set_default_registry(fresh)
    yield fresh
    kopf.set_default_registry(before)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of installed packages."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_handlers_of_plugins_are_found(site: Path, caplog: pytest.LogCaptureFixture) -> None:
    install(site, "my_controller_plugin")
    with caplog.at_level(logging.INFO):
        assert plugins.load() == 2
    assert "plugin my_controller_plugin (my_controller_plugin.plugin): 2 handlers" in caplog.text


def _no_login() -> kopf.ConnectionInfo:
    raise AssertionError("the plugin logs in by itself")


def test_without_plugins_there_are_no_handlers() -> None:
    assert plugins.load() == 0
    asyncio.run(plugins.run(Scope(), _no_login))


def test_a_plugin_that_does_not_import_is_reported_and_leaves_nothing(
    site: Path, caplog: pytest.LogCaptureFixture
) -> None:
    install(site, "faulty_plugin", "my_controller_plugin")
    assert plugins.load() == 4, "those of the three others"
    assert "plugin does_not_import (faulty_plugin.does_not_import) does not import" in caplog.text
    assert "No module named 'what_it_needs'" in caplog.text
    names = {getattr(handler.fn, "__name__", "") for handler in _changing(kopf.get_default_registry())}
    assert names == {"host_of_scheduler", "greet", "raises", "see"}


def test_a_plugin_that_ends_the_process_does_not(site: Path, caplog: pytest.LogCaptureFixture) -> None:
    install(site, "my_controller_plugin")
    (site / "my_controller_plugin" / "plugin.py").write_text("raise SystemExit(1)")
    assert plugins.load() == 0
    assert "does not import" in caplog.text


def _changing(registry: Any) -> Any:
    return registry._changing.get_all_handlers()


class Server:
    """An API server that knows no resources. `permits`: whether it says so when asked for groups of them."""

    def __init__(self) -> None:
        self.permits = True
        self.asked: set[str] = set()

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.add(request.path)
        if not self.permits and request.path == "/apis":
            status = {"kind": "Status", "code": 403, "message": 'configmaps is forbidden: User "x" cannot list them'}
            return web.json_response(status, status=403)
        return web.json_response({"versions": []} if request.path == "/api" else {"groups": []})


@asynccontextmanager
async def _running(server: Server | None = None, scope: Scope = Scope()) -> AsyncIterator[asyncio.Task[None]]:
    async with serving((server or Server()).answer) as url:

        @kopf.on.login()
        def login(**_: Any) -> kopf.ConnectionInfo:
            return kopf.ConnectionInfo(server=url)

        async with meanwhile(plugins.run(scope, _no_login)) as task:
            yield task


def _threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "plugins"]


async def test_handlers_run_in_a_thread_of_their_own_until_cancelled() -> None:
    said: list[str] = []
    server = Server()

    @kopf.on.startup()
    async def startup(settings: kopf.OperatorSettings, **_: Any) -> None:
        assert settings.persistence.finalizer == plugins.FINALIZER
        assert settings.scanning.disabled
        said.append(threading.current_thread().name)

    @kopf.on.cleanup()
    async def cleanup(**_: Any) -> None:
        said.append("cleanup")

    async with _running(server) as task:
        await until(lambda: server.asked == {"/api", "/apis"}, "the search for resources")
        assert not task.done()
    await until(lambda: not _threads(), "the end of the thread")
    assert said == ["plugins", "cleanup"]


async def test_handlers_have_the_controllers_credentials_and_its_trust() -> None:
    server, contexts = Server(), list[ssl.SSLContext]()

    class Given(Credentials):
        def as_ssl_context(self) -> ssl.SSLContext:
            contexts.append(super().as_ssl_context())
            return contexts[-1]

    @kopf.on.startup()
    async def startup(**_: Any) -> None:
        """Do nothing."""

    async with serving(server.answer) as url, meanwhile(plugins.run(Scope(), lambda: Given(server=url))):
        await until(lambda: server.asked == {"/api", "/apis"}, "requests with these credentials")
    assert not contexts[0].verify_flags & ssl.VERIFY_X509_STRICT


async def test_patterns_of_namespaces_are_looked_for() -> None:
    found: list[bool] = []

    @kopf.on.startup()
    async def startup(settings: kopf.OperatorSettings, **_: Any) -> None:
        found.append(settings.scanning.disabled)

    async with _running(scope=Scope(patterns=("dev-*",))):
        await until(lambda: found, "the start")
    assert found == [False]


async def test_kopf_gives_up_alone_and_is_started_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugins, "_BACKOFF", Backoff(0.01, 60.0))
    server = Server()
    server.permits = False
    started: list[bool] = []

    @kopf.on.startup()
    async def startup(settings: kopf.OperatorSettings, **_: Any) -> None:
        settings.networking.error_backoffs = ()
        server.permits = bool(started)
        started.append(True)

    async with _running(server) as task:
        beside = asyncio.create_task(asyncio.sleep(3600.0))
        await until(lambda: len(started) == 2, "another start", 30.0)
        assert not task.done()
        assert not beside.done(), "it has not ended what is not its own"
        beside.cancel()
    sentence = (
        'plugins: configmaps is forbidden: User "x" cannot list them; grant it by the chart\'s value rbac.extraRules'
    )
    assert f"{sentence}; their handlers run again in" in caplog.text


async def test_a_handler_that_does_not_end_is_left_behind(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugins, "_GRACE", 0.1)
    released = threading.Event()
    server = Server()

    @kopf.on.cleanup()
    def cleanup(**_: Any) -> None:
        released.wait()

    async with _running(server):
        await until(lambda: server.asked, "the start")
    assert "left behind" in caplog.text
    released.set()
    await until(lambda: not _threads(), "the end of the thread")
