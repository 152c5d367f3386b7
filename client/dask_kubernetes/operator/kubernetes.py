"""A client of the Kubernetes API with plain JSON objects and the errors of `dask_kubernetes.exceptions`.

kr8s reads kubeconfigs and service accounts, runs credential plugins and renews expired credentials.
"""

from __future__ import annotations

import asyncio
import os
import re
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from ssl import CERT_REQUIRED, SSLContext
from typing import Any
from urllib.parse import urlsplit

import httpx
from httpx_ws import AsyncWebSocketSession, HTTPXWSException, WebSocketUpgradeError, aconnect_ws
from kr8s.asyncio import Api

from dask_kubernetes.exceptions import (
    CredentialsError,
    DaskKubernetesError,
    KubernetesUnreachableError,
    NamespaceNotFoundError,
    NotPermittedError,
    OperatorNotInstalledError,
    SchedulerUnreachableError,
    SpecRefusedError,
)
from dask_kubernetes.operator.names import API_VERSION

Json = Mapping[str, Any]
Object = dict[str, Any]

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
# Names by which Pods reach the API server of their own Kubernetes cluster. A domain may follow the last.
_OWN_SERVER = ("kubernetes.default", "kubernetes.default.svc")
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)
REQUEST_TIMEOUT = 30.0
_SHORTEST_TIMEOUT = 5.0
_MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}
_PAUSE = 0.2
_LONGEST_PAUSE = 5.0


@dataclass(frozen=True)
class Kind:
    """A resource of the API: its `plural` name in paths and its `group_version`, as in `apiVersion`."""

    plural: str
    group_version: str = API_VERSION

    def path(self, namespace: str | None, name: str = "") -> str:
        """Return the URL path of one object, or without `name` of the collection in a namespace (None for all)."""
        base = f"/apis/{self.group_version}" if "/" in self.group_version else f"/api/{self.group_version}"
        place = f"/namespaces/{namespace}" if namespace else ""
        return f"{base}{place}/{self.plural}" + (f"/{name}" if name else "")


CLUSTER = Kind("daskclusters")
GROUP = Kind("daskworkergroups")
AUTOSCALER = Kind("daskautoscalers")
POD = Kind("pods", "v1")
SERVICE = Kind("services", "v1")
NODE = Kind("nodes", "v1")


class AlreadyExistsError(Exception):
    """An object of this name already exists."""


@dataclass(frozen=True)
class Access:
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
    async def read(cls) -> Access:
        """Read the kubeconfig, or else this Pod's service account. Raises CredentialsError."""
        # kr8s supplies the credentials but not the requests: when one request is refused, it closes the session that
        # all requests share, and with it all forwarded ports.
        api = Api(kubeconfig=_kubeconfig(), bypass_factory=True)
        auth = api.auth
        try:
            await auth.reauthenticate()
            context = await auth.ssl_context()
            name, namespace, inside = auth.tls_server_name, _namespace(api), _is_inside(api, context)
            return cls(auth.server, auth.token, context, auth.proxy, name, namespace, inside)
        except Exception as error:  # kubeconfigs and credential plugins fail in any way
            raise _no_credentials(error) from error
        finally:
            _remove_copies(api)

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
                raise KubernetesUnreachableError(_unreachable(self.server, error)) from error

    @property
    def _options(self) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return {"base_url": self.server, "headers": headers, "verify": self.ssl, "proxy": self.proxy}


@dataclass(frozen=True)
class _Attempt:
    last: float

    def failed(self, error: KubernetesUnreachableError) -> None:
        """Raise the error if there is no time for a further attempt."""
        if asyncio.get_running_loop().time() >= self.last:
            raise error


class Kubernetes:
    """A client of the Kubernetes API, bound to one event loop.

    A request that the API server does not answer is repeated for `patience` seconds.
    """

    def __init__(self, access: Access, patience: float) -> None:
        self._access = access
        # A server that never answers is reported within `patience`.
        self._timeout = min(REQUEST_TIMEOUT, max(patience, _SHORTEST_TIMEOUT)) if patience else REQUEST_TIMEOUT
        self._session = access.session(self._timeout)
        # Forwarded ports may still use the sessions of expired credentials.
        self._former_sessions: list[httpx.AsyncClient] = []
        self._renewal = asyncio.Lock()
        self.namespace = access.namespace
        self.patience = patience

    @classmethod
    async def connect(cls, patience: float = 0.0) -> Kubernetes:
        """Create a client from the kubeconfig, or else this Pod's service account. Raises CredentialsError."""
        return cls(await Access.read(), patience)

    @property
    def server(self) -> str:
        """The address of the API server."""
        return self._access.server

    @property
    def inside(self) -> bool:
        """Whether this process runs in a Pod of this Kubernetes cluster, where the names of its Services resolve."""
        return self._access.inside

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> Object | None:
        """Return an object, None if it does not exist."""
        response = await self._request("GET", kind.path(namespace, name))
        return None if response is None else dict(response.json())

    async def list(self, kind: Kind, namespace: str | None, labels: Mapping[str, str] | None = None) -> list[Object]:
        """Return the objects with these labels, in all namespaces if `namespace` is None."""
        selector = ",".join(f"{key}={value}" for key, value in (labels or {}).items())
        response = await self._request("GET", kind.path(namespace), params={"labelSelector": selector})
        return [] if response is None else list(response.json()["items"])

    async def create(self, kind: Kind, manifest: Json, namespace: str) -> Object:
        """Create an object and return it. Raises AlreadyExistsError."""
        # An unanswered attempt may have created the object; its field manager tells it from another author's.
        author = {"fieldManager": f"dask-kubernetes-{uuid.uuid4().hex}"}
        async for attempt in self._attempts():
            try:
                response = await self._once("POST", kind.path(namespace), json=manifest, params=author)
            except KubernetesUnreachableError as error:
                attempt.failed(error)
            except AlreadyExistsError:
                found = await self.get(kind, manifest["metadata"]["name"], namespace)
                if found is None or not _is_written_by(author["fieldManager"], found):
                    raise
                return found
            else:
                if response is None:
                    raise OperatorNotInstalledError(_NOT_INSTALLED)
                return dict(response.json())
        raise AssertionError("attempts end with a result or an error")

    async def patch(self, kind: Kind, name: str, namespace: str, patch: Json) -> Object | None:
        """Apply a JSON merge patch and return the object, None if it does not exist."""
        response = await self._request("PATCH", kind.path(namespace, name), json=patch, headers=_MERGE_PATCH)
        return None if response is None else dict(response.json())

    async def delete(self, kind: Kind, name: str, namespace: str, uid: str | None = None) -> bool:
        """Delete an object, only with this `uid` if given. Return whether it existed."""
        try:
            response = await self._request("DELETE", kind.path(namespace, name), json=_delete_options(uid))
        except AlreadyExistsError:  # a conflict: the object has another uid
            return False
        return response is not None

    async def log(
        self, pod: str, container: str, namespace: str, lines: int | None = None, *, previous: bool = False
    ) -> str:
        """Return a container's log, or its last `lines` lines; empty if it has none yet."""
        params = {"container": container, "previous": str(previous).lower()}
        if lines is not None:
            params["tailLines"] = str(lines)
        try:
            response = await self._request("GET", f"{POD.path(namespace, pod)}/log", params=params)
        except SpecRefusedError:  # a container that has not started, or has no previous run
            return ""
        return "" if response is None else response.text

    @asynccontextmanager
    async def port(self, pod: str, port: int, namespace: str) -> AsyncIterator[AsyncWebSocketSession]:
        """Open a connection to a port of a Pod. Each message begins with its channel: 0 for data, 1 for errors.

        Raises DaskKubernetesError if the connection cannot be opened, or breaks.
        """
        path = f"{POD.path(namespace, pod)}/portforward?ports={port}"
        access, session, failure = self._access, self._session, None
        try:
            websocket: AsyncWebSocketSession
            async with aconnect_ws(path, session, extensions=access.extensions) as websocket:
                try:
                    yield websocket
                except (DaskKubernetesError, OSError) as error:
                    failure = error  # raised here, it would be wrapped in an ExceptionGroup
        except WebSocketUpgradeError as error:
            raise await self._no_port(path, access, error) from error
        except (HTTPXWSException, httpx.TransportError, ExceptionGroup) as error:
            raise KubernetesUnreachableError(_unreachable(self.server, _cause(error))) from error
        if failure:
            raise failure

    async def _no_port(self, path: str, access: Access, error: WebSocketUpgradeError) -> DaskKubernetesError:
        code = error.response.status_code
        if code == httpx.codes.UNAUTHORIZED:
            await self._renew(access)
            return CredentialsError("the credentials had expired; the next attempt uses renewed ones")
        if _is_unavailable(code):
            return KubernetesUnreachableError(_unreachable(self.server, error))
        # The response body is lost. The same request without an upgrade returns it again.
        try:
            await self._once("GET", path)
        except DaskKubernetesError as reason:
            return reason
        return SchedulerUnreachableError("its Pod no longer exists")

    def delete_now(self, kind: Kind, name: str, namespace: str, uid: str | None, timeout: float) -> None:
        """Delete an object if it exists, without an event loop, as none runs at interpreter exit.

        Raises DaskKubernetesError after at most `timeout` seconds a request.
        """
        path, options = kind.path(namespace, name), _delete_options(uid)
        response = self._access.blocking_request("DELETE", path, options, timeout)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            response = asyncio.run(Access.read()).blocking_request("DELETE", path, options, timeout)
        if response.is_success or response.status_code in (httpx.codes.NOT_FOUND, httpx.codes.CONFLICT):
            return
        raise _error(response, self.server)

    async def close(self) -> None:
        for session in (self._session, *self._former_sessions):
            await session.aclose()

    async def _request(self, method: str, path: str, **options: Any) -> httpx.Response | None:
        """Return a response, None if the object does not exist. The request must be safe to send twice."""
        async for attempt in self._attempts():
            try:
                return await self._once(method, path, **options)
            except KubernetesUnreachableError as error:
                attempt.failed(error)
        raise AssertionError("attempts end with a result or an error")

    async def _attempts(self) -> AsyncIterator[_Attempt]:
        """Yield attempts with pauses in between, until `failed` raises after `patience`."""
        loop = asyncio.get_running_loop()
        deadline, pause = loop.time() + self.patience, _PAUSE
        while True:
            yield _Attempt(deadline - pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _once(self, method: str, path: str, **options: Any) -> httpx.Response | None:
        access = self._access
        response = await self._send(method, path, **options)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            await self._renew(access)
            response = await self._send(method, path, **options)
        if response.is_success:
            return response
        if response.status_code == httpx.codes.NOT_FOUND and _is_missing_object(response):
            return None
        raise _error(response, self.server)

    async def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            return await self._session.request(method, path, extensions=self._access.extensions, **options)
        except httpx.TransportError as error:
            raise KubernetesUnreachableError(_unreachable(self.server, error)) from error

    async def _renew(self, refused: Access) -> None:
        """Read new credentials, only once for all requests that were refused with the same old ones."""
        async with self._renewal:
            if refused is not self._access:
                return
            self._access = await Access.read()
            self._former_sessions.append(self._session)
            self._session = self._access.session(self._timeout)


_REFUSED_CREDENTIALS = (
    "the Kubernetes API server {server} does not accept your credentials, they may have expired: log in again"
)
_NOT_INSTALLED = (
    "this Kubernetes cluster does not know DaskClusters: install the Dask operator, "
    "`helm install dask-operator charts/dask-kubernetes-operator --namespace dask-operator --create-namespace`"
)


def _delete_options(uid: str | None) -> Object:
    # With foreground deletion, the owner would exist until its last worker has ended.
    options: Object = {"propagationPolicy": "Background"}
    return options | {"preconditions": {"uid": uid}} if uid else options


def _is_written_by(author: str, made: Json) -> bool:
    return any(writer.get("manager") == author for writer in made["metadata"].get("managedFields") or [])


def _cause(error: Exception) -> Exception:
    """Return the first error inside nested ExceptionGroups."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


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


def _remove_copies(api: Api) -> None:
    """Delete the temporary files to which kr8s writes the keys and certificates embedded in a kubeconfig.

    kr8s never deletes them, and only its private attributes tell them from the user's own files. Delete this function
    when kr8s keeps them in memory or removes them itself (true of kr8s 0.20 to 0.20.15).
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


def _unreachable(server: str, error: Exception) -> str:
    why = str(error) or type(error).__name__
    return f"the Kubernetes API server {server} does not answer ({why}): check your network and your kubeconfig"


def _status(response: httpx.Response) -> Json:
    """Return the Status object of a response, empty if the response is not the API server's."""
    try:
        status = response.json()
    except ValueError:
        return {}
    return status if isinstance(status, dict) and status.get("kind") == "Status" else {}


def _is_missing_object(response: httpx.Response) -> bool:
    """Return whether a 404 is about one object, rather than about its resource type or its namespace."""
    details = _status(response).get("details") or {}
    return bool(details.get("name")) and details.get("kind") != "namespaces"


def _is_unavailable(code: int) -> bool:
    return code == httpx.codes.TOO_MANY_REQUESTS or code >= httpx.codes.INTERNAL_SERVER_ERROR


def _error(response: httpx.Response, server: str) -> DaskKubernetesError | AlreadyExistsError:
    status, code = _status(response), response.status_code
    message = str(status.get("message") or response.text.strip() or response.reason_phrase)
    if _is_unavailable(code):
        return KubernetesUnreachableError(_unreachable(server, Exception(f"{code} {message}")))
    if code == httpx.codes.NOT_FOUND:
        return _missing(message, status.get("details") or {})
    if code == httpx.codes.UNAUTHORIZED:
        return CredentialsError(_REFUSED_CREDENTIALS.format(server=server))
    if code == httpx.codes.CONFLICT:
        return AlreadyExistsError(message)
    return _forbidden(message) if code == httpx.codes.FORBIDDEN else _refused(message)


def _missing(message: str, details: Json) -> DaskKubernetesError:
    if details.get("kind") == "namespaces":
        return NamespaceNotFoundError(f"{message}: create it with `kubectl create namespace`, or name another")
    return OperatorNotInstalledError(_NOT_INSTALLED)


def _refused(message: str) -> SpecRefusedError:
    return SpecRefusedError(f"Kubernetes rejected the request: {message}")


def _forbidden(message: str) -> DaskKubernetesError:
    """Return the error for a 403, which permissions, quotas and admission share; only the first say "cannot"."""
    if " cannot " not in message:
        if "because it is being terminated" in message:
            return NamespaceNotFoundError(f"{message}: wait until it is gone and create it again, or name another")
        return _refused(message)
    return NotPermittedError(f"{message}: ask your Kubernetes administrator for a Role and its RoleBinding")
