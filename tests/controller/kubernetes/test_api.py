from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import pytest
from aiohttp import web
from kopf import ConnectionInfo
from tests.support.builders import raw_group, raw_pod
from tests.support.fake_api import FakeApi, connected
from tests.support.server import serving
from tests.support.wait import until

from dask_operator import parse
from dask_operator.kubernetes import api as api_module
from dask_operator.kubernetes import connection, decode
from dask_operator.kubernetes.api import PAGE, Api, path
from dask_operator.kubernetes.errors import ApiError
from dask_operator.resources import DEPLOYMENT, GROUP, LEASE, POD


def test_paths() -> None:
    assert path(POD) == "/api/v1/pods"
    assert path(POD, "ns", "p") == "/api/v1/namespaces/ns/pods/p"
    assert path(DEPLOYMENT, "ns") == "/apis/apps/v1/namespaces/ns/deployments"
    assert path(GROUP, "ns", "g") == "/apis/kubernetes.dask.org/v1/namespaces/ns/daskworkergroups/g"


async def test_a_list_asks_for_a_page_of_what_is_ours_as_of_now() -> None:
    async with connected() as (fake, api):
        fake.put(raw_pod(0))
        fake.put(raw_pod(1, metadata={"labels": {"app": "other"}}))
        page = await api.list_page(POD, "default", "")
        assert [item["metadata"]["name"] for item in page.items] == ["simple-default-worker-0"]
        (request,) = fake.requests
        assert request.query == {"limit": str(PAGE), "labelSelector": "dask.org/cluster-name"}


def _limits(fake: FakeApi) -> list[str]:
    return [seen.query["limit"] for seen in fake.asked("GET")]


async def test_pages_of_large_objects_have_fewer_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "LARGEST_ANSWER", 50_000)
    monkeypatch.setattr(api_module, "PAGE", 8)
    async with connected() as (fake, api):
        for number in range(10, 50):
            size = 15_000 if number < 16 else 10
            fake.put(raw_pod(number, metadata={**raw_pod(number)["metadata"], "annotations": {"a": "x" * size}}))
        found, continued, limit = [], "", 0
        while True:
            page = await api.list_page(POD, "default", continued, limit)
            found += [item["metadata"]["name"] for item in page.items]
            continued, limit = page.continued, page.limit
            if not continued:
                break
        assert found == [f"simple-default-worker-{number}" for number in range(10, 50)]
        assert _limits(fake)[:4] == ["8", "2", "2", "2"], "what is too large is asked for in parts"
        assert _limits(fake)[-1] == "8", "and small ones are asked for by the page again"
        tokens = [seen.query.get("continue", "") for seen in fake.asked("GET")]
        assert tokens[:2] == ["", ""]


async def test_one_object_that_is_larger_than_any_answer_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "LARGEST_ANSWER", 10_000)
    async with connected() as (fake, api):
        fake.put(raw_pod(0, metadata={**raw_pod(0)["metadata"], "annotations": {"a": "x" * 20_000}}))
        for question in (api.list_page(POD, "default", ""), api.get(POD, "default", "simple-default-worker-0")):
            with pytest.raises(ApiError, match="more than 10000 bytes, and so is not read") as caught:
                await question
            assert (caught.value.code, caught.value.reason) == (0, "TooLarge")
        limits = [seen.query["limit"] for seen in fake.asked("GET") if "limit" in seen.query]
        assert limits == ["500", "125", "31", "7", "1"]


async def test_a_page_too_deep_to_be_looked_through_is_asked_for_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "LARGEST_LEVELLED", 20_000)
    monkeypatch.setattr(api_module, "PAGE", 4)
    item = b'{"metadata":{"name":"%d"},"spec":{"x":' + b"[" * 5_000 + b"]" * 5_000 + b"}}"

    async def answer(request: web.Request) -> web.Response:
        items = b",".join(item % number for number in range(int(request.query["limit"])))
        return web.Response(body=b'{"metadata":{"resourceVersion":"1"},"items":[%s]}' % items)

    async with serving(answer) as url, Api(lambda: ConnectionInfo(server=url)) as api:
        page = await api.list_page(GROUP, "default", "")
        assert [each["metadata"]["name"] for each in page.items] == ["0"]


async def test_what_is_large_in_a_reply_is_not_built_up() -> None:
    async with connected() as (fake, api):
        raw = raw_group(spec={"cluster": "simple", "worker": {"spec": {"x": [[]] * 340_000}}})
        fake.put(raw)
        name = raw["metadata"]["name"]
        reply = await api.patch(GROUP, "default", name, {"status": {"conditions": []}}, "status")
        group = parse.group(reply.body)
        assert (group.name, group.cluster, group.unread.startswith("has 1,")) == (name, "simple", True)


async def test_creates_ask_for_warnings_about_unknown_fields() -> None:
    async with connected() as (fake, api):
        fake.warn = lambda raw: [f'unknown field "spec.{raw["kind"]}"', "second"]
        reply = await api.create(POD, raw_pod())
        assert reply.body["metadata"]["uid"]
        assert reply.warnings == ('unknown field "spec.Pod"', "second")
        assert fake.requests[0].query == {"fieldValidation": "Warn"}


@pytest.mark.parametrize("text", ["", "<html>hello</html>"])
async def test_a_success_that_is_no_object_is_a_failure(text: str) -> None:
    async with connected() as (fake, api):
        fake.fail("GET", POD, 200, text=text)
        with pytest.raises(ApiError):
            await api.get(POD, "default", "x")


async def _watched(fake: FakeApi, api: Api, number: int, silence: float = 100.0) -> list[Any]:
    found: list[Any] = []
    async with aclosing(api.watch(POD, "", "100", 240.0, silence)) as stream:
        async for event in stream:
            found.append(event)
            if len(found) == number:
                break
    return found


async def test_a_watch_gives_events_of_any_size() -> None:
    async with connected() as (fake, api):
        for number, size in enumerate([1, 20_000, 1_000_000]):
            fake.put(raw_pod(number, spec={"restartPolicy": "Never", "text": "é" * size}))
        events = await _watched(fake, api, 3)
        assert [parse.pod(event["object"]).ordinal for event in events] == [0, 1, 2]
        assert [len(event["object"]["spec"].get("text", "")) for event in events] == [1, 20_000, 0]
        (request,) = fake.requests
        assert request.query == {
            "watch": "true",
            "labelSelector": "dask.org/cluster-name",
            "resourceVersion": "100",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": "240",
        }


async def test_a_watch_that_is_silent_is_given_up() -> None:
    async with connected() as (fake, api):
        asyncio.get_running_loop().call_later(0.5, fake.silence_watches, POD)
        assert await _watched(fake, api, 1, silence=100.0) == []
        assert asyncio.get_running_loop().time() == pytest.approx(100.0, abs=1.0)


async def test_a_watch_whose_connection_breaks_is_an_error() -> None:
    async with connected() as (fake, api):
        asyncio.get_running_loop().call_later(1.0, fake.cut_watches, POD)
        with pytest.raises(ApiError):
            await _watched(fake, api, 1)


async def test_a_watch_that_is_refused_is_an_error() -> None:
    async with connected() as (fake, api):
        fake.fail("GET", POD, 403, reason="Forbidden", message="may not watch")
        with pytest.raises(ApiError) as caught:
            await _watched(fake, api, 1)
        assert caught.value.code == 403


@pytest.mark.parametrize("line", [b"<html>\n", b'{"type": "ADDED"\n', b"\xff\xfe\n"])
async def test_a_watch_that_speaks_no_json_is_an_error(line: bytes) -> None:
    async with connected() as (fake, api):
        asyncio.get_running_loop().call_later(1.0, fake.send, POD, line)
        with pytest.raises(ApiError):
            await _watched(fake, api, 1)


async def test_a_status_is_patched_as_a_subresource() -> None:
    async with connected() as (fake, api):
        fake.put(raw_group())
        reply = await api.patch(GROUP, "default", "simple-default", {"status": {"replicas": 1}}, "status")
        assert reply.body["status"] == {"replicas": 1}
        assert fake.requests[0].subresource == "status"


async def test_watches_take_no_connections_from_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CONNECTIONS", 1)
    async with connected() as (fake, api):
        watches = [asyncio.create_task(_watched(fake, api, 1)) for _ in range(5)]
        await until(lambda: fake.watching(POD) == 5, "five watches", 5.0)
        await api.create(POD, raw_pod(0))
        await asyncio.gather(*watches)


async def test_a_replacement_of_an_older_state_is_refused() -> None:
    async with connected() as (_, api):
        metadata = {"name": "l", "namespace": "default"}
        made = (await api.create(LEASE, {"kind": "Lease", "metadata": metadata, "spec": {}})).body
        newer = (await api.replace(LEASE, {**made, "spec": {"holderIdentity": "a"}})).body
        assert newer["spec"] == {"holderIdentity": "a"}
        with pytest.raises(ApiError, match="409"):
            await api.replace(LEASE, made)
