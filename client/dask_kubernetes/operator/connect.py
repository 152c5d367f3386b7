"""Which address leads to a scheduler: its own where it answers, else a port of this machine."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from dask_kubernetes.exceptions import DaskKubernetesError, NotPermittedError, SchedulerUnreachableError
from dask_kubernetes.operator.forward import HOST, Forward
from dask_kubernetes.operator.kubernetes import NODE, Kubernetes

Json = Mapping[str, Any]
Address = tuple[str, int]

_ANSWERS_WITHIN = 2.0
# A Service answers in a Pod's network a moment after its Pod is ready, and outside of any Pod's network never.
_INSIDE_WITHIN = 20.0
_PAUSE = 0.1


def addresses(service: Json, port_name: str, nodes: Sequence[str]) -> Iterator[Address]:
    """Where a port of a Service may answer, the most specific first.

    Parameters
    ----------
    service
        The scheduler's, as the API server gives it.
    port_name
        A port's name, or that of the Service where it has only one.
    nodes
        Addresses of nodes, for a Service of type NodePort.
    """
    metadata, spec = service["metadata"], service["spec"]
    port = _port(service, port_name)
    if spec.get("type") == "LoadBalancer":
        points = (service.get("status", {}).get("loadBalancer") or {}).get("ingress") or []
        yield from ((host, port["port"]) for point in points if (host := point.get("hostname") or point.get("ip")))
    if spec.get("type") == "NodePort" and port.get("nodePort"):
        yield from ((node, port["nodePort"]) for node in nodes)
    yield f"{metadata['name']}.{metadata['namespace']}", port["port"]


def node_addresses(nodes: Sequence[Json]) -> list[str]:
    """Of each node, those for the outside before those for the inside."""
    known = [each for node in nodes for each in node.get("status", {}).get("addresses") or []]
    kinds = ("ExternalIP", "InternalIP")
    return [each["address"] for kind in kinds for each in known if each.get("type") == kind]


class Connection:
    """Leads to the ports of one scheduler, and ends what it has made for that.

    `forward`: through the Kubernetes API server always, never, or where nothing else answers (None).
    """

    def __init__(self, kubernetes: Kubernetes, namespace: str, labels: dict[str, str], forward: bool | None) -> None:
        self._kubernetes = kubernetes
        self._namespace = namespace
        self._labels = labels
        self._forward = forward
        self._forwards: list[Forward] = []

    async def address(self, service: Json, port_name: str, local_port: int = 0) -> Address:
        """Where a port of the scheduler answers. `local_port`: of this machine, if it is forwarded; 0 for a free one.

        Raises SchedulerUnreachableError if it does nowhere, ValidationError if the local port is in use.
        """
        if not self._forward and not self._forwards and (found := await self._direct(service, port_name)):
            return found
        if self._forward is False:
            tried = ", ".join(f"{host}:{port}" for host, port in await self._candidates(service, port_name))
            raise SchedulerUnreachableError(
                f"the scheduler answers at none of {tried}: leave out port_forward_cluster_ip=False, and it is reached "
                "through the Kubernetes API server"
            )
        port = _port(service, port_name)
        target = port.get("targetPort") or port["port"]
        forward = Forward(self._kubernetes, self._namespace, self._labels, target)
        local_port = await forward.start(local_port)
        self._forwards.append(forward)
        return HOST, local_port

    @property
    def failure(self) -> DaskKubernetesError | None:
        """Why connections through the Kubernetes API server have failed, if any has."""
        return next((forward.failure for forward in self._forwards if forward.failure), None)

    async def close(self) -> None:
        for forward in self._forwards:
            await forward.close()

    async def _direct(self, service: Json, port_name: str) -> Address | None:
        candidates = await self._candidates(service, port_name)
        patience = _INSIDE_WITHIN if _inside() else 0.0
        loop = asyncio.get_running_loop()
        deadline = loop.time() + patience
        while True:
            for host, port in candidates:
                if await _answers(host, port):
                    return host, port
            if loop.time() >= deadline:
                return None
            await asyncio.sleep(_PAUSE)

    async def _candidates(self, service: Json, port_name: str) -> list[Address]:
        nodes: list[str] = []
        if service["spec"].get("type") == "NodePort":
            with suppress(NotPermittedError):
                nodes = node_addresses(await self._kubernetes.list(NODE, None))
        return list(addresses(service, port_name, nodes))


def _inside() -> bool:
    """Whether this is a Pod."""
    return "KUBERNETES_SERVICE_HOST" in os.environ


async def _answers(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(_ANSWERS_WITHIN):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


def _port(service: Json, name: str) -> Json:
    ports = service["spec"].get("ports") or []
    known = (name, service["metadata"]["name"])
    found: Json | None = next((port for port in ports if port.get("name") in known), None)
    if found is None:
        raise SchedulerUnreachableError(
            f"the Service {service['metadata']['name']} has no port named {name}: give it one in spec.scheduler.service"
        )
    return found
