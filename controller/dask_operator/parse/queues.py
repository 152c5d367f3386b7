"""Parsers of the objects of Kueue, and of PriorityClasses."""

from __future__ import annotations

from dask_operator import names
from dask_operator.model import Assignment, Flavor, Json, Placement, Priority, Workload
from dask_operator.parse.metadata import meta_of, metadata_of, object_fields
from dask_operator.parse.values import at, integer, mapping, mappings, number, ordinal, text, texts


def workload(raw: Json) -> Workload:
    """Return a Workload."""
    meta = metadata_of(meta_of(raw))
    conditions = {text(each.get("type")): each for each in mappings(at(raw, "status").get("conditions"))}
    return Workload(
        **object_fields(raw),
        cluster=meta.labels.get(names.CLUSTER_LABEL, ""),
        group=meta.labels.get(names.GROUP_LABEL, ""),
        ordinal=ordinal(number(meta.annotations.get(names.ORDINAL_ANNOTATION))),
        number=sum(integer(each.get("count"), 1) for each in mappings(at(raw, "spec").get("podSets"))),
        note=meta.annotations.get(names.TEMPLATE_ANNOTATION, ""),
        conditions=conditions,
        assignments={
            text(each.get("name")): Assignment(
                integer(each.get("count"), 1), tuple(sorted(set(texts(each.get("flavors")).values())))
            )
            for each in mappings(at(raw, "status", "admission").get("podSetAssignments"))
        },
    )


def flavor(raw: Json) -> Flavor:
    """Return a ResourceFlavor."""
    spec = mapping(raw.get("spec"))
    placement = Placement(tuple(texts(spec.get("nodeLabels")).items()), tuple(mappings(spec.get("tolerations"))))
    return Flavor(**object_fields(raw), placement=placement)


def priority(raw: Json) -> Priority:
    """Return a PriorityClass or a WorkloadPriorityClass."""
    return Priority(**object_fields(raw), value=integer(raw.get("value")), default=raw.get("globalDefault") is True)
