from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.support.builders import a_pod, raw_group, raw_pod
from tests.support.fake_api import FakeApi, connected
from tests.support.wait import happens, meanwhile, until

from dask_operator import parse
from dask_operator.kubernetes import api
from dask_operator.kubernetes import watch as watch_module
from dask_operator.kubernetes.watch import SILENCE, Watch
from dask_operator.model import Json, Key, Object
from dask_operator.reconcile.store import Store
from dask_operator.resources import GROUP, POD

KEY = Key("default", "simple")


@dataclass
class Watching:
    """A watch of Pods that runs against a fake."""

    fake: FakeApi
    store: Store
    watch: Watch
    changed: list[Key] = field(default_factory=list)

    def names(self) -> set[str]:
        return {pod.name for pod in self.store.snapshot(KEY)[1].pods}

    async def sees(self, *numbers: int) -> None:
        wanted = {f"simple-default-worker-{number}" for number in numbers}
        await until(lambda: self.names() == wanted, f"the store to have {wanted}, not {self.names()}", 200.0)

    def lists(self) -> int:
        return len(self.fake.asked("GET", "pods"))

    def watches(self) -> list[str]:
        """Return the versions from which it has watched."""
        return [seen.query["resourceVersion"] for seen in self.fake.requests if seen.query.get("watch")]


class _Telling(Store):
    """A store that notes the keys of what changes."""

    def __init__(self) -> None:
        super().__init__()
        self.changed: list[Key] = []

    def observe(self, kind: str, seen: Object) -> Iterable[Key]:
        return self._told(super().observe(kind, seen))

    def removed(self, kind: str, gone: Object) -> Iterable[Key]:
        return self._told(super().removed(kind, gone))

    def replace(self, kind: str, namespace: str, listed: Iterable[Object], version: int) -> set[Key]:
        return set(self._told(super().replace(kind, namespace, listed, version)))

    def _told(self, keys: Iterable[Key]) -> list[Key]:
        self.changed.extend(keys := list(keys))
        return keys


@asynccontextmanager
async def _watching(*pods: dict[str, Any], namespace: str = "") -> AsyncIterator[Watching]:
    async with connected() as (fake, connection):
        for pod in pods:
            fake.put(pod)
        sink = _Telling()
        watching = Watching(fake, sink, Watch(connection, sink, POD, namespace), sink.changed)
        task = asyncio.create_task(watching.watch.run())
        try:
            await asyncio.wait_for(watching.watch.synced.wait(), 100.0)
            await until(lambda: fake.watching(POD), "the watch to be open", 100.0)
            yield watching
            assert not task.done(), "a watch goes on until it is cancelled"
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def test_what_there_is_is_known_once_synced() -> None:
    async with _watching(raw_pod(0), raw_pod(1)) as watching:
        assert watching.names() == {"simple-default-worker-0", "simple-default-worker-1"}
        assert watching.changed == [KEY]


async def test_a_list_of_several_pages_is_one_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "PAGE", 2)
    async with _watching(*map(raw_pod, range(5))) as watching:
        assert len(watching.names()) == 5
        assert watching.lists() == 3


async def test_events_reach_the_store_and_tell_whom_they_matter_to() -> None:
    async with _watching(raw_pod(0)) as watching:
        watching.changed.clear()
        watching.fake.put(raw_pod(1))
        await watching.sees(0, 1)
        watching.fake.put(raw_pod(1, status={"phase": "Running"}))
        await until(lambda: "Running" in {p.phase for p in watching.store.snapshot(KEY)[1].pods}, "a change", 5.0)
        watching.fake.drop(POD, "simple-default-worker-0")
        await watching.sees(1)
        assert watching.changed == [KEY, KEY, KEY]
        assert watching.lists() == 1


async def test_only_its_own_namespace() -> None:
    async with _watching(raw_pod(0), namespace="default") as watching:
        watching.fake.put(raw_pod(1, metadata={"namespace": "other"}))
        watching.fake.put(raw_pod(2))
        await watching.sees(0, 2)
        assert Key("other", "simple") not in set(watching.store.keys())


async def test_an_end_that_no_watch_has_told_of_is_known_within_an_hour() -> None:
    async with _watching(raw_pod(0), raw_pod(1)) as watching:
        watching.fake.lose(POD, "simple-default-worker-0")
        await until(
            lambda: watching.names() == {"simple-default-worker-1"}, "the store to know of the end", 3600.0, 30.0
        )
        assert watching.lists() == 2


async def test_a_bookmark_is_where_the_next_watch_begins() -> None:
    async with _watching(raw_pod(0)) as watching:
        reached = watching.fake.bookmark(POD)
        watching.fake.end_watches(POD)
        overtaken = a_pod(5, resource_version=reached)
        await until(lambda: len(watching.watches()) == 2, "the next watch", 10.0)
        assert watching.watches()[1] == str(reached)
        assert list(watching.store.learn("Pod", overtaken)) == [], "it may be gone again already"
        assert watching.lists() == 1, "a watch that ended as it should goes on where it was"
        watching.fake.put(raw_pod(1))
        await watching.sees(0, 1)


async def test_a_watch_that_ends_at_its_time_misses_nothing() -> None:
    async with _watching(raw_pod(0)) as watching:
        for number in range(1, 5):
            for _ in range(4):
                await asyncio.sleep(60.0)
                watching.fake.bookmark(POD)
            watching.fake.put(raw_pod(number))
        await watching.sees(*range(5))
        assert len(watching.watches()) > 2
        assert watching.lists() == 1


def _gone(watching: Watching) -> None:
    """Answer like an API server that has forgotten the version from which a watch continues."""
    watching.fake.end_watches(POD)
    watching.fake.drop(POD, "simple-default-worker-0")
    watching.fake.put(raw_pod(2))
    watching.fake.compact()


def _error(watching: Watching) -> None:
    status = {"kind": "Status", "code": 500, "reason": "InternalError", "message": "etcd has no leader"}
    watching.fake.send(POD, {"type": "ERROR", "object": status})
    _behind_its_back(watching)


def _cut(watching: Watching) -> None:
    watching.fake.cut_watches(POD)
    _behind_its_back(watching)


def _garbage(watching: Watching) -> None:
    watching.fake.send(POD, b"<html>\n")
    _behind_its_back(watching)


def _shapeless(watching: Watching) -> None:
    watching.fake.send(POD, {"type": "ADDED"})
    _behind_its_back(watching)


def _behind_its_back(watching: Watching) -> None:
    watching.fake.silence_watches(POD)
    watching.fake.drop(POD, "simple-default-worker-0")
    watching.fake.put(raw_pod(2))


@pytest.mark.parametrize("fault", [_gone, _error, _cut, _garbage, _shapeless])
async def test_what_was_missed_is_made_good_by_a_list(fault: Any) -> None:
    async with _watching(raw_pod(0), raw_pod(1)) as watching:
        watching.changed.clear()
        fault(watching)
        await watching.sees(1, 2)
        assert watching.lists() == 2
        assert set(watching.changed) == {KEY}


async def test_a_connection_that_has_gone_silent_is_left_and_what_it_missed_is_seen_without_a_list() -> None:
    async with _watching(raw_pod(0), raw_pod(1)) as watching:
        _behind_its_back(watching)
        start = asyncio.get_running_loop().time()
        await until(lambda: len(watching.watches()) == 2, "the next watch", 200.0)
        await watching.sees(1, 2)
        assert watching.lists() == 1
        assert (asyncio.get_running_loop().time() - start) == pytest.approx(SILENCE, abs=2.0)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (403, "may not watch pods in all namespaces: a fault on demand; grant the controller's ServiceAccount"),
        (404, "there are no pods in all namespaces to watch, as the API server does not know them; install the CRDs"),
        (500, "watch of pods in all namespaces: 500"),
    ],
)
async def test_a_list_that_is_refused_is_tried_again_and_said_once(
    caplog: pytest.LogCaptureFixture, status: int, said: str
) -> None:
    with caplog.at_level(logging.INFO):
        async with connected() as (fake, connection):
            fake.fail("GET", POD, status, times=3)
            watch = Watch(connection, Store(), POD, "")
            task = asyncio.create_task(watch.run())
            await until(lambda: watch.complaint, "the complaint", 5.0)
            assert watch.complaint.text.startswith(said)
            assert watch.complaint.lasting == watch.answered.is_set() == (status in {403, 404})
            assert watch.synced.is_set() == (status == 404), "there is nothing of a kind that does not exist"
            await until(lambda: watch.synced.is_set() and not watch.complaint, "the watch", 60.0)
            task.cancel()
    messages = [record.getMessage() for record in caplog.records if record.name.endswith("watch")]
    assert messages[0].startswith(said)
    assert messages[1:] == ["the watch of pods in all namespaces works again"]


async def _synced_after(retry_after: int, patience: float) -> float:
    """Return the seconds until a watch has synced that was told once to retry later."""
    async with connected() as (fake, connection):
        fake.fail("GET", POD, 429, headers={"Retry-After": str(retry_after)})
        watch = Watch(connection, Store(), POD, "")
        async with meanwhile(watch.run()):
            await asyncio.wait_for(watch.synced.wait(), patience)
            return asyncio.get_running_loop().time()


async def test_it_comes_back_when_the_api_server_says() -> None:
    assert await _synced_after(45, 100.0) == pytest.approx(45.0, abs=0.5)


async def test_what_the_api_server_says_is_no_reason_to_wait_for_hours() -> None:
    assert await _synced_after(86400, 1000.0) < 150.0


async def test_its_times_show_that_it_gets_on() -> None:
    async with _watching(raw_pod(0)) as watching:
        watch, loop = watching.watch, asyncio.get_running_loop()
        await asyncio.sleep(50.0)
        watching.fake.put(raw_pod(1))
        await watching.sees(0, 1)
        assert watch.last_message == pytest.approx(loop.time(), abs=1.0)
        watching.fake.silence_watches(POD)
        for _ in range(20):
            await asyncio.sleep(50.0)
            watching.fake.silence_watches(POD)
            assert loop.time() - watch.last_try < 200.0


async def test_errors_make_it_wait_longer_each_time() -> None:
    async with connected() as (fake, connection):
        fake.fail("GET", POD, 500, times=10_000)
        task = asyncio.create_task(Watch(connection, Store(), POD, "").run())
        await asyncio.sleep(600.0)
        task.cancel()
        assert 20 < len(fake.requests) < 60


@pytest.mark.parametrize(("status", "reason"), [(410, "Expired"), (500, "InternalError"), (403, "Forbidden")])
async def test_a_watch_that_never_works_does_not_list_without_end(status: int, reason: str) -> None:
    async with connected() as (fake, connection):
        refused = {"matches": lambda seen: seen.query.get("watch") == "true", "times": 10_000}
        fake.fail("GET", POD, status, reason=reason, **refused)
        task = asyncio.create_task(Watch(connection, Store(), POD, "").run())
        often = await happens(lambda: len(fake.asked("GET")) > 50, 300.0)
        task.cancel()
        assert not often, "fifty lists within five minutes"


async def test_a_watch_that_ends_at_once_is_not_opened_without_end() -> None:
    async with _watching(raw_pod(0)) as watching:
        for _ in range(100):
            watching.fake.end_watches(POD)
            await asyncio.sleep(0.05)
        assert len(watching.watches()) < 20, "within five seconds"


@pytest.mark.parametrize("field", ["[" * 5_000 + "]" * 5_000, "[" + "[]," * 450_000 + "[]]"], ids=["deep", "large"])
async def test_an_object_that_is_too_deep_or_too_large_stops_no_watch(field: str) -> None:
    async with connected() as (fake, connection):
        store = Store()
        fake.put(raw_group("simple-odd"))
        watch = Watch(connection, store, GROUP, "")
        task = asyncio.create_task(watch.run())
        await until(lambda: fake.watching(GROUP), "the watch to be open", 100.0)
        event = json.dumps({"type": "MODIFIED", "object": raw_group("simple-odd", spec={"cluster": "simple"})})
        worker = f'"worker":{{"spec":{{"x":{field}}}}}'
        line = event.replace('"cluster": "simple"', f'"cluster":"simple",{worker}')
        fake.send(GROUP, line.replace('"resourceVersion": "7"', '"resourceVersion": "1000"').encode() + b"\n")
        fake.put(raw_group("simple-sound"))

        def unread() -> dict[str, bool]:
            return {group.name: bool(group.unread) for group in store.snapshot(KEY)[1].groups}

        expected = {"simple-odd": True, "simple-sound": False}
        await until(lambda: unread() == expected, "both to be known", 100.0)
        assert len(fake.asked("GET", "daskworkergroups")) == 1, "without another list"
        task.cancel()


async def test_others_have_their_turn_while_a_long_list_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "_LONGEST_STEP", -1.0)
    turns: list[int] = []
    async with connected() as (fake, connection):
        for number in range(50):
            fake.put(raw_pod(number))
        parsed: list[Object] = []

        def parse_one(raw: Json) -> Object:
            parsed.append(parse.pod(raw))
            return parsed[-1]

        watch = Watch(connection, Store(), POD, "", parse=parse_one)
        task = asyncio.create_task(watch.run())
        while not watch.synced.is_set():
            await asyncio.sleep(0)
            turns.append(len(parsed))
        task.cancel()
    assert len(set(turns)) > 40


async def test_an_object_that_is_half_valid_stops_no_watch() -> None:
    async with connected() as (fake, connection):
        store = Store()
        fake.put(raw_group("odd", spec={"cluster": 1, "worker": []}, status={"conditions": "x"}))
        fake.put(raw_group())
        watch = Watch(connection, store, GROUP, "")
        task = asyncio.create_task(watch.run())
        await asyncio.wait_for(watch.synced.wait(), 5.0)
        task.cancel()
        assert [group.name for group in store.snapshot(KEY)[1].groups] == ["simple-default"]


async def test_renewed_it_lists_what_a_silent_connection_has_not_shown() -> None:
    async with _watching(raw_pod(0)) as watching:
        watching.fake.silence_watches(POD)
        watching.fake.put(raw_pod(1))
        watching.watch.renew()
        assert not watching.watch.answered.is_set()
        await asyncio.wait_for(watching.watch.answered.wait(), 5.0)
        assert len(watching.names()) == 2
        assert watching.lists() == 2
        await until(lambda: watching.fake.watching(POD) == 1, "the watch to be open again", 5.0)
        watching.fake.put(raw_pod(2))
        await watching.sees(0, 1, 2)


async def test_renewed_during_a_pause_it_lists_at_once() -> None:
    async with _watching(raw_pod(0)) as watching:
        fault = watching.fake.fail("GET", POD, 500, times=1000)
        watching.fake.cut_watches(POD)
        await asyncio.sleep(100.0)
        fault.times = 0
        watching.watch.renew()
        await asyncio.wait_for(watching.watch.answered.wait(), 0.5)
