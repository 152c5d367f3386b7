"""Credentials for the Kubernetes API, from a kubeconfig or a service account.

Renewed credentials are always those of the same kubeconfig and context: a program may use several clusters, and
somebody may switch contexts meanwhile.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import importlib.util
import json
import os
import ssl as tls
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from dask_kubernetes.exceptions import CredentialsError
from dask_kubernetes.operator.access.errors import unreachable
from dask_kubernetes.operator.access.kubeconfig import certificates, files, plugin
from dask_kubernetes.operator.access.kubeconfig.files import Context
from dask_kubernetes.operator.access.proxies import proxy_for

Json = Mapping[str, Any]

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
# Names by which Pods reach the API server of their own Kubernetes cluster. A domain may follow the last.
_OWN_SERVER = ("kubernetes.default", "kubernetes.default.svc")
# Credentials are renewed this many seconds before they end.
_EARLY = 60.0


@dataclass(frozen=True)
class Credentials:
    """The address of an API server and the credentials for it, from a kubeconfig or in a Pod.

    `inside` says whether this process runs in a Pod of the API server's own Kubernetes cluster. `token_file` is where a
    token is renewed, and `renew_at` when to ask for others. `context` is None in a Pod without a kubeconfig.
    """

    server: str
    token: str | None
    impersonation: tuple[tuple[str, str], ...]
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
        found = _found(kubeconfig, context)
        if found.user.get("exec"):
            # A plugin may wait for its user.
            return await asyncio.to_thread(cls._of, kubeconfig, found)
        return cls._of(kubeconfig, found)

    async def renewed(self) -> Credentials:
        """Read the same credentials again. Raises CredentialsError."""
        return self.renewed_now() if self.context is None else await Credentials.read(self.kubeconfig, self.context)

    def renewed_now(self) -> Credentials:
        """Read the same credentials again, without an event loop or a thread. Raises CredentialsError."""
        found = _of_pod() if self.context is None else _found(self.kubeconfig, self.context)
        return Credentials._of(self.kubeconfig, found)

    @classmethod
    def _of(cls, kubeconfig: str, found: Context) -> Credentials:
        try:
            return cls._authenticated(kubeconfig, found)
        except Exception as error:  # kubeconfigs and credential plugins fail in any way
            raise _no_credentials(kubeconfig, error) from error

    @classmethod
    def _authenticated(cls, kubeconfig: str, found: Context) -> Credentials:
        cluster, user, ends = found.cluster, found.user, None
        if user.get("exec"):
            given, ends = plugin.run(user["exec"], cluster)
            user = {**user, **{field: value for field, value in given.items() if value}}
        verification = certificates.verification(cluster, user)
        token_file = Path(user["tokenFile"]) if user.get("tokenFile") else None
        token = token_file.read_text() if token_file else _token(user)
        proxy = cluster.get("proxy-url") or proxy_for(cluster["server"])
        if proxy and proxy.startswith("socks") and not importlib.util.find_spec("socksio"):
            raise ValueError(f"the proxy {proxy} needs another package: pip install 'httpx[socks]'")
        return cls(
            server=cluster["server"],
            token=token.strip() if token else None,
            impersonation=tuple(_impersonation(user)),
            ssl=verification,
            proxy=proxy,
            server_name=cluster.get("tls-server-name"),
            namespace=found.namespace,
            inside=not proxy and _is_inside(cluster, verification),
            kubeconfig=kubeconfig,
            context=found.name or None,
            token_file=token_file,
            renew_at=_renewal(ends or _end_of(token), time.time()),
        )

    def is_outdated(self, now: float) -> bool:
        """Return whether others are to be had: the token's file has another one, or they end within a minute."""
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
        bearer = [("Authorization", f"Bearer {self.token}")] if self.token else []
        headers = [*bearer, *self.impersonation]
        options = {"base_url": self.server, "headers": headers, "verify": self.ssl, "proxy": self.proxy}
        # httpx would choose a proxy by its own rules.
        return {**options, "trust_env": False}


def _found(kubeconfig: str, context: str | None) -> Context:
    try:
        return files.read(kubeconfig, context) or _of_pod()
    except Exception as error:  # a kubeconfig may have any content
        raise _no_credentials(kubeconfig, error) from error


def _of_pod() -> Context:
    """Return this Pod's service account as a context without a name."""
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT")
    token, namespace = SERVICE_ACCOUNT / "token", SERVICE_ACCOUNT / "namespace"
    if not host or not port or not token.exists():
        raise ValueError("it does not exist, or is empty")
    cluster = {"server": f"https://{in_url(host)}:{port}", "certificate-authority": str(SERVICE_ACCOUNT / "ca.crt")}
    own = namespace.read_text().strip() if namespace.exists() else "default"
    return Context("", own, cluster, {"tokenFile": str(token)})


def in_url(host: str) -> str:
    """Return a host as URLs and Dask's addresses have it: IPv6 addresses are in brackets."""
    return f"[{host}]" if ":" in host else host


def _token(user: Json) -> str | None:
    if user.get("username") or user.get("password"):
        raise ValueError("Kubernetes no longer accepts passwords")
    provider = user.get("auth-provider")
    if provider and provider["name"] != "oidc":
        raise ValueError(f"kubectl no longer has the auth-provider {provider['name']}: use a credential plugin")
    token = user.get("token") or (provider["config"]["id-token"] if provider else None)
    return None if token is None else str(token)


def _impersonation(user: Json) -> Iterator[tuple[str, str]]:
    """Yield the headers by which a user acts as another one."""
    for field, header in (("as", "Impersonate-User"), ("as-uid", "Impersonate-Uid")):
        if user.get(field):
            yield header, str(user[field])
    for group in user.get("as-groups") or ():
        yield "Impersonate-Group", str(group)
    for key, values in (user.get("as-user-extra") or {}).items():
        for value in values:
            yield f"Impersonate-Extra-{quote(key, safe='')}", str(value)


def _renewal(ends: float | None, now: float) -> float | None:
    """Return when to renew credentials that end at a time. None if it is too late already."""
    renew_at = None if ends is None else ends - _EARLY
    return renew_at if renew_at is not None and renew_at > now else None


def _end_of(token: str | None) -> float | None:
    """Return when a token ends, if it says so, as JSON Web Tokens do."""
    try:
        payload = (token or "").split(".")[1]
        return float(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["exp"])
    except (IndexError, KeyError, TypeError, ValueError, binascii.Error):
        return None


def _is_inside(cluster: Json, context: tls.SSLContext) -> bool:
    """Return whether this process runs in a Pod of the API server's Kubernetes cluster; False in case of doubt."""
    authority = certificates.authority(cluster)
    if not authority or context.verify_mode != tls.CERT_REQUIRED or not _is_own_address(cluster["server"]):
        return False
    # The address alone is no proof: many Kubernetes clusters have their API server at 10.96.0.1, and a proxy or tunnel
    # may lead to another one. Nor is the certificate authority alone: several clusters may share it.
    try:
        own = certificates.known_authorities((SERVICE_ACCOUNT / "ca.crt").read_bytes())
        return bool(trusted := certificates.known_authorities(authority)) and trusted <= own
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


def _kubeconfig() -> str:
    return os.environ.get("KUBECONFIG") or "~/.kube/config"


def _no_credentials(kubeconfig: str, error: Exception) -> CredentialsError:
    return CredentialsError(
        f"no credentials for Kubernetes: this is not a Pod with a service account, and the kubeconfig {kubeconfig} "
        f"cannot be used ({error}). `kubectl config get-contexts` lists its contexts; "
        "the variable KUBECONFIG names another file"
    )
