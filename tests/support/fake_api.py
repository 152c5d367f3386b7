"""An in-memory API server over HTTP on loopback: list, watch, create, get, replace, merge patch, delete, and faults.

`api_contract` checks both it and the real one.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from aiohttp import web
from kopf import ConnectionInfo
from tests.support.builders import NOON
from tests.support.fake_ports import joined
from tests.support.object_store import ObjectStore, Raw, is_outdated, patched, pod_of
from tests.support.server import serving

from dask_operator import names
from dask_operator.kubernetes.api import Api
from dask_operator.parse import rfc3339
from dask_operator.resources import LEASE, NAMESPACE, NODE, POD, QUEUES, RESOURCES, Resource

_ALL = (*RESOURCES.values(), LEASE, NAMESPACE, NODE, *QUEUES)
_BY_PLURAL = {resource.plural: resource for resource in _ALL}
_BY_KIND = {resource.kind: resource for resource in _ALL}
_WITH_STATUS = ("pods", "services", "deployments", "daskclusters", "daskworkergroups")
_DISCOVERY: dict[str, Raw] = {"/api": {"versions": []}, "/apis": {"groups": []}}
"""The answers that kopf requests at its start."""
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_SERVICE_FIELDS = {"clusterIP", "clusterIPs", "ports", "selector", "type"}


class Seen(NamedTuple):
    """A request to the server."""

    method: str
    plural: str
    name: str
    subresource: str
    query: Mapping[str, str]
    body: Any
    headers: Mapping[str, str]
    namespace: str
    """Empty for all namespaces, and for objects without one."""
    group: str = ""

    @property
    def verb(self) -> str:
        """The verb, as in a Role."""
        return _VERBS.get(self.method) or ("get" if self.name else "list")

    @property
    def resource(self) -> str:
        """The resource, as in a Role."""
        return f"{self.plural}/{self.subresource}" if self.subresource else self.plural


CUT = 0


@dataclass
class Fault:
    """An answer in place of the real one, for the next `times` requests that fit. `after`: the write is still done."""

    method: str
    plural: str
    status: int
    """An HTTP status, or CUT to cut the connection without an answer."""
    reason: str = ""
    message: str = "a fault on demand"
    times: int = 1
    after: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    text: str | None = None
    """The whole answer, if it is not a Status."""
    matches: Callable[[Seen], bool] = lambda _: True


class _Event(NamedTuple):
    version: int
    plural: str
    type: str
    raw: Raw


@dataclass(eq=False)
class _Stream:
    plural: str
    wants: Callable[[Raw], bool]
    lines: asyncio.Queue[bytes | None]
    """Lines to send; None ends the stream."""
    request: web.Request
    silent: bool = False


class FakeApi:
    """Use `async with serve() as fake`. `requests`: all so far; `status_subresource`: False for an older CRD."""

    def __init__(self) -> None:
        self.url = ""
        self.token = "valid"
        self.requests: list[Seen] = []
        self.faults: list[Fault] = []
        self.status_subresource = True
        self.clock: Callable[[], float] = lambda: NOON
        """The clock for creation times."""
        self.warn: Callable[[Raw], list[str]] = lambda _: []
        self.made: Callable[[Raw], None] = self._deploy
        """A stand-in for the controllers that react to a new object."""
        self.logins = 0
        self.absent_groups: set[str] = set()
        """Groups whose custom resource definitions are not installed."""
        self.absent_namespaces: set[str] = set()
        self.refuses: Callable[[Seen], bool] = lambda _: False
        """Whether a request goes beyond a Role."""
        self.logs: dict[str, str] = {}
        """Text by name of a Pod; of the previous run by the name and a "/"."""
        self.ports: dict[tuple[str, int], int] = {}
        """The port on this machine for each port of a Pod."""
        self.open_ports: list[web.Request] = []
        self._kept = ObjectStore(self._told, version=100)
        self._events: list[_Event] = []
        self._oldest = 100
        self._streams: set[_Stream] = set()
        self._pages: dict[str, tuple[str, list[Raw]]] = {}

    # For tests

    def login(self) -> ConnectionInfo:
        self.logins += 1
        return ConnectionInfo(server=self.url, token=self.token)

    def objects(self, resource: Resource) -> list[Raw]:
        return self._kept.every(resource.kind)

    def find(self, resource: Resource, name: str, namespace: str = "default") -> Raw | None:
        return self._kept.find(resource.kind, name, namespace)

    def asked(self, method: str, plural: str = "") -> list[Seen]:
        """Return the requests by this method about these objects, without watches."""
        found = [seen for seen in self.requests if seen.method == method and seen.query.get("watch") != "true"]
        return [seen for seen in found if plural in ("", seen.plural)]

    @property
    def writes(self) -> list[Seen]:
        asked = [seen for seen in self.requests if seen.method != "GET" and "dryRun" not in seen.query]
        return [seen for seen in asked if seen.plural not in ("events", "leases")]

    def watching(self, resource: Resource) -> int:
        """Return the number of open watches."""
        return sum(stream.plural == resource.plural for stream in self._streams)

    def fail(self, method: str, resource: Resource, status: int, **others: Any) -> Fault:
        fault = Fault(method, resource.plural, status, **others)
        self.faults.append(fault)
        return fault

    def put(self, raw: Raw) -> Raw:
        """Create or replace an object, as another client."""
        return self._kept.put(raw, self.clock())

    def workers(self) -> list[Raw]:
        """Return the Pods of Dask workers."""
        labels = ((pod, pod["metadata"].get("labels") or {}) for pod in self.objects(POD))
        return [pod for pod, known in labels if known.get(names.COMPONENT_LABEL) == names.WORKER]

    def drop(self, resource: Resource, name: str, namespace: str = "default") -> None:
        """Delete an object, as another client."""
        assert self.find(resource, name, namespace), f"there is no {resource.kind} {name}"
        self._kept.remove(resource.kind, name, namespace)

    def lose(self, resource: Resource, name: str, namespace: str = "default") -> None:
        """Delete an object without telling any watch."""
        assert self._kept.lose(resource.kind, name, namespace), f"there is no {resource.kind} {name}"

    def compact(self) -> None:
        """Discard all versions but the current one, as etcd does every few minutes."""
        self._kept.version += 1
        self._oldest = self._kept.version

    def bookmark(self, resource: Resource) -> int:
        """Send a bookmark to the watches of a resource; return their number."""
        self._kept.version += 1
        for stream in self._of(resource):
            self._mark(stream)
        return self._kept.version

    def send(self, resource: Resource, event: Any) -> None:
        """Send an event, or raw bytes, to the watches of a resource."""
        line = event if isinstance(event, bytes) else json.dumps(event).encode() + b"\n"
        for stream in self._of(resource):
            if not stream.silent:
                stream.lines.put_nowait(line)

    def end_watches(self, resource: Resource) -> None:
        """End the watches of a resource properly, as at their timeout."""
        for stream in self._of(resource):
            stream.lines.put_nowait(None)

    def cut_watches(self, resource: Resource) -> None:
        """Cut the connections of the watches of a resource."""
        for stream in self._of(resource):
            if stream.request.transport:
                stream.request.transport.abort()

    def cut_ports(self) -> None:
        """Cut the connections to ports of Pods."""
        for request in self.open_ports:
            if request.transport:
                request.transport.abort()

    def silence_watches(self, resource: Resource) -> None:
        """Keep the watches of a resource open, but silent from now on."""
        for stream in self._of(resource):
            stream.silent = True

    # HTTP

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.path in _DISCOVERY:
            return web.json_response(_DISCOVERY[request.path])
        seen = _read(request, await request.text())
        self.requests.append(seen)
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return _refusal(401, "Unauthorized", "Unauthorized")
        if seen.group in self.absent_groups or seen.plural not in _BY_PLURAL:
            return web.Response(text="404 page not found\n", status=404)
        if self.refuses(seen) or "Impersonate-User" in request.headers:
            return _forbidden(seen, request.headers.get("Impersonate-User", "jane"))
        fault = self._fault(seen)
        if fault and not fault.after:
            return _fault_reply(fault, request)
        reply = await self._reply(request, seen)
        return _fault_reply(fault, request) if fault else reply

    async def _reply(self, request: web.Request, seen: Seen) -> web.StreamResponse:
        if seen.resource in ("pods/log", "pods/portforward"):
            return await self._of_pod(request, seen)
        match seen.method:
            case "GET" if seen.name:
                return self._get(seen)
            case "GET" if seen.query.get("watch") == "true":
                return await self._watch(request, seen)
            case "GET":
                return self._list(seen)
            case "POST":
                return self._create(seen)
            case "PUT":
                return self._replace(seen)
            case "PATCH":
                return self._patch(seen)
            case "DELETE":
                return self._delete(seen)
        return _refusal(405, "MethodNotAllowed", seen.method)

    def _known(self, seen: Seen) -> Raw | None:
        return self._kept.find(_BY_PLURAL[seen.plural].kind, seen.name, seen.namespace)

    async def _of_pod(self, request: web.Request, seen: Seen) -> web.StreamResponse:
        pod = self._known(seen)
        if not pod:
            return _not_found(seen)
        return self._log(seen, pod) if seen.subresource == "log" else await self._portforward(request, seen, pod)

    def _log(self, seen: Seen, pod: Raw) -> web.Response:
        container, previous = seen.query.get("container"), seen.query.get("previous") == "true"
        if container and container not in [each["name"] for each in pod["spec"]["containers"]]:
            return _refusal(400, "BadRequest", f"container {container} is not valid for pod {seen.name}")
        if pod["status"]["phase"] == "Pending":
            return web.Response(status=204)
        text = self.logs.get(f"{seen.name}/" if previous else seen.name)
        if previous and text is None:
            message = f'previous terminated container "{container}" in pod "{seen.name}" not found'
            return _refusal(400, "BadRequest", message)
        lines = (text or "").splitlines(keepends=True)
        return web.Response(text="".join(lines[-int(seen.query.get("tailLines", len(lines))) or len(lines) :]))

    async def _portforward(self, request: web.Request, seen: Seen, pod: Raw) -> web.StreamResponse:
        if pod["status"]["phase"] == "Pending":
            return _refusal(400, "BadRequest", f"pod {seen.name} does not have a host assigned")
        if request.headers.get("Upgrade", "").lower() != "websocket":
            return _refusal(400, "BadRequest", "Upgrade request required")
        port = int(seen.query["ports"])
        self.open_ports.append(request)
        try:
            return await joined(request, port, self.ports.get((seen.name, port)))
        finally:
            self.open_ports.remove(request)

    def _get(self, seen: Seen) -> web.Response:
        found = self._known(seen)
        return web.json_response(found) if found else _not_found(seen)

    def _list(self, seen: Seen) -> web.Response:
        kind = _BY_PLURAL[seen.plural].kind
        if token := seen.query.get("continue"):
            if token not in self._pages:
                return _refusal(410, "Expired", "the provided continue parameter is too old")
            version, found = self._pages[token]
        else:
            wants = _wanted(seen)
            version = str(self._kept.version)
            found = [raw for raw in sorted(self._kept.every(kind), key=_place) if wants(raw)]
        limit = int(seen.query.get("limit", 0)) or len(found)
        metadata = {"resourceVersion": version}
        if found[limit:]:
            token = base64.b64encode(f"{version}/{len(found)}".encode()).decode()
            self._pages[token] = version, found[limit:]
            metadata["continue"] = token
        # As in the real server, the items of a list of built-in kinds do not name their kind.
        return web.json_response({"kind": f"{kind}List", "metadata": metadata, "items": found[:limit]})

    async def _watch(self, request: web.Request, seen: Seen) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        since = int(seen.query.get("resourceVersion") or self._kept.version)
        if since < self._oldest:
            message = f"too old resource version: {since} ({self._oldest})"
            gone = {"kind": "Status", "metadata": {}, "code": 410, "reason": "Expired", "message": message}
            await response.write(json.dumps({"type": "ERROR", "object": gone}).encode() + b"\n")
            return response
        stream = _Stream(seen.plural, _wanted(seen), asyncio.Queue(), request)
        for event in self._events:
            if event.version > since:
                _offer(stream, event)
        self._streams.add(stream)
        loop, seconds = asyncio.get_running_loop(), float(seen.query["timeoutSeconds"])
        timers = [loop.call_later(seconds, stream.lines.put_nowait, None)]
        if seen.query.get("allowWatchBookmarks") == "true":
            # As in the real server: every minute, and shortly before the end.
            marks = [*range(60, int(seconds), 60), max(seconds - 2.0, 0.0)]
            timers += [loop.call_later(at, self._mark, stream) for at in marks]
        try:
            while (line := await stream.lines.get()) is not None:
                await response.write(line)
        finally:
            for timer in timers:
                timer.cancel()
            self._streams.discard(stream)
        return response

    def _create(self, seen: Seen) -> web.Response:
        raw: Raw = seen.body
        namespace, name = seen.namespace, raw["metadata"]["name"]
        if namespace in self.absent_namespaces:
            return _not_found(seen._replace(plural="namespaces", name=namespace, group=""))
        if raw["kind"] == "DaskCluster" and not raw.get("spec"):
            message = f'DaskCluster.{seen.group} "{name}" is invalid: spec.scheduler: Required value'
            return _refusal(422, "Invalid", message)
        if self._known(seen._replace(name=name)):
            message = f'{_qualified(seen)} "{name}" already exists'
            return _refusal(409, "AlreadyExists", message)
        warnings = self.warn(raw)
        if seen.query.get("fieldValidation") == "Warn":
            warnings = [*warnings, *_unknown_fields(raw)]
        raw.pop("status", None)
        if seen.query.get("dryRun") == "All":
            return web.json_response(raw, status=201)
        writer = {"manager": seen.query.get("fieldManager", "unknown"), "operation": "Update"}
        made = self.put({**raw, "metadata": {**raw["metadata"], "namespace": namespace, "managedFields": [writer]}})
        self.made(made)
        reply = web.json_response(made, status=201)
        for text in warnings:
            escaped = text.replace("\\", "\\\\").replace('"', '\\"')
            reply.headers.add("Warning", f'299 - "{escaped}"')
        return reply

    def _replace(self, seen: Seen) -> web.Response:
        known = self._known(seen)
        if seen.body["metadata"]["resourceVersion"] != (known or {"metadata": {}})["metadata"].get("resourceVersion"):
            return _refusal(409, "Conflict", "the object has been modified")
        return web.json_response(self.put(seen.body))

    def _patch(self, seen: Seen) -> web.Response:
        of_type = "application/merge-patch+json" if isinstance(seen.body, dict) else "application/json-patch+json"
        if seen.headers.get("Content-Type") != of_type:
            return _refusal(415, "UnsupportedMediaType", f"such a body is {of_type}")
        if seen.subresource and not (self.status_subresource and seen.plural in _WITH_STATUS):
            return _refusal(404, "NotFound", "the server could not find the requested resource")
        known = self._known(seen)
        if not known:
            return _not_found(seen)
        if is_outdated(seen.body, known):
            return _refusal(409, "Conflict", "the object has been modified")
        merged = patched(known, seen.body)
        if seen.subresource == "status":
            merged = {**known, "status": merged.get("status")}
        elif self.status_subresource and seen.plural in _WITH_STATUS:
            merged = {**merged, "status": known["status"]} if "status" in known else _without(merged, "status")
        kept = self._kept.update(merged, "status")
        if _is_let_go(kept):
            self.drop(_BY_PLURAL[seen.plural], seen.name, seen.namespace)
        return web.json_response(kept)

    def _delete(self, seen: Seen) -> web.Response:
        known = self._known(seen)
        if not known:
            return _not_found(seen)
        meta = known["metadata"]
        wanted = (seen.body or {}).get("preconditions") or {}
        for field_ in ("uid", "resourceVersion"):
            if wanted.get(field_) not in (None, meta[field_]):
                message = f"Precondition failed: {field_} in precondition: {wanted[field_]}, in object: {meta[field_]}"
                return _refusal(409, "Conflict", message)
        if meta.get("finalizers"):
            leaving = {"deletionTimestamp": rfc3339(self.clock()), **meta}
            return web.json_response(self._kept.update({**known, "metadata": leaving}))
        self.drop(_BY_PLURAL[seen.plural], seen.name, seen.namespace)
        details = {"name": seen.name, "uid": meta["uid"]}
        return web.json_response({"kind": "Status", "apiVersion": "v1", "status": "Success", "details": details})

    def _deploy(self, made: Raw) -> None:
        """Create a Deployment's Pod if it does not exist, as Kubernetes' own controllers do."""
        if made["kind"] != "Deployment":
            return
        name, namespace = f"{made['metadata']['name']}-abc", made["metadata"]["namespace"]
        if not self.find(POD, name, namespace):
            self.put(pod_of(made["spec"]["template"], name, namespace))

    def _told(self, what: str, raw: Raw) -> None:
        event = _Event(self._kept.version, _BY_KIND[raw["kind"]].plural, what, raw)
        self._events.append(event)
        for stream in self._streams:
            _offer(stream, event)

    def _mark(self, stream: _Stream) -> None:
        if stream.silent:
            return
        raw = {"kind": _BY_PLURAL[stream.plural].kind, "metadata": {"resourceVersion": str(self._kept.version)}}
        stream.lines.put_nowait(json.dumps({"type": "BOOKMARK", "object": raw}).encode() + b"\n")

    def _fault(self, seen: Seen) -> Fault | None:
        for fault in self.faults:
            if (fault.method, fault.plural) == (seen.method, seen.plural) and fault.times and fault.matches(seen):
                fault.times -= 1
                return fault
        return None

    def _of(self, resource: Resource) -> list[_Stream]:
        return [stream for stream in self._streams if stream.plural == resource.plural]


@asynccontextmanager
async def serve() -> AsyncIterator[FakeApi]:
    fake = FakeApi()
    async with serving(fake.answer) as fake.url:
        yield fake


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[FakeApi, Api]]:
    """Yield a fake and the controller's own connection to it."""
    async with serve() as fake, Api(fake.login) as api:
        yield fake, api


def _read(request: web.Request, text: str) -> Seen:
    parts = request.path.strip("/").split("/")
    group = parts[1] if parts[0] == "apis" else ""
    parts = parts[2:] if parts[0] == "api" else parts[3:]
    namespace = ""
    if len(parts) > 2 and parts[0] == "namespaces":
        namespace, parts = parts[1], parts[2:]
    plural, name, subresource = [*parts, "", "", ""][:3]
    body = json.loads(text) if text else None
    query = dict(request.query)
    return Seen(request.method, plural, name, subresource, query, body, request.headers, namespace, group)


def _place(raw: Raw) -> tuple[str, str]:
    return raw["metadata"].get("namespace", ""), raw["metadata"]["name"]


def _is_let_go(raw: Raw) -> bool:
    """Return whether an object that is being deleted has lost its last finalizer."""
    return raw["kind"] != "Pod" and "deletionTimestamp" in raw["metadata"] and not raw["metadata"].get("finalizers")


def _wanted(seen: Seen) -> Callable[[Raw], bool]:
    terms = [term.partition("=") for term in seen.query.get("labelSelector", "").split(",") if term]

    def wants(raw: Raw) -> bool:
        labels = raw["metadata"].get("labels") or {}
        found = all(labels.get(key) == value if equals else key in labels for key, equals, value in terms)
        return found and seen.namespace in ("", _place(raw)[0])

    return wants


def _offer(stream: _Stream, event: _Event) -> None:
    if stream.plural == event.plural and not stream.silent and stream.wants(event.raw):
        stream.lines.put_nowait(json.dumps({"type": event.type, "object": event.raw}).encode() + b"\n")


def _unknown_fields(raw: Raw) -> list[str]:
    spec = raw.get("spec") or {}
    return [f'unknown field "spec.{name}"' for name in spec if raw["kind"] == "Service" and name not in _SERVICE_FIELDS]


def _without(raw: Raw, key: str) -> Raw:
    return {name: value for name, value in raw.items() if name != key}


def _not_found(seen: Seen) -> web.Response:
    details = {"name": seen.name, "kind": seen.plural} | ({"group": seen.group} if seen.group else {})
    return _refusal(404, "NotFound", f'{_qualified(seen)} "{seen.name}" not found', details=details)


def _forbidden(seen: Seen, user: str) -> web.Response:
    which = f'{_qualified(seen)} "{seen.name}"' if seen.name else _qualified(seen)
    where = f'in the namespace "{seen.namespace}"' if seen.namespace else "at the cluster scope"
    what = f'User "{user}" cannot {seen.verb} resource "{seen.resource}" in API group "{seen.group}" {where}'
    return _refusal(403, "Forbidden", f"{which} is forbidden: {what}")


def _qualified(seen: Seen) -> str:
    return f"{seen.plural}.{seen.group}" if seen.group else seen.plural


def _fault_reply(fault: Fault, request: web.Request) -> web.Response:
    if fault.status == CUT:
        assert request.transport
        request.transport.abort()
        return web.Response()
    if fault.text is not None:
        return web.Response(text=fault.text, status=fault.status, headers=fault.headers)
    return _refusal(fault.status, fault.reason, fault.message, fault.headers)


def _refusal(
    code: int,
    reason: str,
    message: str,
    headers: Mapping[str, str] | None = None,
    details: Mapping[str, str] | None = None,
) -> web.Response:
    status: Raw = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code}
    if details:
        status["details"] = details
    return web.json_response({**status, "reason": reason, "message": message}, status=code, headers=headers)
