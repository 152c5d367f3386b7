"""The process as it is started: kopf's arguments, its probe, its end."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import re
import resource
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.support.builders import raw_cluster
from tests.support.controller import Controller
from tests.support.fake_api import FakeApi, serve
from tests.support.kubeconfig import write_kubeconfig
from tests.support.wait import until

from dask_operator.process import shell
from dask_operator.process.settings import BATCH_SIZE, Settings
from dask_operator.resources import GROUP, LEASE, POD, RESOURCES

pytestmark = pytest.mark.real_time


def test_it_must_be_told_which_namespaces() -> None:
    with pytest.raises(SystemExit, match="which namespaces\\? Give --all-namespaces, or --namespace=NAME"):
        shell.start([], Settings())


def test_arguments_are_kopfs_and_a_wrong_one_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        shell.start(["--all-namespaces", "--no-such-option"], Settings())
    assert "No such option" in capsys.readouterr().err


def test_help_is_kopfs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        shell.start(["--help"], Settings())
    assert "--liveness" in capsys.readouterr().out


def test_it_may_open_as_many_files_as_its_container_allows() -> None:
    before = soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))
    try:
        with pytest.raises(SystemExit):
            shell.start([], Settings())
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ("--namespace=Dev", "--namespace=Dev: neither a namespace's name nor a pattern"),
        ("--liveness=https://0.0.0.0:8080/healthz", "must be like http://0.0.0.0:8080/healthz"),
    ],
)
def test_a_value_that_cannot_be_is_said_in_a_sentence(argument: str, sentence: str) -> None:
    with pytest.raises(SystemExit, match=re.escape(sentence)):
        shell.start(["--namespace=one", argument], Settings())


@pytest.mark.parametrize(
    ("text", "logged"),
    [
        ("default/simple: create Pod a ×3: é 世", "default/simple: create Pod a ×3: é 世"),
        ("3\n2026-01-01 CRITICAL lost the lease", "3\\n2026-01-01 CRITICAL lost the lease"),
        ("a\r\x1b[2Kb\x00\x85\u2028\u202e\t", "a\\r\\x1b[2Kb\\x00\\x85\\u2028\\u202e\\t"),
    ],
)
def test_a_text_in_the_log_is_one_line(text: str, logged: str) -> None:
    assert shell.printable(text) == logged


def test_records_of_all_loggers_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    before, out = logging.getLogRecordFactory(), io.StringIO()
    with pytest.raises(SystemExit):
        shell.start(["--help"], Settings())
    handler = logging.StreamHandler(out)
    logger = logging.getLogger("some.library")
    logger.addHandler(handler)
    try:
        logger.error("%s: %s", "name", "a\nCRITICAL b", extra={"namespace": "x"})
        logger.error("an error", exc_info=ValueError("c\nCRITICAL d\x1b"))
        logger.error("a\nCRITICAL %d%% e", 7)
    finally:
        logger.removeHandler(handler)
        logging.setLogRecordFactory(before)
    lines = out.getvalue().splitlines()
    assert lines[0] == "name: a\\nCRITICAL b"
    assert not [line for line in lines if line.startswith("CRITICAL")]
    assert "\x1b" not in out.getvalue()


@asynccontextmanager
async def _started(
    folder: Path, fake: FakeApi, *arguments: str, name: str = "controller", lease: str = "", **environment: str
) -> AsyncIterator[Controller]:
    """Start a controller, and kill it in the end."""
    kubeconfig = write_kubeconfig(folder / "kubeconfig", fake.url, token=fake.token)
    controller = Controller(kubeconfig, folder / f"{name}.log", *arguments, lease=lease, environment=environment)
    controller.begin()
    try:
        yield controller
    finally:
        controller.kill()


async def test_it_reconciles_answers_its_probe_and_ends_when_told(tmp_path: Path) -> None:
    arguments = ("--all-namespaces", "--log-format=plain")
    async with serve() as fake, _started(tmp_path, fake, *arguments) as controller:
        fake.put(raw_cluster(workers=2))
        await until(lambda: len(fake.workers()) == 2, "two workers", 20.0)
        assert await asyncio.to_thread(controller.get, "/healthz") == "ok: leading\n"
        assert await asyncio.to_thread(controller.get, "/readyz") == "ok: leading\n"
        assert "dask_operator_leader 1.0" in await asyncio.to_thread(controller.get, "/metrics")
        assert fake.watching(GROUP) == 1
        told = time.monotonic()
        code = await asyncio.to_thread(controller.stop)
        log, took = controller.log.read_text(), time.monotonic() - told
    assert code == 0, log
    assert took < 4.0, "kopf waits five seconds for tasks that do not end"
    assert re.search("synced: [01] clusters in all namespaces", log)
    assert "Traceback" not in log


async def test_it_keeps_to_its_namespaces(tmp_path: Path) -> None:
    arguments = ("--namespace=one", "--namespace=two", "--log-format=json")
    async with serve() as fake, _started(tmp_path, fake, *arguments, **{BATCH_SIZE: "1"}):
        for namespace in ("two", "one", "default"):
            fake.put(raw_cluster(workers=1, metadata={"namespace": namespace}))
        await until(lambda: len(fake.workers()) == 2, "two workers", 20.0)
        assert {pod["metadata"]["namespace"] for pod in fake.workers()} == {"one", "two"}
        asked = {seen.plural for seen in fake.requests}
        assert asked <= {resource.plural for resource in RESOURCES.values()}
        assert {seen.namespace for seen in fake.requests} == {"one", "two"}


async def test_it_keeps_to_the_namespaces_that_match(tmp_path: Path) -> None:
    async with serve() as fake, _started(tmp_path, fake, "--namespace=dev-*,!dev-x"):
        for namespace in ("dev-a", "dev-x", "prod"):
            fake.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
            fake.put(raw_cluster(workers=1, metadata={"namespace": namespace}))
        await until(fake.workers, "a worker", 20.0)
        assert {seen.namespace for seen in fake.requests if seen.plural != "namespaces"} == {"dev-a"}


async def test_two_processes_with_a_lease_hand_over(tmp_path: Path) -> None:
    lease = "default/controller"
    async with serve() as fake, _started(tmp_path, fake, "--all-namespaces", name="first", lease=lease) as first:
        await until(lambda: fake.find(LEASE, "controller"), "a leader", 20.0)
        async with _started(tmp_path, fake, "--all-namespaces", name="second", lease=lease):
            await until(lambda: fake.watching(POD) == 2, "the standby", 20.0)
            await asyncio.to_thread(first.stop)
            fake.put(raw_cluster(workers=1))
            await until(fake.workers, "a worker", 20.0)
        log = first.log.read_text()
    assert "lease default/controller: given back" in log
    assert "Traceback" not in log


async def test_logs_can_be_json(tmp_path: Path) -> None:
    async with serve() as fake, _started(tmp_path, fake, "--all-namespaces", "--log-format=json") as controller:
        fake.put(raw_cluster(workers=1))
        await until(fake.workers, "a worker", 20.0)
        await asyncio.to_thread(controller.stop)
        lines = [json.loads(line) for line in controller.log.read_text().splitlines()]
    assert all({"message", "timestamp", "severity"} <= set(line) for line in lines)
    assert any(line["message"].startswith("synced: ") for line in lines)
    (decision,) = (line for line in lines if line.get("action") == "create" and line["about"].startswith("Pod"))
    assert (decision["namespace"], decision["cluster"]) == ("default", "simple")
    assert decision["reason"] == "the group wants 1 workers"


def _plugin(folder: Path) -> None:
    """Install a package whose handler says that it runs."""
    info = folder / "example-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: example\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[dask_operator_plugin]\nexample = example_plugin\n")
    (folder / "example_plugin.py").write_text(
        """
import kopf

@kopf.on.startup()
def started(logger, **_):
    logger.info("the plugin has started")
"""
    )


async def test_plugins_run_beside_it(tmp_path: Path) -> None:
    _plugin(tmp_path)
    path = f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"
    async with serve() as fake, _started(tmp_path, fake, "--all-namespaces", PYTHONPATH=path) as controller:
        await until(lambda: "the plugin has started" in controller.log.read_text(), "the plugin", 20.0)
        fake.put(raw_cluster(workers=1))
        await until(fake.workers, "a worker", 20.0)
        assert await asyncio.to_thread(controller.stop) == 0
        log = controller.log.read_text()
    assert "plugin example (example_plugin): 1 handlers" in log
    assert log.count("synced: ") == 1, "our own handlers are not run by them again"
    assert "Traceback" not in log


async def test_a_wrong_setting_is_said_in_a_sentence(tmp_path: Path) -> None:
    async with serve() as fake, _started(tmp_path, fake, "--all-namespaces", **{BATCH_SIZE: "many"}) as controller:
        code, log = await asyncio.to_thread(controller.wait), controller.log.read_text()
    assert code == 1
    assert log.strip() == f"{BATCH_SIZE}=many: must be a whole number of at least 1"


async def test_a_kubeconfig_may_have_a_credential_plugin(tmp_path: Path) -> None:
    status = json.dumps({"status": {"token": "valid"}})
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": "echo", "args": [status]}
    async with serve() as fake:
        kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", fake.url, exec=plugin)
        controller = Controller(kubeconfig, tmp_path / "controller.log", "--all-namespaces")
        controller.begin()
        try:
            fake.put(raw_cluster(workers=1))
            await until(fake.workers, "a worker", 20.0)
            assert await asyncio.to_thread(controller.stop) == 0
        finally:
            controller.kill()
