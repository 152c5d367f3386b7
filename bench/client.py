"""Seconds from KubeCluster(…) to the first result, and the features that work, beside dask-kubernetes 2026.3.0.

    python -m bench.client --python OTHER_PYTHON [--rounds 5] [--uses no]

Each client runs with each operator on one cluster: on this machine, which connects through the API server, and in a
Pod. Needs kubectl and helm in the PATH, the KUBECONFIG of a cluster without operator and CRDs, an environment with the
other client, and OPERATOR_IMAGE, DASK_IMAGE, NOTEBOOK_IMAGE, INCUMBENT_IMAGE and INCUMBENT_CHART. Prints tables in
Markdown, seconds as medians and ranges.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.conftest import Client, Image, client_of, operator_settings
from tests.support.helm import CHARTS, Helm
from tests.support.kube import CommandError, Kube, eventually

FIRST_RESULT = """
import json, sys, time
start = time.perf_counter()
from dask_kubernetes.operator import KubeCluster
imported = time.perf_counter()
options = {"namespace": sys.argv[1], "image": sys.argv[2], "n_workers": 2, "quiet": True, "resource_timeout": 120}
with KubeCluster(name=sys.argv[3], **options) as cluster, cluster.get_client() as client:
    opened = time.perf_counter()
    assert client.submit(sum, range(1000)).result(timeout=120) == 499500
    computed = time.perf_counter()
    client.close()
    closing = time.perf_counter()
closed = time.perf_counter()
print(json.dumps({"opened": opened - imported, "first result": computed - imported, "closed": closed - computed}))
"""
ROLE = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "Role",
    "metadata": {"name": "dask"},
    "rules": [{"apiGroups": ["kubernetes.dask.org"], "resources": ["*"], "verbs": ["*"]}],
}
# Features of a cluster, each tried by itself.
USES = {
    "create and compute": "cluster.scale(1); compute()",
    "scale up and down": "cluster.scale(3); client.wait_for_workers(3, timeout=60); cluster.scale(1); come(1)",
    "adapt": "cluster.adapt(minimum=1, maximum=2); compute()",
    "adapt without bounds": "cluster.adapt(); compute()",
    "scale ends adapt": "cluster.adapt(minimum=1, maximum=2); cluster.scale(2); come(2)",
    "add, scale, delete a group": (
        "cluster.scale(1); cluster.add_worker_group('more', n_workers=1); come(2); "
        "cluster.scale(2, worker_group='more'); come(3); cluster.delete_worker_group('more'); come(1)"
    ),
    "a group of make_worker_spec": (
        "from dask_kubernetes.operator import make_worker_spec; cluster.scale(0); come(0); "
        "cluster.add_worker_group('made', custom_spec=make_worker_spec(image=sys.argv[2], n_workers=1)); come(1)"
    ),
    "logs": "cluster.scale(1); come(1); assert len(cluster.get_logs()) == 2",
    "from_name": (
        "other = KubeCluster.from_name(sys.argv[3], namespace=sys.argv[1], quiet=True); other.close(); compute()"
    ),
    "requested, plan": "cluster.scale(1); come(1); assert len(cluster.requested) == len(cluster.plan) == 1",
    "the dashboard's link": (
        "import urllib.request; assert urllib.request.urlopen(cluster.dashboard_link, timeout=10).status == 200"
    ),
    "a scheduler that is replaced": (
        "subprocess.run(['kubectl', '--namespace', sys.argv[1], 'delete', 'pod', '--selector', "
        "'dask.org/component=scheduler'], check=True, capture_output=True); client.close(); cluster.scale(1); "
        "client = again(); compute()"
    ),
}
USE = """
import subprocess, sys, time
from distributed import Client
from dask_kubernetes.operator import KubeCluster

def come(number):
    deadline = time.monotonic() + 60
    while len(client.nthreads()) != number:
        assert time.monotonic() < deadline, f"not {number} workers"
        time.sleep(0.2)

def compute():
    assert client.submit(sum, range(1000), pure=False).result(timeout=60) == 499500

def again():
    deadline = time.monotonic() + 90
    while True:
        try:
            return Client(cluster, timeout=5)
        except OSError:
            assert time.monotonic() < deadline, "no connection with the new scheduler"

options = {"namespace": sys.argv[1], "image": sys.argv[2], "n_workers": 1, "quiet": True}
with KubeCluster(name=sys.argv[3], **options) as cluster:
    client = cluster.get_client()
    %s
    client.close()
print("works")
"""


@dataclass(frozen=True)
class User:
    """A Python with one of the clients, on this machine or in a Pod."""

    client: str
    place: str
    python: Callable[..., str]


def machine(python: str) -> Callable[..., str]:
    def run(program: str, *arguments: str, seconds: float = 180.0) -> str:
        with tempfile.TemporaryDirectory() as folder:
            command = [python, "-W", "ignore", "-c", program, *arguments]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=seconds, check=False)
        if done.returncode:
            raise CommandError(done.stderr.strip())
        return done.stdout

    return run


@contextmanager
def operator(helm: Helm, kube: Kube, name: str) -> Iterator[None]:
    """Install an operator with its own CRDs, and remove both."""
    where = ("--namespace", "dask-operator", "--wait", "--timeout", "120s")
    if name == "ours":
        chart = str(CHARTS / "dask-kubernetes-operator")
        settings = operator_settings(Image.from_environment("OPERATOR_IMAGE"), Image.from_environment("DASK_IMAGE"))
    else:
        image = Image.from_environment("INCUMBENT_IMAGE")
        chart = os.environ["INCUMBENT_CHART"]
        settings = ["--set-string", f"image.name={image.name},image.tag={image.tag}"]
    helm.run("install", "operator", chart, "--create-namespace", *where, *settings)
    try:
        yield
    finally:
        eventually(lambda: not kube.run("get", "daskclusters", "--output=name"), "no cluster is left", 120)
        helm.run("uninstall", "operator", *where)
        kinds = ("daskclusters", "daskworkergroups", "daskjobs", "daskautoscalers")
        kube.run("delete", "crds", *(f"{kind}.kubernetes.dask.org" for kind in kinds))


@contextmanager
def namespace(kubeconfig: Path) -> Iterator[Kube]:
    kube = Kube("kubectl", kubeconfig, f"client-{uuid.uuid4().hex[:6]}")
    kube.create_namespace()
    kube.run("create", "rolebinding", "client", "--clusterrole=admin", f"--serviceaccount={kube.namespace}:default")
    kube.apply(ROLE)
    kube.run("create", "rolebinding", "dask", "--role=dask", f"--serviceaccount={kube.namespace}:default")
    yield kube
    kube.run("delete", "namespace", kube.namespace, seconds=180)


def users(kube: Kube, other_python: str) -> Iterator[User]:
    images = {"ours": Image.from_environment("NOTEBOOK_IMAGE"), "2026.3.0": Image.from_environment("INCUMBENT_IMAGE")}
    pythons = {"ours": sys.executable, "2026.3.0": other_python}
    for client, image in images.items():
        yield User(client, "outside", machine(pythons[client]))
        pod: Client = client_of(kube, image, client.replace(".", "-"))
        yield User(client, "in a Pod", pod.python)


def first_results(user: User, kube: Kube, rounds: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {}
    for number in range(rounds):
        printed = user.python(FIRST_RESULT, kube.namespace, os.environ["DASK_IMAGE"], f"round-{number}", seconds=300)
        for what, value in json.loads(printed.splitlines()[-1]).items():
            seconds.setdefault(what, []).append(value)
        gone(kube)
    return seconds


def works(user: User, kube: Kube, use: str) -> str:
    """Return `yes`, or `no` with the last line of the error."""
    try:
        user.python(USE % USES[use], kube.namespace, os.environ["DASK_IMAGE"], "used", seconds=180)
        return "yes"
    except (CommandError, subprocess.TimeoutExpired) as error:
        words = str(error).splitlines() or [type(error).__name__]
        return f"no: {words[-1][:100]}"
    finally:
        kube.run("delete", "daskclusters", "--all", "--wait=false")
        gone(kube)


def gone(kube: Kube) -> None:
    """Wait until no Pod stays; those that are being deleted end by themselves."""
    eventually(lambda: not kube.names("daskclusters"), "the cluster is gone", 120)
    eventually(lambda: not staying(kube), "its Pods end", 120)


def staying(kube: Kube) -> list[str]:
    pods = (pod["metadata"] for pod in kube.objects("pods", "dask.org/cluster-name"))
    return [metadata["name"] for metadata in pods if not metadata.get("deletionTimestamp")]


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def measured(values: list[float]) -> str:
    return f"{statistics.median(values):.1f} ({min(values):.1f}–{max(values):.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--uses", choices=("yes", "no"), default="yes")
    given = parser.parse_args()
    kubeconfig = Path(os.environ["KUBECONFIG"])
    helm, times, uses = Helm(kubeconfig), [], {use: [use] for use in USES}
    columns = []
    for name in ("ours", "2026.3.0"):
        with namespace(kubeconfig) as kube, operator(helm, kube, name):
            for user in users(kube, given.python):
                began = time.monotonic()
                seconds = first_results(user, kube, given.rounds)
                times.append([name, user.client, user.place, *(measured(values) for values in seconds.values())])
                if user.place == "outside" and given.uses == "yes":
                    columns.append(f"operator {name}, client {user.client}")
                    for use in USES:
                        uses[use].append(works(user, kube, use))
                print(f"{name}, {user.client}, {user.place}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    print(table(["operator", "client", "where", "opened, s", "first result, s", "closed, s"], times))
    if columns:
        print()
        print(table(["use", *columns], list(uses.values())))


if __name__ == "__main__":
    main()
