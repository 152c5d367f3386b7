"""The address of a scheduler: its Service's where that answers, else a forwarded local port.

Dask unpickles whatever a scheduler sends, so only addresses that are certain to be the scheduler's are tried. Outside
its Kubernetes cluster, a Service's name may also be a name in public DNS (`demo-scheduler.dev`) or in another
Kubernetes cluster, and an internal address may be any machine nearby.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from dask_kubernetes.exceptions import DaskKubernetesError, NotPermittedError, SchedulerUnreachableError
from dask_kubernetes.operator.access.credentials import in_url
from dask_kubernetes.operator.access.forward import Forward
from dask_kubernetes.operator.access.kubernetes import NODE, Kubernetes

Json = Mapping[str, Any]
Address = tuple[str, int]

_ANSWERS_WITHIN = 2.0
# A Service routes to its Pod some seconds after the Pod is ready.
_INSIDE_WITHIN = 20.0
_PAUSE = 0.1


def addresses(service: Json, port_name: str, nodes: Sequence[str], *, inside: bool) -> Iterator[Address]:
    """Yield the addresses at which a port of a Service may answer, the most specific first.

    An ExternalName Service yields none, as its author may point it anywhere.

    Parameters
    ----------
    service
        The scheduler's Service, as the API server returns it.
    port_name
        The port's name. A port may also be named after the Service.
    nodes
        Addresses of nodes, for a Service of type NodePort.
    inside
        Whether this process runs in a Pod of the Service's Kubernetes cluster.
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
        # `svc` is not a top-level domain: the name fails in a Pod that asks public name servers.
        yield f"{metadata['name']}.{metadata['namespace']}.svc", port["port"]


def node_addresses(nodes: Sequence[Json], *, internal: bool) -> list[str]:
    """Return the nodes' external addresses, followed by the internal ones if `internal`."""
    known = [each for node in nodes for each in node.get("status", {}).get("addresses") or []]
    kinds = ("ExternalIP", "InternalIP") if internal else ("ExternalIP",)
    return [each["address"] for kind in kinds for each in known if each.get("type") == kind]


class Connection:
    """Addresses for the ports of one scheduler, and the local ports forwarded to them.

    `forward` chooses when to go through the Kubernetes API server: always (True), never (False), or where nothing else
    answers (None). A user who says never vouches for the network, so nodes' internal addresses are tried as well.
    """

    def __init__(self, kubernetes: Kubernetes, namespace: str, labels: dict[str, str], forward: bool | None) -> None:
        self._kubernetes = kubernetes
        self._namespace = namespace
        self._labels = labels
        self._forward = forward
        self._forwards: list[Forward] = []

    async def address(self, service: Json, port_name: str, local_port: int = 0) -> Address:
        """Return the address at which a port of the scheduler answers.

        A forwarded port listens at `local_port` of this machine, or at any free port if 0. Raises
        SchedulerUnreachableError if no address answers, ValidationError if the local port is in use.
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
        return forward.host, local_port

    @property
    def failure(self) -> DaskKubernetesError | None:
        """The last error of the forwarded ports, if any."""
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
    where = ", ".join(f"{in_url(host)}:{port}" for host, port in tried)
    why = f"does not answer at {where}" if tried else "has no address that can be reached from here"
    return SchedulerUnreachableError(
        f"the scheduler {why}: remove port_forward_cluster_ip=False to connect through the Kubernetes API server"
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
            f"the Service {service['metadata']['name']} has no port named {name}: add it to spec.scheduler.service"
        )
    return found
