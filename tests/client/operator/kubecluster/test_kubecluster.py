"""`KubeCluster` as its users have it: a real scheduler behind a fake API server, through a forwarded port."""

from __future__ import annotations

import asyncio
import gc
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dask.config
import pytest
from distributed import LocalCluster
from distributed.core import Status
from tests.client.operator.conftest import Kubeconfig
from tests.client.operator.served import WORKER, Operator, a_group, a_pod
from tests.support.dask import a_dask_cluster, http_port
from tests.support.fake_api import FakeApi
from tests.support.kube import eventually

from dask_kubernetes.exceptions import (
    ClusterNotFoundError,
    CredentialsError,
    DaskKubernetesError,
    NotPermittedError,
    OperatorNotRespondingError,
    ValidationError,
    WorkerGroupNotFoundError,
    WorkersNotReadyError,
)
from dask_kubernetes.operator import KubeCluster
from dask_kubernetes.operator.manifests.spec import make_cluster_spec, make_worker_spec
from dask_operator import resources

# A scheduler tells only one listener about its workers, here that of the test's own cluster.
pytestmark = pytest.mark.filterwarnings("ignore:Scheduler already contains a plugin with name worker-status")


@pytest.fixture(scope="module")
def dask_cluster() -> Iterator[LocalCluster]:
    with a_dask_cluster(1) as cluster:
        yield cluster


@pytest.fixture
def operator(fake: FakeApi, dask_cluster: LocalCluster) -> Operator:
    """An operator that gives each new DaskCluster the scheduler of `dask_cluster`, and its worker."""
    return Operator(fake, int(str(dask_cluster.scheduler_address).rpartition(":")[2]), http_port(dask_cluster))


def a_cluster(**arguments: Any) -> KubeCluster:
    whole: dict[str, Any] = {"name": "mine", "quiet": True, "resource_timeout": 20} | arguments
    return KubeCluster(**whole)


def somebodys(operator: Operator) -> None:
    metadata = {"name": "mine", "namespace": "default"}
    operator.take_up(operator.fake.put({**make_cluster_spec("mine", n_workers=2), "metadata": metadata}))


def replicas(fake: FakeApi, group: str = "mine-default") -> Any:
    found = fake.find(resources.GROUP, group)
    return found and found["spec"]["worker"].get("replicas")


def test_from_the_first_to_the_last_line(operator: Operator) -> None:
    fake = operator.fake
    with a_cluster(n_workers=2) as cluster:
        assert cluster.status == Status.running
        assert cluster.namespace == "default"
        assert replicas(fake) == 2
        with cluster.get_client() as client:  # type: ignore[no-untyped-call]
            assert client.submit(sum, range(10)).result() == 45
        assert len(cluster.observed) == 1
        fake.put(a_pod("mine-default-worker-0", WORKER))
        assert cluster.requested == cluster.plan == {"mine-default-worker-0"}
        assert cluster.dashboard_link == f"http://127.0.0.1:{cluster.forwarded_dashboard_port}/status"
        cluster.scale(5)
        assert replicas(fake) == 5
        cluster.adapt(minimum=1, maximum=3)
        assert fake.find(resources.AUTOSCALER, "mine")
        cluster.add_worker_group("more", n_workers=1)
        cluster.scale(4, worker_group="more")
        assert replicas(fake, "mine-more") == 4
        cluster.delete_worker_group("more")
        assert replicas(fake, "mine-more") is None
        fake.logs = {"mine-scheduler-0": "hello"}
        assert cluster.get_logs()["mine-scheduler-0"] == "hello"
    assert cluster.status.name == "closed"
    assert not fake.objects(resources.CLUSTER)


def test_from_coroutines(operator: Operator) -> None:
    async def scenario() -> None:
        async with a_cluster(asynchronous=True) as cluster:
            assert await cluster is cluster
            await cluster.scale(3)
            assert replicas(operator.fake) == 3
            await cluster.adapt(maximum=2)
            await cluster.add_worker_group()
            assert replicas(operator.fake, "mine-group-1") == 3
            await cluster.delete_worker_group("group-1")
            assert set(await cluster.get_logs()) == {"mine-scheduler-0"}
            assert cluster.requested == set()
            await cluster.wait_for_workers(1, timeout=10)
            async with cluster.get_client() as client:
                assert await client.submit(sum, range(10)) == 45
            with pytest.raises(TypeError, match="async with"):
                cluster.__enter__()
        assert not operator.fake.objects(resources.CLUSTER)
        await cluster.close()
        with pytest.raises(ClusterNotFoundError, match="is closed: create another"):
            await cluster.scale(1)

    asyncio.run(scenario())


def test_from_several_threads(operator: Operator) -> None:
    with a_cluster() as cluster, ThreadPoolExecutor(4) as threads:
        list(threads.map(cluster.scale, range(8)))
        list(threads.map(cluster.add_worker_group, [f"g{number}" for number in range(8)]))
        assert {f"mine-g{number}" for number in range(8)} < {
            group["metadata"]["name"] for group in operator.fake.objects(resources.GROUP)
        }
        list(threads.map(lambda _: cluster.close(), range(4)))
    assert not operator.fake.objects(resources.CLUSTER)


def test_one_that_was_there_stays_and_says_what_it_is(operator: Operator) -> None:
    somebodys(operator)
    cluster = KubeCluster.from_name("mine", quiet=True)
    assert (cluster.n_workers, cluster.shutdown_on_close) == (2, False)
    assert cluster.image == make_cluster_spec("mine")["spec"]["worker"]["spec"]["containers"][0]["image"]
    cluster.close()
    with a_cluster() as connected:
        assert connected.shutdown_on_close is False
    assert operator.fake.objects(resources.CLUSTER)
    with a_cluster(shutdown_on_close=True):
        pass
    assert not operator.fake.objects(resources.CLUSTER)
    with pytest.raises(ClusterNotFoundError, match="no DaskCluster mine"):
        KubeCluster.from_name("mine", quiet=True)


def test_close_is_the_end_of_all_that_runs(operator: Operator) -> None:
    cluster = a_cluster()
    link, host, port = cluster.dashboard_link, *cluster.scheduler_address.removeprefix("tcp://").split(":")
    cluster.close()
    cluster.close()
    assert link.startswith("http")
    assert not operator.fake.objects(resources.CLUSTER)
    with pytest.raises(OSError):
        asyncio.run(asyncio.open_connection(host, int(port)))
    eventually(lambda: not operator.fake.open_ports, "the end of the connections with the API server")


def test_after_close_everything_says_so(operator: Operator) -> None:
    cluster = a_cluster()
    cluster.close()
    acts: tuple[Callable[[], Any], ...] = (
        lambda: cluster.scale(1),
        cluster.adapt,
        lambda: cluster.add_worker_group("g"),
        lambda: cluster.delete_worker_group("g"),
        cluster.get_logs,
    )
    for act in acts:
        with pytest.raises(ClusterNotFoundError, match="the KubeCluster mine is closed: create another"):
            act()
    assert cluster.requested == set()
    assert "mine" in repr(cluster)
    assert "mine" in cluster._repr_html_()


def test_it_can_be_shown_at_each_stage(operator: Operator) -> None:
    async def scenario() -> None:
        cluster = a_cluster(asynchronous=True)
        assert "KubeCluster(mine, '<Not Connected>', workers=0" in repr(cluster)
        assert "mine" in cluster._repr_html_()
        assert (cluster.dashboard_link, cluster.requested) == ("", set())
        with pytest.raises(ClusterNotFoundError, match="mine has not started: `await` it first"):
            await cluster.scale(1)
        await cluster
        assert "workers=1" in repr(cluster)
        assert "Workers: 1 / 0" in cluster._scaling_status()
        assert "Scheduler Pod" in cluster._repr_html_()
        operator.fake.put(a_group("mine-default", replicas=1))
        await cluster.adapt(maximum=1)
        assert "Adaptive" in cluster._scaling_status()
        assert "Scheduler Pod" in str(
            (await cluster.generate_rich_output()).renderable.renderables[0].columns[0]._cells
        )
        await cluster.close()
        assert "mine" in cluster._repr_html_()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("act", "error", "words"),
    [
        (lambda c: c.scale(-1), ValidationError, "n is -1"),
        (lambda c: c.scale("2"), ValidationError, "n is '2'"),
        (lambda c: c.scale(1, worker_group="x"), WorkerGroupNotFoundError, "no worker group 'x': it has default"),
        (lambda c: c.adapt(3, 2), ValidationError, "minimum"),
        (lambda c: c.adapt(-1), ValidationError, "minimum is -1"),
        (lambda c: c.add_worker_group("A b"), ValidationError, "cannot be called 'A b'"),
        (lambda c: c.add_worker_group("g", n_workers=-1), ValidationError, "n_workers is -1"),
        (lambda c: c.add_worker_group("g", drain_timeout="x"), ValidationError, "drain_timeout is 'x'"),
        (lambda c: c.add_worker_group("g", image=""), ValidationError, "image is ''"),
        (lambda c: c.add_worker_group("g", worker_command=""), ValidationError, "worker_command is empty"),
        (lambda c: c.add_worker_group("g", resources="2Gi"), ValidationError, "resources is '2Gi'"),
        (lambda c: c.add_worker_group("g", env="A=1"), ValidationError, "env must be a dict"),
        (lambda c: c.add_worker_group("g", custom_spec=["x"]), ValidationError, "custom_spec is"),
        (lambda c: c.add_worker_group(custom_spec="worker.yml"), ValidationError, "custom_spec is 'worker.yml'"),
        (lambda c: c.delete_worker_group("x"), WorkerGroupNotFoundError, "no worker group 'x'"),
        (lambda c: c.jupyter_link, ValidationError, "serves no Jupyter"),
        (lambda c: c.wait_for_workers(0), ValueError, "n_workers"),
    ],
)
def test_mistakes(operator: Operator, act: Callable[[KubeCluster], Any], error: type[Exception], words: str) -> None:
    with a_cluster() as cluster:
        written = len(operator.fake.writes)
        with pytest.raises(error, match=words):
            act(cluster)
        assert len(operator.fake.writes) - written <= (words.startswith("no worker group"))


def test_a_group_with_a_time_to_drain(operator: Operator) -> None:
    with a_cluster(drain_timeout="1h") as cluster:
        cluster.add_worker_group("as-all", n_workers=1)
        cluster.add_worker_group("patient", n_workers=1, drain_timeout="1 day")
        made = {name: operator.fake.find(resources.GROUP, name) for name in ("mine-as-all", "mine-patient")}
        found = {name: group["spec"]["worker"]["drainTimeoutSeconds"] for name, group in made.items() if group}
        assert found == {"mine-as-all": 3600, "mine-patient": 86400}


def test_a_group_by_a_manifest(operator: Operator) -> None:
    with a_cluster() as cluster:
        cluster.add_worker_group("a", custom_spec=make_worker_spec(n_workers=7))
        assert replicas(operator.fake, "mine-a") == 7
        group = a_group("mine-b", replicas=2) | {"spec": {"worker": make_worker_spec(n_workers=2)}}
        cluster.add_worker_group(custom_spec=group)
        assert replicas(operator.fake, "mine-b") == 2


def test_workers_that_do_not_come_are_said_with_their_reason(operator: Operator) -> None:
    waiting = {"reason": "ImagePullBackOff", "message": "no such image"}
    status = {"name": "dask", "image": "dask:1", "restartCount": 0, "state": {"waiting": waiting}}
    with a_cluster() as cluster:
        operator.fake.put(a_pod("w", WORKER, "Pending", conditions=[], containerStatuses=[status]))
        durations: tuple[Any, ...] = (0.1, "100 ms")
        for timeout in durations:
            with pytest.raises(WorkersNotReadyError, match=r"1 of 2 workers run after 0\.1 s: .*no such image"):
                cluster.wait_for_workers(2, timeout=timeout)
        cluster.wait_for_workers(1)


def test_logs_without_permission_are_those_that_dask_keeps(operator: Operator) -> None:
    with a_cluster() as cluster:
        operator.fake.refuses = lambda seen: seen.subresource == "log"
        assert "Scheduler" in cluster.get_logs()


def test_what_cannot_start_says_why_and_leaves_nothing(operator: Operator) -> None:
    fake = operator.fake
    fake.made = lambda _: None
    with pytest.raises(OperatorNotRespondingError, match="No operator has taken up DaskCluster mine"):
        a_cluster(resource_timeout=0.2)
    assert not fake.objects(resources.CLUSTER)
    fake.refuses = lambda seen: seen.method == "POST"
    with pytest.raises(NotPermittedError, match="cannot create resource"):
        a_cluster()

    async def scenario() -> None:
        cluster = a_cluster(asynchronous=True)
        with pytest.raises(NotPermittedError):
            await cluster
        assert cluster.status == Status.closed
        await cluster.close()

    asyncio.run(scenario())


def test_what_cannot_be_shown_leaves_nothing(operator: Operator) -> None:
    with dask.config.set({"distributed.dashboard.link": "{no_such_variable}"}), pytest.raises(KeyError):
        a_cluster()
    assert not operator.fake.objects(resources.CLUSTER)
    eventually(lambda: not operator.fake.open_ports, "the end of the connections with the API server")


def test_without_a_kubeconfig(kubeconfig: Kubeconfig) -> None:
    with pytest.raises(CredentialsError, match=str(kubeconfig.path)):
        a_cluster()


def test_a_delete_that_is_refused_is_said_and_the_rest_is_closed(operator: Operator) -> None:
    cluster = a_cluster()
    operator.fake.refuses = lambda seen: seen.method == "DELETE"
    with pytest.raises(NotPermittedError, match="cannot delete"):
        cluster.close()
    operator.fake.refuses = lambda _: False
    assert cluster._lifetime
    cluster._lifetime.delete_now()
    assert not operator.fake.objects(resources.CLUSTER)


@pytest.mark.filterwarnings("ignore:unclosed cluster:ResourceWarning")
@pytest.mark.parametrize("made_here", [True, False])
def test_one_that_is_let_go_of_leaves_nothing_open(operator: Operator, made_here: bool) -> None:
    if not made_here:
        somebodys(operator)
    cluster = a_cluster()
    gone = weakref.ref(cluster)
    del cluster
    eventually(lambda: (gc.collect(), gone() is None)[1], "the end of the object")
    eventually(lambda: not operator.fake.open_ports, "the end of the connections with the API server")
    eventually(lambda: bool(operator.fake.objects(resources.CLUSTER)) != made_here, "the end of what was made")


def test_close_ends_the_thread_that_was_started(operator: Operator) -> None:
    def loops() -> int:
        return sum(thread.name == "IO loop" for thread in threading.enumerate())

    before = loops()
    a_cluster().close()
    with pytest.raises(DaskKubernetesError):
        a_cluster(create_mode="CONNECT_ONLY")
    assert loops() == before


PROGRAM = """
import sys
from dask_kubernetes.operator import KubeCluster
print("begins", flush=True)
KubeCluster(name="mine", quiet=True, resource_timeout=60)
"""


def test_ctrl_c_while_it_starts_deletes_what_was_made(fake: FakeApi) -> None:
    """Run without an operator, so that the cluster keeps starting."""
    program = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        eventually(lambda: fake.objects(resources.CLUSTER), "the DaskCluster is made")
        program.send_signal(signal.SIGINT)
        _, said = program.communicate(timeout=120.0)
    finally:
        program.kill()
    assert program.returncode != 0
    assert b"KeyboardInterrupt" in said
    assert [seen.method for seen in fake.writes] == ["POST", "DELETE"]
