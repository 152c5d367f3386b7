"""Parsers of the scheduler's Deployment and Service."""

from __future__ import annotations

from dask_operator import names
from dask_operator.model import Deployment, Json, Problem, Service
from dask_operator.parse.listening import service_ports
from dask_operator.parse.metadata import meta_of, metadata_of, object_fields
from dask_operator.parse.values import integer, mapping, mappings, text


def deployment(raw: Json) -> Deployment:
    """Return a Deployment."""
    meta = metadata_of(meta_of(raw))
    status = mapping(raw.get("status"))
    conditions = mappings(status.get("conditions"))
    failed = [c for c in conditions if c.get("type") == "ReplicaFailure" and c.get("status") == "True"]
    return Deployment(
        **object_fields(raw),
        cluster=meta.labels.get(names.CLUSTER_LABEL, ""),
        component=meta.labels.get(names.COMPONENT_LABEL, ""),
        group=meta.labels.get(names.GROUP_LABEL, ""),
        template=meta.annotations.get(names.TEMPLATE_ANNOTATION, ""),
        declared_keys=meta.annotations.get(names.DECLARED_ANNOTATION, ""),
        problem=Problem(text(failed[0].get("reason")), text(failed[0].get("message"))) if failed else None,
        rolling=_is_rolling(raw, status),
    )


def _is_rolling(raw: Json, status: Json) -> bool:
    """Return whether a Deployment's Pod is not of its latest template, as `kubectl rollout status` tells it."""
    seen, generation = integer(status.get("observedGeneration")), integer(meta_of(raw).get("generation"))
    return seen > 0 and (seen < generation or integer(status.get("updatedReplicas")) < integer(status.get("replicas")))


def service(raw: Json) -> Service:
    """Return a Service."""
    spec, meta = mapping(raw.get("spec")), metadata_of(meta_of(raw))
    balancer = mapping(mapping(raw.get("status")).get("loadBalancer"))
    return Service(
        **object_fields(raw),
        cluster=meta.labels.get(names.CLUSTER_LABEL, ""),
        type=text(spec.get("type")) or "ClusterIP",
        cluster_ip=text(spec.get("clusterIP")),
        ports=service_ports(spec),
        ingress=bool(mappings(balancer.get("ingress"))),
        template=meta.annotations.get(names.TEMPLATE_ANNOTATION, ""),
        declared_keys=meta.annotations.get(names.DECLARED_ANNOTATION, ""),
    )
