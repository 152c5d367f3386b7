"""The three objects that the controller makes for every DaskCluster: Service, Deployment and default group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from dask_operator import manifests, names
from dask_operator.model import Cluster, Deployment, Group, Json, ObjectRef, Service
from dask_operator.plan.view import View
from dask_operator.resources import DEPLOYMENT, GROUP, SERVICE


class Child(NamedTuple):
    """An object of a cluster, and how it is made, edited and taken over.

    `seen`: the object in Kubernetes, None if it does not exist or belongs to another cluster of this name. `template`:
    the hash of what its user wants now (`model.Template`).
    """

    ref: ObjectRef
    seen: Deployment | Service | Group | None
    template: str
    make: Callable[[Cluster], Json]
    edit: Callable[[Cluster, Any], list[dict[str, object]]]
    adopt: Callable[[Cluster], Json]


def children(view: View) -> tuple[Child, ...]:
    """Return the cluster's children as they are."""
    service, deployment, group = refs(view.cluster)
    worker, scheduler = view.cluster.worker, view.cluster.scheduler
    return (
        Child(
            service,
            view.service,
            view.cluster.service.hash,
            make=manifests.service_manifest,
            edit=manifests.service_patch,
            adopt=manifests.adopted_service_patch,
        ),
        Child(
            deployment,
            view.deployment,
            scheduler.hash,
            make=manifests.deployment_manifest,
            edit=manifests.deployment_patch,
            adopt=manifests.adopted_deployment_patch,
        ),
        Child(
            group,
            view.default_group,
            worker.hash,
            make=manifests.group_manifest,
            edit=manifests.group_patch,
            adopt=manifests.adopted_group_patch,
        ),
    )


def refs(cluster: Cluster) -> Sequence[ObjectRef]:
    """Return references to the Service, the Deployment and the default group."""
    scheduler = names.scheduler(cluster.name)
    return (
        ObjectRef(SERVICE.kind, scheduler),
        ObjectRef(DEPLOYMENT.kind, scheduler),
        ObjectRef(GROUP.kind, names.default_group(cluster.name)),
    )
