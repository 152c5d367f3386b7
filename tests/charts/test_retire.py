"""The hook of the chart dask-cluster before a worker ends (files/retire.sh and retire.py), with Dask in processes."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from uuid import uuid4

import pytest
from distributed import Client
from tests.charts.conftest import ROOT
from tests.support.dask import HTTP_ROUTES, WITHOUT_API

from dask_operator import names

NOBODY = "127.0.0.1:1"


class Dask:
    """A scheduler, and the workers that a test adds."""

    def __init__(self, stack: ExitStack, folder: Path, routes: tuple[str, ...]) -> None:
        self._stack, self._folder, self._file = stack, folder, folder / "scheduler.json"
        self._env = {**os.environ, names.HTTP_ROUTES_ENV: repr(list(routes))}
        self._process("scheduler", "--dashboard-address", "127.0.0.1:0", "--port", "0")
        self.client = stack.enter_context(Client(scheduler_file=str(self._file), set_as_default=False, timeout=60))
        self.http = f"127.0.0.1:{json.loads(self._file.read_text())['services']['dashboard']}"

    def worker(self, name: str, processes: int = 1) -> subprocess.Popen[bytes]:
        count = len(self.addresses()) + processes
        worker = self.coming_worker(name, processes)
        self.client.wait_for_workers(count, timeout=60)
        return worker

    def coming_worker(self, name: str, processes: int = 1) -> subprocess.Popen[bytes]:
        return self._process("worker", "--name", name, "--nworkers", str(processes), "--nthreads", "1")

    def addresses(self, *prefixes: str) -> list[str]:
        workers = self.client.scheduler_info(n_workers=-1)["workers"]
        return [address for address, worker in workers.items() if worker["name"].startswith(prefixes or "")]

    def _process(self, role: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "dask", role, "--host", "127.0.0.1", "--scheduler-file", str(self._file)]
        process = subprocess.Popen([*command, *arguments], cwd=self._folder, env=self._env, stderr=subprocess.DEVNULL)
        self._stack.callback(process.wait, 30)
        self._stack.callback(process.terminate)
        return process


@contextmanager
def a_dask(routes: tuple[str, ...] = HTTP_ROUTES) -> Iterator[Dask]:
    with TemporaryDirectory() as folder, ExitStack() as stack:
        yield Dask(stack, Path(folder), routes)


@pytest.fixture
def dask() -> Iterator[Dask]:
    with a_dask() as dask:
        yield dask


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("retire", ROOT / "charts/dask-cluster/files/retire.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_nothing_is_lost_with_a_worker_that_is_told_to_retire(script: ModuleType, dask: Dask) -> None:
    dask.worker("kept")
    leaving = dask.worker("leaving", processes=2)
    # Results that would differ if computed again.
    futures = dask.client.map(lambda _: uuid4(), range(20), pure=False, workers=dask.addresses("leaving"))
    results, addresses = dask.client.gather(futures), dask.addresses("leaving")
    said = script.retire(dask.http, 60.0, "leaving")
    assert said == f"other workers have what {', '.join(sorted(addresses))} had"
    assert leaving.wait(60) == 0
    assert dask.addresses() == dask.addresses("kept")
    assert dask.client.gather(futures) == results


def test_the_last_worker_waits_for_another_to_take_its_data(script: ModuleType, dask: Dask) -> None:
    dask.worker("leaving")
    future = dask.client.submit(uuid4, pure=False)
    result = future.result()
    assert script.retire(dask.http, 2.0, "leaving").startswith("not all data was moved to other workers within 2 s")
    with ThreadPoolExecutor() as pool:
        said = pool.submit(script.retire, dask.http, 60.0, "leaving")
        dask.coming_worker("later")
        assert said.result(60).startswith("other workers have what")
    assert dask.addresses() == dask.addresses("later")
    assert future.result() == result


def test_a_worker_that_the_scheduler_does_not_know_may_end(script: ModuleType, dask: Dask) -> None:
    assert script.retire(dask.http, 60.0, "nobody") == "the scheduler has no worker nobody: there is nothing to move"


def test_without_a_scheduler_a_worker_may_end(script: ModuleType) -> None:
    assert script.retire(NOBODY, 60.0, "w").startswith(f"the scheduler at {NOBODY} cannot be asked to move data")


def test_a_scheduler_without_the_api_is_no_error(script: ModuleType) -> None:
    with a_dask(routes=WITHOUT_API) as dask:
        said = script.retire(dask.http, 60.0, "w")
    assert said == f"the scheduler at {dask.http} cannot be asked to move data to other workers: 404 Not Found"


def test_no_time_is_no_error(script: ModuleType) -> None:
    assert script.retire(NOBODY, 0.0, "w").startswith("not all data was moved to other workers within 0 s")


def test_only_workers_of_this_pod_are_told_to_retire(script: ModuleType) -> None:
    called = ["pod", "pod-0", "pod-12", "pod-b", "pod-0-1", "a-pod", "podx", 0]
    reply = {"workers": [{"name": name, "address": f"at {name}"} for name in called]}
    assert script.own(reply, "pod") == ["at pod", "at pod-0", "at pod-12"]


def test_what_happened_is_in_the_log_of_the_container(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(script, "LOG", tmp_path / "log")
    monkeypatch.setattr(sys, "argv", ["retire.py", NOBODY, "60"])
    monkeypatch.setenv("DASK_WORKER_NAME", "w")
    script.main()
    assert (tmp_path / "log").read_text().startswith(f"retire.py: the scheduler at {NOBODY} cannot be asked")


def test_a_log_that_cannot_be_written_is_no_error(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(script, "LOG", tmp_path / "no" / "log")
    script.say("done")
    assert capsys.readouterr().err == "retire.py: done\n"


def test_hook_finds_the_python_of_the_worker_where_path_has_none(tmp_path: Path) -> None:
    """Try a PATH as hooks have it, which do not run the entrypoint of their image."""
    (tmp_path / "retire.sh").write_bytes((ROOT / "charts/dask-cluster/files/retire.sh").read_bytes())
    (tmp_path / "retire.py").write_text("import sys; print(*sys.argv[1:])")
    tools = tmp_path / "tools"
    tools.mkdir()
    readlink = shutil.which("readlink")
    assert readlink
    (tools / "readlink").symlink_to(readlink)
    command = ["/bin/sh", str(tmp_path / "retire.sh"), "scheduler:8787", "290"]
    # The process that runs this test is a Python that it can find.
    made = subprocess.run(command, env={"PATH": str(tools)}, check=True, capture_output=True, text=True)
    assert made.stdout == "scheduler:8787 290\n"
