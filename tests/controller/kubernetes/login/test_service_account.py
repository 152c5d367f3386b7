from __future__ import annotations

from pathlib import Path

import kopf
import pytest

from dask_operator.kubernetes.login import service_account


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in {"token": "abc\n", "ca.crt": "authority", "namespace": "dask\n"}.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_a_pod_has_its_files(folder: Path) -> None:
    found = service_account.read({}, folder)
    assert found
    assert (found.token, found.ca_path, found.default_namespace) == ("abc", folder / "ca.crt", "dask")
    assert found.expiration is None


def test_outside_of_a_pod_there_are_none(tmp_path: Path) -> None:
    assert service_account.read({"KUBERNETES_SERVICE_HOST": "10.96.0.1"}, tmp_path) is None


def test_a_token_alone_is_enough(folder: Path) -> None:
    (folder / "ca.crt").unlink()
    (folder / "namespace").unlink()
    found = service_account.read({}, folder)
    assert found
    assert (found.token, found.ca_path, found.default_namespace) == ("abc", None, None)


def test_files_that_cannot_be_read_are_an_error(folder: Path) -> None:
    (folder / "token").write_bytes(b"\xff")
    with pytest.raises(kopf.LoginError, match="the ServiceAccount's files cannot be read"):
        service_account.read({}, folder)


@pytest.mark.parametrize(
    ("host", "port", "server"),
    [
        ("10.96.0.1", "443", "https://10.96.0.1:443"),
        ("fd00::1", "443", "https://[fd00::1]:443"),
        ("api.example", "6443", "https://api.example:6443"),
        ("", "", "https://kubernetes.default.svc"),
        ("10.96.0.1", "", "https://kubernetes.default.svc"),
    ],
)
def test_the_api_server_is_asked_at_its_address(folder: Path, host: str, port: str, server: str) -> None:
    environment = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
    found = service_account.read(environment, folder)
    assert found
    assert found.server == server
