"""Stand-ins for the clusters' schedulers, whose Pods on fake nodes run nothing.

A scheduler knows the ready workers, retires any worker on request, and asks for as many workers as a user wants.
"""

from __future__ import annotations

from aiohttp import web
from bench.churn.pods import Pods

from dask_operator.names import WORKER


class Schedulers:
    """A stand-in for every scheduler. `wanted`: the number of workers each asks for, by cluster name."""

    def __init__(self, pods: Pods) -> None:
        self._pods = pods
        self.wanted: dict[str, int] = {}

    async def answer(self, request: web.Request) -> web.Response:
        cluster = self._pods.whose_scheduler(request.url.host or "")
        if not cluster:
            return web.Response(status=503)
        match request.path:
            case "/json/identity.json":
                return web.json_response({"workers": self._workers(cluster)})
            case "/api/v1/retire_workers":
                return web.json_response(self._retire(cluster, (await request.json())["workers"]))
            case "/api/v1/adaptive_target":
                return web.json_response({"workers": self.wanted.get(cluster, 0)})
            case "/api/v1":
                return web.Response(text="Dask Scheduler API V1")
        return web.Response(status=404)

    def _workers(self, cluster: str) -> dict[str, dict[str, str]]:
        workers = self._pods.of(cluster, WORKER)
        return {_address(pod.name): {"name": pod.name} for pod in workers if self._pods.known_to_scheduler(pod)}

    def _retire(self, cluster: str, addresses: list[str]) -> dict[str, dict[str, str]]:
        known = self._workers(cluster)
        retired = {address: known[address] for address in addresses if address in known}
        self._pods.retired |= {self._pods.now[worker["name"]].uid for worker in retired.values()}
        return retired


def _address(worker: str) -> str:
    return f"tcp://{worker}:8788"
