"""TLS contexts of credentials, tried by handshakes."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

import pytest
from aiohttp import web
from kopf import ConnectionInfo
from tests.support.server import serving, verify_strictly

from dask_operator.kubernetes.api import Api
from dask_operator.kubernetes.login.credentials import Credentials, content, ssl_context
from dask_operator.resources import POD

_AUTHORITY = """
[req]
distinguished_name = name
x509_extensions = extensions
prompt = no
[name]
CN = an-old-authority
[extensions]
basicConstraints = critical, CA:TRUE
subjectKeyIdentifier = hash
"""
_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of an authority as old tools made them, without key usage, and of a server's certificate that it signed."""
    folder = tmp_path_factory.mktemp("authority")
    (folder / "ca.cnf").write_text(_AUTHORITY)
    (folder / "server.cnf").write_text("subjectAltName = DNS:apiserver.example\nextendedKeyUsage = serverAuth\n")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    openssl("req", "-x509", *_NEW_KEY, "-days", "2", "-config", "ca.cnf", "-keyout", "ca.key", "-out", "ca.crt")
    openssl("req", *_NEW_KEY, "-subj", "/CN=apiserver", "-keyout", "server.key", "-out", "server.csr")
    signed_by = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "server.cnf")
    openssl("x509", "-req", "-in", "server.csr", *signed_by, "-out", "server.crt")
    return folder


async def _answer(_: web.Request) -> web.Response:
    return web.json_response({"spoken": True})


async def test_an_authority_without_key_usage_is_trusted(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = ssl.create_default_context(purpose=ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(old / "server.crt", old / "server.key")
    verify_strictly(monkeypatch)
    async with serving(_answer, server) as url:
        info = Credentials(server=url, server_name="apiserver.example", ca_path=str(old / "ca.crt"))
        assert ssl_context(info).verify_mode == ssl.CERT_REQUIRED
        assert ssl_context(info).check_hostname
        assert not info.as_ssl_context().verify_flags & ssl.VERIFY_X509_STRICT, "for kopf, too"
        async with Api(lambda: info) as api:
            assert (await api.get(POD, "default", "x")).body == {"spoken": True}


def test_a_certificate_in_a_file_may_have_its_key_in_the_kubeconfig(certificates: Path) -> None:
    certificate, key = certificates / "client.crt", (certificates / "client.key").read_text()
    assert ssl_context(ConnectionInfo(server="", certificate_path=str(certificate), private_key_data=key))
    assert ssl_context(ConnectionInfo(server="", certificate_data=certificate.read_bytes(), private_key_data=key))
    other = (certificates / "server.key").read_text()
    with pytest.raises(ssl.SSLError):
        ssl_context(ConnectionInfo(server="", certificate_path=str(certificate), private_key_data=other))


def test_the_content_of_a_context_is_that_of_its_files(tmp_path: Path) -> None:
    file = tmp_path / "ca.crt"
    file.write_text("one")
    info = ConnectionInfo(server="a", ca_path=file, token="x")
    before = content(info)
    assert content(ConnectionInfo(server="b", ca_path=file, token="y")) == before
    file.write_text("two")
    assert content(info) != before
