"""Values that are merged leave one of members that exclude each other, which is the last one given."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from typing import Any

import pytest
from tests.charts.conftest import Render

SOURCES: dict[str, Any] = {
    "emptyDir": {},
    "configMap": {"name": "a"},
    "secret": {"secretName": "a"},
    "persistentVolumeClaim": {"claimName": "a"},
    "hostPath": {"path": "/a"},
    "ephemeral": {"volumeClaimTemplate": {}},
    "projected": {"sources": []},
    "csi": {"driver": "a"},
}
HANDLERS: dict[str, Any] = {
    "exec": {"command": ["true"]},
    "httpGet": {"port": 1},
    "tcpSocket": {"port": 1},
    "grpc": {"port": 1},
    "sleep": {"seconds": 1},
}
VARIABLES: dict[str, Any] = {"value": "a", "valueFrom": {"secretKeyRef": {"name": "a", "key": "a"}}}
REFERENCES: dict[str, Any] = {
    "secretKeyRef": {"name": "a", "key": "a"},
    "configMapKeyRef": {"name": "a", "key": "a"},
    "fieldRef": {"fieldPath": "status.podIP"},
}
CLAIMS: dict[str, Any] = {"resourceClaimName": "a", "resourceClaimTemplateName": "a"}
PROFILES: dict[str, Any] = {"type": "RuntimeDefault"}

Made = dict[str, Any]


def _in_container(**parts: Any) -> Made:
    return {"spec": {"containers": [{"name": "worker", **parts}]}}


# What members are in, from the members to a Pod template, and back.
PLACES: dict[str, tuple[dict[str, Any], Callable[[Made], Made], Callable[[Made], Made]]] = {
    "a volume": (
        SOURCES,
        lambda members: {"spec": {"volumes": [{"name": "a", **members}]}},
        lambda pod: next(volume for volume in pod["volumes"] if volume["name"] == "a"),
    ),
    "a volume of the chart": (
        SOURCES,
        lambda members: {"spec": {"volumes": [{"name": "tmp", **members}]}},
        lambda pod: next(volume for volume in pod["volumes"] if volume["name"] == "tmp"),
    ),
    "a claim": (
        CLAIMS,
        lambda members: {"spec": {"resourceClaims": [{"name": "a", **members}]}},
        lambda pod: pod["resourceClaims"][0],
    ),
    "a variable": (
        VARIABLES,
        lambda members: _in_container(env=[{"name": "A", **members}]),
        lambda pod: next(variable for variable in pod["containers"][0]["env"] if variable["name"] == "A"),
    ),
    "a reference": (
        REFERENCES,
        lambda members: _in_container(env=[{"name": "A", "valueFrom": members}]),
        lambda pod: next(it["valueFrom"] for it in pod["containers"][0]["env"] if it["name"] == "A"),
    ),
    **{
        probe: (
            {name: handler for name, handler in HANDLERS.items() if name != "sleep"},
            lambda members, probe=probe: _in_container(**{probe: members}),  # type: ignore[misc]
            lambda pod, probe=probe: pod["containers"][0][probe],  # type: ignore[misc]
        )
        for probe in ("startupProbe", "readinessProbe", "livenessProbe")
    },
    **{
        hook: (
            HANDLERS,
            lambda members, hook=hook: _in_container(lifecycle={hook: members}),  # type: ignore[misc]
            lambda pod, hook=hook: pod["containers"][0]["lifecycle"][hook],  # type: ignore[misc]
        )
        for hook in ("preStop", "postStart")
    },
}


@pytest.mark.parametrize("place", PLACES)
def test_a_group_has_its_own_member_in_place_of_the_inherited_one(render: Render, place: str) -> None:
    members, template, found = PLACES[place]
    pairs = list(permutations(members, 2))
    groups = {f"workerGroups.{_named(pair)}.podTemplate": template({pair[1]: members[pair[1]]}) for pair in pairs}
    for inherited in members:
        mine = {path: group for path, group in groups.items() if path.split(".")[1].startswith(f"{inherited.lower()}-")}
        manifests = render("dask-cluster", {"worker.podTemplate": template({inherited: members[inherited]}), **mine})
        pods = {m["metadata"]["name"]: m["spec"]["worker"]["spec"] for m in manifests if m["kind"] == "DaskWorkerGroup"}
        assert len(pods) == len(members) - 1
        for name, pod in pods.items():
            assert [it.lower() for it in found(pod) if it in members] == [name.split("-")[-1]]


@pytest.mark.parametrize("source", [source for source in SOURCES if source != "persistentVolumeClaim"])
def test_a_volume_has_the_source_of_the_last_value_that_gives_one(render: Render, source: str) -> None:
    values = {
        "volumes.a": {"mountPath": "/a", "readOnly": True, "persistentVolumeClaim": {"claimName": "a"}},
        "worker.volumes.a": {"subPath": "a"},
        "workerGroups.b.volumes.a": {"readOnly": None, source: SOURCES[source]},
    }
    (group,) = (m for m in render("dask-cluster", values) if m["kind"] == "DaskWorkerGroup")
    pod = group["spec"]["worker"]["spec"]
    assert pod["volumes"][0] == {"name": "a", source: SOURCES[source]}
    assert pod["containers"][0]["volumeMounts"][0] == {"name": "a", "mountPath": "/a", "subPath": "a"}


@pytest.mark.parametrize("profile", ["seccompProfile", "appArmorProfile"])
def test_a_profile_of_another_type_has_no_file(render: Render, profile: str) -> None:
    local = {"spec": {"securityContext": {profile: {"type": "Localhost", "localhostProfile": "a"}}}}
    other = {"spec": {"securityContext": {profile: PROFILES}}}
    values = {"worker.podTemplate": local, "workerGroups.a.podTemplate": other}
    (group,) = (m for m in render("dask-cluster", values) if m["kind"] == "DaskWorkerGroup")
    assert group["spec"]["worker"]["spec"]["securityContext"][profile] == PROFILES


def test_a_variable_of_two_sources_is_refused(render: Render) -> None:
    """Try what Helm makes of two files of values, which it merges by key before the chart sees them."""
    values = {"env.A.valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}, "fieldRef": {"fieldPath": "c"}}}
    with pytest.raises(AssertionError, match=r"env\.A has the sources fieldRef, secretKeyRef, but can have only one"):
        render("dask-cluster", values)


def _named(pair: tuple[str, str]) -> str:
    return "-".join(pair).lower()
