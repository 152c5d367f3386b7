"""The credentials of a Pod: the token of its ServiceAccount, which the kubelet replaces before it ends."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import kopf

from dask_operator.kubernetes.login.credentials import Credentials

FOLDER = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_HOST, _PORT = "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"
_SERVER_BY_NAME = "https://kubernetes.default.svc"
_PRIORITY = 20
"""The priority of kopf's own login in a Pod."""


def read(environment: Mapping[str, str], folder: Path = FOLDER) -> Credentials | None:
    """Return the credentials, or None outside of a Pod. Raises kopf.LoginError."""
    token, authority, namespace = folder / "token", folder / "ca.crt", folder / "namespace"
    if not token.exists():
        return None
    try:
        return Credentials(
            server=_server(environment),
            ca_path=authority if authority.exists() else None,
            token=token.read_text().strip() or None,
            default_namespace=namespace.read_text().strip() or None if namespace.exists() else None,
            priority=_PRIORITY,
        )
    except (OSError, ValueError) as error:
        raise kopf.LoginError(f"the ServiceAccount's files cannot be read: {error}") from error


def _server(environment: Mapping[str, str]) -> str:
    """Return the API server's URL by its address, as kubectl has it in a Pod, so that no name has to be resolved."""
    host, port = environment.get(_HOST), environment.get(_PORT)
    if not host or not port:
        return _SERVER_BY_NAME
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
