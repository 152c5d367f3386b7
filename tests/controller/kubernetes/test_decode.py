from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.support.builders import (
    CLUSTER_UID,
    NOON_TEXT,
    raw_autoscaler,
    raw_cluster,
    raw_deployment,
    raw_group,
    raw_job,
    raw_pod,
    raw_service,
)

from dask_operator import parse
from dask_operator.kubernetes import decode
from dask_operator.kubernetes.decode import LARGEST_OBJECT, ORDINARY
from dask_operator.model import Cut

LISTS = b"[" + b"[]," * 450_000 + b"[]]"
DEEP = b"[" * 5_000 + b"]" * 5_000
OWNER = {"apiVersion": "kubernetes.dask.org/v1", "kind": "DaskCluster", "name": "simple", "uid": CLUSTER_UID}
READY = [{"type": "Ready", "status": "True"}]
CONDITIONS = [{"type": "Degraded", "status": "True", "reason": "ObjectTooLarge", "message": "m"}]
METADATA: dict[str, Any] = {
    "generation": 4,
    "deletionTimestamp": NOON_TEXT,
    "ownerReferences": [OWNER],
    "finalizers": ["a/b"],
    "annotations": {"kubernetes.dask.org/template": "abc"},
}
DECLARED: dict[str, Callable[..., dict[str, Any]]] = {
    "DaskCluster": raw_cluster,
    "DaskWorkerGroup": raw_group,
    "DaskJob": raw_job,
    "DaskAutoscaler": raw_autoscaler,
}
MADE = {"Pod": raw_pod, "Service": raw_service, "Deployment": raw_deployment}


def _with(raw: dict[str, Any], field: bytes) -> bytes:
    """Return an object whose worker, or else whose spec, has these fields too."""
    raw = json.loads(json.dumps(raw))
    raw["spec"].get("worker", raw).get("spec")["x"] = 0
    return orjson.dumps(raw).replace(b'"x":0', b'"x":' + field)


def _taken(work: Callable[[], object]) -> tuple[int, int]:
    """Return the bytes that a function's result keeps, and the most that it takes."""
    tracemalloc.start()
    try:
        kept = work()
        now, most = tracemalloc.get_traced_memory()
        assert kept is not None
        return now, most
    finally:
        tracemalloc.stop()


def test_an_object_of_an_ordinary_size_is_read_as_a_whole() -> None:
    raw = raw_cluster(status={"phase": "Running"})
    assert decode.read(orjson.dumps(raw)) == raw
    padded = raw_cluster(metadata={"annotations": {"a": "x" * (LARGEST_OBJECT - 2000)}})
    assert decode.read(orjson.dumps(padded)) == padded


@pytest.mark.parametrize("kind", DECLARED)
@pytest.mark.parametrize("field", [LISTS, DEEP, DEEP + b"," + LISTS], ids=["long", "deep", "both"])
def test_of_what_is_declared_and_too_large_it_is_known_which_one_it_is(kind: str, field: bytes) -> None:
    raw = DECLARED[kind]("it", metadata=METADATA)
    raw["status"] = {"conditions": CONDITIONS, "phase": "Running"}
    found = decode.read(_with(raw, b"[" + field + b"]"), kind)
    assert isinstance(found, Cut)
    whole, known = parse.PARSERS[kind](raw), parse.PARSERS[kind](found)
    for name in ("namespace", "name", "uid", "resource_version", "created", "deleting", "owners", "generation"):
        assert getattr(known, name) == getattr(whole, name), name
    for name in (
        ("cluster", "group", "cluster_uid", "other_owners") if kind in {"DaskWorkerGroup", "DaskAutoscaler"} else ()
    ):
        assert getattr(known, name, None) == getattr(whole, name, None), name
    assert (known.unread, whole.unread) == (found.why, "")  # type: ignore[attr-defined]
    assert known.status == {"conditions": CONDITIONS}  # type: ignore[attr-defined]
    assert known.finalizers == ()  # type: ignore[attr-defined]


def test_how_large_it_is_is_said() -> None:
    found = decode.read(_with(raw_cluster(), LISTS))
    assert isinstance(found, Cut)
    assert found.why.startswith("has 1,35")
    assert found.why.endswith(" bytes, and at most 393,216 are read")


@pytest.mark.parametrize("field", [LISTS, b"[" + b"{}," * 450_000 + b"{}]", b'["' + b"x" * 1_350_000 + b'"]'])
def test_what_is_too_large_takes_nothing(field: bytes) -> None:
    text = _with(raw_cluster(), field)
    kept, most = _taken(lambda: parse.cluster(decode.read(text)))
    assert kept < 20_000
    assert most < 100_000


def test_what_is_nearly_too_large_takes_little_more_than_its_bytes() -> None:
    text = _with(raw_cluster(), b"[" + b'["' + (b"x" * 11 + b'"],["') * 24_000 + b'"]]')
    assert LARGEST_OBJECT * 0.9 < len(text) < LARGEST_OBJECT
    assert not parse.cluster(decode.read(text)).unread
    kept, _ = _taken(lambda: parse.cluster(decode.read(text)))
    assert kept < 2 * len(text)


@pytest.mark.parametrize("field", ["labels", "annotations"])
def test_many_labels_and_annotations_take_little_more_than_their_bytes(field: str) -> None:
    raw = raw_cluster(metadata={field: {f"key-{n}": "" for n in range(15_000)}})
    text = orjson.dumps(raw)
    kept, _ = _taken(lambda: parse.cluster(decode.read(text)))
    assert kept < 3 * len(text), "orjson keeps some keys besides"
    assert getattr(parse.cluster(decode.read(text)).metadata, field) == raw["metadata"][field]


@pytest.mark.parametrize("odd", [b"[]", b'"x"', b"null", b"7", b'{"cluster":[[]],"workerGroup":7}'])
@pytest.mark.parametrize("part", [b"spec", b"status"])
@pytest.mark.parametrize("kind", [*DECLARED, *MADE])
def test_no_large_object_fails(kind: str, part: bytes, odd: bytes) -> None:
    metadata = b'{"name":"n","namespace":"ns","uid":"u","resourceVersion":"7"}'
    text = b'{"metadata":%s,"%s":%s,"x":"%s"}' % (metadata, part, odd, b"x" * LARGEST_OBJECT)
    known = parse.PARSERS[kind](decode.read(text, kind))
    assert (known.namespace, known.name, known.uid, known.resource_version) == ("ns", "n", "u", 7)


@pytest.mark.parametrize("kind", [*DECLARED, *MADE])
def test_a_large_object_may_lack_everything(kind: str) -> None:
    for text in (b'{"x":"%s"}', b'{"metadata":null,"x":"%s"}', b'{"metadata":{"labels":[]},"x":"%s"}'):
        known = parse.PARSERS[kind](decode.read(text % (b"x" * LARGEST_OBJECT), kind))
        assert (known.name, known.resource_version) == ("", 0)


def test_a_long_name_of_a_cluster_is_none() -> None:
    raw = raw_group()
    raw["spec"]["cluster"] = "x" * LARGEST_OBJECT
    assert parse.group(decode.read(orjson.dumps(raw))).cluster == ""


def test_a_large_pod_is_read_as_a_small_one() -> None:
    terminated = {"exitCode": 1, "reason": "Error", "finishedAt": NOON_TEXT}
    container = {"name": "worker", "restartCount": 3, "state": {"running": {"startedAt": NOON_TEXT}}}
    status = {
        "phase": "Running",
        "reason": "r",
        "message": "m",
        "podIP": "10.0.0.5",
        "podIPs": [{"ip": "10.0.0.5"}],
        "startTime": NOON_TEXT,
        "conditions": READY,
        "containerStatuses": [container | {"lastState": {"terminated": terminated}}],
        "initContainerStatuses": [container],
    }
    annotations = {f"kubernetes.dask.org/{name}": "3" for name in ("ordinal", "attempt", "template")}
    owner = {"kind": "ReplicaSet", "name": "a-b", "uid": "rs"}
    spec = {"containers": [{"name": "worker"}, {"name": "other"}], "restartPolicy": "OnFailure"}
    raw = raw_pod(4, status=status, spec=spec, metadata={"annotations": annotations, "ownerReferences": [owner]})
    large = json.loads(json.dumps(raw))
    # The program is told from another by its variables, of which only the names are read.
    large["spec"]["containers"][1]["env"] = [{"name": f"A_{n}", "value": "x" * 50} for n in range(10_000)]
    large["metadata"]["managedFields"] = [{"fieldsV1": {"f:metadata": {}}}] * 1000
    found = decode.read(orjson.dumps(large), "Pod")
    assert parse.pod(found) == parse.pod(raw)
    assert found["spec"]["containers"][0] == {"name": "worker"}
    assert found["spec"]["containers"][1]["env"][:2] == [{"name": "A_0"}, {"name": "A_1"}], "no more of any"
    for field in ("podIPs", "initContainerStatuses"):
        assert found["status"][field] == status[field]


def test_a_large_service_and_deployment_are_read_as_small_ones() -> None:
    annotations = {"kubernetes.dask.org/template": "abc", "kubernetes.dask.org/given": "a;b"}
    labels = {"dask.org/cluster-name": "simple", "dask.org/component": "worker", "dask.org/workergroup-name": "g"}
    metadata = {"annotations": annotations, "labels": labels}
    failed = [{"type": "ReplicaFailure", "status": "True", "reason": "r", "message": "m"}]
    service = raw_service(metadata=metadata, status={"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}})
    deployment = raw_deployment(metadata=metadata, status={"conditions": failed})
    for raw in (service, deployment):
        large = json.loads(json.dumps(raw))
        large["metadata"]["annotations"]["x"] = "x" * LARGEST_OBJECT
        assert parse.PARSERS[raw["kind"]](decode.read(orjson.dumps(large))) == parse.PARSERS[raw["kind"]](raw)


def test_a_large_pod_takes_little_whatever_it_has() -> None:
    text = orjson.dumps(raw_pod(metadata={"managedFields": 0})).replace(
        b'"managedFields":0', b'"managedFields":' + LISTS
    )
    kept, most = _taken(lambda: parse.pod(decode.read(text, "Pod")))
    assert (kept < 20_000, most < 100_000) == (True, True)


def test_a_long_status_is_none_but_for_its_conditions() -> None:
    raw = raw_group(status={"lastOrdinal": 3, "x": "x" * ORDINARY, "conditions": CONDITIONS})
    assert decode.read(orjson.dumps(raw))["status"] == {"conditions": CONDITIONS}
    raw["status"]["conditions"] = [{"type": "x" * ORDINARY}]
    assert decode.read(orjson.dumps(raw))["status"] == {}
    deep = orjson.dumps(raw_group(status={"x": 0}, metadata={"annotations": {"a": "x" * ORDINARY}}))
    deep = deep.replace(b'"x":0', b'"x":' + b"[" * 900 + b"]" * 900 + b',"conditions":[]')
    assert decode.read(deep)["status"] == {"conditions": []}
    shorter = raw_group(status={"lastOrdinal": 3}, metadata={"annotations": {"a": "x" * ORDINARY}})
    assert decode.read(orjson.dumps(shorter))["status"] == {"lastOrdinal": 3}


def test_long_conditions_of_a_large_object_are_none() -> None:
    raw = raw_cluster(status={"conditions": [{"type": "x" * LARGEST_OBJECT}]})
    assert parse.cluster(decode.read(orjson.dumps(raw))).status == {}


@pytest.mark.parametrize("text", [b"", b"<html>", b"[]", b"null", b"7", b'{"a":', b"[" * 5_000])
def test_what_is_no_object_is_an_error(text: bytes) -> None:
    with pytest.raises(ValueError):
        decode.read(text)
    with pytest.raises(ValueError):
        decode.page(text, "Pod")
    with pytest.raises(ValueError):
        decode.event(text, "Pod")


def test_events() -> None:
    raw = raw_cluster()
    assert decode.event(orjson.dumps({"type": "ADDED", "object": raw}), "DaskCluster") == {
        "type": "ADDED",
        "object": raw,
    }
    for field in (LISTS, DEEP):
        event = decode.event(b'{"type":"MODIFIED","object":%s}' % _with(raw, field), "DaskCluster")
        known = parse.cluster(event["object"])
        assert (event["type"], known.name, bool(known.unread)) == ("MODIFIED", "simple", True)


def test_pages_are_built_up_one_by_one() -> None:
    items = [_with(raw_cluster(f"c-{n}"), b"[" + b"[]," * 80_000 + b"[]]") for n in range(20)]
    metadata = b'{"resourceVersion":"12","continue":"next"}'
    text = b'{"kind":"DaskClusterList","metadata":%s,"items":[%s]}' % (metadata, b",".join(items))
    one = _taken(lambda: [parse.cluster(decode.read(item)) for item in items[:1]])
    page = decode.page(text, "DaskCluster")
    assert (page.version, page.continued) == ("12", "next")
    _, most = _taken(lambda: [parse.cluster(item).name for item in page.items])
    assert most < 2 * one[1]


@pytest.mark.parametrize("items", [b"[]", b"null"])
def test_an_empty_page(items: bytes) -> None:
    page = decode.page(b'{"metadata":{"resourceVersion":"1"},"items":%s}' % items, "Pod")
    assert (list(page.items), page.continued) == ([], "")


def test_of_a_page_that_is_too_deep_the_others_are_read() -> None:
    items = [_with(raw_cluster("deep"), DEEP), orjson.dumps(raw_cluster("sound"))]
    page = decode.page(b'{"metadata":{"resourceVersion":"1"},"items":[%s]}' % b",".join(items), "DaskCluster")
    deep, sound = map(parse.cluster, page.items)
    assert (deep.name, bool(deep.unread), sound.name, sound.unread) == ("deep", True, "sound", "")


def test_a_page_that_is_too_deep_and_too_long_to_be_looked_through_is_an_error() -> None:
    items = b",".join([_with(raw_cluster(), DEEP), _with(raw_cluster(), LISTS), _with(raw_cluster(), LISTS)])
    with pytest.raises(decode.TooDeepError):
        decode.page(b'{"metadata":{"resourceVersion":"1"},"items":[%s]}' % items, "DaskCluster")


def test_texts_that_look_like_depth_are_none() -> None:
    raw = raw_cluster(metadata={"annotations": {"a": '[{"\\' * 5_000}})
    found = decode.event(b'{"type":"ADDED","object":%s}' % _with(raw, DEEP), "DaskCluster")["object"]
    assert (found["metadata"]["name"], found["kind"]) == ("simple", "DaskCluster")


def test_what_is_refused() -> None:
    text = orjson.dumps(
        {"kind": "Status", "reason": "Invalid", "message": "m", "details": {"causes": [{"field": "a"}]}}
    )
    assert decode.status(text) == {"reason": "Invalid", "message": "m", "details": {"causes": [{"field": "a"}]}}
    assert "details" not in decode.status(text.replace(b'"a"', b'"' + b"a" * ORDINARY + b'"'))


@pytest.mark.parametrize("dense", [b"[],", b"{},", b"0,", b"[[],[]],"])
def test_what_has_many_parts_for_its_size_takes_nothing(dense: bytes) -> None:
    whole = orjson.dumps(raw_group())
    parts = dense.count(b"[") + dense.count(b"{") + dense.count(b",")
    for times, read in ((49_000 // parts, True), (51_000 // parts, False)):
        text = whole.replace(b'"containers":', b'"x":[' + dense * times + b'0],"containers":')
        assert len(text) < LARGEST_OBJECT
        for found in (
            decode.read(text),
            decode.event(b'{"type":"ADDED","object":' + text + b"}", "DaskWorkerGroup")["object"],
        ):
            group = parse.group(found)
            assert (group.unread == "") == read
            assert read or "parts, and at most 50,000 are read" in group.unread
            assert group.name == "simple-default"


@pytest.mark.parametrize("page", ["security.md", "troubleshooting.md"])
def test_the_documents_tell_the_bounds(page: str) -> None:
    text = (Path(__file__).parents[3] / "docs" / page).read_text()
    assert f"more than {LARGEST_OBJECT // 2**10} KiB" in text
    assert f"{decode._MOST_PARTS:,} " in text
