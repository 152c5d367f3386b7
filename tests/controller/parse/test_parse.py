from __future__ import annotations

from typing import Any

import pytest
from tests.controller.parse.twisted import twisted
from tests.support.builders import (
    NOON_TEXT,
    SERVICE_SPEC,
    WORKER_SPEC,
    raw_object,
)

from dask_operator import parse
from dask_operator.model import Metadata


@pytest.mark.parametrize("field", ["finalizers", "ownerReferences"])
@pytest.mark.parametrize("kind", ["DaskCluster", "DaskWorkerGroup", "DaskJob", "DaskAutoscaler"])
def test_what_has_too_many_owners_or_finalizers_is_not_read(kind: str, field: str) -> None:
    spec = {"cluster": "simple"}
    raw = raw_object(kind, "it", metadata={field: [{"kind": "A"}] * 1001, "labels": {"a": "b"}}, spec=spec)
    known: Any = parse.PARSERS[kind](raw)
    assert (known.name, known.unread) == ("it", f"has 1001 {field}, and at most 1000 are read")
    assert (known.metadata, known.finalizers) == (Metadata(), ())
    raw["metadata"][field].pop()
    sound: Any = parse.PARSERS[kind](raw)
    assert sound.unread == ""


def _whole(kind: str) -> dict[str, Any]:
    """Return an object with every field that a parser reads."""
    terminated = {"exitCode": 1, "reason": "Error", "message": "m", "finishedAt": NOON_TEXT}
    container = {
        "name": "c",
        "image": "i",
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "m"}, "terminated": terminated},
        "lastState": {"terminated": terminated},
    }
    conditions = [
        {"type": "Ready", "status": "False", "reason": "r", "message": "m", "lastTransitionTime": NOON_TEXT},
        {"type": "ReplicaFailure", "status": "True", "reason": "r", "message": "m"},
    ]
    status = {
        "phase": "Failed",
        "reason": "",
        "startTime": NOON_TEXT,
        "podIP": "10.0.0.1",
        "lastOrdinal": 3,
        "conditions": conditions,
        "initContainerStatuses": [container],
        "containerStatuses": [container],
        "loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]},
    }
    part = {"replicas": 3, "metadata": {"labels": {"a": "b"}}, "spec": WORKER_SPEC, "service": SERVICE_SPEC}
    metadata = {
        "deletionTimestamp": None,
        "generation": 1,
        "labels": {"dask.org/cluster-name": "simple"},
        "annotations": {"kubernetes.dask.org/ordinal": "3", "kubernetes.dask.org/replicas": "3"},
        "ownerReferences": [{"uid": "u"}],
    }
    spec = {"cluster": "simple", "worker": part, "scheduler": part, **SERVICE_SPEC}
    return raw_object(kind, "whole", metadata=metadata, spec=spec, status=status)


@pytest.mark.parametrize("kind", parse.PARSERS)
def test_no_object_makes_a_parser_fail(kind: str) -> None:
    for raw in twisted(_whole(kind)):
        parsed = parse.PARSERS[kind](raw)
        assert isinstance(parsed.name, str)
        assert isinstance(parsed.uid, str)
