"""The defaults, their schema and the code that reads them have the same keys."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dask.config
import pytest
import yaml
from jsonschema import Draft202012Validator, ValidationError

import dask_kubernetes
from dask_kubernetes import config

PACKAGE = config.DEFAULTS.parent
DEFAULTS = yaml.safe_load(config.DEFAULTS.read_text())
SCHEMA = yaml.safe_load((PACKAGE / "kubernetes-schema.yaml").read_text())


def keys(defaults: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for name, value in defaults.items():
        yield from keys(value, f"{path}{name}.") if isinstance(value, dict) and value else [path + name]


def described(schema: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for name, part in schema.get("properties", {}).items():
        yield from described(part, f"{path}{name}.") if "properties" in part else [path + name]


def test_defaults_pass_their_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    Draft202012Validator(SCHEMA).validate(DEFAULTS)
    with pytest.raises(ValidationError):
        Draft202012Validator(SCHEMA).validate({"kubernetes": {"imgae": "dask:1"}})


def test_defaults_and_schema_have_the_same_keys() -> None:
    assert sorted(keys(DEFAULTS)) == sorted(described(SCHEMA))


def test_every_key_has_a_reader() -> None:
    source = "".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    assert [key for key in keys(DEFAULTS) if f'"{key}"' not in source] == []


def test_defaults_are_known_once_the_package_is_imported() -> None:
    assert dask.config.get("kubernetes.resource-timeout") == DEFAULTS["kubernetes"]["resource-timeout"]
    assert DEFAULTS in dask.config.defaults


def test_what_a_user_has_configured_stays(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("kubernetes: {count: {start: 7}}")
    program = "import dask.config, dask_kubernetes; print(dask.config.get('kubernetes.count'))"
    environment = {"DASK_CONFIG": str(tmp_path), "HOME": str(tmp_path)}
    printed = subprocess.run(
        [sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True
    )
    assert printed.stdout.strip() == "{'start': 7, 'max': None}"
    assert "# kubernetes:" in (tmp_path / "kubernetes.yaml").read_text()


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'HelmCluster'"):
        _ = dask_kubernetes.HelmCluster
