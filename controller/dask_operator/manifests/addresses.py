"""Addresses of schedulers."""

from __future__ import annotations

from dask_operator import names
from dask_operator.model import Cluster, Endpoint, Pod, Service

_COMM_PORT = 8786
_DASHBOARD_PORT = 8787


def scheduler_address(cluster: Cluster) -> str:
    """Return the Dask address at which workers and clients find the scheduler."""
    return f"{_scheme(cluster)}://{scheduler_host(cluster)}:{cluster.comm_port}"


def scheduler_host(cluster: Cluster) -> str:
    """Return the scheduler Service's name in the cluster's DNS, without the cluster's domain."""
    return f"{names.scheduler(cluster.name)}.{cluster.namespace}.svc"


def scheduler_endpoint(cluster: Cluster, service: Service | None, pod: Pod) -> Endpoint:
    """Return the scheduler's addresses for the controller: the Service's, or its Pod's if the Service has none of its
    own.

    Never a name: whoever writes an ExternalName decides where it leads, and may not be allowed to get there himself.
    """
    has_address = service and service.cluster_ip not in ("", "None")
    host = service.cluster_ip if service and has_address else pod.ip
    host = f"[{host}]" if ":" in host else host
    ports = service.ports if service else {}
    return Endpoint(
        f"http://{host}:{ports.get(names.DASHBOARD_PORT, _DASHBOARD_PORT)}",
        f"{_scheme(cluster)}://{host}:{ports.get(names.COMM_PORT, _COMM_PORT)}",
    )


def _scheme(cluster: Cluster) -> str:
    return "tls" if cluster.tls else "tcp"
