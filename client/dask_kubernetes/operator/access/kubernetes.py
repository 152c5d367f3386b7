"""A client of the Kubernetes API with plain JSON objects and the errors of `dask_kubernetes.exceptions`."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
from httpx_ws import AsyncWebSocketSession, HTTPXWSException, WebSocketUpgradeError, aconnect_ws

from dask_kubernetes.exceptions import (
    CredentialsError,
    DaskKubernetesError,
    KubernetesUnreachableError,
    SchedulerUnreachableError,
    SpecRefusedError,
)
from dask_kubernetes.operator.access.backoff import doubling
from dask_kubernetes.operator.access.credentials import Credentials
from dask_kubernetes.operator.access.errors import (
    AlreadyExistsError,
    error_of,
    is_missing_object,
    is_unavailable,
    not_installed,
    unreachable,
)
from dask_kubernetes.operator.manifests.names import API_VERSION

Json = Mapping[str, Any]
Object = dict[str, Any]
_T = TypeVar("_T")

REQUEST_TIMEOUT = 30.0
_SHORTEST_TIMEOUT = 5.0
_MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0


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


class Kubernetes:
    """A client of the Kubernetes API, bound to one event loop.

    A request that the API server does not answer is repeated for `patience` seconds.
    """

    def __init__(self, credentials: Credentials, patience: float) -> None:
        self._credentials = credentials
        # A server that never answers is reported within `patience`.
        self._timeout = min(REQUEST_TIMEOUT, max(patience, _SHORTEST_TIMEOUT)) if patience else REQUEST_TIMEOUT
        self._session = credentials.session(self._timeout)
        # Forwarded ports may still use the sessions of expired credentials.
        self._former_sessions: list[httpx.AsyncClient] = []
        self._renewal = asyncio.Lock()
        self.namespace = credentials.namespace
        self.patience = patience

    @classmethod
    async def connect(cls, patience: float = 0.0) -> Kubernetes:
        """Create a client from the kubeconfig, or else this Pod's service account. Raises CredentialsError."""
        return cls(await Credentials.read(), patience)

    @property
    def server(self) -> str:
        """The address of the API server."""
        return self._credentials.server

    @property
    def inside(self) -> bool:
        """Whether this process runs in a Pod of this Kubernetes cluster, where the names of its Services resolve."""
        return self._credentials.inside

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
        author = f"dask-kubernetes-{uuid.uuid4().hex}"

        async def create_or_find() -> Object:
            try:
                response = await self._send(
                    "POST", kind.path(namespace), json=manifest, params={"fieldManager": author}
                )
            except AlreadyExistsError:
                found = await self.get(kind, manifest["metadata"]["name"], namespace)
                if found is None or not _is_written_by(author, found):
                    raise
                return found
            if response is None:
                raise not_installed()
            return dict(response.json())

        return await self._retry(create_or_find)

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
        await self._renew_early()
        credentials, session, failure = self._credentials, self._session, None
        try:
            websocket: AsyncWebSocketSession
            async with aconnect_ws(path, session, extensions=credentials.extensions) as websocket:
                try:
                    yield websocket
                except (DaskKubernetesError, OSError) as error:
                    failure = error  # raised here, it would be wrapped in an ExceptionGroup
        except WebSocketUpgradeError as error:
            raise await self._refused_port(path, credentials, error) from error
        except (HTTPXWSException, httpx.TransportError, ExceptionGroup) as error:
            raise unreachable(self.server, _cause(error)) from error
        if failure:
            raise failure

    def delete_now(self, kind: Kind, name: str, namespace: str, uid: str | None, timeout: float) -> None:
        """Delete an object if it exists, without an event loop, as none runs at interpreter exit.

        Raises DaskKubernetesError after at most `timeout` seconds a request.
        """
        path, options = kind.path(namespace, name), _delete_options(uid)
        response = self._credentials.blocking_request("DELETE", path, options, timeout)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            response = self._credentials.renewed_now().blocking_request("DELETE", path, options, timeout)
        if response.is_success or response.status_code in (httpx.codes.NOT_FOUND, httpx.codes.CONFLICT):
            return
        raise error_of(response, self.server)

    async def close(self) -> None:
        for session in (self._session, *self._former_sessions):
            await session.aclose()

    async def _request(self, method: str, path: str, **options: Any) -> httpx.Response | None:
        """Send a request that is safe to repeat. Return the response, None if the object does not exist."""

        async def send() -> httpx.Response | None:
            return await self._send(method, path, **options)

        return await self._retry(send)

    async def _retry(self, attempt: Callable[[], Awaitable[_T]]) -> _T:
        """Return the result of an attempt, repeated for `patience` seconds while the API server does not answer."""
        loop = asyncio.get_running_loop()
        deadline, pauses = loop.time() + self.patience, doubling(_FIRST_PAUSE, _LONGEST_PAUSE)
        while True:
            pause = next(pauses)
            try:
                return await attempt()
            except KubernetesUnreachableError:
                if loop.time() + pause >= deadline:
                    raise
            await asyncio.sleep(pause)

    async def _send(self, method: str, path: str, **options: Any) -> httpx.Response | None:
        """Send a request once, or twice if its credentials have expired."""
        await self._renew_early()
        credentials = self._credentials
        response = await self._exchange(method, path, **options)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            await self._renew(credentials)
            response = await self._exchange(method, path, **options)
        if response.is_success:
            return response
        if is_missing_object(response):
            return None
        raise error_of(response, self.server)

    async def _exchange(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            return await self._session.request(method, path, extensions=self._credentials.extensions, **options)
        except httpx.TransportError as error:
            raise unreachable(self.server, error) from error

    async def _refused_port(
        self, path: str, credentials: Credentials, error: WebSocketUpgradeError
    ) -> DaskKubernetesError:
        code = error.response.status_code
        if code == httpx.codes.UNAUTHORIZED:
            await self._renew(credentials)
            return CredentialsError("the credentials had expired; the next attempt uses renewed ones")
        if is_unavailable(code):
            return unreachable(self.server, error)
        # The response body is lost. The same request without an upgrade returns it again.
        try:
            await self._send("GET", path)
        except DaskKubernetesError as reason:
            return reason
        return SchedulerUnreachableError("its Pod no longer exists")

    async def _renew_early(self) -> None:
        """Renew credentials before the API server refuses them. If there are no others yet, these may still do."""
        credentials = self._credentials
        if credentials.is_outdated(time.time()):
            with suppress(CredentialsError):
                await self._renew(credentials)

    async def _renew(self, refused: Credentials) -> None:
        """Read new credentials, only once for all requests that were refused with the same old ones."""
        async with self._renewal:
            if refused is not self._credentials:
                return
            self._credentials = await refused.renewed()
            self._former_sessions.append(self._session)
            self._session = self._credentials.session(self._timeout)


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
