from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import kopf
import pytest
from tests.support.kubeconfig import write_kubeconfig

from dask_operator.kubernetes.login import kubeconfig
from dask_operator.kubernetes.login.credentials import Credentials

SERVER = "https://api.example:6443"


def _read(*files: Path, name: str = "") -> Credentials:
    return kubeconfig.credentials(kubeconfig.read(files, name), {})


def test_it_is_where_kubectl_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert kubeconfig.files({}) == []
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube/config").write_text("")
    assert kubeconfig.files({}) == [tmp_path / ".kube/config"]
    assert kubeconfig.files({"KUBECONFIG": "~/a: /b:"}) == [tmp_path / "a", Path("/b")]


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ({}, {"token": None}),
        ({"token": "abc"}, {"token": "abc"}),
        ({"token": "abc", "tokenFile": "token"}, {"token": "of a file"}),
        ({"username": "me", "password": "pw"}, {"username": "me", "password": "pw"}),
        ({"auth-provider": {"name": "gcp", "config": {"access-token": "abc"}}}, {"token": "abc"}),
        ({"auth-provider": {"name": "oidc", "config": {"id-token": "abc"}}}, {"token": "abc"}),
        ({"auth-provider": {"name": "gcp", "config": None}}, {"token": None}),
        ({"client-certificate-data": "C", "client-key-data": "K"}, {"certificate_data": "C", "private_key_data": "K"}),
    ],
)
def test_users_have_credentials_of_every_kind(tmp_path: Path, user: dict[str, Any], expected: dict[str, Any]) -> None:
    (tmp_path / "token").write_text("of a file\n")
    found = _read(write_kubeconfig(tmp_path / "config", SERVER, **user))
    assert {name: getattr(found, name) for name in expected} == expected
    assert (found.server, found.expiration) == (SERVER, None)


def test_clusters_say_how_they_are_reached(tmp_path: Path) -> None:
    cluster = {"tls-server-name": "other", "insecure-skip-tls-verify": True, "proxy-url": "http://127.0.0.1:2"}
    found = _read(write_kubeconfig(tmp_path / "config", SERVER, cluster=cluster, namespace="ns"))
    assert (found.server_name, found.insecure, found.proxy_url) == ("other", True, "http://127.0.0.1:2")
    assert found.default_namespace == "ns"


def test_paths_begin_at_the_folder_of_their_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"client-certificate": "a/client.crt", "client-key": "/b/client.key"}
    write_kubeconfig(tmp_path / "config", SERVER, cluster={"certificate-authority": "ca.crt"}, **files)
    monkeypatch.chdir(tmp_path)
    found = _read(Path("config"))
    assert found.ca_path == str(tmp_path / "ca.crt")
    assert (found.certificate_path, found.private_key_path) == (str(tmp_path / "a/client.crt"), "/b/client.key")


def test_what_is_embedded_comes_before_a_file(tmp_path: Path) -> None:
    cluster = {"certificate-authority": "ca.crt", "certificate-authority-data": "CA"}
    user = {"client-certificate": "c", "client-certificate-data": "C", "client-key": "k", "client-key-data": "K"}
    found = _read(write_kubeconfig(tmp_path / "config", SERVER, cluster=cluster, **user))
    assert (found.ca_path, found.ca_data) == (None, "CA")
    assert (found.certificate_path, found.certificate_data) == (None, "C")
    assert (found.private_key_path, found.private_key_data) == (None, "K")


def test_several_files_are_one_and_the_first_counts(tmp_path: Path) -> None:
    one = write_kubeconfig(tmp_path / "one", SERVER, token="one")
    two = write_kubeconfig(tmp_path / "two", "https://other", token="two")
    empty = tmp_path / "empty"
    empty.write_text("")
    assert _read(empty, one, two).token == "one"


def test_another_context_can_be_asked_for(tmp_path: Path) -> None:
    file = write_kubeconfig(tmp_path / "config", SERVER, token="abc")
    config = json.loads(file.read_text()) | {"current-context": "gone"}
    file.write_text(json.dumps(config))
    assert kubeconfig.read([file], "here").name == "here"
    with pytest.raises(kopf.LoginError, match="there is no context gone"):
        kubeconfig.read([file])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "has no current context"),
        ("{", "cannot be read"),
        ("[1]", "cannot be read"),
        ("current-context: a", "there is no context a"),
        ("{current-context: a, contexts: [{name: a}]}", "there is no cluster None"),
        ("{current-context: a, contexts: [{name: a, context: {cluster: c}}]}", "there is no cluster c"),
        ("contexts: 5\ncurrent-context: a", "cannot be read"),
    ],
)
def test_a_file_that_is_none_is_said_in_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "config"
    file.write_text(text)
    with pytest.raises(kopf.LoginError, match=sentence):
        kubeconfig.read([file])
    with pytest.raises(kopf.LoginError, match="absent cannot be read"):
        kubeconfig.read([tmp_path / "absent"])


@pytest.mark.parametrize(
    ("server", "user"), [("", {"tokenFile": "absent"}), ("", {"exec": {"command": "a"}}), ("", {"exec": "a"})]
)
def test_credentials_that_are_none_are_said_in_a_sentence(tmp_path: Path, server: str, user: dict[str, Any]) -> None:
    with pytest.raises(kopf.LoginError, match=r"incomplete|credential plugin"):
        _read(write_kubeconfig(tmp_path / "config", server, **user))


def test_a_credential_plugin_gives_what_it_prints(tmp_path: Path) -> None:
    status = {"token": "abc", "clientCertificateData": "C", "clientKeyData": "K"}
    status["expirationTimestamp"] = "2026-01-01T12:00:00Z"
    plugin = {"command": sys.executable, "args": ["-c", f"print({json.dumps({'status': status})!r})"]}
    plugin["apiVersion"] = "client.authentication.k8s.io/v1"
    found = _read(write_kubeconfig(tmp_path / "config", SERVER, exec=plugin))
    assert (found.token, found.certificate_data, found.private_key_data) == ("abc", "C", "K")
    assert found.expiration == datetime(2026, 1, 1, 12, tzinfo=UTC)
