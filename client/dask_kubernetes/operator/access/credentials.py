"""Credentials for the Kubernetes API, from a kubeconfig or a service account.

kr8s reads them, runs credential plugins and renews expired credentials.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from ssl import CERT_REQUIRED, SSLContext
from typing import Any
from urllib.parse import urlsplit

import httpx
from kr8s.asyncio import Api

from dask_kubernetes.exceptions import CredentialsError
from dask_kubernetes.operator.access.errors import unreachable

Json = Mapping[str, Any]

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
# Names by which Pods reach the API server of their own Kubernetes cluster. A domain may follow the last.
_OWN_SERVER = ("kubernetes.default", "kubernetes.default.svc")
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True)
class Credentials:
    """The address of an API server and the credentials for it, as kr8s found them in a kubeconfig or in a Pod.

    `inside` says whether this process runs in a Pod of the API server's own Kubernetes cluster.
    """

    server: str
    token: str | None
    ssl: SSLContext | bool
    proxy: str | None
    server_name: str | None
    namespace: str
    inside: bool

    @classmethod
    async def read(cls) -> Credentials:
        """Read the kubeconfig, or else this Pod's service account. Raises CredentialsError."""
        # kr8s supplies the credentials but not the requests: when one request is refused, it closes the session that
        # all requests share, and with it all forwarded ports.
        api = Api(kubeconfig=_kubeconfig(), bypass_factory=True)
        auth = api.auth
        try:
            await auth.reauthenticate()
            context = await auth.ssl_context()
            return cls(
                server=auth.server,
                token=auth.token,
                ssl=context,
                proxy=auth.proxy,
                server_name=auth.tls_server_name,
                namespace=_namespace(api),
                inside=_is_inside(api, context),
            )
        except Exception as error:  # kubeconfigs and credential plugins fail in any way
            raise _no_credentials(error) from error
        finally:
            _remove_temporary_files(api)

    @property
    def extensions(self) -> dict[str, str]:
        """The httpx extensions of every request."""
        return {"sni_hostname": self.server_name} if self.server_name else {}

    def session(self, timeout: float) -> httpx.AsyncClient:
        # Each connection of a forwarded port holds one of the session's for as long as it is open, without any limit.
        return httpx.AsyncClient(**self._options, timeout=timeout, limits=httpx.Limits(max_connections=None))

    def blocking_request(self, method: str, path: str, body: Json, timeout: float) -> httpx.Response:
        """Send a request without an event loop. Raises KubernetesUnreachableError."""
        with httpx.Client(**self._options, timeout=timeout) as session:
            try:
                return session.request(method, path, json=body, extensions=self.extensions)
            except httpx.TransportError as error:
                raise unreachable(self.server, error) from error

    @property
    def _options(self) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return {"base_url": self.server, "headers": headers, "verify": self.ssl, "proxy": self.proxy}


def _namespace(api: Api) -> str:
    """Return the namespace of the kubeconfig's context, or else of this Pod."""
    namespace = SERVICE_ACCOUNT / "namespace"
    if not api.auth.active_context and namespace.exists():
        return namespace.read_text().strip()
    return str(api.auth.namespace)


def _is_inside(api: Api, context: SSLContext | bool) -> bool:
    """Return whether this process runs in a Pod of the API server's Kubernetes cluster; False in case of doubt."""
    auth = api.auth
    if auth.proxy or not auth.server_ca_file or not _is_verified(context) or not _is_own_address(auth.server):
        return False
    # The address alone is no proof: many Kubernetes clusters have their API server at 10.96.0.1, and a proxy or tunnel
    # may lead to another one. Nor is the certificate authority alone: several clusters may share it.
    try:
        trusted = _certificates(Path(auth.server_ca_file))
        return bool(trusted) and trusted <= _certificates(SERVICE_ACCOUNT / "ca.crt")
    except OSError:
        return False


def _is_verified(context: SSLContext | bool) -> bool:
    return isinstance(context, SSLContext) and context.verify_mode == CERT_REQUIRED


def _is_own_address(server: str) -> bool:
    """Return whether a URL is where Pods find the API server of their own Kubernetes cluster."""
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT")
    url = urlsplit(server)
    if not host or not url.hostname or url.scheme != "https" or str(url.port or 443) != port:
        return False
    known = (host.lower(), *_OWN_SERVER)
    return url.hostname in known or url.hostname.startswith(f"{_OWN_SERVER[-1]}.")


def _certificates(file: Path) -> frozenset[bytes]:
    """Return the certificates of a PEM file, regardless of comments and line breaks."""
    return frozenset(b"".join(found.split()) for found in _CERTIFICATE.findall(file.read_bytes()))


def _remove_temporary_files(api: Api) -> None:
    """Delete the files to which kr8s writes the keys and certificates embedded in a kubeconfig.

    kr8s leaves them in the temporary folder, and only its private attributes tell them from the user's own files. This
    is the only use of private attributes. Delete this function when kr8s removes the files, which 0.20.15 does not.
    """
    auth = api.auth
    for file, embedded in (
        (auth.client_key_file, "client-key-data" in auth._user),
        (auth.client_cert_file, "client-certificate-data" in auth._user),
        (auth.server_ca_file, "certificate-authority-data" in auth._cluster),
    ):
        if file and embedded:
            Path(file).unlink(missing_ok=True)


def _kubeconfig() -> str:
    return os.environ.get("KUBECONFIG") or "~/.kube/config"


def _no_credentials(error: Exception) -> CredentialsError:
    return CredentialsError(
        f"no credentials for Kubernetes: this is not a Pod with a service account, and the kubeconfig {_kubeconfig()} "
        f"cannot be used ({error}). `kubectl config get-contexts` lists its contexts; "
        "the variable KUBECONFIG names another file"
    )
