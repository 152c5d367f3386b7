"""The Python client's assumptions about an API server, checked against the real one and the fake.

Reads raw answers, since the client would turn errors into its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
from tests.support.builders import SERVICE_SPEC, WORKER_SPEC

_DASK = "/apis/kubernetes.dask.org/v1"
_NOBODY = {"Impersonate-User": "nobody"}

Check = Callable[[httpx.AsyncClient, str], Awaitable[None]]


async def what_is_not_there_has_a_name(session: httpx.AsyncClient, namespace: str) -> None:
    absent = f"{_DASK}/namespaces/{namespace}/daskclusters/absent"
    merge = {"Content-Type": "application/merge-patch+json"}
    for answer in (
        await session.get(absent),
        await session.get(f"{_DASK}/namespaces/no-such-namespace/daskclusters/absent"),
        await session.patch(absent, json={"spec": {}}, headers=merge),
        await session.delete(absent),
        await session.get(f"{_pods(namespace)}/absent/log"),
        await session.get(f"{_pods(namespace)}/absent/portforward?ports=1"),
    ):
        assert answer.status_code == 404
        kind = "pods" if "/pods/" in answer.request.url.path else "daskclusters"
        assert answer.json()["details"]["name"] == "absent"
        assert answer.json()["details"]["kind"] == kind


async def a_namespace_that_is_not_there_is_named(session: httpx.AsyncClient, namespace: str) -> None:
    clusters = f"{_DASK}/namespaces/no-such-namespace/daskclusters"
    answer = await session.post(clusters, json=_cluster("made"))
    assert (answer.status_code, answer.json()["message"]) == (404, 'namespaces "no-such-namespace" not found')
    assert answer.json()["details"] == {"name": "no-such-namespace", "kind": "namespaces"}
    assert (await session.get(clusters)).json()["items"] == [], "and lists are empty there"


async def kinds_that_are_not_installed_are_no_page(session: httpx.AsyncClient, namespace: str) -> None:
    for path in (f"/apis/no-such-group.dask.org/v1/namespaces/{namespace}/daskclusters", f"{_DASK}/no-such-kind"):
        for answer in (await session.get(path), await session.post(path, json=_cluster("made"))):
            assert (answer.status_code, answer.text) == (404, "404 page not found\n")


async def what_a_role_lacks_is_said(session: httpx.AsyncClient, namespace: str) -> None:
    clusters, where = f"{_DASK}/namespaces/{namespace}/daskclusters", f'in the namespace "{namespace}"'
    dask = 'resource "daskclusters" in API group "kubernetes.dask.org"'
    for path, what in (
        (clusters, f'daskclusters.kubernetes.dask.org is forbidden: User "nobody" cannot list {dask} {where}'),
        (
            f"{_DASK}/daskclusters",
            f'daskclusters.kubernetes.dask.org is forbidden: User "nobody" cannot list {dask} at the cluster scope',
        ),
        (
            f"{clusters}/x",
            f'daskclusters.kubernetes.dask.org "x" is forbidden: User "nobody" cannot get {dask} {where}',
        ),
        (
            f"{_pods(namespace)}/x/portforward?ports=1",
            f'pods "x" is forbidden: User "nobody" cannot get resource "pods/portforward" in API group "" {where}',
        ),
        (
            "/api/v1/nodes",
            'nodes is forbidden: User "nobody" cannot list resource "nodes" in API group "" at the cluster scope',
        ),
    ):
        answer = await session.get(path, headers=_NOBODY)
        assert (answer.status_code, answer.json()["message"]) == (403, what)


async def credentials_that_are_not_known_are_refused(session: httpx.AsyncClient, namespace: str) -> None:
    # A connection of its own, since a client certificate belongs to that of `session`.
    async with httpx.AsyncClient(base_url=session.base_url, verify=False, timeout=30.0) as stranger:
        answer = await stranger.get(_pods(namespace), headers={"Authorization": "Bearer no-such-token"})
    assert (answer.status_code, answer.json()["reason"]) == (401, "Unauthorized")


async def what_is_invalid_is_said(session: httpx.AsyncClient, namespace: str) -> None:
    answer = await session.post(f"{_DASK}/namespaces/{namespace}/daskclusters", json={**_cluster("bad"), "spec": {}})
    assert (answer.status_code, answer.json()["reason"]) == (422, "Invalid")
    assert "spec.scheduler: Required value" in answer.json()["message"]


async def who_has_made_an_object_is_known(session: httpx.AsyncClient, namespace: str) -> None:
    clusters = f"{_DASK}/namespaces/{namespace}/daskclusters"
    made = await session.post(clusters, json=_cluster("mine"), params={"fieldManager": "me"})
    assert made.status_code == 201
    found = (await session.get(f"{clusters}/mine")).json()
    assert "me" in [writer["manager"] for writer in found["metadata"]["managedFields"]]
    again = await session.post(clusters, json=_cluster("mine"), params={"fieldManager": "another"})
    assert again.status_code == 409
    deleted = {"propagationPolicy": "Background", "preconditions": {"uid": "another"}}
    refused = await session.request("DELETE", f"{clusters}/mine", json=deleted)
    assert (refused.status_code, refused.json()["reason"]) == (409, "Conflict")
    deleted["preconditions"] = {"uid": found["metadata"]["uid"]}
    assert (await session.request("DELETE", f"{clusters}/mine", json=deleted)).status_code == 200


async def a_pod_that_has_not_started_has_no_log_and_no_ports(session: httpx.AsyncClient, namespace: str) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "waits"}}
    spec = {**WORKER_SPEC, "schedulerName": "nobody"}
    assert (await session.post(_pods(namespace), json={**pod, "spec": spec})).status_code == 201
    for previous in ("true", "false"):
        log = await session.get(f"{_pods(namespace)}/waits/log?container=worker&previous={previous}")
        assert (log.status_code, log.text) == (204, "")
    log = await session.get(f"{_pods(namespace)}/waits/log?container=another")
    assert (log.status_code, log.json()["message"]) == (400, "container another is not valid for pod waits")
    port = await session.get(f"{_pods(namespace)}/waits/portforward?ports=1")
    assert (port.status_code, port.json()["message"]) == (400, "pod waits does not have a host assigned")
    assert (await session.delete(f"{_pods(namespace)}/waits")).status_code == 200


CHECKS: tuple[Check, ...] = (
    what_is_not_there_has_a_name,
    a_namespace_that_is_not_there_is_named,
    kinds_that_are_not_installed_are_no_page,
    what_a_role_lacks_is_said,
    credentials_that_are_not_known_are_refused,
    what_is_invalid_is_said,
    who_has_made_an_object_is_known,
    a_pod_that_has_not_started_has_no_log_and_no_ports,
)


def _pods(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/pods"


def _cluster(name: str) -> dict[str, Any]:
    scheduler = {"spec": {"containers": [{"name": "scheduler", "image": "dask"}]}, "service": SERVICE_SPEC}
    return {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskCluster",
        "metadata": {"name": name},
        "spec": {"worker": {"replicas": 1, "spec": WORKER_SPEC}, "scheduler": scheduler},
    }
