"""Documented calls work: our signatures are compared with signatures.yaml."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Iterable, Mapping
from dataclasses import fields
from inspect import Parameter
from pathlib import Path
from typing import Any

import pytest
import yaml

from dask_kubernetes import classic, operator
from dask_kubernetes.exceptions import ValidationError
from dask_kubernetes.operator.settings import Settings

TABLE = yaml.safe_load(Path(__file__).with_name("signatures.yaml").read_text())
POSITIONAL, BY_NAME = Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY
REST = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


def promised(written: Iterable[str | Mapping[str, Any]]) -> list[Parameter]:
    """Return a signature of the table. Parameters after "*", or after "*args", are keyword-only."""
    parameters: list[Parameter] = []
    kind: Any = POSITIONAL
    for item in written:
        if item == "*":
            kind = BY_NAME
        elif isinstance(item, Mapping):
            ((name, default),) = item.items()
            parameters.append(Parameter(name, kind, default=default))
        elif item.startswith("**"):
            parameters.append(Parameter(item[2:], Parameter.VAR_KEYWORD))
        elif item.startswith("*"):
            parameters.append(Parameter(item[1:], Parameter.VAR_POSITIONAL))
            kind = BY_NAME
        else:
            parameters.append(Parameter(item, kind))
    return parameters


def differences(promise: list[Parameter], ours: list[Parameter]) -> list[str]:
    """Return the promised calls that would fail. Ours may have more keywords, and need fewer arguments."""
    found = []
    rest = {parameter.kind for parameter in promise} & set(REST)
    if missing := rest - {parameter.kind for parameter in ours}:
        found.append(f"no {missing}")
    named = [parameter for parameter in ours if parameter.kind not in REST]
    wanted = [parameter for parameter in promise if parameter.kind not in REST]
    for number, parameter in enumerate(wanted):
        mine = named[number] if number < len(named) else None
        if mine is None or (mine.name, mine.kind) != (parameter.name, parameter.kind):
            found.append(f"{parameter} is {mine}")
        elif parameter.default is not Parameter.empty and mine.default != parameter.default:
            found.append(f"the default of {parameter} is {mine.default!r}")
    found += [
        f"{parameter} is new: it must be given by name only, and have a default"
        for parameter in named[len(wanted) :]
        if parameter.kind is not BY_NAME or parameter.default is Parameter.empty
    ]
    return found


@pytest.mark.parametrize("name", TABLE["callables"])
def test_signatures(name: str) -> None:
    ours = inspect.signature(pkgutil.resolve_name(name))
    assert differences(promised(TABLE["callables"][name]), list(ours.parameters.values())) == []


@pytest.mark.parametrize("name", TABLE["attributes"])
def test_attributes(name: str) -> None:
    ours = pkgutil.resolve_name(name)
    assert [attribute for attribute in TABLE["attributes"][name] if not hasattr(ours, attribute)] == []


def test_all_that_is_public_is_in_the_table() -> None:
    named = {*TABLE["callables"], *TABLE["attributes"]} | {
        f"{owner}.{attribute}" for owner, attributes in TABLE["attributes"].items() for attribute in attributes
    }
    for module in ("dask_kubernetes", "dask_kubernetes.operator", "dask_kubernetes.classic"):
        public = {f"{module}.{name}" for name in pkgutil.resolve_name(module).__all__}
        assert public - named == set()


def test_settings_take_what_describes_a_cluster() -> None:
    ours = [field.name for field in fields(Settings)]
    process = {"loop", "asynchronous", "quiet", "security", "kwargs"}
    assert ours == [name for name in inspect.signature(operator.KubeCluster).parameters if name not in process]
    assert Settings.of(**dict.fromkeys(ours) | {"name": "mine"}) == Settings.of(name="mine")
    with pytest.raises(TypeError, match="no argument 'nmae'"):
        Settings.of(nmae="mine")


@pytest.mark.parametrize(
    ("written", "ours", "problem"),
    [
        (["a", {"b": 1}], lambda a, b=1: ..., None),
        (["a"], lambda a, *, more=1: ..., None),
        (["a"], lambda a=None: ..., None),
        (["a", "**kwargs"], lambda a, *, more=1, **kwargs: ..., None),
        (["a"], lambda b: ..., "a is b"),
        (["a", "b"], lambda b, a: ..., "a is b"),
        ([{"a": 1}], lambda a=2: ..., "the default of a=1 is 2"),
        (["*", {"a": 1}], lambda a=1: ..., "a=1 is a=1"),
        (["a"], lambda: ..., "a is None"),
        (["a"], lambda a, *, more: ..., "more is new"),
        (["a"], lambda a, more: ..., "more is new"),
        (["a"], lambda a, more=1: ..., "more=1 is new"),
        (["**kwargs"], lambda: ..., "no "),
    ],
)
def test_differences_are_found(written: Any, ours: Any, problem: str | None) -> None:
    found = differences(promised(written), list(inspect.signature(ours).parameters.values()))
    assert bool(found) == bool(problem)
    assert (problem or "") in "".join(found)


# What people and programs write in place of a value, and for each argument those of them that are right.
WRITTEN: list[Any] = [
    *("10", "", "No", -1, 0, 1.5, True, b"x", float("nan"), object()),
    *([], ["A"], [("A", "1")], [{"A": "1"}], [{"name": "A", "value": {"x": 1}}], [{"name": "A", "valuefrom": {}}]),
    *({"a": {"b": 1}}, {"limit": {"memory": 1}}, {"memory": [1]}, {"A": ["x"]}),
]
TEXT, FLAGS = ["10", "No"], [0, True]
RIGHT: dict[str, list[Any]] = {
    "name": ["10"],
    "cluster_name": ["10"],
    # As without one, and 0 is a name: variables of the environment with digits alone are numbers.
    "namespace": ["10", "", 0],
    "image": TEXT,
    "n_workers": [0],
    "env": [[]],
    "worker_command": [*TEXT, ["A"]],
    "port_forward_cluster_ip": FLAGS,
    "shutdown_on_close": FLAGS,
    "idle_timeout": ["10", 0, 1.5],
    "drain_timeout": ["10", 0, 1.5],
    "resource_timeout": ["10", 0, 1.5],
    "scheduler_forward_port": ["10"],
    "jupyter": FLAGS,
    "restricted": FLAGS,
}
# A manifest takes neither text nor parts of seconds.
RIGHT_IN_A_MANIFEST = RIGHT | {"idle_timeout": [0], "drain_timeout": [0]}


ANY_DICT = [each for each in WRITTEN if isinstance(each, Mapping)]
# Zero is a number of GPUs, and no limit of memory; "auto" and numbers are quantities.
RIGHT_IN_A_POD: dict[str, list[Any]] = {
    "image": TEXT,
    "labels": ANY_DICT,
    "annotations": ANY_DICT,
    "extra_container_config": ANY_DICT,
    "extra_pod_config": ANY_DICT,
    "threads_per_worker": ["10"],
    "env": [[]],
    **{name: ["10", 0, 1.5] for name in ("memory_limit", "memory_request", "cpu_limit", "cpu_request", "gpu_limit")},
    "restricted": FLAGS,
}


def is_right(name: str, value: object, right: Mapping[str, list[Any]]) -> bool:
    return any(value is each or (type(value) is type(each) and value == each) for each in right.get(name, []))


def expect(call: Any, name: str, right: Mapping[str, list[Any]], also: Mapping[str, Any]) -> None:
    """Call with each value of an argument: a wrong one has an error that names the argument, or the part of it."""
    for value in WRITTEN:
        if is_right(name, value, right):
            call(**{**also, name: value})
            continue
        with pytest.raises(ValidationError) as caught:
            call(**{**also, name: value})
        parts = value if isinstance(value, Mapping) else {}
        words = "cannot be called" if name in ("name", "cluster_name") else name
        # Of quantities, the message names the resource.
        words = name.partition("_")[0] if name.endswith(("_limit", "_request")) else words
        assert any(str(part) in str(caught.value) for part in (words, *parts)), (name, value)


@pytest.mark.parametrize("name", Settings.__dataclass_fields__)
def test_each_setting_is_right_or_refused_by_its_name(name: str) -> None:
    expect(lambda **given: Settings.of(**given).manifest(), name, RIGHT, {"name": "mine"})


@pytest.mark.parametrize("name", ["asynchronous", "quiet", "security"])
def test_other_arguments_are_refused_by_their_name(name: str) -> None:
    for value in WRITTEN:
        if value not in (0, True):
            with pytest.raises(ValidationError, match=f"^{name} is "):
                operator.KubeCluster(**{name: value})


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (function, name)
        for function in ("make_cluster_spec", "make_scheduler_spec", "make_worker_spec")
        for name in inspect.signature(getattr(operator, function)).parameters
        if (function, name) != ("make_worker_spec", "cluster_name")  # it has no effect
    ],
)
def test_each_argument_of_a_manifest_is_right_or_refused_by_its_name(function: str, name: str) -> None:
    required = {"make_cluster_spec": {"name": "mine"}, "make_scheduler_spec": {"cluster_name": "mine"}}
    expect(getattr(operator, function), name, RIGHT_IN_A_MANIFEST, required.get(function, {}))


@pytest.mark.parametrize("name", inspect.signature(classic.make_pod_spec).parameters)
def test_each_argument_of_a_pod_is_right_or_refused_by_its_name(name: str) -> None:
    expect(classic.make_pod_spec, name, RIGHT_IN_A_POD, {"image": "dask:1"})


def test_a_misspelt_argument_is_refused_with_the_right_one() -> None:
    with pytest.raises(TypeError, match=r"no argument 'n_worker': did you mean n_workers\?"):
        operator.KubeCluster(name="mine", n_worker=2)
    with pytest.raises(TypeError, match=r"no argument 'zzz'$"):
        operator.KubeCluster.from_name("mine", zzz=2)
