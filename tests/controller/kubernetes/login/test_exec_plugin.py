from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import kopf
import pytest

from dask_operator.kubernetes.login import exec_plugin

CLUSTER = {
    "server": "https://api.example",
    "certificate-authority-data": "CA",
    "certificate-authority": "/a/file",
    "extensions": [
        {"name": "other", "extension": {}},
        {"name": "client.authentication.k8s.io/exec", "extension": {"audience": "x"}},
    ],
}


def _spec(command: str = "./plugin", **others: Any) -> dict[str, Any]:
    return {"apiVersion": "client.authentication.k8s.io/v1", "command": command, **others}


def _run(folder: Path, script: str, environment: dict[str, str] | None = None, **spec: Any) -> exec_plugin.Issued:
    """Run a plugin of one line of shell."""
    plugin = folder / "plugin"
    plugin.write_text(f"#!/bin/sh\n{script}\n")
    plugin.chmod(0o755)
    return exec_plugin.run(_spec(**spec), CLUSTER, folder, {"PATH": os.environ["PATH"], **(environment or {})})


def test_it_gets_its_arguments_and_variables(tmp_path: Path) -> None:
    script = """echo '{"status": {"token": "'"$1 $2 $A $B"'"}}'"""
    issued = _run(tmp_path, script, {"A": "a", "B": "b"}, args=["one", "two"], env=[{"name": "B", "value": "mine"}])
    assert issued.token == "one two a mine"


def test_it_holds_until_refused_unless_it_says_when_it_ends(tmp_path: Path) -> None:
    forever = _run(tmp_path, """echo '{"status": {"token": "x"}}'""").expiration
    assert forever
    assert forever > datetime.now(UTC) + timedelta(days=36500)
    issued = _run(tmp_path, """echo '{"status": {"token": "x", "expirationTimestamp": "2026-01-01T12:00:00Z"}}'""")
    assert issued.expiration == datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("wanted", [False, True])
def test_it_is_told_of_the_cluster_if_it_asks(tmp_path: Path, wanted: bool) -> None:
    script = """echo "$KUBERNETES_EXEC_INFO" > told; echo '{"status": {"token": "x"}}'"""
    _run(tmp_path, f"cd {tmp_path}; {script}", provideClusterInfo=wanted)
    cluster = {"server": "https://api.example", "certificate-authority-data": "CA", "config": {"audience": "x"}}
    assert json.loads((tmp_path / "told").read_text()) == {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "spec": {"interactive": False} | ({"cluster": cluster} if wanted else {}),
    }


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("echo no session >&2; exit 1", "plugin ./plugin failed: no session"),
        ("echo '{}'", "gives no credentials"),
        ("echo '{\"status\": {}}'", "neither a token nor a certificate"),
        ("echo text", "gives no credentials"),
        ('echo \'{"status": {"token": "x", "expirationTimestamp": "soon"}}\'', "gives no credentials"),
    ],
)
def test_its_failure_is_said_in_a_sentence(tmp_path: Path, script: str, sentence: str) -> None:
    with pytest.raises(kopf.LoginError, match=sentence):
        _run(tmp_path, script)


def test_one_that_is_not_installed_says_how_to_install_it(tmp_path: Path) -> None:
    spec = _spec("no-such-plugin", installHint="see https://example.com")
    with pytest.raises(kopf.LoginError, match="no-such-plugin is not here; see https://example"):
        exec_plugin.run(spec, CLUSTER, tmp_path, {"PATH": "/bin"})


def test_one_that_does_not_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exec_plugin, "_TIMEOUT", 0.2)
    with pytest.raises(kopf.LoginError, match="TimeoutExpired"):
        _run(tmp_path, "exec sleep 60")
