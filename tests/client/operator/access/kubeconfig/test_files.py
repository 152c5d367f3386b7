"""A context is found in one file or several, by kubectl's rules."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from dask_kubernetes.operator.access.kubeconfig import files
from dask_kubernetes.operator.access.kubeconfig.files import Context

SERVER = {"server": "https://10.0.0.1"}


def written(file: Path, name: str, current: str | None = None, **context: Any) -> str:
    """Write a kubeconfig with a context, cluster and user of a name, and return its path."""
    file.parent.mkdir(exist_ok=True)
    whole = {
        "contexts": [{"name": name, "context": {"cluster": name, "user": name} | context}],
        "clusters": [{"name": name, "cluster": SERVER | {"certificate-authority": f"{name}.crt"}}],
        "users": [{"name": name, "user": {"tokenFile": f"{name}.token", "exec": {"command": "./plugin"}}}],
        **({"current-context": current} if current else {}),
    }
    file.write_text(yaml.safe_dump(whole))
    return str(file)


def read(kubeconfig: str, name: str | None = None) -> Context:
    found = files.read(kubeconfig, name)
    assert found, "the files have a context"
    return found


def test_paths_are_relative_to_the_file_that_names_them(tmp_path: Path) -> None:
    first, second = written(tmp_path / "one/config", "a"), written(tmp_path / "two/config", "b", current="b")
    folder = tmp_path / "two"
    expected = Context(
        "b",
        "default",
        SERVER | {"certificate-authority": str(folder / "b.crt")},
        {"tokenFile": str(folder / "b.token"), "exec": {"command": str(folder / "plugin")}},
    )
    assert read(os.pathsep.join((first, second))) == expected
    found = read(os.pathsep.join((first, second)), "a")
    assert found.cluster["certificate-authority"] == str(tmp_path / "one/a.crt")


def test_the_first_file_that_says_something_wins(tmp_path: Path) -> None:
    first = written(tmp_path / "one/config", "a", current="a", namespace="first")
    second = written(tmp_path / "two/config", "a", current="b", namespace="second")
    found = read(os.pathsep.join((first, second)))
    assert (found.name, found.namespace) == ("a", "first")


@pytest.mark.parametrize("others", ["absent", "empty"])
def test_files_without_content_are_passed_over(tmp_path: Path, others: str) -> None:
    (tmp_path / "empty").touch()
    other = str(tmp_path / others)
    assert files.read(other) is None
    found = read(os.pathsep.join((other, "", written(tmp_path / "config", "a", current="a"), "")))
    assert found.name == "a"


def test_a_command_by_its_name_alone_is_searched_for_and_absolute_paths_stay(tmp_path: Path) -> None:
    file = Path(written(tmp_path / "config", "a", current="a"))
    whole = yaml.safe_load(file.read_text())
    whole["users"][0]["user"] = {"exec": {"command": "aws"}, "client-key": "/keys/a"}
    file.write_text(yaml.safe_dump(whole))
    found = read(str(file))
    assert found.user == {"exec": {"command": "aws"}, "client-key": "/keys/a"}


@pytest.mark.parametrize("user", [None, ""])
def test_a_context_without_a_user_is_anonymous(tmp_path: Path, user: str | None) -> None:
    found = read(written(tmp_path / "config", "a", current="a", user=user))
    assert found.user == {}


def test_names_may_be_numbers(tmp_path: Path) -> None:
    found = read(written(tmp_path / "config", 1, current=1))  # type: ignore[arg-type]
    assert found.name == "1"


@pytest.mark.parametrize(
    ("context", "current", "why"),
    [
        ({}, None, "no current context: choose one with `kubectl config use-context`"),
        ({}, "b", "no context b"),
        ({"cluster": None}, "a", "its context a has no cluster"),
        ({"cluster": "b"}, "a", "no cluster b"),
        ({"user": "b"}, "a", "no user b"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, context: dict[str, Any], current: str | None, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read(written(tmp_path / "config", "a", current=current, **context))


def test_a_cluster_has_a_server(tmp_path: Path) -> None:
    file = Path(written(tmp_path / "config", "a", current="a"))
    file.write_text(file.read_text().replace("server:", "serv:"))
    with pytest.raises(ValueError, match="its cluster a has no server"):
        read(str(file))


def test_what_is_no_kubeconfig_is_named(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("- a list")
    with pytest.raises(TypeError, match="config is no kubeconfig"):
        read(str(tmp_path / "config"))
