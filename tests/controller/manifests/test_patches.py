from __future__ import annotations

from typing import Any

import pytest
from tests.support.builders import (
    NOON_TEXT,
    OWNED_BY_CLUSTER,
    WORKER_SPEC,
    a_cluster,
    a_deployment,
    a_group,
    a_service,
    an_autoscaler,
)

from dask_operator import manifests
from dask_operator.model import Metadata

TEMPLATE, GIVEN = "kubernetes.dask.org/template", "kubernetes.dask.org/given"


def test_what_goes_with_its_cluster_is_owned_by_it() -> None:
    assert manifests.owners_patch(a_cluster()) == {"metadata": {"ownerReferences": OWNED_BY_CLUSTER}}


def test_copied_replicas_are_noted() -> None:
    assert manifests.copied_replicas_patch(a_cluster(workers=7)) == {
        "metadata": {"annotations": {"kubernetes.dask.org/replicas": "7"}},
        "spec": {"worker": {"replicas": 7}},
    }


def test_replicas_that_the_cluster_does_not_say_are_noted_as_such() -> None:
    assert manifests.copied_replicas_patch(a_cluster(workers=None)) == {
        "metadata": {"annotations": {"kubernetes.dask.org/replicas": "unsaid"}}
    }
    assert manifests.group_manifest(a_cluster(workers=None))["spec"]["worker"]["replicas"] == 1


@pytest.mark.parametrize("seconds", [0, 600, None])
def test_a_drain_timeout_is_set_or_removed(seconds: int | None) -> None:
    patch = manifests.drain_timeout_patch(a_cluster(drain_timeout=seconds))
    assert patch == {"spec": {"worker": {"drainTimeoutSeconds": seconds}}}


def _added(patch: list[dict[str, Any]]) -> dict[str, Any]:
    assert {operation["op"] for operation in patch} == {"add"}
    return {operation["path"]: operation["value"] for operation in patch}


def test_an_edit_of_the_scheduler_replaces_its_template_as_a_whole() -> None:
    # A merge would keep the keys that a user has removed.
    cluster = a_cluster(scheduler_metadata=Metadata({"a/b~c": "d"}))
    wanted, added = manifests.deployment_manifest(cluster), _added(manifests.deployment_patch(cluster, a_deployment()))
    assert added["/spec/template"] == wanted["spec"]["template"]
    assert added["/metadata/labels/a~1b~0c"] == "d"
    assert "/metadata/labels/others" not in added, "what was not edited is not sent, however much there is of it"
    assert added["/metadata/annotations/kubernetes.dask.org~1template"] == cluster.scheduler.hash
    assert not [path for path in added if path.startswith("/spec/selector")], "it cannot be changed"


def test_an_edit_takes_away_what_its_user_no_longer_names_and_nothing_else() -> None:
    before = manifests.declared_keys(Metadata({"gone": "x", "team": "x", "dask.org/component": "x"}, {"gone/a~b": "x"}))
    assert before == "gone team;gone/a~b"
    cluster = a_cluster(metadata=Metadata({"team": "all"}), scheduler_metadata=Metadata({"new": "y"}))
    for patch in (
        manifests.deployment_patch(cluster, a_deployment(declared_keys=before)),
        manifests.service_patch(cluster, a_service(declared_keys=before)),
    ):
        about = [operation for operation in patch if operation["path"].startswith("/metadata/labels/")]
        assert about == [
            {"op": "add", "path": "/metadata/labels/new", "value": "y"},
            {"op": "add", "path": "/metadata/labels/gone", "value": ""},
            {"op": "remove", "path": "/metadata/labels/gone"},
            {"op": "add", "path": "/metadata/labels/team", "value": "all"},
        ]
        assert {"op": "remove", "path": "/metadata/annotations/gone~1a~0b"} in patch
        assert {"op": "add", "path": "/metadata/annotations/kubernetes.dask.org~1given", "value": "new;"} in patch
    unnamed = manifests.group_patch(a_cluster(), a_group(declared_keys=";gone"))
    assert {"op": "remove", "path": "/metadata/annotations/gone"} in unnamed
    assert {"op": "remove", "path": "/metadata/annotations/kubernetes.dask.org~1given"} in unnamed


def test_an_edit_of_the_service_resets_what_is_no_longer_there() -> None:
    added = _added(manifests.service_patch(a_cluster(service_spec={"ports": [{"port": 1}]}), a_service()))
    assert (added["/spec/ports"], added["/spec/type"], added["/spec/sessionAffinity"]) == ([{"port": 1}], None, None)
    assert "/spec/clusterIP" not in added
    assert _added(manifests.service_patch(a_cluster(), a_service()))["/spec/type"] == "ClusterIP"


def test_an_edit_of_the_default_group_leaves_its_replicas() -> None:
    added = _added(manifests.group_patch(a_cluster(worker_metadata=Metadata({"a": "b"})), a_group()))
    assert added["/spec/worker/spec"] == WORKER_SPEC
    assert added["/spec/worker/metadata"] == {"labels": {"a": "b"}, "annotations": {}}
    assert _added(manifests.group_patch(a_cluster(), a_group()))["/spec/worker/metadata"] == {}
    assert not [path for path in added if "replicas" in path]


def test_an_autoscaler_notes_what_it_does_on_the_group() -> None:
    assert manifests.scaled_group_patch(an_autoscaler(), 7, NOON_TEXT, "3 → 7: x") == {
        "metadata": {"annotations": {"kubernetes.dask.org/scaled": f"{NOON_TEXT} simple 3 → 7: x"}},
        "spec": {"worker": {"replicas": 7}},
    }
