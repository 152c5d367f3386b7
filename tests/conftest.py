"""Fixtures for tests on a real cluster: a namespace for each test, and its objects for inspection after a failure."""

from __future__ import annotations

import os
import shutil
import signal
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.kube import CommandError, Kube
from tests.support.timing import Timing

_BUNDLE = pytest.StashKey[Kube]()
DASK_CONFIG = Path(__file__).parents[1] / "ci/images/dask/config.yaml"


def pytest_configure(config: pytest.Config) -> None:
    """Let programs started by tests be interrupted, even if a background shell has the tests ignore SIGINT.

    Configure Dask's processes on this machine like those in the tests' image.
    """
    os.environ["DASK_CONFIG"] = str(DASK_CONFIG)
    if times := os.environ.get("TIMES"):
        config.pluginmanager.register(Timing(Path(times)))
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def kube(request: pytest.FixtureRequest) -> Iterator[Kube]:
    """A new namespace, deleted with everything in it."""
    kubeconfig, kubectl = os.environ.get("KUBECONFIG"), shutil.which("kubectl")
    if not kubeconfig or not kubectl:
        pytest.fail("this test needs a cluster: run it by `make test-api` or `make test-e2e`")
    kube = Kube(kubectl, Path(kubeconfig), f"test-{uuid.uuid4().hex[:8]}")
    kube.create_namespace()
    request.node.stash[_BUNDLE] = kube
    yield kube
    kube.delete_namespace()


@pytest.fixture(scope="session")
def figure(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """A function that shows a line at once, with the number of cases and the result."""
    plugins = pytestconfig.pluginmanager
    reporter, capturing = plugins.get_plugin("terminalreporter"), plugins.get_plugin("capturemanager")
    assert reporter
    assert capturing

    def show(line: str) -> None:
        with capturing.global_and_fixture_disabled():
            reporter.ensure_newline()
            reporter.write_line(f"  {line}")
            reporter.flush()

    return show


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report = yield
    if report.failed and call.when == "call" and (kube := item.stash.get(_BUNDLE, None)):
        report.sections.append(("what was in the cluster", f"saved in {_debug_bundle(kube, item.name)}"))
    return report


def _debug_bundle(kube: Kube, name: str) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "dask-kubernetes" / "debug" / name.replace("/", "-")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    kinds = "daskclusters,daskworkergroups,deployments,services,pods"
    operator = ("--namespace", "dask-operator", "logs", "--selector", "app.kubernetes.io/name=dask-kubernetes-operator")
    commands = {
        "objects.yaml": ("get", kinds, "--output", "yaml"),
        "describe.txt": ("describe", kinds),
        "events.txt": ("get", "events", "--sort-by", "lastTimestamp"),
        "operator.log": (*operator, "--tail", "-1"),
    }
    commands |= {f"{pod}.log": ("logs", pod, "--all-containers") for pod in kube.names("pods")}
    for file, command in commands.items():
        try:
            text = kube.run(*command)
        except CommandError as refused:
            text = f"{refused}\n"
        (folder / file).write_text(text)
    return folder
