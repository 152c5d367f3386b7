from __future__ import annotations

import asyncio
import base64
import gc
import socket
import ssl
import subprocess
import tracemalloc
from asyncio.sslproto import SSLProtocol
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from kopf import ConnectionInfo
from tests.support.builders import NOON_TEXT, raw_group, raw_pod
from tests.support.clock import Run
from tests.support.fake_api import FakeApi, connected
from tests.support.server import serving
from tests.support.wait import happens, until

from dask_operator import metrics, parse
from dask_operator.kubernetes import api as api_module
from dask_operator.kubernetes import decode
from dask_operator.kubernetes.api import PAGE, REQUEST_TIMEOUT, TLS_BUFFER, Api, ApiError, path
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
    monkeypatch.setattr(api_module, "LARGEST_ANSWER", 50_000)
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
    monkeypatch.setattr(api_module, "LARGEST_ANSWER", 10_000)
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


async def test_a_long_refusal_is_read_in_part() -> None:
    status = {"code": 422, "reason": "Invalid", "message": "m" * 2_000_000, "details": {"causes": [{"field": "a"}]}}

    async def answer(_: web.Request) -> web.Response:
        return web.json_response(status, status=422)

    async with serving(answer) as url, Api(lambda: ConnectionInfo(server=url)) as api:
        with pytest.raises(ApiError) as caught:
            await api.get(POD, "default", "x")
        assert (caught.value.code, caught.value.reason, caught.value.fields) == (422, "Invalid", ("a",))
        assert len(caught.value.message) < 10_000


@pytest.mark.parametrize("status", [200, 500])
async def test_an_answer_without_end_is_not_read_to_its_end(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_module, "LARGEST_ANSWER", 100_000)

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=status)
        await response.prepare(request)
        while True:
            await response.write(b" " * 10_000)

    async with serving(answer) as url, Api(lambda: ConnectionInfo(server=url)) as api:
        with pytest.raises(ApiError, match="more than 100000 bytes"):
            await api.get(POD, "default", "x")
        with pytest.raises(ApiError, match="more than 100000 bytes"):
            await anext(api.watch(POD, "", "1", 60.0, 60.0))


async def test_answers_come_as_they_are() -> None:
    async with connected() as (fake, api):
        await api.list_page(POD, "default", "")
        assert fake.requests[0].headers["Accept-Encoding"] == "identity", "a few bytes could become many"


async def test_creates_ask_for_warnings_about_unknown_fields() -> None:
    async with connected() as (fake, api):
        fake.warn = lambda raw: [f'unknown field "spec.{raw["kind"]}"', "second"]
        reply = await api.create(POD, raw_pod())
        assert reply.body["metadata"]["uid"]
        assert reply.warnings == ('unknown field "spec.Pod"', "second")
        assert fake.requests[0].query == {"fieldValidation": "Warn"}


async def test_a_refusal_says_what_the_api_server_says() -> None:
    async with connected() as (fake, api):
        message = 'pods "x" is forbidden: exceeded quota: small'
        fake.fail("POST", POD, 403, reason="Forbidden", message=message)
        with pytest.raises(ApiError) as caught:
            await api.create(POD, raw_pod())
        error = caught.value
    assert (error.code, error.reason, error.retry_after) == (403, "Forbidden", 0.0)
    assert str(error) == '403 Forbidden: pods "x" is forbidden: exceeded quota: small'


async def test_too_many_requests_says_when_to_come_back() -> None:
    async with connected() as (fake, api):
        fake.fail("GET", POD, 429, reason="TooManyRequests", headers={"Retry-After": "17"})
        with pytest.raises(ApiError) as caught:
            await api.get(POD, "default", "x")
        error = caught.value
    assert (error.code, error.retry_after) == (429, 17.0)


@pytest.mark.parametrize("text", ["", "<html>Bad Gateway</html>", "[]", "null"])
async def test_an_error_that_is_no_status(text: str) -> None:
    async with connected() as (fake, api):
        fake.fail("GET", POD, 502, text=text)
        with pytest.raises(ApiError) as caught:
            await api.get(POD, "default", "x")
        error = caught.value
    assert (error.code, error.reason, error.message) == (502, "Bad Gateway", text)


@pytest.mark.parametrize("text", ["", "<html>hello</html>"])
async def test_a_success_that_is_no_object_is_a_failure(text: str) -> None:
    async with connected() as (fake, api):
        fake.fail("GET", POD, 200, text=text)
        with pytest.raises(ApiError):
            await api.get(POD, "default", "x")


async def test_credentials_that_expired_are_renewed_once() -> None:
    async with connected() as (fake, api):
        fake.put(raw_pod())
        fake.token = "next"
        assert (await api.get(POD, "default", "simple-default-worker-0")).body["metadata"]["uid"]
        assert fake.logins == 2


async def test_credentials_that_stay_refused_are_an_error() -> None:
    async with connected() as (fake, api):
        fake.fail("GET", POD, 401, reason="Unauthorized", times=5)
        with pytest.raises(ApiError) as caught:
            await api.get(POD, "default", "x")
        assert caught.value.code == 401
        assert len(fake.requests) == 2


async def test_silence_does_not_last() -> None:
    async def answer(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async with serving(answer) as url, Api(lambda: ConnectionInfo(server=url)) as api:
        with pytest.raises(ApiError, match="did not answer") as caught:
            await api.get(POD, "default", "x")
        assert (caught.value.code, caught.value.reason) == (0, "Unreachable")
        assert asyncio.get_running_loop().time() == pytest.approx(REQUEST_TIMEOUT, abs=1.0)


async def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"

    with pytest.raises(ApiError, match="the API server did not answer"):
        async with Api(lambda: ConnectionInfo(server=url)) as api:
            await api.get(POD, "default", "x")


def test_a_connection_that_was_not_opened_says_so(run: Run) -> None:
    with pytest.raises(RuntimeError, match="async with"):
        run(Api(lambda: ConnectionInfo(server="http://127.0.0.1:1")).get(POD, "default", "x"))


async def _watched(fake: FakeApi, api: Api, number: int, silence: float = 100.0) -> list[Any]:
    found: list[Any] = []
    async with aclosing(api.watch(POD, "", "100", 240.0, silence)) as stream:  # type: ignore[type-var]
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


@pytest.mark.parametrize(
    ("info", "header"),
    [
        ({"token": "abc"}, "Bearer abc"),
        ({"token": "abc", "scheme": "Token"}, "Token abc"),
        ({"username": "me", "password": "pw"}, f"Basic {base64.b64encode(b'me:pw').decode()}"),
        ({}, None),
    ],
)
async def test_credentials(info: dict[str, Any], header: str | None) -> None:
    got: list[str | None] = []

    async def answer(request: web.Request) -> web.Response:
        got.append(request.headers.get("Authorization"))
        assert request.headers["User-Agent"] == "dask-kubernetes-operator"
        return web.json_response({})

    async with serving(answer) as url, Api(lambda: ConnectionInfo(server=url + "/", **info)) as api:
        await api.get(POD, "default", "x")
    assert got == [header]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A server's and a client's self-signed certificate, each its own authority."""
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("server", "client"):
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
                *("-days", "1", "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"),
                *("-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.crt"),
            ],
            check=True,
            capture_output=True,
        )
    return folder


def _encoded(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()


@pytest.mark.parametrize("source", ["paths", "data", "insecure"])
async def test_tls_with_a_client_certificate(certificates: Path, source: str) -> None:
    ca, certificate, key = (certificates / name for name in ("server.crt", "client.crt", "client.key"))
    infos: dict[str, dict[str, Any]] = {
        "paths": {"ca_path": str(ca), "certificate_path": str(certificate), "private_key_path": str(key)},
        "data": {
            "ca_data": _encoded(ca),
            "certificate_data": _encoded(certificate),
            "private_key_data": _encoded(key),
        },
        "insecure": {"insecure": True, "certificate_path": str(certificate), "private_key_path": str(key)},
    }
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificate))
    server.load_cert_chain(certificates / "server.crt", certificates / "server.key")
    server.verify_mode = ssl.CERT_REQUIRED

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"at": NOON_TEXT})

    async with serving(answer, server) as url, Api(lambda: ConnectionInfo(server=url, **infos[source])) as api:
        assert (await api.get(POD, "default", "x")).body == {"at": NOON_TEXT}


async def test_a_server_nobody_vouches_for_is_not_trusted(certificates: Path) -> None:
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificates / "server.crt", certificates / "server.key")

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({})

    with pytest.raises(ApiError, match="certificate"):
        async with serving(answer, server) as url, Api(lambda: ConnectionInfo(server=url)) as api:
            await api.get(POD, "default", "x")


async def test_a_connection_that_is_over_is_forgotten(certificates: Path) -> None:
    """A transport of TLS that was lost does not call itself closing."""
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificates / "server.crt", certificates / "server.key")

    async def hang_up(request: web.Request) -> web.Response:
        assert request.transport
        request.transport.abort()
        return web.json_response({})

    def connections() -> int:
        gc.collect()
        return sum(isinstance(known, SSLProtocol) for known in gc.get_objects())

    before = connections()
    async with serving(hang_up, server) as url, Api(lambda: ConnectionInfo(server=url, insecure=True)) as api:
        for _ in range(5):
            with pytest.raises(ApiError, match="did not answer"):
                await api.create(POD, raw_pod(0))
        await until(lambda: connections() <= before, "the end of all connections", 5.0)


def test_a_connection_takes_little_memory(run: Run, certificates: Path) -> None:
    """Of both its ends."""
    number, server = 20, ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificates / "server.crt", certificates / "server.key")

    async def answer(_: web.Request) -> web.Response:
        await all_there.wait()
        return web.json_response({})

    async def asked() -> int:
        async with serving(answer, server) as url, Api(lambda: ConnectionInfo(server=url, insecure=True)) as api:
            before, _ = tracemalloc.get_traced_memory()
            await asyncio.gather(*(api.get(POD, "default", "x") for _ in range(number)))
            return tracemalloc.get_traced_memory()[0] - before

    all_there = asyncio.Barrier(number)
    tracemalloc.start()
    try:
        assert run(asked()) / number < 2 * TLS_BUFFER + 64 * 1024
    finally:
        tracemalloc.stop()


async def test_watches_take_no_connections_from_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_module, "CONNECTIONS", 1)
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


async def test_a_write_that_is_not_permitted_is_cancelled_and_never_sent() -> None:
    async with connected() as (fake, _), Api(fake.login, permitted=lambda: False) as api:
        fake.put(raw_pod(1))
        for write in (
            api.create(POD, raw_pod(0)),
            api.patch(POD, "default", "simple-default-worker-1", {"spec": {}}),
            api.delete(POD, "default", "simple-default-worker-1", {}),
        ):
            with pytest.raises(asyncio.CancelledError):
                await write
        assert fake.requests == []
        assert await api.get(POD, "default", "simple-default-worker-1"), "reading harms nobody"


async def test_a_write_that_waits_for_a_connection_until_it_is_not_permitted_is_never_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(api_module, "CONNECTIONS", 1)
    permitted = [True]

    async def answer(request: web.Request) -> web.Response:
        got.append(await request.json())
        await asyncio.sleep(5.0)
        return web.json_response({})

    got: list[Any] = []
    async with serving(answer) as url, Api(lambda: ConnectionInfo(server=url), lambda: permitted[0]) as api:
        first, second = (asyncio.create_task(api.create(POD, raw_pod(number))) for number in range(2))
        await until(lambda: got, "the first", 2.0)
        permitted[0] = False
        await first
        with pytest.raises(asyncio.CancelledError):
            await second
        assert len(got) == 1


def test_nothing_arrives_any_more_from_a_connection_that_was_closed() -> None:
    """As when the network is down: what was written waits in the kernel, and would be delivered later."""

    async def asked(server: socket.socket) -> None:
        info = ConnectionInfo(server=f"http://127.0.0.1:{server.getsockname()[1]}")
        async with Api(lambda: info) as api:
            write = asyncio.create_task(api.create(POD, raw_pod(0, spec={"text": "x" * 900_000})))
            assert not await happens(write.done, 0.3)
            write.cancel()
            with pytest.raises(asyncio.CancelledError):
                await write

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        asyncio.run(asked(server))
        connection, _ = server.accept()
        with connection, connection.makefile("rb") as received, pytest.raises(ConnectionResetError):
            received.read()


def _requests(**labels: str) -> float:
    return metrics.REGISTRY.get_sample_value("dask_operator_api_requests_total", labels) or 0.0


@pytest.mark.parametrize(
    ("where", "method", "verb", "plural"),
    [
        ("/api/v1/pods", "GET", "list", "pods"),
        ("/api/v1/namespaces", "GET", "list", "namespaces"),
        ("/api/v1/namespaces/ns/pods", "GET", "list", "pods"),
        ("/api/v1/namespaces/ns/pods", "POST", "create", "pods"),
        ("/api/v1/namespaces/ns/pods/p", "GET", "get", "pods"),
        ("/apis/kubernetes.dask.org/v1/namespaces/ns/daskclusters/c/status", "PATCH", "patch", "daskclusters"),
        ("/apis/coordination.k8s.io/v1/namespaces/ns/leases/l", "PUT", "update", "leases"),
    ],
)
async def test_requests_are_counted(where: str, method: str, verb: str, plural: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response({}, status=418)

    before = _requests(verb=verb, resource=plural, code="418")
    async with serving(answer) as url, Api(lambda: ConnectionInfo(server=url)) as api:
        with pytest.raises(ApiError):
            await api.request(method, where, {})
    assert _requests(verb=verb, resource=plural, code="418") == before + 1.0


async def test_requests_that_are_not_answered_are_counted() -> None:
    before = _requests(verb="get", resource="pods", code="0")
    async with Api(lambda: ConnectionInfo(server="http://127.0.0.1:1")) as api:
        with pytest.raises(ApiError):
            await api.get(POD, "default", "x")
    assert _requests(verb="get", resource="pods", code="0") == before + 1.0


@pytest.mark.parametrize(
    ("status", "loggable"),
    [
        (
            {"code": 422, "reason": "Invalid", "details": {"causes": [{"field": "spec.type", "message": "hunter2"}]}},
            "422 Invalid: spec.type",
        ),
        ({"code": 422, "reason": "Invalid", "details": {"causes": [None, {}, {"message": "x"}]}}, "422 Invalid"),
        ({"code": 422, "reason": "Invalid", "details": None}, "422 Invalid"),
        ({"code": 400, "reason": "BadRequest", "message": "hunter2"}, "400 BadRequest"),
        (
            {"code": 500, "reason": "InternalError", "message": 'webhook "x" denied the request: hunter2\nhunter2'},
            '500 InternalError: webhook "x" denied the request',
        ),
        (
            {"code": 422, "reason": "Invalid", "message": "ValidatingAdmissionPolicy 'x' denied request: hunter2"},
            "422 Invalid",
        ),
        (
            {"code": 403, "reason": "no hunter2", "message": 'webhook "x" denied the request: no hunter2'},
            '403: webhook "x" denied the request',
        ),
        (
            {"code": 403, "reason": "Forbidden", "message": 'User "x" cannot create resource "pods"'},
            '403 Forbidden: User "x" cannot create resource "pods"',
        ),
    ],
)
async def test_what_may_be_logged_of_a_refusal(status: dict[str, Any], loggable: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response(status, status=status["code"])

    async with serving(answer) as url, Api(lambda: ConnectionInfo(server=url)) as api:
        with pytest.raises(ApiError) as caught:
            await api.get(POD, "default", "x")
        assert caught.value.loggable == loggable
