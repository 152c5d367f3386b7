"""Credential plugins are run as kubectl runs them."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from dask_kubernetes.operator.access.kubeconfig.plugin import run

V1 = "client.authentication.k8s.io/v1"
SAYS = """
import json, os, sys
told = {"info": json.loads(os.environ["KUBERNETES_EXEC_INFO"]), "own": os.environ.get("OWN")}
told |= {"path": "PATH" in os.environ, "arguments": sys.argv[1:], "stdin": sys.stdin.read()}
print(json.dumps({"status": {"token": json.dumps(told)}}))
"""


def plugin(code: str, *arguments: str, **fields: Any) -> dict[str, Any]:
    return {"apiVersion": V1, "command": sys.executable, "args": ["-c", code, *arguments], **fields}


def told(given: dict[str, Any], **cluster: Any) -> Any:
    return json.loads(run(given, {"server": "https://api:6443", **cluster})[0]["token"])


def test_a_plugin_is_told_what_kubectl_tells_it(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_bytes(b"a certificate")
    heard = told(plugin(SAYS, "a", "b", env=[{"name": "OWN", "value": "x"}], interactiveMode="IfAvailable"))
    info = {"kind": "ExecCredential", "apiVersion": V1, "spec": {"interactive": False}}
    assert heard == {"info": info, "own": "x", "path": True, "arguments": ["a", "b"], "stdin": ""}
    extension = {"name": "client.authentication.k8s.io/exec", "extension": {"audience": "me"}}
    whole = {"certificate-authority": str(tmp_path / "ca.crt"), "tls-server-name": "kube", "extensions": [extension]}
    assert told(plugin(SAYS, provideClusterInfo=True), **whole)["info"]["spec"]["cluster"] == {
        "server": "https://api:6443",
        "tls-server-name": "kube",
        "certificate-authority-data": base64.b64encode(b"a certificate").decode(),
        "config": {"audience": "me"},
    }


def answering(status: Any) -> dict[str, Any]:
    return plugin(f"print({json.dumps(json.dumps({'status': status}))})")


def test_a_plugin_gives_tokens_and_certificates_and_says_when_they_end() -> None:
    whole = {"clientCertificateData": "c", "clientKeyData": "k", "expirationTimestamp": "1970-01-01T00:01:40Z"}
    found, ends = run(answering(whole), {})
    assert found == {"token": None, "client-certificate-data": "c", "client-key-data": "k"}
    assert ends == 100.0
    assert run(answering({"token": "t", "expirationTimestamp": None}), {})[1] is None


@pytest.mark.parametrize(
    "given",
    [
        answering({}),
        answering(None),
        answering({"token": "t", "expirationTimestamp": "soon"}),
        plugin("print('[]')"),
        plugin("print('no JSON')"),
        plugin(""),
    ],
)
def test_a_plugin_that_gives_none_is_named(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"python.* returned no credentials"):
        run(given, {})


def test_a_plugin_that_fails_is_named() -> None:
    with pytest.raises(ValueError, match=r"python.* failed with exit code 3"):
        run(plugin("raise SystemExit(3)"), {})
    with pytest.raises(OSError, match="no-such-plugin"):
        run({"command": "no-such-plugin", "args": None, "env": None}, {})


def test_a_plugin_that_asks_its_user_needs_a_terminal() -> None:
    with pytest.raises(ValueError, match=r"python.* needs a terminal"):
        run(plugin(SAYS, interactiveMode="Always"), {})
