"""`Asker` in the face of the controller's own bugs; answers of schedulers are tested with `execute`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.support.builders import NOON, a_cluster

from dask_operator import metrics
from dask_operator.actions import IDLE, TARGET, WORKERS, Ask, Retire
from dask_operator.model import Endpoint, Key, Observed
from dask_operator.reconcile.asking import Asker
from dask_operator.reconcile.store import Store
from dask_operator.reconcile.workqueue import WorkQueue

KEY = Key("default", "simple")
ENDPOINT = Endpoint("http://10.0.0.1:8787", "tcp://10.0.0.1:8786")


class _Wrong:
    """Schedulers that are asked by code with a bug, for as long as `wrong`."""

    def __init__(self) -> None:
        self.wrong = True
        self.asked: list[float] = []

    async def _ask(self, *_: object) -> Any:
        self.asked.append(asyncio.get_running_loop().time())
        if self.wrong:
            raise ZeroDivisionError("a mistake of ours")
        return frozenset()

    workers = target = idle_since = retire = _ask


@asynccontextmanager
async def _asking(schedulers: _Wrong) -> AsyncIterator[tuple[Asker, Callable[[], Observed], WorkQueue]]:
    def clock() -> float:
        return NOON + asyncio.get_running_loop().time()

    store, queue = Store(), WorkQueue(clock)
    store.observe("DaskCluster", a_cluster())
    asker = Asker(schedulers, store, queue, clock)  # type: ignore[arg-type]
    try:
        yield asker, lambda: store.snapshot(KEY)[1], queue
    finally:
        await asker.close()


def _errors() -> float:
    return metrics.REGISTRY.get_sample_value("dask_operator_reconcile_errors_total") or 0.0


async def _planned_again(queue: WorkQueue) -> None:
    async with asyncio.timeout(100.0):
        queue.done(await queue.get())


@pytest.mark.parametrize("question", [WORKERS, TARGET, IDLE, "nonsense"])
async def test_an_error_of_our_own_is_logged_and_counted_and_the_question_pauses_longer_each_time(
    caplog: pytest.LogCaptureFixture, question: str
) -> None:
    schedulers, before, pauses = _Wrong(), _errors(), []
    async with _asking(schedulers) as (asker, observed, queue):
        for _ in range(4):
            began = asyncio.get_running_loop().time()
            asker.ask(KEY, Ask(question, ENDPOINT, "x"))
            await asyncio.sleep(0.1)
            assert observed().asking == {question}, "so it is not asked again at once"
            await _planned_again(queue)
            assert observed().asking == frozenset()
            pauses.append(asyncio.get_running_loop().time() - began)
    assert pauses == [pytest.approx(seconds, abs=0.1) for seconds in (0.5, 1.0, 2.0, 4.0)]
    assert _errors() == before + 4.0
    assert "default/simple: its scheduler is asked again in 0.5 s after an error" in caplog.text
    assert {record.levelno for record in caplog.records} == {logging.ERROR}


async def test_a_retirement_that_fails_by_our_own_error_is_over_after_the_pause() -> None:
    schedulers = _Wrong()
    async with _asking(schedulers) as (asker, observed, queue):
        asker.retire(KEY, Retire(ENDPOINT, (("uid", "tcp://10.0.0.2:1"),), "x"))
        await asyncio.sleep(0.1)
        assert observed().retiring == {"uid"}
        await _planned_again(queue)
        assert (observed().retiring, observed().retired, observed().refused) == (frozenset(), frozenset(), {})
        survey = observed().survey
        assert survey
        assert survey.problem
        assert survey.problem.reason == "ControllerError"


async def test_a_success_ends_the_series_of_errors() -> None:
    schedulers = _Wrong()

    async def asked(asker: Asker, queue: WorkQueue) -> float:
        began = asyncio.get_running_loop().time()
        asker.ask(KEY, Ask(WORKERS, ENDPOINT, "x"))
        await _planned_again(queue)
        return asyncio.get_running_loop().time() - began

    async with _asking(schedulers) as (asker, _, queue):
        first = [await asked(asker, queue) for _ in range(2)]
        schedulers.wrong = False
        await asked(asker, queue)
        schedulers.wrong = True
        assert [*first, await asked(asker, queue)] == [pytest.approx(wanted, abs=0.1) for wanted in (0.5, 1.0, 0.5)]
