from __future__ import annotations

from typing import Any

import pytest
from ci.verify import crds
from tests.support.builders import (
    NOON,
    NOON_TEXT,
    SERVICE_SPEC,
    WORKER_SPEC,
    raw_autoscaler,
    raw_cluster,
    raw_group,
    raw_job,
    raw_pod,
)

from dask_operator import parse
from dask_operator.model import LARGEST_DEPTH, Metadata, Scaling, ScalingPolicy

LONGEST_DRAIN = crds.at(crds.load()["daskworkergroup"], "spec.worker.drainTimeoutSeconds")["maximum"]


def test_a_cluster() -> None:
    raw = raw_cluster(workers=2)
    raw["metadata"] |= {"generation": 4, "labels": {"a": "b"}, "annotations": {"c": "d"}}
    raw["spec"]["worker"]["metadata"] = {"labels": {"e": "f"}}
    raw["spec"]["scheduler"]["metadata"] = {"annotations": {"g": "h"}}
    cluster = parse.cluster(raw | {"status": {"phase": "Running"}})
    assert cluster.key == ("default", "simple")
    assert (cluster.uid, cluster.resource_version, cluster.generation) == ("uid-of-simple", 7, 4)
    assert (cluster.replicas, cluster.created, cluster.deleting) == (2, NOON, False)
    assert cluster.metadata == Metadata({"a": "b"}, {"c": "d"})
    assert cluster.worker.metadata == Metadata({"e": "f"})
    assert cluster.scheduler.metadata == Metadata(annotations={"g": "h"})
    assert (cluster.worker.spec, cluster.service.spec) == (WORKER_SPEC, SERVICE_SPEC)
    assert cluster.status == {"phase": "Running"}


@pytest.mark.parametrize(
    ("service", "headless", "ipv6"),
    [
        ({}, False, False),
        ({"clusterIP": "None", "ipFamilies": None}, True, False),
        ({"clusterIP": "10.96.0.7", "ipFamilies": ["IPv4"]}, False, False),
        ({"ipFamilies": ["IPv6", "IPv4"]}, False, True),
        ({"clusterIP": None, "ipFamilies": "IPv6"}, False, False),
    ],
)
def test_the_addresses_that_a_clusters_service_asks_for(service: dict[str, Any], headless: bool, ipv6: bool) -> None:
    cluster = parse.cluster({"metadata": {}, "spec": {"scheduler": {"service": service}}})
    assert (cluster.headless, cluster.ipv6) == (headless, ipv6)


def test_what_users_write_is_read_anew_each_time() -> None:
    cluster = parse.cluster(raw_cluster())
    cluster.worker.spec["containers"].clear()
    assert cluster.worker.spec == WORKER_SPEC


@pytest.mark.parametrize("depth", [90, 110, 500, 5_000])
def test_what_is_too_deep_is_not_read(depth: int) -> None:
    deep: list[Any] = []
    for _ in range(depth):
        deep = [deep]
    for part in ("worker", "scheduler"):
        raw = raw_cluster(status={"conditions": [{"type": "Degraded"}], "phase": "Running"})
        raw["spec"][part]["spec"] = {"x": deep}
        cluster = parse.cluster(raw)
        assert (cluster.name, bool(cluster.unread)) == ("simple", depth > LARGEST_DEPTH)
        if depth > LARGEST_DEPTH:
            assert cluster.unread == "has lists and objects in one another on more than 100 levels"
            assert cluster.status == {"conditions": [{"type": "Degraded"}]}


def test_an_autoscaler_with_too_many_policies_is_not_read() -> None:
    behavior: dict[str, Any] = {"scaleUp": {"policies": [{}] * 101}}
    autoscaler = parse.autoscaler(raw_autoscaler(behavior=behavior, workerGroup="g"))
    assert autoscaler.unread == "has 101 scaling policies, and at most 100 are read"
    assert (autoscaler.cluster, autoscaler.group) == ("simple", "g")


def test_a_group() -> None:
    raw = raw_group(workers=0, status={"lastOrdinal": 11})
    raw["metadata"] |= {
        "annotations": {"kubernetes.dask.org/replicas": "3"},
        "deletionTimestamp": NOON_TEXT,
        "ownerReferences": [{"uid": "one"}, {"uid": "two"}],
    }
    raw["spec"]["worker"]["metadata"] = {"labels": {"e": "f"}}
    group = parse.group(raw)
    assert (group.cluster, group.replicas, group.copied, group.last_ordinal) == ("simple", 0, "3", 11)
    assert (group.deleting, group.owners) == (True, ("one", "two"))
    assert group.worker.metadata == Metadata({"e": "f"})


def test_replicas_that_were_never_copied() -> None:
    assert parse.group(raw_group(metadata={"annotations": {}})).copied == ""


def test_replicas_that_are_not_given() -> None:
    cluster, group = raw_cluster(), raw_group()
    cluster["spec"]["worker"]["replicas"] = None
    del (group["spec"]["worker"] | {})["replicas"]
    group["spec"]["worker"] = {"spec": WORKER_SPEC}
    assert parse.cluster(cluster).replicas is None
    assert (parse.group(group).replicas, parse.group(group).replicas_unset) == (1, True)
    assert not parse.group(raw_group()).replicas_unset


@pytest.mark.parametrize("replicas", ["3", 2.0, [3]])
def test_replicas_of_a_wrong_type_are_not_given(replicas: Any) -> None:
    raw = raw_group()
    raw["spec"] = {"worker": {"replicas": replicas}}
    parsed = parse.group(raw).replicas
    assert (parsed, type(parsed)) == (1, int)


@pytest.mark.parametrize("annotation", ["kubernetes.dask.org/ordinal", "kubernetes.dask.org/replicas"])
def test_a_number_of_any_length_makes_no_parser_fail(annotation: str) -> None:
    endless = {"annotations": {annotation: "9" * 5000}}
    parse.pod(raw_pod(metadata=endless))
    parse.group(raw_group(metadata=endless))


@pytest.mark.parametrize(
    ("note", "copied"),
    [
        ("3", "3"),
        ("unsaid", "unsaid"),
        ("", ""),
        ("3\n2026-01-01 CRITICAL lost the lease", "something else"),
        ("3\n", "something else"),
        ("9" * 19, "something else"),
        ("٣", "something else"),
    ],
)
def test_a_note_of_replicas_that_somebody_has_edited_is_not_quoted(note: str, copied: str) -> None:
    assert parse.group(raw_group(metadata={"annotations": {"kubernetes.dask.org/replicas": note}})).copied == copied


def test_a_cluster_that_a_job_has_made() -> None:
    owners = [{"kind": "Application", "name": "x"}, {"kind": "DaskJob", "name": "etl"}]
    assert parse.cluster(raw_cluster(metadata={"ownerReferences": owners})).job == "etl"
    assert parse.cluster(raw_cluster()).job == ""


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, 0.0),
        (0, 0.0),
        (-5, 0.0),
        (60, 60.0),
        (0.5, 0.5),
        ("60", 0.0),
        (True, 0.0),
        (float("inf"), 0.0),
        ([], 0.0),
    ],
)
def test_idle_timeouts(given: object, expected: float) -> None:
    raw = raw_cluster()
    raw["spec"]["idleTimeout"] = given
    assert parse.cluster(raw).idle_timeout == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (0, 0),
        (600, 600),
        (10**30, LONGEST_DRAIN),
        (None, None),
        (-1, None),
        ("600", None),
        ("1h", None),
        (True, None),
        (0.5, None),
        (float("nan"), None),
        (float("inf"), None),
        ([], None),
        ({}, None),
    ],
)
def test_drain_timeouts(given: Any, expected: int | None) -> None:
    cluster, group = raw_cluster(), raw_group()
    for raw in (cluster, group):
        raw["spec"]["worker"] = {"spec": WORKER_SPEC, "drainTimeoutSeconds": given}
    assert parse.cluster(cluster).drain_timeout == expected
    read = parse.group(group)
    assert (read.drain_timeout, read.drain_timeout_unset) == (
        3600.0 if expected is None else expected,
        expected is None,
    )
    assert isinstance(read.drain_timeout, float)


def test_a_drain_timeout_that_nobody_has_set() -> None:
    assert parse.cluster(raw_cluster()).drain_timeout is None
    group = parse.group(raw_group())
    assert (group.drain_timeout, group.drain_timeout_unset) == (3600.0, True)


def test_a_drain_timeout_is_no_part_of_the_template_of_workers() -> None:
    raw = raw_group()
    before = parse.group(raw).worker.hash
    raw["spec"]["worker"]["drainTimeoutSeconds"] = 600
    assert parse.group(raw).worker.hash == before


def test_a_groups_notes() -> None:
    notes = {"adopted-template": "a", "template": "t", "last-ordinal": "7", "replicas": "3"}
    raw = raw_group(metadata={"annotations": {f"kubernetes.dask.org/{key}": value for key, value in notes.items()}})
    group = parse.group(raw)
    assert (group.adopted_template, group.template, group.last_ordinal, group.copied) == ("a", "t", 7, "3")
    assert parse.group(raw | {"status": {"lastOrdinal": 9}}).last_ordinal == 9, "the greater of both"
    assert parse.group(raw | {"status": {"lastOrdinal": 5}}).last_ordinal == 7


def test_a_job() -> None:
    raw = raw_job(backoffLimit=2, activeDeadlineSeconds=600, ttlSecondsAfterFinished=0, status={})
    raw["spec"]["job"]["metadata"] = {"labels": {"a": "b"}}
    raw["spec"]["cluster"]["metadata"] = {"annotations": {"c": "d"}}
    job = parse.job(raw | {"status": {"jobStatus": "Running"}})
    assert job.key == ("default", "simple")
    assert (job.backoff_limit, job.deadline, job.ttl) == (2, 600.0, 0.0)
    assert (job.runner.metadata, job.cluster.metadata) == (Metadata({"a": "b"}), Metadata(annotations={"c": "d"}))
    assert job.runner.spec["containers"][0]["name"] == "job"
    assert job.cluster.spec["worker"]["replicas"] == 3
    assert job.status == {"jobStatus": "Running"}


@pytest.mark.parametrize("nothing", [None, "3", True, [], {}])
def test_what_is_no_limit_of_a_job(nothing: object) -> None:
    job = parse.job(raw_job(backoffLimit=nothing, activeDeadlineSeconds=nothing, ttlSecondsAfterFinished=nothing))
    assert (job.backoff_limit, job.deadline, job.ttl) == (None, None, None)


def test_limits_of_a_job_below_nothing() -> None:
    job = parse.job(raw_job(backoffLimit=-1, activeDeadlineSeconds=-1, ttlSecondsAfterFinished=-1))
    assert (job.backoff_limit, job.deadline, job.ttl) == (0, None, None)


def test_an_autoscaler() -> None:
    policies = [
        {"type": "Pods", "value": 4, "periodSeconds": 60},
        {"type": "Percent", "value": 10, "periodSeconds": 30},
    ]
    behavior = {
        "scaleUp": {"stabilizationWindowSeconds": 5, "policies": policies, "selectPolicy": "Min"},
        "scaleDown": {"selectPolicy": "Disabled"},
    }
    autoscaler = parse.autoscaler(raw_autoscaler(workerGroup="simple-gpu", minimum=2, maximum=9, behavior=behavior))
    assert (autoscaler.cluster, autoscaler.group) == ("simple", "simple-gpu")
    assert (autoscaler.minimum, autoscaler.maximum) == (2, 9)
    assert autoscaler.up == Scaling(5.0, (ScalingPolicy(False, 4, 60.0), ScalingPolicy(True, 10, 30.0)), "Min")
    assert (autoscaler.down.select, autoscaler.down.policies) == ("Disabled", ())


def test_an_autoscaler_that_says_little() -> None:
    autoscaler = parse.autoscaler(raw_autoscaler(minimum=None, maximum=None, behavior=None, workerGroup=None))
    assert (autoscaler.group, autoscaler.minimum, autoscaler.maximum) == ("simple-default", 0, None)
    assert (autoscaler.up, autoscaler.down.select) == (Scaling(), "Max")
    assert autoscaler.down.window > 0.0, "a pause between two computations costs nobody"
    zero = {"scaleDown": {"stabilizationWindowSeconds": 0}}
    assert parse.autoscaler(raw_autoscaler(behavior=zero)).down.window == 0.0


def test_finalizers() -> None:
    assert parse.cluster(raw_cluster(metadata={"finalizers": ["a/b", "c"]})).finalizers == ("a/b", "c")
    assert parse.cluster(raw_cluster(metadata={"finalizers": None})).finalizers == ()


SET_BY = [
    {"manager": "helm", "fieldsV1": {"f:spec": {"f:worker": {}}}},
    {"manager": "kubectl-patch\n", "fieldsV1": {"f:spec": {"f:suspend": {}}}},
    {"manager": "template", "fieldsV1": {"f:spec": {"f:cluster": {"f:spec": {"f:suspend": {}}}}}},
]


@pytest.mark.parametrize("value", [True, False, None, "true", 1, {}])
def test_only_true_suspends(value: Any) -> None:
    raw = raw_cluster()
    raw["spec"]["suspend"] = value
    raw["metadata"]["managedFields"] = SET_BY
    cluster = parse.cluster(raw)
    assert (cluster.suspended, cluster.suspended_by) == ((True, "kubectl-patch") if value is True else (False, ""))


@pytest.mark.parametrize(
    ("job", "cluster", "by"), [(True, None, "kubectl-patch"), (None, True, "template"), (0, 1, "")]
)
def test_a_job_is_suspended_by_itself_or_by_its_cluster(job: Any, cluster: Any, by: str) -> None:
    raw = raw_job(suspend=job)
    raw["spec"]["cluster"]["spec"]["suspend"] = cluster
    raw["metadata"]["managedFields"] = SET_BY
    assert (parse.job(raw).suspended, parse.job(raw).suspended_by) == (bool(by), by)


@pytest.mark.parametrize("noted", [None, "x", [None], [{}], [{"fieldsV1": "x"}], [{"fieldsV1": {"f:spec": None}}]])
def test_who_suspends_may_be_unknown(noted: Any) -> None:
    raw = raw_cluster()
    raw["spec"]["suspend"] = True
    raw["metadata"]["managedFields"] = noted
    assert parse.cluster(raw).suspended_by == ""
