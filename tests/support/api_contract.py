"""The controller's assumptions about an API server, checked against the real one and the fake."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from tests.support.builders import SCHEDULER_SPEC, SERVICE_SPEC, WORKER_SPEC

from dask_operator.kubernetes.api import Api, path
from dask_operator.kubernetes.errors import ApiError
from dask_operator.model import Json
from dask_operator.parse import resource_version
from dask_operator.resources import DEPLOYMENT, GROUP, LEASE, POD, SERVICE, Resource

# Far from a test's own bounds: a real server sends a bookmark about two seconds before a watch's end.
_WATCH_SECONDS = 10.0
_SILENCE = 30.0

Check = Callable[[Api, str], Awaitable[None]]


async def check_contract(api: Api, namespace: str) -> None:
    """Check all of it in a namespace without groups; leave none. Raises AssertionError."""
    for check in CHECKS:
        await check(api, namespace)


async def a_second_create_is_refused(api: Api, namespace: str) -> None:
    made = await _made(api, namespace, "first")
    assert made["metadata"]["uid"]
    assert resource_version(made) > 0, "resource versions are numbers"
    error = await _refused(api.create(GROUP, a_manifest(namespace, "first")))
    assert (error.code, error.reason) == (409, "AlreadyExists"), error
    assert (await api.get(GROUP, namespace, "first")).body["metadata"]["uid"] == made["metadata"]["uid"]
    await _cleared(api, namespace)


async def a_dry_run_makes_nothing(api: Api, namespace: str) -> None:
    pod = {"metadata": {"name": "tried", "namespace": namespace}, "spec": {"containers": [{"name": "a", "image": "a"}]}}
    manifest = {"apiVersion": "v1", "kind": "Pod", **pod}
    assert (await api.create(POD, manifest, dry_run=True)).body["metadata"]["name"] == "tried"
    assert (await _refused(api.get(POD, namespace, "tried"))).code == 404


async def what_is_not_there_is_not_found(api: Api, namespace: str) -> None:
    for request in (
        api.get(GROUP, namespace, "absent"),
        api.patch(GROUP, namespace, "absent", {"spec": {}}),
        api.patch(GROUP, namespace, "absent", {"status": {"replicas": 1}}, "status"),
        api.delete(GROUP, namespace, "absent", {"uid": "any"}),
    ):
        error = await _refused(request)
        assert (error.code, error.reason) == (404, "NotFound"), error


async def patches_merge(api: Api, namespace: str) -> None:
    made = await _made(api, namespace, "merged", annotations={"kept": "1", "gone": "2"})
    body = {"metadata": {"annotations": {"gone": None, "new": "3"}}, "spec": {"worker": {"replicas": 5}}}
    patched = (await api.patch(GROUP, namespace, "merged", body)).body
    assert patched["metadata"]["annotations"] == {"kept": "1", "new": "3"}
    assert patched["spec"]["worker"]["replicas"] == 5
    assert patched["spec"]["cluster"] == made["spec"]["cluster"]
    assert patched["metadata"]["generation"] == made["metadata"]["generation"] + 1
    assert resource_version(patched) > resource_version(made)
    again = (await api.patch(GROUP, namespace, "merged", body)).body
    assert resource_version(again) == resource_version(patched), "a patch that changes nothing is no write"
    stale = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"], "labels": {"a": "b"}}}
    error = await _refused(api.patch(GROUP, namespace, "merged", stale))
    assert (error.code, error.reason) == (409, "Conflict"), error
    await _cleared(api, namespace)


async def the_status_is_a_subresource(api: Api, namespace: str) -> None:
    made = await _made(api, namespace, "status")
    written = {"status": {"replicas": 2}, "spec": {"worker": {"replicas": 9}}}
    patched = (await api.patch(GROUP, namespace, "status", written, "status")).body
    assert patched["status"]["replicas"] == 2
    assert patched["spec"] == made["spec"], "the status subresource does not change the spec"
    assert patched["metadata"]["generation"] == made["metadata"]["generation"]
    other = (await api.patch(GROUP, namespace, "status", {"status": {"replicas": 3}})).body
    assert other["status"]["replicas"] == 2, "and the object itself does not change the status"
    await _cleared(api, namespace)


async def deletes_keep_their_preconditions(api: Api, namespace: str) -> None:
    made = await _made(api, namespace, "deleted")
    uid, version = made["metadata"]["uid"], made["metadata"]["resourceVersion"]
    patched = (await api.patch(GROUP, namespace, "deleted", {"metadata": {"labels": {"a": "b"}}})).body
    for preconditions in ({"uid": "another"}, {"uid": uid, "resourceVersion": version}):
        error = await _refused(api.delete(GROUP, namespace, "deleted", preconditions))
        assert (error.code, error.reason) == (409, "Conflict"), error
    current = {"uid": uid, "resourceVersion": patched["metadata"]["resourceVersion"]}
    await api.delete(GROUP, namespace, "deleted", current)
    assert (await _refused(api.get(GROUP, namespace, "deleted"))).code == 404


async def a_finalizer_holds_what_is_deleted(api: Api, namespace: str) -> None:
    await _made(api, namespace, "held", finalizers=["tests.dask.org/held"])
    await api.delete(GROUP, namespace, "held", {})
    assert (await api.get(GROUP, namespace, "held")).body["metadata"]["deletionTimestamp"]
    await api.patch(GROUP, namespace, "held", {"metadata": {"finalizers": None}})
    assert (await _refused(api.get(GROUP, namespace, "held"))).code == 404


async def lists_come_in_pages(api: Api, namespace: str) -> None:
    for number in range(5):
        await _made(api, namespace, f"page-{number}")
    names: list[str] = []
    versions: set[str] = set()
    continued = ""
    while True:
        page = (await api.request("GET", path(GROUP, namespace), params={"limit": "2", "continue": continued})).body
        assert len(page["items"]) <= 2
        names += [item["metadata"]["name"] for item in page["items"]]
        versions.add(page["metadata"]["resourceVersion"])
        if not (continued := page["metadata"].get("continue", "")):
            break
    assert names == [f"page-{number}" for number in range(5)]
    assert len(versions) == 1, "all pages show one moment"
    await _cleared(api, namespace)


async def watches_tell_in_order(api: Api, namespace: str) -> None:
    before = (await api.list_page(GROUP, namespace, "")).version
    made = await _made(api, namespace, "watched")
    await api.patch(GROUP, namespace, "watched", {"metadata": {"labels": {"a": "b"}}})
    await api.delete(GROUP, namespace, "watched", {"uid": made["metadata"]["uid"]})
    events = await _events(api, namespace, before, 3)
    assert [event["type"] for event in events] == ["ADDED", "MODIFIED", "DELETED"]
    versions = [resource_version(event["object"]) for event in events]
    assert versions[0] == resource_version(made)
    assert versions == sorted(set(versions)), "each event has a newer version, a deletion as well"
    assert await _events(api, namespace, str(versions[1]), 1) == events[2:], "a watch goes on where it ended"


async def watches_are_bookmarked(api: Api, namespace: str) -> None:
    start = (await api.list_page(GROUP, namespace, "")).version
    # If nothing has happened at all, the server may send nothing.
    made = await _made(api, namespace, "seen")
    bookmarks = await _events(api, namespace, start, 1, "BOOKMARK")
    assert bookmarks, "a watch says how far it has come before it ends"
    assert resource_version(bookmarks[0]["object"]) >= resource_version(made)
    await _cleared(api, namespace)


async def a_version_that_is_too_old_is_gone(api: Api, namespace: str) -> None:
    (event,) = await _events(api, namespace, "1", 1)
    assert event["type"] == "ERROR"
    assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")


async def unknown_fields_are_warned_about(api: Api, namespace: str) -> None:
    manifest = {
        "apiVersion": SERVICE.api_version,
        "kind": SERVICE.kind,
        "metadata": {"name": "misspelt", "namespace": namespace},
        "spec": {**SERVICE_SPEC, "nonsense": True},
    }
    reply = await api.create(SERVICE, manifest)
    assert reply.warnings == ('unknown field "spec.nonsense"',)
    assert reply.body["spec"]["clusterIP"], "a Service has its address in the reply already"
    await api.delete(SERVICE, namespace, "misspelt", {"uid": reply.body["metadata"]["uid"]})


async def a_lease_is_replaced_only_as_it_was_seen(api: Api, namespace: str) -> None:
    metadata = {"name": "lease", "namespace": namespace}
    spec = {"holderIdentity": "a", "leaseDurationSeconds": 4, "renewTime": "2026-01-01T12:00:00.000000Z"}
    assert (await _refused(api.get(LEASE, namespace, "lease"))).code == 404
    made = (await api.create(LEASE, _lease(metadata, {**spec, "leaseTransitions": 0}))).body
    error = await _refused(api.create(LEASE, _lease(metadata, spec)))
    assert (error.code, error.reason) == (409, "AlreadyExists"), error
    free = (await api.replace(LEASE, {**made, "spec": {**made["spec"], "holderIdentity": ""}})).body
    assert not free["spec"].get("holderIdentity")
    assert resource_version(free) > resource_version(made)
    error = await _refused(api.replace(LEASE, made))
    assert (error.code, error.reason) == (409, "Conflict"), error
    assert (await api.get(LEASE, namespace, "lease")).body["metadata"]["uid"] == made["metadata"]["uid"]
    gone = (await api.replace(LEASE, {**free, "spec": {**free["spec"], "holderIdentity": "b"}})).body
    await api.request("DELETE", path(LEASE, namespace, "lease"), {})
    error = await _refused(api.replace(LEASE, gone))
    assert (error.code, error.reason) == (409, "Conflict"), error


async def a_deployment_gets_a_pod(api: Api, namespace: str) -> None:
    labels = {"dask.org/cluster-name": "absent", "dask.org/component": "scheduler"}
    before = (await api.list_page(POD, namespace, "")).version
    manifest = {
        "apiVersion": DEPLOYMENT.api_version,
        "kind": DEPLOYMENT.kind,
        "metadata": {"name": "deployed", "namespace": namespace, "labels": labels},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": SCHEDULER_SPEC},
        },
    }
    made = (await api.create(DEPLOYMENT, manifest)).body
    (event,) = await _events(api, namespace, before, 1, resource=POD)
    pod = event["object"]
    assert event["type"] == "ADDED"
    assert labels.items() <= pod["metadata"]["labels"].items()
    assert pod["metadata"]["name"].startswith("deployed-")
    await api.delete(DEPLOYMENT, namespace, "deployed", {"uid": made["metadata"]["uid"]})


CHECKS: tuple[Check, ...] = (
    a_second_create_is_refused,
    a_dry_run_makes_nothing,
    what_is_not_there_is_not_found,
    patches_merge,
    the_status_is_a_subresource,
    deletes_keep_their_preconditions,
    a_finalizer_holds_what_is_deleted,
    lists_come_in_pages,
    watches_tell_in_order,
    watches_are_bookmarked,
    a_version_that_is_too_old_is_gone,
    unknown_fields_are_warned_about,
    a_lease_is_replaced_only_as_it_was_seen,
    a_deployment_gets_a_pod,
)


def a_manifest(namespace: str, name: str, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": GROUP.api_version,
        "kind": GROUP.kind,
        "metadata": {"name": name, "namespace": namespace, **metadata},
        "spec": {"cluster": "absent", "worker": {"replicas": 1, "spec": WORKER_SPEC}},
    }


def _lease(metadata: Json, spec: Json) -> Json:
    return {"apiVersion": LEASE.api_version, "kind": LEASE.kind, "metadata": metadata, "spec": spec}


async def _made(api: Api, namespace: str, name: str, **metadata: Any) -> Json:
    return (await api.create(GROUP, a_manifest(namespace, name, **metadata))).body


async def _cleared(api: Api, namespace: str) -> None:
    for item in (await api.list_page(GROUP, namespace, "")).items:
        await api.delete(GROUP, namespace, item["metadata"]["name"], {"uid": item["metadata"]["uid"]})


async def _refused(request: Awaitable[object]) -> ApiError:
    try:
        answer = await request
    except ApiError as error:
        return error
    raise AssertionError(f"expected a refusal, not {answer}")


async def _events(
    api: Api, namespace: str, version: str, number: int, type_: str = "", resource: Resource = GROUP
) -> list[Json]:
    """Return a watch's first events, of a type or without bookmarks; fewer if it ends before."""
    found: list[Json] = []
    stream = api.watch(resource, namespace, version, _WATCH_SECONDS, _SILENCE)
    async for event in stream:
        if event["type"] == type_ or (not type_ and event["type"] != "BOOKMARK"):
            found.append(event)
        if len(found) == number:
            break
    await stream.aclose()
    return found
