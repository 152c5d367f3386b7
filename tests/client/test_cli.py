"""The commands print the objects that the Python calls create, and report errors in a sentence."""

from __future__ import annotations

import subprocess
import sys
import threading
from types import TracebackType
from typing import Any, Self

import click
import dask.config
import pytest
import yaml
from click.testing import CliRunner, Result

from dask_kubernetes import operator
from dask_kubernetes.cli import main
from dask_kubernetes.exceptions import ClusterNotFoundError
from dask_kubernetes.operator.manifests.spec import make_additional_group, make_cluster_spec
from dask_kubernetes.operator.settings import Settings

CLUSTER = [
    "--image=dask:1",
    "--n-workers=2",
    '--resources={"limits": {"memory": "2Gi"}}',
    "--env=A=1",
    "-e",
    "OPTIONS=x=y z",
    "--drain-timeout=1h",
    "--worker-command=dask worker --nthreads 2",
    "--scheduler-service-type=NodePort",
    "--idle-timeout=60",
    "--jupyter",
]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def printed(*arguments: str) -> Any:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    assert "&id" not in result.output, "kubectl's users read it: no anchors"
    return yaml.safe_load(result.output)


def test_a_cluster() -> None:
    expected = make_cluster_spec(
        "c",
        image="dask:1",
        n_workers=2,
        resources={"limits": {"memory": "2Gi"}},
        env={"A": "1", "OPTIONS": "x=y z"},
        worker_command=["dask", "worker", "--nthreads", "2"],
        scheduler_service_type="NodePort",
        idle_timeout=60,
        jupyter=True,
        drain_timeout=3600,
    )
    assert printed("gen", "cluster", "--name=c", *CLUSTER) == expected


@pytest.mark.parametrize("options", [[], ["--n-workers=1"]])
def test_what_is_not_said_is_as_for_the_python_call(options: list[str]) -> None:
    configured = {
        "kubernetes.image": "dask:2",
        "kubernetes.count.start": 4,
        "kubernetes.env": {"A": "1"},
        "kubernetes.resources": {"cpu": 1},
    }
    number: dict[str, Any] = {"n_workers": 1} if options else {}
    with dask.config.set(configured):
        assert printed("gen", "cluster", "--name=c", *options) == Settings.of(name="c", **number).manifest()
        group = make_additional_group(Settings.of(name="c").manifest(), "x", **number)
        assert printed("gen", "worker", "--cluster=c", "--name=x", *options) == group
    assert group["spec"]["worker"]["spec"]["containers"][0]["image"] == "dask:2"


def test_a_worker_group() -> None:
    expected = make_additional_group(
        make_cluster_spec("c"),
        "highmem",
        n_workers=2,
        image="dask:1",
        resources={"limits": {"memory": "2Gi"}},
        env={"A": "1", "OPTIONS": "x=y z"},
        worker_command=["dask", "worker", "--nthreads", "2"],
        drain_timeout=3600,
    )
    assert printed("gen", "worker", "--cluster=c", "--name=highmem", *CLUSTER[:8]) == expected


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["cluster"], "Missing option '--name'"),
        (["cluster", "--name=C"], "Error: A DaskCluster cannot be called 'C'"),
        (["cluster", "--name=c", "--n-workers=-1"], "Error: n_workers is -1"),
        (["cluster", "--name=c", "--resources={"], "'{' is not JSON"),
        (["cluster", "--name=c", "--resources=1"], "resources is 1: it must be a dict"),
        (["cluster", "--name=c", "--env=A"], "'A' is not NAME=VALUE."),
        (["cluster", "--name=c", "--idle-timeout=soon"], "Error: idle_timeout is 'soon'"),
        (["cluster", "--name=c", "--scheduler-service-type=x"], "one of ClusterIP, NodePort, LoadBalancer"),
        (["worker", "--cluster=c", "--name=x", "--drain-timeout=soon"], "Error: drain_timeout is 'soon'"),
        (["worker", "--name=x"], "Missing option '--cluster'"),
        (["worker", "--cluster=c", "--name=X"], "Error: A worker group cannot be called 'X'"),
    ],
)
def test_mistakes(arguments: list[str], problem: str) -> None:
    result = run("gen", *arguments)
    assert result.exit_code != 0
    assert problem in " ".join(click.unstyle(result.output).split())


def test_manifests_need_no_client_of_kubernetes() -> None:
    program = (
        "import sys; from dask_kubernetes.cli import main; "
        "main(['gen', 'cluster', '--name=c'], standalone_mode=False); "
        "main(['gen', 'worker', '--cluster=c', '--name=x'], standalone_mode=False); "
        "print(*sys.modules, file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    loaded = set(ran.stderr.split())
    assert not loaded & {"kr8s", "httpx", "rich", "dask_kubernetes.operator.kubecluster", "dask_kubernetes.classic"}


class Connected:
    """The parts of a KubeCluster that `port-forward` uses."""

    scheduler_address = "tcp://localhost:1234"
    dashboard_link = "http://localhost:8787/status"

    jupyter_link = "http://localhost:8787/jupyter/lab"

    def __init__(self, jupyter: bool) -> None:
        self.jupyter = jupyter
        self.closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.closed = True


def interrupted(self: threading.Event, timeout: float | None = None) -> bool:
    assert timeout is None, "it waits without waking up"
    raise KeyboardInterrupt


@pytest.mark.parametrize("jupyter", [True, False])
def test_port_forward(jupyter: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    connected = Connected(jupyter)

    class KubeCluster:
        @classmethod
        def from_name(cls, name: str, **arguments: Any) -> Connected:
            asked.append((name, arguments))
            return connected

    monkeypatch.setitem(vars(operator), "KubeCluster", KubeCluster)
    monkeypatch.setattr(threading.Event, "wait", interrupted)
    result = run("port-forward", "c", "--namespace=dask")
    assert (result.exit_code, connected.closed) == (0, True)
    assert asked == [("c", {"namespace": "dask", "shutdown_on_close": False, "quiet": True})]
    assert ("Jupyter at:   http://localhost:8787/jupyter/lab" in result.output) == jupyter
    assert "Scheduler at: tcp://localhost:1234\nDashboard at: http://localhost:8787/status\n" in result.output


def test_port_forward_to_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    class KubeCluster:
        @classmethod
        def from_name(cls, name: str, **_: Any) -> Connected:
            raise ClusterNotFoundError(f"There is no DaskCluster {name}.")

    monkeypatch.setitem(vars(operator), "KubeCluster", KubeCluster)
    result = run("port-forward", "c")
    assert (result.exit_code, result.output) == (1, "Error: There is no DaskCluster c.\n")
