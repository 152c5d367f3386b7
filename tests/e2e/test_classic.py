"""Programs from before the operator, as users have them: they still work, and name their replacement."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.e2e.conftest import Image, nothing_is_left
from tests.e2e.programs import Machine, ended, last_line, say
from tests.support.kube import Kube, eventually

# From the old documentation, with smaller numbers.
WORKER_SPEC = """
kind: Pod
metadata:
  labels:
    foo: bar
spec:
  restartPolicy: Never
  containers:
  - image: IMAGE
    imagePullPolicy: IfNotPresent
    args: [dask-worker, --nthreads, '2', --no-dashboard, --memory-limit, 500MB, --death-timeout, '60']
    name: dask
    env:
      - name: OMP_NUM_THREADS
        value: '1'
    resources:
      limits:
        cpu: 500m
        memory: 500M
      requests:
        cpu: 500m
        memory: 500M
"""
# At each printed and read line, the test inspects the cluster.
FROM_YAML = """
import json, sys
import dask.array as da
from dask.distributed import Client
from dask_kubernetes import KubeCluster

cluster = KubeCluster.from_yaml('worker-spec.yml')
cluster.scale(2)
client = Client(cluster)
print(da.ones((1000, 1000), chunks=250).mean().compute(), flush=True)
sys.stdin.readline()
cluster.adapt(minimum=1, maximum=3)
print(da.ones((1000, 1000), chunks=250).sum().compute(), flush=True)
sys.stdin.readline()
print(json.dumps(sorted({"worker" in name for name, log in cluster.logs().items() if log})), flush=True)
client.close()
cluster.close()
"""
FROM_CONFIGURATION = """
from dask.distributed import Client
from dask_kubernetes import KubeCluster

cluster = KubeCluster(n_workers=1)
with Client(cluster) as client:
    print(client.submit(sum, range(1000)).result(), flush=True)
input()
cluster.close()
"""
FROM_DICT = """
import sys
from dask.distributed import Client
from dask_kubernetes import KubeCluster, make_pod_spec

pod_spec = make_pod_spec(image=sys.argv[1], labels={'foo': 'bar'}, threads_per_worker=2, env={'OMP_NUM_THREADS': '1'},
                         memory_limit='500M', memory_request='500M', cpu_limit='500m', cpu_request='500m')
cluster = KubeCluster.from_dict(pod_spec, n_workers=1)
with Client(cluster) as client:
    print(client.submit(sum, range(1000)).result(), flush=True)
input()
cluster.close()
"""


@pytest.fixture
def variables(kube: Kube, tmp_path: Path, dask_image: Image) -> dict[str, str]:
    """The environment by which such a program finds the namespace, in a folder with worker-spec.yml."""
    (tmp_path / "worker-spec.yml").write_text(WORKER_SPEC.replace("IMAGE", str(dask_image)))
    return {"DASK_KUBERNETES__NAMESPACE": kube.namespace}


def test_a_program_with_a_worker_spec_goes_on(kube: Kube, tmp_path: Path, variables: dict[str, str]) -> None:
    program = Machine(tmp_path, variables).start(FROM_YAML)
    with ended(program):
        assert answer(program) == "1.0"
        eventually(lambda: len(workers(kube)) == 2, "there are two workers")
        for pod in workers(kube):
            is_as_the_worker_spec(pod)
        say(program)
        assert answer(program) == "1000000.0"
        (autoscaler,) = kube.objects("daskautoscalers")
        assert (autoscaler["spec"]["minimum"], autoscaler["spec"]["maximum"]) == (1, 3)
        printed, said = program.communicate("\n", timeout=180)
    assert program.returncode == 0, said
    assert last_line(printed) == [False, True], "the logs are the scheduler's and the workers'"
    assert says_once_what_to_write(said)
    nothing_is_left(kube)


@pytest.mark.parametrize("how", ["the configuration names a file", "a Pod is made"])
def test_a_pod_by_other_ways(
    kube: Kube, tmp_path: Path, dask_image: Image, variables: dict[str, str], how: str
) -> None:
    if how == "a Pod is made":
        program = Machine(tmp_path, variables).start(FROM_DICT, str(dask_image))
    else:
        path = {"DASK_KUBERNETES__WORKER_TEMPLATE_PATH": "worker-spec.yml"}
        program = Machine(tmp_path, variables | path).start(FROM_CONFIGURATION)
    with ended(program):
        assert answer(program) == "499500"
        (pod,) = workers(kube)
        is_as_the_worker_spec(pod)
        _, said = program.communicate("\n", timeout=180)
    assert program.returncode == 0, said
    assert says_once_what_to_write(said)
    nothing_is_left(kube)


def answer(program: subprocess.Popen[str]) -> str:
    """Return the next number in a program's output, skipping lines about its cluster's start."""
    assert program.stdout
    for line in program.stdout:
        if line[0].isdigit():
            return line.rstrip()
    raise AssertionError(program.communicate()[1])


def workers(kube: Kube) -> list[dict[str, Any]]:
    pods = kube.objects("pods", "dask.org/component=worker")
    return [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]


def is_as_the_worker_spec(pod: dict[str, Any]) -> None:
    given = yaml.safe_load(WORKER_SPEC)["spec"]["containers"][0]
    (container,) = pod["spec"]["containers"]
    assert pod["metadata"]["labels"]["foo"] == "bar"
    assert pod["spec"]["restartPolicy"] == "Never"
    assert {"k8s.dask.org/dedicated", "k8s.dask.org_dedicated"} <= {
        each.get("key") for each in pod["spec"]["tolerations"] if each.get("value") == "worker"
    }
    assert given["env"][0] in container["env"]
    assert container["resources"] == given["resources"]
    assert "--death-timeout 60" in " ".join(container["args"])


def says_once_what_to_write(said: str) -> bool:
    """Return whether a program's output says once where it uses the class, and the replacement."""
    warning = (
        "DeprecationWarning: KubeCluster of dask_kubernetes.classic is deprecated: write `from dask_kubernetes.operator"
    )
    return said.count("DeprecationWarning") == said.count(warning) == 1 and "<string>:" in said
