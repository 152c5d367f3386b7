"""Arguments become fields of manifests, or errors that name the valid values."""

from __future__ import annotations

from typing import Any

import pytest
from ci.verify import crds
from tests.client.operator.manifests.objects import WORKER_ARGS, container

from dask_kubernetes.exceptions import ValidationError
from dask_kubernetes.operator.manifests import fields
from dask_kubernetes.operator.manifests.fields import validate_cluster_name
from dask_kubernetes.operator.manifests.spec import (
    make_cluster_spec,
    make_worker_spec,
)


@pytest.mark.parametrize("name", ["a", "7", "my-cluster", "a" * 53])
def test_names_that_are_valid(name: str) -> None:
    validate_cluster_name(name)


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a.b", "a_b", "a\n", "a" * 54, None, 7])
def test_names_that_are_not(name: Any) -> None:
    with pytest.raises(ValidationError, match="cannot be called"):
        validate_cluster_name(name)
    with pytest.raises(ValidationError, match="cannot be called"):
        make_cluster_spec(name)


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        (None, None),
        ({}, None),
        ([], None),
        ({"A": None}, None),
        ({"A": 1, "B": True, "C": "x=y"}, [("A", "1"), ("B", "True"), ("C", "x=y")]),
        ([{"name": "A", "value": 1}, {"name": "B", "value": "b"}], [("A", "1"), ("B", "b")]),
    ],
)
def test_env(env: Any, expected: list[tuple[str, str]] | None) -> None:
    made = fields.env_list(env)
    assert made == (None if expected is None else [{"name": name, "value": value} for name, value in expected])
    assert container(make_worker_spec(env=env, restricted=False))["env"] == (made or (None if env is None else []))


def test_env_from_elsewhere_stays() -> None:
    source = {"valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    assert fields.env_list({"IP": source}) == fields.env_list([{"name": "IP", "value": None, **source}])
    assert fields.env_list({"IP": source}) == [{"name": "IP", **source}]


@pytest.mark.parametrize("env", ["A=1", ["A=1"], [{"value": "1"}]])
def test_env_that_is_none(env: Any) -> None:
    with pytest.raises(ValidationError, match="env must be a dict"):
        make_worker_spec(env=env)


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        (None, None),
        ({}, None),
        ({"limits": {}, "requests": None}, None),
        ({"limits": {"cpu": 1}}, {"limits": {"cpu": 1}}),
        ({"cpu": 0.5, "memory": "2Gi"}, {part: {"cpu": "0.5", "memory": "2Gi"} for part in ("requests", "limits")}),
        ({"limits": {"cpu": 1}, "claims": [{"name": "gpu"}]}, {"limits": {"cpu": 1}, "claims": [{"name": "gpu"}]}),
    ],
)
def test_resources(resources: Any, expected: Any) -> None:
    assert fields.resource_requirements(resources) == expected
    assert container(make_worker_spec(resources=resources))["resources"] == (
        expected or (None if resources is None else {})
    )


@pytest.mark.parametrize(
    "quantity", ["0", "1.", ".5", "500m", "100n", "2Ki", "3Ei", "1e3", "1E-2", "4k", "12E", 7, 1e21]
)
def test_quantities_of_kubernetes(quantity: Any) -> None:
    made = fields.resource_requirements({"limits": {"memory": quantity}})
    assert made == {"limits": {"memory": quantity if isinstance(quantity, int) else str(quantity)}}


@pytest.mark.parametrize(
    ("resources", "problem"),
    [
        ("2Gi", "must be a dict"),
        ({"limits": {"cpu": 1}, "memory": "2Gi"}, "unknown field 'memory'"),
        ({"limit": {"cpu": 1}}, "no field 'limit': write 'limits'"),
        ({"Requests": {"cpu": 1}, "limits": {"cpu": 1}}, "no field 'Requests': write 'requests'"),
        ({"worker": {"cpu": 1}}, "no field 'worker': write 'limits' or 'requests'"),
        ({"mem": "2Gi"}, "'mem' is no resource"),
        ({"limits": {"gpu": 1}}, "'gpu' is no resource of a container: .* as in nvidia.com/gpu"),
        ({"limits": "2Gi"}, "limits is '2Gi'"),
        ({"limits": {"cpu": True}}, "cpu is True"),
        ({"limits": {"cpu": -1}}, "cpu is -1"),
        ({"limits": {"cpu": ""}}, "cpu is ''"),
        ({"limits": {"cpu": float("nan")}}, "cpu is nan"),
        ({"memory": "2GB"}, "memory is '2GB': it must be a Kubernetes quantity"),
        ({"memory": "2 Gi"}, "memory is '2 Gi'"),
        ({"memory": "lots"}, "memory is 'lots'"),
    ],
)
def test_resources_that_cannot_be(resources: Any, problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        make_worker_spec(resources=resources)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("dask-worker", ["dask", "worker"]),
        ("dask worker --nthreads 2", ["dask", "worker", "--nthreads", "2"]),
        (["dask-worker", "--nthreads", 2], ["dask", "worker", "--nthreads", "2"]),
        ("dask-cuda-worker", ["dask-cuda-worker"]),
        ("dask worker --resources 'GPU=2 MEM=3'", ["dask", "worker", "--resources", "GPU=2 MEM=3"]),
        (("tini", "--", "dask-worker"), ["tini", "--", "dask-worker"]),
    ],
)
def test_worker_command(command: Any, words: list[str]) -> None:
    assert container(make_worker_spec(worker_command=command))["args"] == words + WORKER_ARGS


def test_a_scheduler_command_of_old() -> None:
    assert fields.command_words(["dask-scheduler", "--host", "0"]) == ["dask", "scheduler", "--host", "0"]


@pytest.mark.parametrize(("command", "problem"), [("", "is empty"), ([], "is empty"), ("dask 'worker", "as a list")])
def test_worker_command_that_is_none(command: Any, problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        make_worker_spec(worker_command=command)


class Four:
    """A whole number of another type, as NumPy has them."""

    def __index__(self) -> int:
        return 4


def test_a_number_that_has_to_be_given() -> None:
    assert fields.optional_count("n", None) is None
    with pytest.raises(ValidationError, match="n is None"):
        fields.worker_count("n", None)


def test_whole_numbers_of_every_type_are_sent_as_numbers() -> None:
    assert type(fields.worker_count("n", Four())) is int
    assert make_worker_spec(n_workers=Four())["replicas"] == 4  # type: ignore[arg-type]


@pytest.mark.parametrize("seconds", [-1, 0.5, "60", "1h", True, 31_536_001])
def test_a_time_to_drain_that_cannot_be(seconds: Any) -> None:
    with pytest.raises(
        ValidationError, match=f"^drain_timeout is {seconds!r}: it must be a whole number of seconds, at"
    ):
        make_worker_spec(drain_timeout=seconds)


def test_a_drain_may_take_as_long_as_the_definitions_say() -> None:
    for kind in ("daskcluster", "daskworkergroup"):
        defined = crds.at(crds.load()[kind], "spec.worker.drainTimeoutSeconds")
        assert (defined["minimum"], defined["maximum"]) == (0, fields.LONGEST_DRAIN)


def test_nulls_are_left_out_of_a_copy() -> None:
    given: dict[str, Any] = {"a": None, "b": [{"c": None, "d": 0}, None], "e": {"f": None}, "g": ""}
    made = fields.without_nulls(given)
    assert made == {"b": [{"d": 0}, None], "e": {}, "g": ""}
    made["b"][0]["d"] = 1
    assert given["b"][0] == {"c": None, "d": 0}
