from __future__ import annotations

from typing import Any

from tests.support.builders import raw_object

from dask_operator.model import Assignment
from dask_operator.parse import flavor, priority, workload

VERSION = "kueue.x-k8s.io/v1beta2"


def _workload(**others: Any) -> dict[str, Any]:
    return raw_object("Workload", "simple", VERSION, **others)


def test_a_workload_as_kueue_writes_it() -> None:
    metadata = {
        "labels": {"dask.org/cluster-name": "simple", "dask.org/workergroup-name": "more"},
        "annotations": {"kubernetes.dask.org/template": "workers:abc", "kubernetes.dask.org/ordinal": "3"},
    }
    admitted = {"type": "Admitted", "status": "True", "message": "yes"}
    status = {
        "conditions": [admitted, {"type": "Evicted", "status": "False"}],
        "admission": {
            "podSetAssignments": [
                {"name": "workers", "count": 4, "flavors": {"cpu": "spot", "memory": "spot", "x": "y"}}
            ]
        },
    }
    spec = {"podSets": [{"name": "workers", "count": 4}, {"name": "scheduler"}]}
    known = workload(_workload(metadata=metadata, spec=spec, status=status))
    assert (known.cluster, known.group, known.ordinal, known.note) == ("simple", "more", 3, "workers:abc")
    assert known.number == 5, "a set without a number has one Pod"
    assert known.assignments == {"workers": Assignment(4, ("spot", "y"))}
    assert known.conditions["Admitted"] == admitted
    assert known.is_true("Admitted")
    assert not known.is_true("Evicted")
    assert not known.is_true("Finished")


def test_a_workload_that_nobody_has_answered() -> None:
    known = workload(_workload())
    assert (known.group, known.ordinal, known.number, known.assignments, known.conditions) == ("", -1, 0, {}, {})


def test_a_flavor() -> None:
    spec = {"nodeLabels": {"sort": "spot"}, "tolerations": [{"operator": "Exists"}, "nonsense"]}
    placement = flavor(raw_object("ResourceFlavor", "spot", VERSION, spec=spec)).placement
    assert placement.node_selector == (("sort", "spot"),)
    assert placement.tolerations == ({"operator": "Exists"},)


def test_priorities() -> None:
    known = priority(raw_object("PriorityClass", "usual", value=7, globalDefault=True))
    assert (known.value, known.default) == (7, True)
    known = priority(raw_object("WorkloadPriorityClass", "urgent", VERSION, value=-1))
    assert (known.value, known.default) == (-1, False)
