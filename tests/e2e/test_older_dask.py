"""Older releases of Dask, started as the public images are: what each of them does with this operator and its chart."""

from __future__ import annotations

from typing import Any

import pytest
from tests.e2e.conftest import Image
from tests.e2e.release import Release
from tests.support.helm import Helm
from tests.support.kube import Kube, eventually
from tests.support.manifests import dask_autoscaler, dask_cluster

# The names of Dask's commands before 2022.10, which releases up to 2026.7 still have
OLD_COMMANDS = {"scheduler": ["dask-scheduler"], "worker": ["dask-worker", "--name", "$(DASK_WORKER_NAME)"]}
BEFORE_HTTP_API = "2022.1.0"
# The newest release is that of all other tests.
ALL = (BEFORE_HTTP_API, "2023.9.3", "2024.8.2", "2025.4.1")
# The chart starts `dask scheduler` and `dask worker`.
OLDEST_OF_CHART = "2023.9.3"
ENTRYPOINT = ("tini", "-g", "--", "/usr/local/bin/prepare.sh")
# Random results: one that was lost and computed again has another digest.
RESULTS = """
import hashlib, os, sys
from distributed import Client, wait

def result(number):
    return os.urandom(100_000)

with Client("tcp://localhost:8786", timeout=240) as client:
    if sys.argv[1] == "hold":
        workers = int(sys.argv[2])
        client.wait_for_workers(workers, timeout=240)
        results = client.map(result, range(60), pure=False)
        wait(results)
        client.rebalance(results)
        assert len({name for names in client.who_has(results).values() for name in names}) == workers
        client.publish_dataset(results, name="results")
    results = client.get_dataset("results")
    print(*[hashlib.sha256(data).hexdigest() for data in client.gather(results)])
"""
OCCUPY = """
import time
from distributed import Client
with Client("tcp://localhost:8786", timeout=240) as client:
    print(len(client.gather(client.map(lambda n: time.sleep(1) or n, range(60), pure=False))))
"""


@pytest.fixture(scope="session")
def releases_image() -> Image:
    return Image.from_environment("RELEASES_IMAGE")


def older_cluster(name: str, release: str, image: Image, workers: int = 1, **more: Any) -> dict[str, Any]:
    """Return a cluster with this release of Dask and its old commands. `more`: fields of its spec."""
    cluster = dask_cluster(name, workers, image=str(image))
    for role, args in OLD_COMMANDS.items():
        container = cluster["spec"][role]["spec"]["containers"][0]
        container |= {"args": args, "env": [{"name": "DASK_RELEASE", "value": release}]}
    cluster["spec"] |= more
    return cluster


def python(kube: Kube, cluster: str, program: str, *arguments: str) -> str:
    """Return the output of a program in a cluster's scheduler, which has the cluster's release of Dask."""
    command = ("exec", "--stdin", f"deployment/{cluster}-scheduler", "--", *ENTRYPOINT, "python", "-", *arguments)
    return kube.run(*command, stdin=program, seconds=600).strip()


@pytest.mark.parametrize("release", ALL)
def test_it_computes_scales_without_losing_results_and_goes_when_idle(
    kube: Kube, releases_image: Image, release: str
) -> None:
    kube.apply(older_cluster("old", release, releases_image))
    kube.wait_for_workers("old", 1)
    kube.run("scale", "--replicas=3", "daskworkergroup", "old-default")
    results = python(kube, "old", RESULTS, "hold", "3")
    kube.run("scale", "--replicas=1", "daskworkergroup", "old-default")
    eventually(lambda: len(kube.workers("old-default")) == 1, "one worker")
    assert python(kube, "old", RESULTS, "look") == results
    kube.wait_for_condition("daskcluster", "old", "Progressing", "Settled")
    assert kube.condition("daskcluster", "old", "Degraded")["status"] == "False"
    kube.apply(dask_autoscaler("old", "old", 1, 3))
    assert python(kube, "old", OCCUPY) == "60"
    kube.wait_for_event("DaskAutoscaler", "old", "Normal", "Scaled")
    assert restarts(kube, "old") == 0
    if release == BEFORE_HTTP_API:
        return  # It does not say since when it is idle.
    kube.run("patch", "daskcluster", "old", "--type=merge", "--patch", '{"spec": {"idleTimeout": 5}}')
    eventually(lambda: kube.get("daskcluster", "old") is None, "the idle cluster is deleted")


def test_a_release_of_the_chart_computes_and_tests_itself(kube: Kube, helm: Helm, releases_image: Image) -> None:
    chart = Release(kube, helm, releases_image, "old")
    chart.install("--set-string", f"env.DASK_RELEASE={OLDEST_OF_CHART}", "--set", "worker.replicas=1")
    kube.wait_for_workers("old", 1)
    assert "Phase:          Succeeded" in chart.test()
    chart.uninstall()


def restarts(kube: Kube, cluster: str) -> int:
    """Return how often the containers of a cluster's scheduler were restarted."""
    pods = kube.objects("pods", f"dask.org/cluster-name={cluster},dask.org/component=scheduler")
    return sum(status["restartCount"] for pod in pods for status in pod["status"]["containerStatuses"])
