"""The Python client as users have it: on their machine and in a Pod, and with any end of their program."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from tests.e2e.conftest import Client, Image, client_of, nothing_is_left
from tests.e2e.programs import ASYNCHRONOUS, QUICKSTART, Machine, ended, last_line, line_of, say
from tests.support.kube import Kube, eventually
from tests.support.network import Network, network_to

# The documented permissions, without Pods' logs and without forwarded ports.
ROLE = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "Role",
    "metadata": {"name": "dask-cluster-role"},
    "rules": [
        {
            "apiGroups": ["kubernetes.dask.org"],
            "resources": [
                "daskclusters",
                "daskworkergroups",
                "daskworkergroups/scale",
                "daskjobs",
                "daskautoscalers",
            ],
            "verbs": ["get", "list", "watch", "patch", "create", "delete"],
        },
        {"apiGroups": [""], "resources": ["pods", "pods/status"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["services"], "verbs": ["get", "list", "watch"]},
    ],
}
MAKE = """
import gc, sys
from dask_kubernetes.operator import KubeCluster

cluster = KubeCluster(name=sys.argv[3], namespace=sys.argv[1], image=sys.argv[2], quiet=True)
print("made", flush=True)
"""
# Each way in which a program lets go of a cluster without closing it, and its exit code.
ENDS = {
    "the program ends": ("", 0),
    "an error ends it": ("raise RuntimeError", 1),
    "sys.exit ends it": ("sys.exit(3)", 3),
    "nobody refers to it": ("del cluster; gc.collect(); print('let go', flush=True); sys.stdin.read()", 0),
    "ctrl-c ends it": ("sys.stdin.read()", -signal.SIGINT),
}
AFTER_AN_OUTAGE = """
import sys
from dask_kubernetes.operator import KubeCluster

def computed():
    return cluster.get_client().submit(sum, range(1000), pure=False).result(timeout=180)

with KubeCluster(name="far", namespace=sys.argv[1], image=sys.argv[2], n_workers=1, quiet=True) as cluster:
    for _ in range(2):
        print(computed(), flush=True)
        sys.stdin.readline()
    # While the network is away.
    cluster.scale(2)
    print("scaled", flush=True)
    cluster.wait_for_workers(2, timeout=180)
    print(computed(), len(cluster.observed), flush=True)
"""
# Seconds including the start of a cluster, or of a worker, on a busy machine.
STARTS = 300
# Seconds of the outage; the client notices silence after up to 40.
OUTAGES = {"cut": 5, "silent": 60}
AT_ONCE = """
import sys
from concurrent.futures import ThreadPoolExecutor
from dask_kubernetes.operator import KubeCluster

def use(name):
    with KubeCluster(name=name, namespace=sys.argv[1], image=sys.argv[2], n_workers=1, quiet=True) as cluster:
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda n: cluster.scale(n), (1, 2, 1, 2)))
            logs = list(threads.map(lambda _: len(cluster.get_logs()), range(4)))
        client = cluster.get_client()
        total = client.submit(sum, range(1000)).result(timeout=180)
        client.close()
        return total, min(logs) > 0

with ThreadPoolExecutor(3) as threads:
    print(list(threads.map(use, ("one", "two", "three"))))
"""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def pod(kube: Kube) -> Client:
    """A Pod whose ServiceAccount has that Role and no more."""
    account = f"--serviceaccount={kube.namespace}:default"
    kube.apply(ROLE)
    kube.run("create", "rolebinding", "client", "--role=dask-cluster-role", account)
    return client_of(kube, Image.from_environment("NOTEBOOK_IMAGE"))


def test_the_quickstart_from_outside(kube: Kube, machine: Machine, dask_image: Image) -> None:
    seen = last_line(machine.python(QUICKSTART, kube.namespace, str(dask_image)))
    expected = {f"sum with {n}": 499500 for n in (2, 10, 3)} | {"adaptive": 500500}
    assert seen.items() >= expected.items()
    assert {"my-dask-cluster-default", "my-dask-cluster-highmem"} < set(seen["logs"])
    assert (seen["scheduler"], seen["dashboard"]) == ("tcp://127.0.0.1", "http://127.0.0.1")
    nothing_is_left(kube)


def test_the_quickstart_in_a_pod_with_the_role_that_users_know(kube: Kube, pod: Client, dask_image: Image) -> None:
    seen = last_line(pod.python(QUICKSTART, "", str(dask_image)))
    assert seen["sum with 10"] == 499500
    # The logs that Dask keeps itself, since that role does not permit Pods' logs.
    assert "Scheduler" in seen["logs"]
    assert seen["scheduler"] == f"tcp://my-dask-cluster-scheduler.{kube.namespace}.svc"
    assert seen["dashboard"] == f"http://my-dask-cluster-scheduler.{kube.namespace}.svc"
    nothing_is_left(kube)


def test_asynchronously_from_outside_and_in_a_pod(kube: Kube, machine: Machine, pod: Client, dask_image: Image) -> None:
    for place in (machine, pod):
        assert last_line(place.python(ASYNCHRONOUS, kube.namespace, str(dask_image))) == [499500, True]
        nothing_is_left(kube)


@pytest.mark.parametrize("how", ENDS)
def test_a_cluster_goes_with_the_program_that_made_it(
    kube: Kube, machine: Machine, dask_image: Image, how: str
) -> None:
    end, code = ENDS[how]
    program = machine.start(MAKE + end, kube.namespace, str(dask_image), "short")
    with ended(program):
        assert line_of(program, STARTS) == "made"
        if how == "nobody refers to it":
            assert line_of(program, STARTS) == "let go"
            nothing_is_left(kube)
        if how == "ctrl-c ends it":
            assert kube.names("daskclusters") == {"short"}
            program.send_signal(signal.SIGINT)
        said = program.communicate(timeout=180)[1]
    assert program.returncode == code, said
    nothing_is_left(kube)


def test_a_start_that_is_interrupted_leaves_nothing(kube: Kube, machine: Machine) -> None:
    program = machine.start(MAKE, kube.namespace, "localhost/no-such-image:1", "short")
    with ended(program):
        eventually(lambda: kube.names("daskclusters"), "the DaskCluster is made")
        program.send_signal(signal.SIGINT)
        printed, said = program.communicate(timeout=180)
    assert (printed, program.returncode) == ("", -signal.SIGINT), said
    # After an interrupted handshake httpcore leaves the socket to the garbage collector, which may warn about it.
    warned = r"Exception ignored in: .*?\nResourceWarning: unclosed [^\n]*"
    assert re.sub(warned, "", said, flags=re.DOTALL).rstrip().endswith("KeyboardInterrupt")
    nothing_is_left(kube)


def test_clusters_at_once_each_used_by_several_threads(kube: Kube, machine: Machine, dask_image: Image) -> None:
    printed = machine.python(AT_ONCE, kube.namespace, str(dask_image))
    assert printed.strip() == str([(499500, True)] * 3)
    nothing_is_left(kube)


@pytest.mark.parametrize("outage", OUTAGES)
def test_it_goes_on_after_an_outage_of_the_network(kube: Kube, tmp_path: Path, dask_image: Image, outage: str) -> None:
    with far_away(kube, tmp_path) as (machine, network):
        program = machine.start(AFTER_AN_OUTAGE, kube.namespace, str(dask_image))
        with ended(program):
            assert line_of(program, 2 * STARTS) == "499500"
            getattr(network, outage)()
            time.sleep(OUTAGES[outage])
            network.back()
            say(program)
            assert line_of(program, STARTS) == "499500"
            network.cut()
            say(program)
            time.sleep(2)
            network.back()
            assert [line_of(program, STARTS), line_of(program, STARTS)] == ["scaled", "499500 2"]
            _, said = program.communicate(timeout=180)
        assert program.returncode == 0, said
    nothing_is_left(kube)


@contextmanager
def far_away(kube: Kube, folder: Path) -> Iterator[tuple[Machine, Network]]:
    """Yield a machine, and its only network to the API server."""
    config = yaml.safe_load(kube.kubeconfig.read_text())
    cluster = config["clusters"][0]["cluster"]
    host, port = cluster["server"].removeprefix("https://").split(":")
    with network_to(host, int(port)) as network:
        # The certificate names the server and not this machine.
        cluster |= {"server": f"https://127.0.0.1:{network.port}", "tls-server-name": host}
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(yaml.safe_dump(config))
        yield Machine(folder, {"KUBECONFIG": str(kubeconfig)}), network
