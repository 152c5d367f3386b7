from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.support.builders import NOON
from tests.support.fake_api import connected
from tests.support.wait import until

from dask_operator.process.own_events import INTERVAL, record
from dask_operator.process.settings import PodReference
from dask_operator.resources import EVENT

ME = PodReference("dask-operator", "controller-1", "uid-of-controller-1")


def _messages(fake: Any) -> list[str]:
    return [event["message"] for event in fake.objects(EVENT)]


async def test_what_is_lacking_is_said_of_the_own_pod_when_it_comes() -> None:
    lacking = ["may not watch pods"]
    async with connected() as (fake, api):
        task = asyncio.create_task(record(api, ME, lambda: lacking, lambda: NOON))
        await until(lambda: _messages(fake) == ["may not watch pods"], "the first Event", 1.0)
        (event,) = fake.objects(EVENT)
        assert event["involvedObject"] == {"apiVersion": "v1", "kind": "Pod", **ME._asdict()}
        assert (event["type"], event["reason"]) == ("Warning", "NotReady")
        await asyncio.sleep(3 * INTERVAL)
        assert len(fake.asked("POST", "events")) == 1, "what was said is not said again"
        lacking.append("may not watch services")
        await until(lambda: len(_messages(fake)) == 2, "the second Event", 2 * INTERVAL)
        task.cancel()


async def test_what_comes_again_is_the_same_event(caplog: pytest.LogCaptureFixture) -> None:
    lacking: list[str] = ["may not watch pods"]
    async with connected() as (fake, api):
        task = asyncio.create_task(record(api, ME, lambda: lacking, lambda: NOON))
        await until(lambda: len(_messages(fake)) == 1, "the Event", 1.0)
        lacking.clear()
        await asyncio.sleep(2 * INTERVAL)
        lacking.append("may not watch pods")
        await until(lambda: len(fake.asked("POST", "events")) == 2, "it is said again", 2 * INTERVAL)
        assert len(_messages(fake)) == 1
        task.cancel()
    assert caplog.messages == []


async def test_that_events_are_not_permitted_is_logged_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    lacking = ["may not watch pods"]
    async with connected() as (fake, api):
        fake.fail("POST", EVENT, 403, times=1)
        task = asyncio.create_task(record(api, ME, lambda: lacking, lambda: NOON))
        await until(lambda: "event not recorded" in caplog.text, "it is logged", 1.0)
        lacking.append("may not watch services")
        await until(lambda: _messages(fake) == ["may not watch services"], "the next Event", 2 * INTERVAL)
        task.cancel()
