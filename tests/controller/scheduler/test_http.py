"""`Http` by itself; what schedulers are asked over it is tested with `questions`."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from tests.support.server import serving

from dask_operator.scheduler.failures import Failure, Kind
from dask_operator.scheduler.http import Http


class _Failing:
    """A scheduler that answers some requests with an error, and then the others."""

    def __init__(self, *codes: int) -> None:
        self._codes = list(codes)
        self.asked: list[tuple[str, float]] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append((request.method, asyncio.get_running_loop().time()))
        return web.Response(status=self._codes.pop(0)) if self._codes else web.Response(text="[]")


async def _asked(scheduler: _Failing, method: str, timeout: float = 10.0) -> bytes | Failure:
    async with serving(scheduler.answer) as url, Http() as http:
        return await (http.get(url, 100, timeout) if method == "GET" else http.post(url, {}, 100, timeout))


async def test_a_question_that_only_reads_is_asked_again_until_the_scheduler_answers() -> None:
    scheduler = _Failing(503, 502)
    assert await _asked(scheduler, "GET") == b"[]"
    assert [time for _, time in scheduler.asked] == [pytest.approx(time, abs=0.1) for time in (0.0, 0.2, 1.0)]


@pytest.mark.parametrize("code", [403, 404, 500])
async def test_what_the_scheduler_itself_answers_is_not_asked_again(code: int) -> None:
    scheduler = _Failing(code)
    assert isinstance(await _asked(scheduler, "GET"), Failure)
    assert len(scheduler.asked) == 1


async def test_there_is_an_end_to_asking() -> None:
    scheduler = _Failing(*[503] * 10)
    answer = await _asked(scheduler, "GET")
    assert isinstance(answer, Failure)
    assert answer.kind is Kind.UNREACHED
    assert len(scheduler.asked) == 3
    hasty = _Failing(*[503] * 10)
    assert isinstance(await _asked(hasty, "GET", timeout=0.5), Failure)
    assert len(hasty.asked) == 2, "no time is left for a third"


async def test_a_question_that_makes_the_scheduler_act_is_asked_once() -> None:
    scheduler = _Failing(503)
    assert isinstance(await _asked(scheduler, "POST"), Failure)
    assert [method for method, _ in scheduler.asked] == ["POST"]
