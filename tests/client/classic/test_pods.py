"""Pods of workers, as programs make them."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from tests.client.classic.objects import SCHEMAS, made, worker_container

import dask_kubernetes
from dask_kubernetes import classic
from dask_kubernetes.classic import pods
from dask_kubernetes.classic.pods import make_pod_from_dict, make_pod_spec
from dask_kubernetes.exceptions import ValidationError
from dask_kubernetes.operator.manifests.fields import without_nulls
from dask_kubernetes.operator.manifests.spec import make_cluster_spec


def test_make_pod_spec() -> None:
    env = {"EXTRA_PIP_PACKAGES": "fastparquet"}
    assert make_pod_spec(
        "dask:1",
        labels={"a": "b"},
        threads_per_worker=4,
        env=env,
        extra_container_config={"securityContext": {"runAsUser": 1}, "env": [{"name": "B", "value": "c"}]},
        extra_pod_config={"nodeSelector": {"pool": "x"}, "restartPolicy": "OnFailure"},
        resources="GPU=2 MEM=10e9",
        memory_limit="4G",
        memory_request=1000.5,
        cpu_limit=0.5,
        cpu_request="250m",
        gpu_limit=2,
        annotations={"c": "d"},
        restricted=False,
    ) == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}},
        "spec": {
            "restartPolicy": "OnFailure",
            "nodeSelector": {"pool": "x"},
            "containers": [
                {
                    "name": "dask-worker",
                    "image": "dask:1",
                    "args": [
                        *[
                            "dask",
                            "worker",
                            "--name",
                            "$(DASK_WORKER_NAME)",
                            "--nthreads",
                            "4",
                            "--death-timeout",
                            "60",
                        ],
                        *["--memory-limit", "4G", "--resources", "GPU=2 MEM=10e9"],
                    ],
                    "env": [{"name": "EXTRA_PIP_PACKAGES", "value": "fastparquet"}, {"name": "B", "value": "c"}],
                    "resources": {
                        "limits": {"cpu": "0.5", "memory": "4G", "nvidia.com/gpu": 2},
                        "requests": {"cpu": "250m", "memory": "1000.5"},
                    },
                    "securityContext": {"runAsUser": 1},
                }
            ],
        },
    }
    assert env == {"EXTRA_PIP_PACKAGES": "fastparquet"}


def test_a_pod_spec_of_an_image_alone_is_edited_and_used() -> None:
    template = make_pod_spec("dask:1", memory_limit="auto")
    assert "resources" not in template["spec"]["containers"][0]
    template["metadata"]["labels"]["a"] = "b"
    template["spec"]["containers"][0]["args"].append("--no-nanny")
    args = worker_container(made(template))["args"]
    assert args == [*make_pod_spec("dask:1", memory_limit="auto")["spec"]["containers"][0]["args"], "--no-nanny"]
    assert make_pod_spec("dask:1")["metadata"]["labels"] == {}


def test_the_documented_merge_of_a_pod_into_a_cluster() -> None:
    cluster = make_cluster_spec(name="merge-example")
    cluster["spec"]["worker"]["spec"] = make_pod_spec("dask:1", cpu_limit=0.5)["spec"]
    assert list(Draft202012Validator(SCHEMAS["DaskCluster"]).iter_errors(without_nulls(cluster))) == []
    assert "$(DASK_WORKER_NAME)" in worker_container(cluster)["args"]


def test_make_pod_from_dict() -> None:
    given = {"metadata": {}, "spec": {"containers": [{"command": None, "image": "dask:1"}], "volumes": None}}
    before = copy.deepcopy(given)
    assert make_pod_from_dict(given) == {
        "metadata": {},
        "spec": {"containers": [{"image": "dask:1", "name": "dask-0"}]},
    }
    assert given == before


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ({"kind": "DaskCluster", "spec": {"containers": [{}]}}, "must be the manifest of a Pod"),
        (7, "must be the manifest of a Pod"),
        ({}, "at least one"),
        ({"spec": {"containers": []}}, "at least one"),
        ({"spec": {"containers": ["dask:1"]}}, "at least one"),
        ({"spec": "x"}, "at least one"),
    ],
)
def test_pods_that_are_none(template: Any, problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        make_pod_from_dict(template)


def test_what_is_there_under_the_old_names() -> None:
    assert dask_kubernetes.make_pod_spec is classic.make_pod_spec is pods.make_pod_spec
    assert dask_kubernetes.make_pod_from_dict is classic.make_pod_from_dict is pods.make_pod_from_dict
    with pytest.raises(AttributeError, match="has no attribute 'HelmCluster'"):
        _ = classic.HelmCluster
