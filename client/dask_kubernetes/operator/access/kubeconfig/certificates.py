"""Certificates in a kubeconfig, embedded or in files: who the API server is, and who the user is."""

from __future__ import annotations

import base64
import re
import ssl as tls
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

Json = Mapping[str, Any]

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)
# Also one of another kind, as "X509 CERTIFICATE".
_BLOCK = re.compile(rb"-----BEGIN [A-Z0-9 ]*CERTIFICATE-----.+?-----END [A-Z0-9 ]*CERTIFICATE-----", re.DOTALL)
_OF_USER = ("client-certificate", "client-key")


def verification(cluster: Json, user: Json) -> tls.SSLContext:
    """Return how to verify the API server, with the user's certificate for it.

    Without an authority in the kubeconfig, it is verified by those of this machine, as kubectl does.
    """
    context = _server_verification(cluster)
    # From Python 3.13, the default. Authorities of old Kubernetes clusters lack the extensions that it asks for.
    context.verify_flags &= ~tls.VERIFY_X509_STRICT
    _load_certificate(context, user)
    return context


def authority(cluster: Json) -> bytes | None:
    """Return the certificates, in PEM, by which the kubeconfig has the API server verified."""
    return _content(cluster, "certificate-authority")


def known_authorities(content: bytes) -> frozenset[bytes]:
    """Return the certificates in a PEM file's content, regardless of comments and line breaks."""
    return frozenset(b"".join(found.split()) for found in _CERTIFICATE.findall(content))


def _server_verification(cluster: Json) -> tls.SSLContext:
    if cluster.get("insecure-skip-tls-verify"):
        context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, tls.CERT_NONE
        return context
    content = authority(cluster)
    if content is None:
        context = httpx.create_ssl_context()
        context.load_default_certs()
        return context
    context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
    # Python takes certificates as ASCII, and their comments may be in any language.
    context.load_verify_locations(cadata=b"\n".join(_BLOCK.findall(content)).decode())
    return context


def _load_certificate(context: tls.SSLContext, user: Json) -> None:
    """Load the user's certificate, which Python reads from files alone. A Pod may have no folder to write to."""
    if all(user.get(field) and not user.get(f"{field}-data") for field in _OF_USER):
        context.load_cert_chain(*(user[field] for field in _OF_USER))
        return
    certificate, key = (_content(user, field) for field in _OF_USER)
    if certificate and key:
        with TemporaryDirectory() as folder:
            context.load_cert_chain(_written(Path(folder) / "crt", certificate), _written(Path(folder) / "key", key))


def _content(entry: Json, field: str) -> bytes | None:
    """Return the content of a file that a kubeconfig embeds or names."""
    if data := entry.get(f"{field}-data"):
        return str(data).encode() if "-----" in data else base64.b64decode(data)
    return Path(entry[field]).read_bytes() if entry.get(field) else None


def _written(file: Path, content: bytes) -> Path:
    file.touch(mode=0o600)
    file.write_bytes(content)
    return file
