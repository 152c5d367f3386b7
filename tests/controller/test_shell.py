"""The process as it is started: kopf's arguments, its probe, its end."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from tests.support.builders import raw_cluster
from tests.support.fake_api import FakeApi, serve
from tests.support.wait import until

from dask_operator import shell
from dask_operator.actions import GROUP, POD
from dask_operator.settings import BATCH_SIZE, Settings


def test_it_must_be_told_which_namespaces() -> None:
    with pytest.raises(SystemExit, match="which namespaces\\? Give --all-namespaces, or --namespace=NAME"):
        shell.start([], Settings())


def test_arguments_are_kopfs_and_a_wrong_one_is_refused() -> None:
    with pytest.raises(Exception, match="No such option"):
        shell.start(["--all-namespaces", "--no-such-option"], Settings())


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _kubeconfig(folder: Path, fake: FakeApi) -> Path:
    """A kubeconfig for the fake. It is JSON, as YAML may be."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "fake",
        "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
        "clusters": [{"name": "fake", "cluster": {"server": fake.url}}],
        "users": [{"name": "fake", "user": {"token": fake.token}}],
    }
    path = folder / "kubeconfig"
    path.write_text(json.dumps(config))
    return path


@asynccontextmanager
async def _started(folder: Path, fake: FakeApi, *arguments: str, **environment: str) -> AsyncIterator[Process]:
    environment = {**os.environ, "KUBECONFIG": str(_kubeconfig(folder, fake)), **environment}
    command = (sys.executable, "-m", "dask_operator", *arguments)
    process = await asyncio.create_subprocess_exec(*command, env=environment, stderr=PIPE, stdout=PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def _healthy(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5.0) as reply:
            return bool(reply.status == 200)
    except URLError:
        return False


def test_it_reconciles_answers_its_probe_and_ends_when_told(tmp_path: Path) -> None:
    port = _free_port()

    async def lived() -> tuple[int, str, float]:
        arguments = ("--all-namespaces", f"--liveness=http://127.0.0.1:{port}/healthz", "--log-format=plain")
        async with serve() as fake, _started(tmp_path, fake, *arguments) as process:
            fake.put(raw_cluster(workers=2))
            await until(lambda: len(fake.objects(POD)) == 2, "two workers", 20.0)
            assert await asyncio.to_thread(_healthy, port)
            assert fake.watching(GROUP) == 1
            told = time.monotonic()
            process.send_signal(signal.SIGTERM)
            _, log = await asyncio.wait_for(process.communicate(), 20.0)
            assert process.returncode is not None
            return process.returncode, log.decode(), time.monotonic() - told

    code, log, took = asyncio.run(lived())
    assert code == 0, log
    assert took < 4.0, "kopf waits five seconds for tasks that do not end"
    assert re.search("synced: [01] clusters in all namespaces", log)
    assert "Traceback" not in log


def test_it_keeps_to_its_namespaces(tmp_path: Path) -> None:
    async def lived() -> None:
        arguments = ("--namespace=one", "--namespace=two", "--log-format=json")
        async with serve() as fake, _started(tmp_path, fake, *arguments, **{BATCH_SIZE: "1"}):
            for namespace in ("two", "one", "default"):
                fake.put(raw_cluster(workers=1, metadata={"namespace": namespace}))
            await until(lambda: len(fake.objects(POD)) == 2, "two workers", 20.0)
            assert {pod["metadata"]["namespace"] for pod in fake.objects(POD)} == {"one", "two"}
            asked = {seen.plural for seen in fake.requests}
            assert asked <= {"daskclusters", "daskworkergroups", "pods", "services", "deployments", "events"}

    asyncio.run(lived())


def test_a_wrong_setting_is_said_in_a_sentence(tmp_path: Path) -> None:
    async def lived() -> tuple[int | None, str]:
        async with serve() as fake, _started(tmp_path, fake, "--all-namespaces", **{BATCH_SIZE: "many"}) as process:
            _, log = await asyncio.wait_for(process.communicate(), 20.0)
            return process.returncode, log.decode()

    code, log = asyncio.run(lived())
    assert code == 1
    assert log.strip() == f"{BATCH_SIZE}=many: must be a whole number of at least 1"
