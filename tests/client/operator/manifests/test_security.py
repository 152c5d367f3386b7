"""Pods of Python and of the examples comply with the restricted standard, unless their user says otherwise."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.pod_security import pods_of, violations

from dask_kubernetes.classic import make_pod_spec
from dask_kubernetes.classic.manifest import manifest
from dask_kubernetes.operator.manifests import security
from dask_kubernetes.operator.manifests.fields import without_nulls
from dask_kubernetes.operator.manifests.spec import (
    make_additional_group,
    make_cluster_spec,
    make_scheduler_spec,
    make_worker_group,
    make_worker_spec,
)
from dask_kubernetes.operator.settings import Settings

EXAMPLES = Path(__file__).parents[3] / "examples"
ARGUMENTS: dict[str, list[Any]] = {
    "env": [None, {}, {"EXTRA_PIP_PACKAGES": "s3fs"}],
    "resources": [None, {"limits": {"nvidia.com/gpu": 1}}],
    "worker_command": ["dask worker", ["dask-cuda-worker"]],
    "jupyter": [False, True],
    "scheduler_service_type": ["ClusterIP", "NodePort"],
}
GIVEN = [dict(zip(ARGUMENTS, values, strict=True)) for values in product(*ARGUMENTS.values())]


def refused(*manifests: Any) -> list[str]:
    made = [pod for each in manifests for pod in pods_of(without_nulls(each))]
    assert made
    return [what for pod in made for what in violations(pod)]


@pytest.mark.parametrize("given", GIVEN, ids=str)
def test_what_python_makes_is_admitted(given: dict[str, Any]) -> None:
    cluster = Settings.of(name="c", **given).manifest()
    group = make_additional_group(cluster, "more")
    of_worker = {name: given[name] for name in ("env", "resources", "worker_command")}
    own = make_worker_group("c", "own", make_worker_spec(**of_worker))
    of_scheduler = {name: value for name, value in given.items() if name != "worker_command"}
    cluster_again = {**make_cluster_spec("c", **given)}
    cluster_again["spec"]["scheduler"] = make_scheduler_spec("c", **of_scheduler)
    assert refused(cluster, group, own, cluster_again) == []


def test_what_the_classic_client_makes_is_admitted() -> None:
    pod = make_pod_spec("dask:1", extra_pod_config={"initContainers": [{"name": "first", "image": "busybox:1"}]})
    for env, scheduler in product(({}, {"EXTRA_PIP_PACKAGES": "s3fs"}), (None, make_pod_spec("dask:1"))):
        cluster = manifest(pod, Settings.of(name="c", env=env), scheduler)
        assert refused(cluster) == []
        homes = [each["spec"]["containers"][0]["env"] for each in pods_of(cluster)]
        assert all({"name": "HOME", "value": "/tmp"} in variables for variables in homes)


@pytest.mark.parametrize(
    "otherwise",
    [
        {"restricted": False},
        {"extra_pod_config": {"securityContext": {"runAsUser": 0}}, "extra_container_config": {"securityContext": {}}},
    ],
)
def test_the_user_of_the_classic_client_may_say_otherwise(otherwise: dict[str, Any]) -> None:
    pod = make_pod_spec("dask:1", **otherwise)
    assert pod["spec"].get("securityContext") == otherwise.get("extra_pod_config", {}).get("securityContext")
    assert not pod["spec"]["containers"][0].get("securityContext")
    assert "dask-worker: root" in refused(manifest(pod, Settings.of(name="c")))


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(EXAMPLES.glob("*.yaml")) if "autoscaler" not in path.name],
    ids=lambda path: path.stem,
)
def test_an_example_is_admitted(path: Path) -> None:
    assert refused(*yaml.safe_load_all(path.read_text())) == []


def test_fields_that_are_set_stay() -> None:
    given: dict[str, Any] = {
        "containers": [{"name": "a", "securityContext": {}}],
        "securityContext": {"runAsUser": 1},
    }
    made = security.restricted(given)
    assert (made["securityContext"], made["containers"][0]) == ({"runAsUser": 1}, given["containers"][0])
    assert security.with_home([{"name": "HOME", "value": "/x"}]) == [{"name": "HOME", "value": "/x"}]


def test_what_violates_the_standard_is_found() -> None:
    """Try each way that the check knows."""
    ways: tuple[dict[str, Any], ...] = (
        {"hostNetwork": True},
        {"automountServiceAccountToken": True},
        {"volumes": [{"name": "a", "hostPath": {"path": "/"}}]},
        {"securityContext": {"runAsNonRoot": True}},
        {"containers": [{"name": "a"}]},
    )
    for breaking in ways:
        whole = security.restricted({"containers": [{"name": "a"}]})
        assert violations({"spec": whole}) == []
        assert violations({"spec": whole | breaking}), breaking
