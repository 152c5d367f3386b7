from __future__ import annotations

from typing import Any

from tests.support.builders import a_cluster

from dask_operator.manifests import (
    NUMBERS,
    PodSet,
    PriorityReference,
    Request,
    growth_manifest,
    needs_hash,
    parts_of_note,
    priority_class,
    workload_manifest,
    workload_patch,
)
from dask_operator.model import Metadata, Placement, Template
from dask_operator.resources import CLUSTER

CONTAINER = {"name": "worker", "image": "dask:1", "env": [{"name": "A"}], "resources": {"requests": {"cpu": 1}}}


def _template(**others: Any) -> Template:
    return Template.of({"containers": [CONTAINER], "volumes": [{"name": "data"}], **others})


def _request(template: Template, number: int = 2, queue: str = "team", **others: Any) -> Request:
    return Request(queue, (PodSet("workers", template, number),), **others)


def test_a_workload_has_what_decides_about_nodes_and_quotas_and_nothing_else() -> None:
    template = _template(nodeSelector={"disk": "ssd"}, initContainers=[{"name": "before", "command": ["true"]}])
    spec = workload_manifest(a_cluster(), CLUSTER, _request(template))["spec"]
    assert spec == {
        "queueName": "team",
        "priority": 0,
        "podSets": [
            {
                "name": "workers",
                "count": 2,
                "template": {
                    "spec": {
                        "nodeSelector": {"disk": "ssd"},
                        "containers": [{"name": "worker", "resources": {"requests": {"cpu": 1}}}],
                        "initContainers": [{"name": "before"}],
                    }
                },
            }
        ],
    }


def test_it_goes_with_its_owner_and_is_found_by_its_cluster() -> None:
    cluster = a_cluster()
    meta = workload_manifest(cluster, CLUSTER, _request(_template()))["metadata"]
    assert meta["ownerReferences"][0]["uid"] == cluster.uid
    assert meta["labels"]["dask.org/cluster-name"] == cluster.name
    assert len(meta["name"]) <= 63
    request = _request(_template())
    more = [growth_manifest(cluster, CLUSTER, "g" * 60, number, request)["metadata"] for number in (0, 1)]
    assert more[0]["name"] != more[1]["name"]
    assert more[0]["ownerReferences"][0]["uid"] == cluster.uid
    assert more[1]["annotations"]["kubernetes.dask.org/ordinal"] == "1"
    assert all(len(each["name"]) <= 63 for each in more)


def test_more_workers_are_asked_for_on_nodes_of_one_flavor() -> None:
    placement = Placement((("sort", "spot"),), ({"key": "spot"},))
    request = Request("team", (PodSet("workers", _template(nodeSelector={"disk": "ssd"}), 4, 1, placement),))
    (pod_set,) = growth_manifest(a_cluster(), CLUSTER, "more", 0, request)["spec"]["podSets"]
    assert pod_set["template"]["spec"]["nodeSelector"] == {"disk": "ssd", "sort": "spot"}
    assert pod_set["template"]["spec"]["tolerations"] == [{"key": "spot"}]
    assert (pod_set["count"], pod_set["minCount"]) == (4, 1)


def test_a_note_tells_what_has_changed() -> None:
    template = _template()
    before = parts_of_note(_request(template).note)
    assert before["workers"] == needs_hash(template)

    def changed(request: Request) -> set[str]:
        after = parts_of_note(request.note)
        return {part for part in before if after[part] != before[part]}

    assert changed(_request(template)) == set()
    assert changed(_request(_template(volumes=[]))) == set()
    assert changed(_request(_template(priorityClassName="x"))) == {"workers"}
    assert changed(_request(template, queue="others")) == {"/queue"}
    assert changed(_request(template, number=3)) == {NUMBERS}
    assert changed(_request(template, priority=PriorityReference(value=1))) == {NUMBERS}


def test_an_edit_removes_a_class_that_is_not_named_any_more() -> None:
    urgent = PriorityReference("WorkloadPriorityClass", "urgent", 9)
    spec = workload_patch(_request(_template(), priority=urgent))["spec"]
    assert spec["priorityClassRef"] == {"group": "kueue.x-k8s.io", "kind": "WorkloadPriorityClass", "name": "urgent"}
    assert spec["priority"] == 9
    assert workload_patch(_request(_template()))["spec"]["priorityClassRef"] is None


def test_the_label_comes_before_the_class_of_a_pod() -> None:
    sets = (PodSet("a", _template(), 1), PodSet("b", _template(priorityClassName="batch"), 1))
    assert priority_class({}, sets[:1]) == ("PriorityClass", "")
    assert priority_class({}, sets) == ("PriorityClass", "batch")
    labels = Metadata({"kueue.x-k8s.io/priority-class": "urgent"}).labels
    assert priority_class(labels, sets) == ("WorkloadPriorityClass", "urgent")
