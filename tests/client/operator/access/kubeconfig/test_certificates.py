"""Certificates of a kubeconfig are used wherever they stand, and leave no copy."""

from __future__ import annotations

import ssl
import tempfile
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from tests.support.dask import make_certificates

from dask_kubernetes.operator.access.kubeconfig import certificates


def entry(folder: Path, how: str, **files: str) -> dict[str, Any]:
    """Return fields of a kubeconfig with these files: by their path, or embedded."""
    contents = {field: folder / file for field, file in files.items()}
    if how == "files":
        return {field.replace("_", "-"): str(file) for field, file in contents.items()}
    data = {f"{field.replace('_', '-')}-data": file.read_bytes() for field, file in contents.items()}
    return {
        field: content.decode() if how == "text" else b64encode(content).decode() for field, content in data.items()
    }


@pytest.mark.parametrize("how", ["files", "base64", "text"])
def test_certificates_stand_in_files_or_in_the_kubeconfig(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    make_certificates(tmp_path)
    (tmp_path / "ca.pem").write_bytes("# Prüfstelle\n".encode() + (tmp_path / "ca.pem").read_bytes())
    copies = tmp_path / "copies"
    copies.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(copies))
    cluster = entry(tmp_path, how, certificate_authority="ca.pem")
    user = entry(tmp_path, how, client_certificate="cert.pem", client_key="key.pem")
    found = certificates.verification(cluster, user)
    assert (len(found.get_ca_certs()), found.verify_mode, found.check_hostname) == (1, ssl.CERT_REQUIRED, True)
    assert certificates.authority(cluster) == (tmp_path / "ca.pem").read_bytes()
    assert list(copies.iterdir()) == []


def test_files_are_read_where_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use a Pod's own authority, and a user's files, without a folder for temporary files."""
    make_certificates(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    cluster = entry(tmp_path, "files", certificate_authority="ca.pem")
    user = entry(tmp_path, "files", client_certificate="cert.pem", client_key="key.pem")
    assert len(certificates.verification(cluster, user).get_ca_certs()) == 1
    embedded = entry(tmp_path, "base64", certificate_authority="ca.pem")
    assert len(certificates.verification(embedded, {}).get_ca_certs()) == 1


def test_a_key_that_does_not_fit_is_an_error(tmp_path: Path) -> None:
    make_certificates(tmp_path)
    with pytest.raises(ssl.SSLError):
        certificates.verification({}, entry(tmp_path, "files", client_certificate="cert.pem", client_key="ca-key.pem"))


def test_nobody_is_verified_if_the_user_says_so() -> None:
    found = certificates.verification({"insecure-skip-tls-verify": True, "certificate-authority": "/absent"}, {})
    assert (found.verify_mode, found.check_hostname) == (ssl.CERT_NONE, False)


def test_authorities_are_compared_without_line_breaks_and_comments(tmp_path: Path) -> None:
    make_certificates(tmp_path)
    content = (tmp_path / "ca.pem").read_bytes()
    known = certificates.known_authorities(content)
    assert len(known) == 1
    assert certificates.known_authorities(b"# x\n" + content.replace(b"\n", b"\r\n")) == known
    assert certificates.known_authorities(b"") == frozenset()
