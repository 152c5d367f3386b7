"""The Kubernetes API: JSON in, JSON out, and errors of `dask_kubernetes.exceptions`.

kr8s reads kubeconfigs and service accounts, runs credential plugins and renews what has expired.
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
# What Pods call the API server of their own Kubernetes, besides its address. A domain may follow the last.
_OWN_SERVER = ("kubernetes.default", "kubernetes.default.svc")
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)
REQUEST_TIMEOUT = 30.0
_SHORTEST_TIMEOUT = 5.0
_MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}
_PAUSE = 0.2
_LONGEST_PAUSE = 5.0


@dataclass(frozen=True)
class Kind:
    """A resource of the API. `plural`: its name in paths; `group_version`: as in `apiVersion`."""

    plural: str
    group_version: str = API_VERSION

    def path(self, namespace: str | None, name: str = "") -> str:
        """Of the objects in a namespace, or in all of them if it is None; or of the one of this name."""
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
    """There is an object of this name."""


@dataclass(frozen=True)
class Access:
    """How requests are made: what kr8s has found in a kubeconfig or in a Pod.

    `inside`: whether this is a Pod of the very Kubernetes that is asked.
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
        """By the kubeconfig, or else by the service account of this Pod. Raises CredentialsError."""
        # kr8s says who we are, and the requests are our own: kr8s closes the connection that all requests share when
        # one of them is refused, and with it all that goes through forwarded ports.
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
        """What every request has, in httpx' terms."""
        return {"sni_hostname": self.server_name} if self.server_name else {}

    def session(self, timeout: float) -> httpx.AsyncClient:
        # A forwarded port holds a connection for as long as it is used, and there can be any number of them.
        return httpx.AsyncClient(**self._options, timeout=timeout, limits=httpx.Limits(max_connections=None))

    def blocking_request(self, method: str, path: str, body: Json, timeout: float) -> httpx.Response:
        """Raises KubernetesUnreachableError."""
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
        """Raises it if there is no time for a further attempt."""
        if asyncio.get_running_loop().time() >= self.last:
            raise error


class Kubernetes:
    """A connection with the Kubernetes API, of the event loop in which it is used.

    `patience`: for how many seconds an API server that does not answer is asked again.
    """

    def __init__(self, access: Access, patience: float) -> None:
        self._access = access
        # Of a server that never answers nobody is to learn later than they are patient.
        self._timeout = min(REQUEST_TIMEOUT, max(patience, _SHORTEST_TIMEOUT)) if patience else REQUEST_TIMEOUT
        self._session = access.session(self._timeout)
        # Something may still go through those of credentials that have expired.
        self._former_sessions: list[httpx.AsyncClient] = []
        self._renewal = asyncio.Lock()
        self.namespace = access.namespace
        self.patience = patience

    @classmethod
    async def connect(cls, patience: float = 0.0) -> Kubernetes:
        """By the kubeconfig, or else by the service account of this Pod.

        Raises CredentialsError.
        """
        return cls(await Access.read(), patience)

    @property
    def server(self) -> str:
        """The address of the API server."""
        return self._access.server

    @property
    def inside(self) -> bool:
        """Whether this is a Pod of the very Kubernetes that is asked, so that names of Services there are its own."""
        return self._access.inside

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> Object | None:
        """An object, None if there is none."""
        response = await self._request("GET", kind.path(namespace, name))
        return None if response is None else dict(response.json())

    async def list(self, kind: Kind, namespace: str | None, labels: Mapping[str, str] | None = None) -> list[Object]:
        """Objects that have these labels."""
        selector = ",".join(f"{key}={value}" for key, value in (labels or {}).items())
        response = await self._request("GET", kind.path(namespace), params={"labelSelector": selector})
        return [] if response is None else list(response.json()["items"])

    async def create(self, kind: Kind, manifest: Json, namespace: str) -> Object:
        """The object as it was made. Raises AlreadyExistsError."""
        # An attempt that was not answered may have made it all the same. By this it is known from somebody else's.
        author = {"fieldManager": f"dask-kubernetes-{uuid.uuid4().hex}"}
        async for attempt in self._attempts():
            try:
                response = await self._once("POST", kind.path(namespace), json=manifest, params=author)
            except KubernetesUnreachableError as error:
                attempt.failed(error)
            except AlreadyExistsError:
                found = await self.get(kind, manifest["metadata"]["name"], namespace)
                if found is None or not _is_by(author["fieldManager"], found):
                    raise
                return found
            else:
                if response is None:
                    raise OperatorNotInstalledError(_NOT_INSTALLED)
                return dict(response.json())
        raise AssertionError("attempts end with a result or an error")

    async def patch(self, kind: Kind, name: str, namespace: str, patch: Json) -> Object | None:
        """The object after a JSON merge patch, None if there is none."""
        response = await self._request("PATCH", kind.path(namespace, name), json=patch, headers=_MERGE_PATCH)
        return None if response is None else dict(response.json())

    async def delete(self, kind: Kind, name: str, namespace: str, uid: str | None = None) -> bool:
        """Whether there was such an object, of this `uid` if one is given."""
        try:
            response = await self._request("DELETE", kind.path(namespace, name), json=_delete_options(uid))
        except AlreadyExistsError:  # a conflict: the object of this name is another one
            return False
        return response is not None

    async def log(
        self, pod: str, container: str, namespace: str, lines: int | None = None, *, previous: bool = False
    ) -> str:
        """A container's log, its last `lines` lines. Empty if it has none (yet)."""
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
        """A connection with a port of a Pod: its messages begin with the number of a channel, 0 data, 1 errors.

        Raises DaskKubernetesError if it cannot be made, or ends.
        """
        path = f"{POD.path(namespace, pod)}/portforward?ports={port}"
        access, session, failure = self._access, self._session, None
        try:
            websocket: AsyncWebSocketSession
            async with aconnect_ws(path, session, extensions=access.extensions) as websocket:
                try:
                    yield websocket
                except (DaskKubernetesError, OSError) as error:
                    failure = error  # it would leave this block as a group of one
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
            return CredentialsError("credentials had expired, and have been renewed for the next attempt")
        if _is_away(code):
            return KubernetesUnreachableError(_unreachable(self.server, error))
        # The answer has been thrown away; without an upgrade it is given again, in words.
        try:
            await self._once("GET", path)
        except DaskKubernetesError as reason:
            return reason
        return SchedulerUnreachableError("its Pod is no longer there")

    def delete_now(self, kind: Kind, name: str, namespace: str, uid: str | None, timeout: float) -> None:
        """Deletes an object if it is there, without an event loop, as an interpreter that ends has none.

        Raises DaskKubernetesError.
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
        """An answer, None if there is no such object. For what can be sent twice."""
        async for attempt in self._attempts():
            try:
                return await self._once(method, path, **options)
            except KubernetesUnreachableError as error:
                attempt.failed(error)
        raise AssertionError("attempts end with a result or an error")

    async def _attempts(self) -> AsyncIterator[_Attempt]:
        """One after the other with pauses, until `patience` is over: then `failed` raises."""
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
        """Reads credentials anew, once for all whose requests were refused with the same."""
        async with self._renewal:
            if refused is not self._access:
                return
            self._access = await Access.read()
            self._former_sessions.append(self._session)
            self._session = self._access.session(self._timeout)


_REFUSED_CREDENTIALS = (
    "the Kubernetes API server {server} does not accept your credentials, they may have expired: log in anew"
)
_NOT_INSTALLED = (
    "this Kubernetes does not know DaskClusters: have the operator installed, "
    "`helm install dask-operator charts/dask-kubernetes-operator --namespace dask-operator --create-namespace`"
)


def _delete_options(uid: str | None) -> Object:
    # In the background, as an owner that waits for what it owns is not gone for as long as a worker takes to end.
    options: Object = {"propagationPolicy": "Background"}
    return options | {"preconditions": {"uid": uid}} if uid else options


def _is_by(author: str, made: Json) -> bool:
    return any(writer.get("manager") == author for writer in made["metadata"].get("managedFields") or [])


def _cause(error: Exception) -> Exception:
    """What is in a group of errors."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def _namespace(api: Api) -> str:
    """That of the context of the kubeconfig, or of this Pod."""
    namespace = SERVICE_ACCOUNT / "namespace"
    if not api.auth.active_context and namespace.exists():
        return namespace.read_text().strip()
    return str(api.auth.namespace)


def _is_inside(api: Api, context: SSLContext | bool) -> bool:
    """Whether this is a Pod of the Kubernetes that is asked. No where it cannot be told."""
    auth = api.auth
    if auth.proxy or not auth.server_ca_file or not _is_verified(context) or not _is_own_address(auth.server):
        return False
    # By the address alone it could be another one: many have their API server at 10.96.0.1, and a proxy of the
    # environment or a tunnel may lead there. So it could by the authority alone, which several may have in common.
    try:
        trusted = _certificates(Path(auth.server_ca_file))
        return bool(trusted) and trusted <= _certificates(SERVICE_ACCOUNT / "ca.crt")
    except OSError:
        return False


def _is_verified(context: SSLContext | bool) -> bool:
    return isinstance(context, SSLContext) and context.verify_mode == CERT_REQUIRED


def _is_own_address(server: str) -> bool:
    """Whether the API server is asked where Pods find that of their own Kubernetes."""
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT")
    url = urlsplit(server)
    if not host or not url.hostname or url.scheme != "https" or str(url.port or 443) != port:
        return False
    known = (host.lower(), *_OWN_SERVER)
    return url.hostname in known or url.hostname.startswith(f"{_OWN_SERVER[-1]}.")


def _certificates(file: Path) -> frozenset[bytes]:
    """The certificates of a file, whatever stands between them and however their lines are broken."""
    return frozenset(b"".join(found.split()) for found in _CERTIFICATE.findall(file.read_bytes()))


def _remove_copies(api: Api) -> None:
    """The files to which kr8s has written the keys and certificates that a kubeconfig embeds."""
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
        f"there is no way to Kubernetes: this is no Pod with a service account, and the kubeconfig {_kubeconfig()} "
        f"cannot be used ({error}); `kubectl config get-contexts` shows what there is, "
        "and the variable KUBECONFIG names another file"
    )


def _unreachable(server: str, error: Exception) -> str:
    why = str(error) or type(error).__name__
    return f"the Kubernetes API server {server} does not answer ({why}): look at your network and your kubeconfig"


def _status(response: httpx.Response) -> Json:
    """The API server's own words; empty if the answer is not its."""
    try:
        status = response.json()
    except ValueError:
        return {}
    return status if isinstance(status, dict) and status.get("kind") == "Status" else {}


def _is_missing_object(response: httpx.Response) -> bool:
    """Whether an object is missing, rather than the whole resource or the namespace to make one in."""
    details = _status(response).get("details") or {}
    return bool(details.get("name")) and details.get("kind") != "namespaces"


def _is_away(code: int) -> bool:
    return code == httpx.codes.TOO_MANY_REQUESTS or code >= httpx.codes.INTERNAL_SERVER_ERROR


def _error(response: httpx.Response, server: str) -> DaskKubernetesError | AlreadyExistsError:
    status, code = _status(response), response.status_code
    message = str(status.get("message") or response.text.strip() or response.reason_phrase)
    if _is_away(code):
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
        return NamespaceNotFoundError(f"{message}: make it with `kubectl create namespace`, or name another")
    return OperatorNotInstalledError(_NOT_INSTALLED)


def _refused(message: str) -> SpecRefusedError:
    return SpecRefusedError(f"Kubernetes refuses this: {message}")


def _forbidden(message: str) -> DaskKubernetesError:
    """Permissions, quotas and admission all answer "Forbidden"; the first alone says who cannot do what."""
    if " cannot " not in message:
        if "because it is being terminated" in message:
            return NamespaceNotFoundError(f"{message}: wait until it is gone and make it anew, or name another")
        return _refused(message)
    return NotPermittedError(f"{message}: ask who runs this Kubernetes for the permission (a Role and its RoleBinding)")
