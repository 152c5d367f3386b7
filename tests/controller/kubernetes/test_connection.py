from __future__ import annotations

import asyncio
import base64
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from kopf import ConnectionInfo
from tests.support.builders import NOON_TEXT, raw_pod
from tests.support.clock import Run
from tests.support.fake_api import connected
from tests.support.server import serving

from dask_operator import metrics
from dask_operator.kubernetes import connection
from dask_operator.kubernetes.api import Api
from dask_operator.kubernetes.connection import REQUEST_TIMEOUT
from dask_operator.kubernetes.errors import ApiError
from dask_operator.resources import CLUSTER, LEASE, NAMESPACE, POD


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
    monkeypatch.setattr(connection, "LARGEST_ANSWER", 100_000)

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


NAMED = {"kind": "Pod", "metadata": {"namespace": "ns", "name": "p"}}


def _requests(**labels: str) -> float:
    return metrics.REGISTRY.get_sample_value("dask_operator_api_requests_total", labels) or 0.0


Asking = Callable[[Api], Awaitable[object]]


@pytest.mark.parametrize(
    ("ask", "path", "verb", "plural"),
    [
        (lambda api: api.list_page(POD, "", ""), "/api/v1/pods", "list", "pods"),
        (lambda api: api.list_page(NAMESPACE, "", ""), "/api/v1/namespaces", "list", "namespaces"),
        (lambda api: api.list_page(POD, "ns", ""), "/api/v1/namespaces/ns/pods", "list", "pods"),
        (lambda api: anext(api.watch(POD, "ns", "1", 9.0, 9.0)), "/api/v1/namespaces/ns/pods", "watch", "pods"),
        (lambda api: api.create(POD, NAMED), "/api/v1/namespaces/ns/pods", "create", "pods"),
        (lambda api: api.get(POD, "ns", "p"), "/api/v1/namespaces/ns/pods/p", "get", "pods"),
        (lambda api: api.delete(POD, "ns", "p", {}), "/api/v1/namespaces/ns/pods/p", "delete", "pods"),
        (
            lambda api: api.patch(CLUSTER, "ns", "c", {}, "status"),
            "/apis/kubernetes.dask.org/v1/namespaces/ns/daskclusters/c/status",
            "patch",
            "daskclusters",
        ),
        (
            lambda api: api.replace(LEASE, NAMED),
            "/apis/coordination.k8s.io/v1/namespaces/ns/leases/p",
            "update",
            "leases",
        ),
        (lambda api: api.request("GET", "/version"), "/version", "get", "other"),
    ],
)
async def test_requests_are_counted(ask: Asking, path: str, verb: str, plural: str) -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.json_response({}, status=418)

    before = _requests(verb=verb, resource=plural, code="418")
    async with serving(answer) as url, Api(lambda: ConnectionInfo(server=url)) as api:
        with pytest.raises(ApiError):
            await ask(api)
    assert asked == [path]
    assert _requests(verb=verb, resource=plural, code="418") == before + 1.0


async def test_requests_that_are_not_answered_are_counted() -> None:
    before = _requests(verb="get", resource="pods", code="0")
    async with Api(lambda: ConnectionInfo(server="http://127.0.0.1:1")) as api:
        with pytest.raises(ApiError):
            await api.get(POD, "default", "x")
    assert _requests(verb="get", resource="pods", code="0") == before + 1.0
