"""The Workload by which a cluster waits in a queue of Kueue: its Pods as sets, each with a template and a number.

Kueue reads of a template what decides about nodes and quotas, so the Workload has no more of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from dask_operator import names
from dask_operator.manifests.objects import Manifest, owner_reference, placed
from dask_operator.model import Declared, Json, Placement, Template
from dask_operator.resources import KUEUE, POD_PRIORITY, QUEUE_PRIORITY, WORKLOAD, Resource

_OWNER_UID_LABEL = f"{KUEUE}/job-uid"
_OF_PODS = (
    *("nodeSelector", "affinity", "tolerations", "topologySpreadConstraints", "schedulerName"),
    *("priorityClassName", "runtimeClassName", "overhead", "resources"),
)
_QUEUE, NUMBERS = "/queue", "/numbers"
"""The parts of a note that are no pod set's."""
_OF_CONTAINERS = ("name", "resources", "restartPolicy")


class PodSet(NamedTuple):
    """A number of Pods with one template. `minimum`: as many are better than none, None if only all will do.

    `placement`: the nodes that they must have.
    """

    name: str
    template: Template
    number: int
    minimum: int | None = None
    placement: Placement = Placement()


class PriorityReference(NamedTuple):
    """The class that gives a Workload its priority, and the value; without a name, the default.

    `exists`: a class that does not exist yet may come, and with it another value.
    """

    kind: str = ""
    name: str = ""
    value: int = 0
    exists: bool = True


class Request(NamedTuple):
    """A request to a queue: all Pods that are admitted or evicted together."""

    queue: str
    pod_sets: tuple[PodSet, ...]
    priority: PriorityReference = PriorityReference()

    @property
    def note(self) -> str:
        """The hashes of all that is asked, by part: `parts_of_note` reads them."""
        numbers = Template.of({"numbers": [each.number for each in self.pod_sets], "priority": self.priority})
        parts = {each.name: needs_hash(each.template) for each in self.pod_sets}
        parts |= {_QUEUE: Template.of({"queue": self.queue}).hash, NUMBERS: numbers.hash}
        return " ".join(f"{name}:{digest}" for name, digest in parts.items())


def parts_of_note(note: str) -> dict[str, str]:
    """Return the hashes in a note, by pod set; `NUMBERS` is that of all numbers and the priority."""
    pairs = (part.partition(":") for part in note.split())
    return {name: digest for name, _, digest in pairs}


def needs_hash(template: Template) -> str:
    """Return a hash of what a template says about nodes and quotas."""
    return Template.of(_needs(template.spec)).hash


def workload_manifest(owner: Declared, kind: Resource, request: Request) -> Manifest:
    """Return the Workload of a DaskCluster or a DaskJob, for the Pods with which it starts."""
    name, labels = names.workload(kind.kind, owner.name, owner.uid), {names.CLUSTER_LABEL: owner.name}
    return _workload(name, owner, kind, labels, {}, request)


def growth_manifest(owner: Declared, kind: Resource, group: str, ordinal: int, request: Request) -> Manifest:
    """Return the Workload number `ordinal` for more workers of a group. It outlives the group until they have gone."""
    name = names.growth(group, owner.uid, ordinal)
    labels = {names.CLUSTER_LABEL: owner.name, names.COMPONENT_LABEL: names.WORKER_GROUP, names.GROUP_LABEL: group}
    return _workload(name, owner, kind, labels, {names.ORDINAL_ANNOTATION: str(ordinal)}, request)


def _workload(name: str, owner: Declared, kind: Resource, labels: Json, notes: Json, request: Request) -> Manifest:
    return {
        "apiVersion": WORKLOAD.api_version,
        "kind": WORKLOAD.kind,
        "metadata": {
            "name": name,
            "namespace": owner.namespace,
            "labels": {**labels, _OWNER_UID_LABEL: owner.uid},
            "annotations": {names.TEMPLATE_ANNOTATION: request.note, **notes},
            "ownerReferences": [owner_reference(owner, kind)],
        },
        "spec": _spec(request),
    }


def workload_patch(request: Request) -> Manifest:
    """Return the patch of a Workload that has not been admitted, after an edit."""
    note = {"metadata": {"annotations": {names.TEMPLATE_ANNOTATION: request.note}}}
    return note | {"spec": {"priorityClassRef": None, **_spec(request)}}


def priority_class(labels: Mapping[str, str], pod_sets: tuple[PodSet, ...]) -> tuple[str, str]:
    """Return the kind and the name of the class that gives Pods their priority, "" for the default.

    Kueue's label comes first, then the first Pod set that names a class.
    """
    if named := labels.get(names.PRIORITY_LABEL):
        return QUEUE_PRIORITY.kind, named
    classes = (each.template.spec.get("priorityClassName") for each in pod_sets)
    return POD_PRIORITY.kind, next((name for name in classes if name and isinstance(name, str)), "")


def _spec(request: Request) -> Manifest:
    of = request.priority
    group = KUEUE if of.kind == QUEUE_PRIORITY.kind else POD_PRIORITY.group
    named = {"priorityClassRef": {"group": group, "kind": of.kind, "name": of.name}} if of.name else {}
    return {
        "queueName": request.queue,
        "priority": of.value,
        **named,
        "podSets": [
            {
                "name": each.name,
                "count": each.number,
                **({} if each.minimum is None else {"minCount": each.minimum}),
                "template": {"spec": placed(_needs(each.template.spec), each.placement)},
            }
            for each in request.pod_sets
        ],
    }


def _needs(spec: Json) -> dict[str, Any]:
    """Return the parts of a Pod's spec that decide about nodes and quotas."""
    return {key: spec[key] for key in _OF_PODS if spec.get(key) is not None} | {
        key: list(_containers(spec.get(key))) for key in ("containers", "initContainers") if spec.get(key)
    }


def _containers(listed: object) -> Iterator[dict[str, Any]]:
    for each in listed if isinstance(listed, list) else ():
        if isinstance(each, Mapping):
            yield {key: each[key] for key in _OF_CONTAINERS if each.get(key) is not None}
