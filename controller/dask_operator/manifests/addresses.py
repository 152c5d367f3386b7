"""Addresses of schedulers."""

from __future__ import annotations

from collections.abc import Sequence

from dask_operator import names
from dask_operator.model import Cluster, Endpoint, Json, Listening, Pod, Service, ServicePort

_OWN_NAMESERVERS = ("Default", "None")


def scheduler_address(cluster: Cluster) -> str:
    """Return the Dask address at which workers and clients find the scheduler."""
    found = _comm(cluster.ports, cluster.listening)
    port = _pods_port(found, cluster.listening, cluster.listening.comm) if cluster.headless else _number(found, cluster)
    return f"{_scheme(cluster)}://{scheduler_host(cluster)}:{port}"


def scheduler_address_from(cluster: Cluster, service: Service | None, spec: Json) -> str:
    """Return the address of the scheduler for a Pod of this spec.

    It has the Service's name, or its IP address where that works and the name may not: a Pod that does not ask the
    cluster's DNS cannot find the name, and from a name Dask finds its own address in networks of IPv4 only.
    """
    named = scheduler_address(cluster)
    if not service or not _has_address(service):
        return named
    if ":" in service.cluster_ip or not _asks_cluster_dns(spec):
        scheme, _, location = named.partition("://")
        return f"{scheme}://{_bracketed(service.cluster_ip)}:{location.rpartition(':')[2]}"
    return named


def scheduler_host(cluster: Cluster) -> str:
    """Return the scheduler Service's name in the cluster's DNS, without the cluster's domain."""
    return f"{names.scheduler(cluster.name)}.{cluster.namespace}.svc"


def scheduler_endpoint(cluster: Cluster, service: Service | None, pod: Pod) -> Endpoint:
    """Return the scheduler's addresses for the controller: the Service's, or its Pod's where the Service has no address
    or no port of its own that leads there.

    Never a name: whoever writes an ExternalName decides where it leads, and may not be allowed to get there himself.
    """
    ports, listening = service.ports if service else (), cluster.listening
    dashboard = _location(service, pod, _dashboard(ports, listening), listening, listening.dashboard)
    comm = _location(service, pod, _comm(ports, listening), listening, listening.comm)
    return Endpoint(f"http://{dashboard}{listening.prefix}", f"{_scheme(cluster)}://{comm}")


def leads_nowhere(cluster: Cluster) -> bool:
    """Return whether no port of a Service with an address of its own leads to the scheduler."""
    if cluster.headless or _comm(cluster.ports, cluster.listening):
        return False
    return cluster.service.spec.get("type") != "ExternalName"


def _comm(ports: Sequence[ServicePort], listening: Listening) -> ServicePort | None:
    return _leading(ports, names.COMM_PORT, listening.comm, listening)


def _dashboard(ports: Sequence[ServicePort], listening: Listening) -> ServicePort | None:
    return _leading(ports, names.DASHBOARD_PORT, listening.dashboard, listening)


def _leading(ports: Sequence[ServicePort], name: str, number: int, listening: Listening) -> ServicePort | None:
    """Return the port of a Service that leads to a port of the scheduler: by its name, its target, or its number."""
    rules = (
        [port for port in ports if port.name == name],
        [port for port in ports if port.target == name or listening.named.get(str(port.target), port.target) == number],
        [port for port in ports if port.number == number],
    )
    return next((found[0] for found in rules if found), None)


def _number(found: ServicePort | None, cluster: Cluster) -> int:
    return found.number if found else cluster.listening.comm


def _pods_port(found: ServicePort | None, listening: Listening, number: int) -> int:
    """Return the number of the Pod's port to which a Service's port leads."""
    target = found.target if found else number
    return target if isinstance(target, int) else listening.named.get(target, number)


def _location(service: Service | None, pod: Pod, found: ServicePort | None, listening: Listening, number: int) -> str:
    if service and found and _has_address(service):
        return f"{_bracketed(service.cluster_ip)}:{found.number}"
    return f"{_bracketed(pod.ip)}:{_pods_port(found, listening, number)}"


def _has_address(service: Service) -> bool:
    return service.cluster_ip not in ("", "None")


def _bracketed(ip: str) -> str:
    return f"[{ip}]" if ":" in ip else ip


def _asks_cluster_dns(spec: Json) -> bool:
    """Return whether a Pod asks the cluster's name servers. On its node's network, it does so only if told."""
    policy = spec.get("dnsPolicy") or "ClusterFirst"
    return policy not in _OWN_NAMESERVERS and not (spec.get("hostNetwork") is True and policy == "ClusterFirst")


def _scheme(cluster: Cluster) -> str:
    found = _comm(cluster.ports, cluster.listening)
    return cluster.listening.protocol or (found.protocol if found else "") or "tcp"
