"""Parsers from the JSON of Kubernetes and of schedulers to the model. Nulls, missing keys and wrong types end here.

Objects that today's schema refuses may still be stored from an older one. So no object makes a parser fail: a field
that cannot be read counts as absent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dask_operator.model import Json, Object
from dask_operator.parse.children import deployment, service
from dask_operator.parse.declared import (
    autoscaler,
    cluster,
    group,
    job,
    job_status,
    last_ordinals,
)
from dask_operator.parse.listening import listening, service_ports
from dask_operator.parse.metadata import resource_version, version_number
from dask_operator.parse.offers import offer
from dask_operator.parse.pods import node, pod
from dask_operator.parse.queues import flavor, priority, workload
from dask_operator.parse.schedulers import listed_workers, registrations, retired
from dask_operator.parse.values import may_have_passed, ordinal, rfc3339, timestamp

__all__ = [
    "PARSERS",
    "autoscaler",
    "cluster",
    "deployment",
    "flavor",
    "group",
    "job",
    "job_status",
    "last_ordinals",
    "listed_workers",
    "listening",
    "may_have_passed",
    "node",
    "offer",
    "ordinal",
    "pod",
    "priority",
    "registrations",
    "resource_version",
    "retired",
    "rfc3339",
    "service",
    "service_ports",
    "timestamp",
    "version_number",
    "workload",
]

PARSERS: Mapping[str, Callable[[Json], Object]] = {
    "DaskCluster": cluster,
    "DaskWorkerGroup": group,
    "DaskJob": job,
    "DaskAutoscaler": autoscaler,
    "Pod": pod,
    "Node": node,
    "Workload": workload,
    "ResourceFlavor": flavor,
    "WorkloadPriorityClass": priority,
    "PriorityClass": priority,
    "Deployment": deployment,
    "Service": service,
}
"""The parser of each kind."""
