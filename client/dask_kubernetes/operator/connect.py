"""Which address leads to a scheduler: its own where it answers, else a port of this machine.

What answers is believed, as Dask unpickles what a scheduler sends. So an address is tried only where it cannot be
somebody else's: outside of the Kubernetes that is asked, the name of a Service may be one of public DNS, as
`demo-scheduler.dev`, or of another Kubernetes, and an address for the inside may be that of any machine nearby.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from dask_kubernetes.exceptions import DaskKubernetesError, NotPermittedError, SchedulerUnreachableError
from dask_kubernetes.operator.forward import HOST, Forward
from dask_kubernetes.operator.kubernetes import NODE, Kubernetes

Json = Mapping[str, Any]
Address = tuple[str, int]

_ANSWERS_WITHIN = 2.0
# A Service answers in its Kubernetes a moment after its Pod is ready.
_INSIDE_WITHIN = 20.0
_PAUSE = 0.1


def addresses(service: Json, port_name: str, nodes: Sequence[str], *, inside: bool) -> Iterator[Address]:
    """Where a port of a Service may answer, the most specific first.

    Nowhere for an ExternalName, which leads wherever its author wants.

    Parameters
    ----------
    service
        The scheduler's, as the API server gives it.
    port_name
        A port's name, or that of the Service where it has only one.
    nodes
        Addresses of nodes, for a Service of type NodePort.
    inside
        Whether this is a Pod of the Kubernetes that has the Service.
    """
    metadata, spec = service["metadata"], service["spec"]
    port = _port(service, port_name)
    if spec.get("type") == "ExternalName":
        return
    if spec.get("type") == "LoadBalancer":
        points = (service.get("status", {}).get("loadBalancer") or {}).get("ingress") or []
        yield from ((host, port["port"]) for point in points if (host := point.get("hostname") or point.get("ip")))
    if spec.get("type") == "NodePort" and port.get("nodePort"):
        yield from ((node, port["nodePort"]) for node in nodes)
    if inside:
        # With svc, which is no top-level domain, so that also a Pod that asks public name servers is led nowhere.
        yield f"{metadata['name']}.{metadata['namespace']}.svc", port["port"]


def node_addresses(nodes: Sequence[Json], *, internal: bool) -> list[str]:
    """Of each node, those for the outside, and after them those for the inside if they are asked for."""
    known = [each for node in nodes for each in node.get("status", {}).get("addresses") or []]
    kinds = ("ExternalIP", "InternalIP") if internal else ("ExternalIP",)
    return [each["address"] for kind in kinds for each in known if each.get("type") == kind]


class Connection:
    """Leads to the ports of one scheduler, and ends what it has made for that.

    `forward`: through the Kubernetes API server always, never, or where nothing else answers (None). Who says never
    vouches for the network: then nodes are tried at their addresses for the inside, too.
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
            raise _unreachable(await self._candidates(service, port_name))
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
        patience = _INSIDE_WITHIN if candidates and self._kubernetes.inside else 0.0
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
        inside = self._kubernetes.inside
        if service["spec"].get("type") == "NodePort":
            with suppress(NotPermittedError):
                found = await self._kubernetes.list(NODE, None)
                nodes = node_addresses(found, internal=inside or self._forward is False)
        return list(addresses(service, port_name, nodes, inside=inside))


def _unreachable(tried: Sequence[Address]) -> SchedulerUnreachableError:
    where = ", ".join(f"{host}:{port}" for host, port in tried)
    why = f"answers at none of {where}" if tried else "has no address that leads to it from here"
    return SchedulerUnreachableError(
        f"the scheduler {why}: leave out port_forward_cluster_ip=False, and it is reached through the Kubernetes API "
        "server"
    )


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
