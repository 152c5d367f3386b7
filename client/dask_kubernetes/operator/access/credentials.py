"""Credentials for the Kubernetes API, from a kubeconfig or a service account.

kr8s reads them and runs credential plugins. Renewed credentials are always those of the same kubeconfig and context: a
program may use several clusters, and somebody may switch contexts meanwhile.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import ssl as tls
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from kr8s.asyncio import Api

from dask_kubernetes.exceptions import CredentialsError
from dask_kubernetes.operator.access.errors import unreachable
from dask_kubernetes.operator.access.proxies import proxy_for

Json = Mapping[str, Any]

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
# Names by which Pods reach the API server of their own Kubernetes cluster. A domain may follow the last.
_OWN_SERVER = ("kubernetes.default", "kubernetes.default.svc")
# A token is renewed this many seconds before it ends.
_EARLY = 60.0
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True)
class Credentials:
    """The address of an API server and the credentials for it, as kr8s found them in a kubeconfig or in a Pod.

    `inside` says whether this process runs in a Pod of the API server's own Kubernetes cluster. `token_file` is where a
    token is renewed, and `renew_at` when to ask for another.
    """

    server: str
    token: str | None
    ssl: tls.SSLContext
    proxy: str | None
    server_name: str | None
    namespace: str
    inside: bool
    kubeconfig: str
    context: str | None
    token_file: Path | None
    renew_at: float | None

    @classmethod
    async def read(cls, kubeconfig: str | None = None, context: str | None = None) -> Credentials:
        """Read a context of a kubeconfig, or else this Pod's service account. Raises CredentialsError.

        By default it is kubectl's kubeconfig, and its current context.
        """
        kubeconfig = kubeconfig or _kubeconfig()
        # kr8s supplies the credentials but not the requests: when one request is refused, it closes the session that
        # all requests share, and with it all forwarded ports.
        api = Api(kubeconfig=kubeconfig, context=context, bypass_factory=True)
        auth = api.auth
        try:
            await auth.reauthenticate()
            verification = _verification(await auth.ssl_context(), has_authority=bool(auth.server_ca_file))
            token_file = _token_file(api, kubeconfig)
            token = token_file.read_text() if token_file else auth.token
            proxy = auth.proxy or proxy_for(auth.server)
            return cls(
                server=auth.server,
                token=token.strip() if token else None,
                ssl=verification,
                proxy=proxy,
                server_name=auth.tls_server_name,
                namespace=_namespace(api),
                inside=not proxy and _is_inside(api, verification),
                kubeconfig=kubeconfig,
                context=auth.active_context,
                token_file=token_file,
                renew_at=_renewal(token, time.time()),
            )
        except Exception as error:  # kubeconfigs and credential plugins fail in any way
            raise _no_credentials(kubeconfig, error) from error
        finally:
            _remove_temporary_files(api)

    async def renewed(self) -> Credentials:
        """Read the same credentials again. Raises CredentialsError."""
        return await Credentials.read(self.kubeconfig, self.context)

    def is_outdated(self, now: float) -> bool:
        """Return whether another token is to be had: its file has another one, or it ends within a minute."""
        try:
            if self.token_file:
                return self.token_file.read_text().strip() != self.token
        except OSError:
            return False
        return self.renew_at is not None and now >= self.renew_at

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
        options = {"base_url": self.server, "headers": headers, "verify": self.ssl, "proxy": self.proxy}
        # httpx would choose a proxy by its own rules.
        return {**options, "trust_env": False}


def _verification(given: tls.SSLContext | bool, *, has_authority: bool) -> tls.SSLContext:
    """Return how to verify the API server: as kubectl does, also by the authorities of this machine."""
    context = given if isinstance(given, tls.SSLContext) else httpx.create_ssl_context()
    if context.verify_mode == tls.CERT_REQUIRED and not has_authority:
        context.load_default_certs()
    # From Python 3.13, the default. Authorities of old Kubernetes clusters lack the extensions that it asks for.
    context.verify_flags &= ~tls.VERIFY_X509_STRICT
    return context


def _token_file(api: Api, kubeconfig: str) -> Path | None:
    """Return the file in which the token is renewed: the service account's, or `tokenFile` of a kubeconfig's user."""
    if not api.auth.active_context:
        file = SERVICE_ACCOUNT / "token"
        return file if file.exists() else None
    named = _entries(api)[0].get("tokenFile")
    folder = Path(kubeconfig.partition(os.pathsep)[0]).expanduser().parent
    return folder / named if named else None


def _renewal(token: str | None, now: float) -> float | None:
    """Return when to renew a token that says when it ends, as JSON Web Tokens do. None if it is too late already."""
    try:
        payload = (token or "").split(".")[1]
        ends = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["exp"]
        renew_at = float(ends) - _EARLY
    except (IndexError, KeyError, TypeError, ValueError, binascii.Error):
        return None
    return renew_at if renew_at > now else None


def _namespace(api: Api) -> str:
    """Return the namespace of the kubeconfig's context, or else of this Pod."""
    namespace = SERVICE_ACCOUNT / "namespace"
    if not api.auth.active_context and namespace.exists():
        return namespace.read_text().strip()
    return str(api.auth.namespace)


def _is_inside(api: Api, context: tls.SSLContext) -> bool:
    """Return whether this process runs in a Pod of the API server's Kubernetes cluster; False in case of doubt."""
    auth = api.auth
    if not auth.server_ca_file or context.verify_mode != tls.CERT_REQUIRED or not _is_own_address(auth.server):
        return False
    # The address alone is no proof: many Kubernetes clusters have their API server at 10.96.0.1, and a proxy or tunnel
    # may lead to another one. Nor is the certificate authority alone: several clusters may share it.
    try:
        trusted = _certificates(Path(auth.server_ca_file))
        return bool(trusted) and trusted <= _certificates(SERVICE_ACCOUNT / "ca.crt")
    except OSError:
        return False


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


def _entries(api: Api) -> tuple[Json, Json]:
    """Return the user and the cluster of the kubeconfig's context, which kr8s has in private attributes only."""
    return api.auth._user, api.auth._cluster


def _remove_temporary_files(api: Api) -> None:
    """Delete the files to which kr8s writes the keys and certificates embedded in a kubeconfig.

    kr8s leaves them in the temporary folder. Delete this function when it removes them, which 0.20.15 does not.
    """
    auth, (user, cluster) = api.auth, _entries(api)
    for file, embedded in (
        (auth.client_key_file, "client-key-data" in user),
        (auth.client_cert_file, "client-certificate-data" in user),
        (auth.server_ca_file, "certificate-authority-data" in cluster),
    ):
        if file and embedded:
            Path(file).unlink(missing_ok=True)


def _kubeconfig() -> str:
    return os.environ.get("KUBECONFIG") or "~/.kube/config"


def _no_credentials(kubeconfig: str, error: Exception) -> CredentialsError:
    return CredentialsError(
        f"no credentials for Kubernetes: this is not a Pod with a service account, and the kubeconfig {kubeconfig} "
        f"cannot be used ({error}). `kubectl config get-contexts` lists its contexts; "
        "the variable KUBECONFIG names another file"
    )
