from __future__ import annotations

import asyncio
import base64
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from kopf import ConnectionInfo, LoginError
from tests.support.builders import NOON_TEXT, raw_pod
from tests.support.clock import Run
from tests.support.fake_api import connected
from tests.support.server import serving
from tests.support.wait import until

from dask_operator import metrics
from dask_operator.kubernetes import connection
from dask_operator.kubernetes.api import Api
from dask_operator.kubernetes.connection import RENEWAL, REQUEST_TIMEOUT
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


async def test_tokens_are_read_again_before_they_are_refused() -> None:
    tokens: list[str | None] = []
    current = ["first"]
    logins: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        tokens.append(request.headers.get("Authorization"))
        return web.json_response({})

    def login() -> ConnectionInfo:
        logins.append(current[0])
        return ConnectionInfo(server=url, token=current[0])

    async with serving(answer) as url, Api(login) as api:
        current[0] = "second"
        for _ in range(100):
            await api.get(POD, "default", "x")
        assert logins == ["first"], "not at every request"
        await asyncio.sleep(RENEWAL)
        await api.get(POD, "default", "x")
        await until(lambda: len(logins) == 2, "the second login")
        await until(lambda: api._connection._headers["Authorization"] == "Bearer second", "its token")
        await api.get(POD, "default", "x")
        for _ in range(60):
            await asyncio.sleep(10.0)
            await api.get(POD, "default", "x")
    assert tokens[99] == "Bearer first"
    assert tokens[101:] == ["Bearer second"] * 61
    assert 10 <= len(logins) <= 13, "about once a minute"


@pytest.mark.parametrize(
    ("lasts", "logins"),
    [(timedelta(hours=1), 2), (timedelta(days=365_000), 1), (timedelta(seconds=-5), 60), (timedelta(seconds=90), 60)],
)
async def test_credentials_that_say_when_they_end_are_renewed_a_minute_before(lasts: timedelta, logins: int) -> None:
    called: list[datetime] = []

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({})

    def login() -> ConnectionInfo:
        called.append(datetime.now(UTC))
        return ConnectionInfo(server=url, token="x", expiration=called[0] + lasts)

    async with serving(answer) as url, Api(login) as api:
        for _ in range(3600 // 20 - 1):
            await asyncio.sleep(20.0)
            await api.get(POD, "default", "x")
    assert len(called) == pytest.approx(logins, rel=0.1)


async def test_a_renewal_that_fails_leaves_the_known_credentials(caplog: pytest.LogCaptureFixture) -> None:
    async with connected() as (fake, api):
        fake.put(raw_pod())
        valid, calls = api._connection._login, list[int]()

        def fails() -> ConnectionInfo:
            calls.append(0)
            raise LoginError("the file is being written")

        api._connection._login = fails
        for _ in range(30):
            await asyncio.sleep(10.0)
            assert await api.get(POD, "default", "simple-default-worker-0")
        await until(lambda: len(calls) >= 4, "attempts")
        fake.token = "next"
        with pytest.raises(ApiError) as refused:
            await api.get(POD, "default", "simple-default-worker-0")
        assert refused.value.code == 401
        api._connection._login = valid
        assert await api.get(POD, "default", "simple-default-worker-0")
    assert [record.getMessage() for record in caplog.records] == [
        "credentials cannot be renewed: the file is being written"
    ], "once"


async def test_a_login_that_takes_long_holds_up_no_request() -> None:
    async with connected() as (fake, api):
        fake.put(raw_pod())
        known, goes_on = api._connection._login, threading.Event()

        def slow() -> ConnectionInfo:
            goes_on.wait(20.0)
            return known()

        api._connection._login = slow
        await asyncio.sleep(RENEWAL)
        async with asyncio.timeout(5.0):
            for _ in range(10):
                await api.get(POD, "default", "simple-default-worker-0")
        assert fake.logins == 1
        goes_on.set()
        await until(lambda: fake.logins == 2, "the login")


async def test_many_refused_requests_log_in_once() -> None:
    async with connected() as (fake, api):
        fake.put(raw_pod())
        fake.token = "next"
        await asyncio.gather(*(api.get(POD, "default", "simple-default-worker-0") for _ in range(30)))
        assert fake.logins == 2


async def test_certificates_that_are_replaced_in_their_files_are_used(certificates: Path, tmp_path: Path) -> None:
    """Replace the authority and the client's certificate, after which the server takes no others."""
    for name in ("server.crt", "client.crt", "client.key"):
        (tmp_path / name).write_bytes((certificates / name.replace("client", "server")).read_bytes())
    peers: list[Any] = []

    async def answer(request: web.Request) -> web.Response:
        assert request.transport
        peers.append(dict(field[0] for field in request.transport.get_extra_info("peercert")["subject"])["commonName"])
        return web.json_response({})

    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    for name in ("server", "client"):
        server.load_verify_locations(certificates / f"{name}.crt")
    server.load_cert_chain(certificates / "server.crt", certificates / "server.key")
    server.verify_mode = ssl.CERT_REQUIRED

    def login() -> ConnectionInfo:
        certificate, key = tmp_path / "client.crt", tmp_path / "client.key"
        authority = tmp_path / "server.crt"
        return ConnectionInfo(server=url, ca_path=authority, certificate_path=certificate, private_key_path=key)

    async with serving(answer, server) as url, Api(login) as api:
        await api.get(POD, "default", "x")
        known = api._connection._tls
        for name in ("client.crt", "client.key"):
            (tmp_path / name).write_bytes((certificates / name).read_bytes())
        await asyncio.sleep(RENEWAL)
        await api.get(POD, "default", "x")
        await until(lambda: api._connection._tls is not known, "the new certificate")
        renewed = api._connection._tls
        await api.get(POD, "default", "x")
        await asyncio.sleep(RENEWAL)
        await api.get(POD, "default", "x")
        renewal = api._connection._renewal
        assert renewal
        await until(renewal.done, "another renewal")
        assert api._connection._tls is renewed, "it has not changed"
    assert peers == ["server", "server", "client", "client"]


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
