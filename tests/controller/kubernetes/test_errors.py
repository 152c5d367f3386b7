from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web
from kopf import ConnectionInfo
from tests.support.builders import raw_pod
from tests.support.fake_api import connected
from tests.support.server import serving

from dask_operator.kubernetes.api import Api
from dask_operator.kubernetes.errors import ApiError
from dask_operator.resources import POD


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
