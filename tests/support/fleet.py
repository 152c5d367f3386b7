"""Many Dask clusters at once on a real API server, with Pods on fake nodes and schedulers in this process.

A controller runs as a process of its own. Watches mirror the objects, so that reading them costs nothing.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web
from tests.support.events import events
from tests.support.forked import Forked
from tests.support.kubeconfig import credentials
from tests.support.manifests import ON_FAKE_NODES, dask_cluster
from tests.support.outcome import Outcome, outcome
from tests.support.server import serving

from dask_operator import names
from dask_operator.kubernetes.api import Api
from dask_operator.kubernetes.errors import ApiError
from dask_operator.resources import POD, RESOURCES, SERVICE, WATCHED, Resource

Raw = dict[str, Any]
_NOBODYS_PORT = 1


class Mirror:
    """The current objects of a namespace, of the kinds that the controller watches."""

    def __init__(self, api: Api, namespace: str) -> None:
        self.objects: dict[tuple[str, str], Raw] = {}
        self.created: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        """The uids seen so far, by kind and name."""
        self._api = api
        self._namespace = namespace

    def of(self, cluster: str) -> list[Raw]:
        """Return the objects named after a cluster, or with its name as prefix."""
        return [raw for (_, name), raw in self.objects.items() if name == cluster or name.startswith(f"{cluster}-")]

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for resource in WATCHED:
                group.create_task(self._follow(resource))

    async def _follow(self, resource: Resource) -> None:
        page = await self._api.list_page(resource, self._namespace, "")
        async for event in events(self._api, resource, self._namespace, page.version):
            self._take(event["type"], event["object"])

    def _take(self, type_: str, raw: Raw) -> None:
        if type_ == "BOOKMARK":
            return
        assert type_ in ("ADDED", "MODIFIED", "DELETED"), raw
        key = raw["kind"], raw["metadata"]["name"]
        if type_ == "DELETED":
            self.objects.pop(key, None)
        else:
            self.objects[key] = raw
            self.created[key].add(raw["metadata"]["uid"])


_IDLE = {"nbytes": 0, "tasks": 0, "seconds": 0.0, "shuffles": False, "draining": False, "leaves": False}


@dataclass
class Schedulers:
    """The schedulers of all clusters, at one port. Each knows the workers that run.

    Clusters of the same name in several namespaces have equal schedulers.
    """

    port: int = 0
    mirrors: dict[str, Mirror] = field(default_factory=dict)
    """Mirrors by namespace."""
    silent: set[str] = field(default_factory=set)
    """Clusters whose schedulers do not answer."""
    targets: dict[str, int] = field(default_factory=dict)
    """Numbers of workers that schedulers ask for; 1 by default."""
    held: dict[str, int] = field(default_factory=dict)
    """Results by worker, without copies."""
    _retired: set[str] = field(default_factory=set)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        namespace, cluster = self._asked(request.url.host or "")
        known = self._known(namespace, cluster)
        if cluster in self.silent:
            return web.Response(status=503)
        answers: dict[str, Any] = {
            "/json/identity.json": {"workers": {_address(name): {"name": name} for name in known}},
            "/api/v1/adaptive_target": {"workers": self.targets.get(cluster, 1)},
            "/api/v1/check_idle": {"idle_since": None},
            "/api/v1": {},
            "/kubernetes/v1/workers": {
                "workers": {_address(name): {"name": name, "pod": name, **_IDLE} for name in known}
            },
        }
        if request.path == "/api/v1/retire_workers":
            return web.json_response(self._retire(known, (await request.json())["workers"]))
        if request.path == "/kubernetes/v1/drain":
            return web.json_response(self._drain(known, (await request.json())["workers"]))
        if request.path not in answers:
            raise web.HTTPNotFound
        return web.json_response(answers[request.path])

    def hold(self, namespace: str, cluster: str, results: int) -> None:
        """Put results on each worker that has none and is not being deleted."""
        objects = self.mirrors[namespace].objects
        uid = objects.get(("DaskCluster", cluster), {"metadata": {"uid": ""}})["metadata"]["uid"]
        for name in self._known(namespace, cluster):
            meta = objects[POD.kind, name]["metadata"]
            if not meta.get("deletionTimestamp") and uid in [owner["uid"] for owner in meta["ownerReferences"]]:
                self.held.setdefault(name, results)

    def _asked(self, address: str) -> tuple[str, str]:
        """Return namespace and name of the cluster whose scheduler's Service has this address."""
        for namespace, mirror in self.mirrors.items():
            for (kind, _), raw in mirror.objects.items():
                if kind == SERVICE.kind and raw["spec"].get("clusterIP") == address:
                    return namespace, raw["metadata"]["labels"][names.CLUSTER_LABEL]
        raise web.HTTPServiceUnavailable(text=f"no Service has the address {address}")

    def _known(self, namespace: str, cluster: str) -> list[str]:
        pods = [raw for (kind, _), raw in self.mirrors[namespace].objects.items() if kind == POD.kind]
        labels = {names.CLUSTER_LABEL: cluster, names.COMPONENT_LABEL: names.WORKER}
        workers = [pod for pod in pods if labels.items() <= pod["metadata"]["labels"].items()]
        running = [pod["metadata"]["name"] for pod in workers if pod["status"].get("phase") == "Running"]
        return [name for name in running if name not in self._retired]

    def _drain(self, known: list[str], addresses: list[str]) -> Raw:
        retired = list(self._retire(known, addresses))
        stay = [_address(name) for name in known if _address(name) in addresses and _address(name) not in retired]
        return {"retired": retired, "overdue": [], "kept": dict.fromkeys(stay, "data"), "draining": {}}

    def _retire(self, known: list[str], addresses: list[str]) -> Raw:
        leaving = [name for name in known if _address(name) in addresses]
        staying = [name for name in known if name not in leaving]
        retired = [name for name in leaving if staying or not self.held.get(name)]
        for name in retired:
            self._retired.add(name)
            if moved := self.held.pop(name, 0):
                self.held[staying[0]] = self.held.get(staying[0], 0) + moved
        return {_address(name): {"name": name} for name in retired}


def _address(worker: str) -> str:
    return f"tcp://{worker}:40000"


@dataclass
class Fleet:
    """A namespace, its objects, and its controller."""

    api: Api
    namespace: str
    mirror: Mirror
    schedulers: Schedulers
    kubeconfig: Path
    log: Path
    _controller: Forked | None = None
    _outcomes: dict[str, tuple[frozenset[tuple[str, str]], Outcome]] = field(default_factory=dict)

    def start(self) -> None:
        self._controller = Forked(self.kubeconfig, self.log, f"--namespace={self.namespace}", port=0)
        self._controller.begin()

    async def kill(self) -> None:
        """Kill the controller if it runs."""
        if self._controller:
            await asyncio.to_thread(self._controller.kill)
            self._controller = None

    def cluster(self, name: str, workers: int) -> Raw:
        """Return a DaskCluster whose scheduler is one of ours."""
        made = dask_cluster(name, workers, pods=ON_FAKE_NODES)
        ports = {"http-dashboard": self.schedulers.port, "tcp-comm": _NOBODYS_PORT}
        made["spec"]["scheduler"]["service"]["ports"] = [
            {"name": port, "port": number, "targetPort": port} for port, number in ports.items()
        ]
        return made

    def outcome(self, cluster: str) -> Outcome:
        """Return a cluster's outcome, computed anew only after a change."""
        objects = self.mirror.of(cluster)
        seen = frozenset((raw["metadata"]["uid"], raw["metadata"]["resourceVersion"]) for raw in objects)
        before, known = self._outcomes.get(cluster, (None, {}))
        if seen != before:
            known = outcome(objects)
            self._outcomes[cluster] = seen, known
        return known

    def raw(self, kind: str, name: str) -> Raw | None:
        return self.mirror.objects.get((kind, name))

    async def create(self, manifest: Raw) -> None:
        placed = {**manifest, "metadata": {**manifest["metadata"], "namespace": self.namespace}}
        await self.api.create(RESOURCES[manifest["kind"]], placed)

    async def patch(self, kind: str, name: str, body: Any) -> None:
        await self.api.patch(RESOURCES[kind], self.namespace, name, body)

    async def delete(self, kind: str, name: str) -> None:
        """Delete an object if it exists, as a person does."""
        try:
            await self.api.delete(RESOURCES[kind], self.namespace, name, {})
        except ApiError as error:
            if error.code != 404:
                raise


@asynccontextmanager
async def some_schedulers() -> AsyncIterator[Schedulers]:
    schedulers = Schedulers()
    async with serving(schedulers.answer) as url:
        schedulers.port = urlsplit(url).port or 0
        yield schedulers


@asynccontextmanager
async def a_fleet(schedulers: Schedulers, folder: Path) -> AsyncIterator[Fleet]:
    """Run a fleet with its controller until the end of the block, and then delete everything."""
    namespace = f"fleet-{uuid.uuid4().hex[:8]}"
    async with Api(credentials) as api:
        await api.request("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
        mirror = schedulers.mirrors[namespace] = Mirror(api, namespace)
        fleet = Fleet(api, namespace, mirror, schedulers, Path(os.environ["KUBECONFIG"]), folder / f"{namespace}.log")
        following = asyncio.create_task(mirror.run())
        try:
            fleet.start()
            yield fleet
            assert not following.done(), following.exception()
        finally:
            await fleet.kill()
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await api.request("DELETE", f"/api/v1/namespaces/{namespace}")
