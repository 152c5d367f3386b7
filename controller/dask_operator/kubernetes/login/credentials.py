"""The credentials for an API server, and the TLS context that they make."""

from __future__ import annotations

import base64
import os
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kopf


@dataclass(frozen=True, kw_only=True)
class Credentials(kopf.ConnectionInfo):
    """Credentials as kopf has them, and the name in the server's certificate if it is not the host's.

    `expiration` is when to read them again; without one they are in files, which may change at any time.
    """

    server_name: str = ""

    def as_ssl_context(self) -> ssl.SSLContext:
        """Return the TLS context, for kopf's own connections as for the controller's."""
        return ssl_context(self)


def ssl_context(info: kopf.ConnectionInfo) -> ssl.SSLContext:
    """Return the TLS context for some credentials, with their client certificate if they have one."""
    context = ssl.create_default_context(cafile=_text_path(info.ca_path), cadata=_pem(info.ca_data))
    # From Python 3.13, the default. Authorities of old Kubernetes clusters lack the extensions that it asks for.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if info.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if info.certificate_path or info.certificate_data:
        _load_certificate(context, info)
    return context


def content(info: kopf.ConnectionInfo) -> tuple[Any, ...]:
    """Return all that a TLS context is made of: two contexts of the same content are the same."""
    files = (info.ca_path, info.certificate_path, info.private_key_path)
    data = (info.ca_data, info.certificate_data, info.private_key_data, info.insecure)
    return *(Path(os.fsdecode(file)).read_bytes() if file else b"" for file in files), *data


def _load_certificate(context: ssl.SSLContext, info: kopf.ConnectionInfo) -> None:
    if info.certificate_path and not info.private_key_data:
        context.load_cert_chain(str(_text_path(info.certificate_path)), _text_path(info.private_key_path))
        return
    # The ssl module loads certificates from files only.
    with tempfile.NamedTemporaryFile("w") as chain:
        chain.write(f"{_text(info.certificate_path, info.certificate_data)}\n")
        chain.write(_text(info.private_key_path, info.private_key_data))
        chain.flush()
        context.load_cert_chain(chain.name)


def _text(file: Any, data: str | bytes | None) -> str:
    return Path(os.fsdecode(file)).read_text() if file else _pem(data) or ""


def _text_path(value: str | bytes | os.PathLike[str] | os.PathLike[bytes] | None) -> str | None:
    return os.fsdecode(value) if value else None


def _pem(data: str | bytes | None) -> str | None:
    """Return a certificate or key as PEM text, which a kubeconfig has in base64."""
    if not data:
        return None
    raw = data.encode() if isinstance(data, str) else data
    return raw.decode() if raw.startswith(b"-----") else base64.b64decode(raw).decode()
