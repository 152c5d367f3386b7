from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from tests.support.builders import raw_cluster, raw_object, raw_pod
from tests.support.fake_api import FakeApi, connected
from tests.support.wait import happens, until

from dask_operator.model import Key
from dask_operator.reconcile.scope import Scope, parse_scope
from dask_operator.reconcile.store import Store
from dask_operator.reconcile.watches import Watches
from dask_operator.resources import (
    CLUSTER,
    FLAVOR,
    GROUP,
    NAMESPACE,
    NODE,
    POD,
    POD_PRIORITY,
    QUEUES,
    WATCHED,
    WORKLOAD,
)


@dataclass
class Watching:
    fake: FakeApi
    store: Store
    watches: Watches
    changed: list[Key]

    async def tells(self, *keys: Key) -> None:
        await until(lambda: set(self.changed) >= set(keys), f"{keys}, not only {self.changed}", 60.0)

    @property
    def asked(self) -> set[tuple[str, str]]:
        """Return the requests, as kind and namespace."""
        return {(seen.plural, seen.namespace) for seen in self.fake.requests}


def _namespace(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


@asynccontextmanager
async def _watching(
    *namespaces: str, existing: tuple[str, ...] = (), forbidden: str = "", nodes: bool = False, queues: bool = False
) -> AsyncIterator[Watching]:
    """Run watches. `forbidden`: the namespace whose Pods may not be read."""
    async with connected() as (fake, api):
        for name in existing:
            fake.put(_namespace(name))
            fake.put(raw_cluster(metadata={"namespace": name}))
        if forbidden:
            fake.fail(
                "GET", POD, 403, reason="Forbidden", times=10_000, matches=lambda seen: seen.namespace == forbidden
            )
        store = Store(queues=queues)
        changed: list[Key] = []
        watches = Watches(api, store, parse_scope(namespaces), changed.extend, nodes=nodes, queues=queues)
        task = asyncio.create_task(watches.run())
        try:
            yield Watching(fake, store, watches, changed)
            assert not task.done(), "it runs until it is cancelled"
        finally:
            task.cancel()
            await asyncio.wait([task])


EVERY_KIND = {resource.plural for resource in WATCHED}


async def test_all_namespaces_take_one_watch_of_each_kind() -> None:
    async with _watching(existing=("one", "two")) as watching:
        await watching.tells(Key("one", "simple"), Key("two", "simple"))
        assert watching.asked == {(plural, "") for plural in EVERY_KIND}
        assert watching.watches.keys() == {Key("one", "simple"), Key("two", "simple")}


async def test_nothing_outside_of_the_namespaces_named_is_asked_for() -> None:
    async with _watching("one", "two", existing=("one", "two", "three")) as watching:
        await watching.tells(Key("one", "simple"), Key("two", "simple"))
        assert watching.asked == {(plural, name) for plural in EVERY_KIND for name in ("one", "two")}
        watching.fake.put(raw_pod(metadata={"namespace": "three"}))
        await asyncio.sleep(30.0)
        assert set(watching.changed) == {Key("one", "simple"), Key("two", "simple")}


async def test_a_namespace_that_does_not_exist_yet_is_no_trouble() -> None:
    async with _watching("later") as watching:
        await asyncio.wait_for(watching.watches.answered(), 10.0)
        assert not any(watch.complaint for watch in watching.watches)
        watching.fake.put(_namespace("later"))
        watching.fake.put(raw_cluster(metadata={"namespace": "later"}))
        await watching.tells(Key("later", "simple"))


async def test_more_namespaces_than_connections() -> None:
    names = [f"n{number}" for number in range(12)]
    async with _watching(*names, existing=tuple(names)) as watching:
        await watching.tells(*(Key(name, "simple") for name in names))
        for name in names:
            watching.fake.put(raw_cluster("second", metadata={"namespace": name}))
        await watching.tells(*(Key(name, "second") for name in names))


async def test_namespaces_that_match_a_pattern_come_and_go(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        existing = ("dev-a", "dev-x", "prod", "fixed")
        async with _watching("dev-*,!dev-x", "fixed", existing=existing) as watching:
            fake = watching.fake
            await asyncio.wait_for(watching.watches.answered(), 10.0)
            await watching.tells(Key("dev-a", "simple"), Key("fixed", "simple"))
            fake.put(_namespace("dev-b"))
            fake.put(raw_cluster(metadata={"namespace": "dev-b"}))
            await watching.tells(Key("dev-b", "simple"))
            fake.drop(NAMESPACE, "dev-a", "")
            fake.drop(NAMESPACE, "fixed", "")
            fake.drop(NAMESPACE, "prod", "")
            await until(lambda: fake.watching(POD) == 2, "the end of a watch", 10.0)
            assert watching.watches.keys() == {Key("dev-b", "simple"), Key("fixed", "simple")}
            assert Key("dev-a", "simple") not in set(watching.store.keys())
            in_scope = {(plural, name) for plural in EVERY_KIND for name in ("dev-a", "dev-b", "fixed")}
            assert watching.asked == in_scope | {("namespaces", "")}
            watching.changed.clear()
            fake.put(_namespace("dev-a"))
            await watching.tells(Key("dev-a", "simple"))
    assert "namespace dev-b is operated from now on" in caplog.text
    assert "namespace dev-a is gone" in caplog.text


async def test_a_namespace_that_went_unseen_is_gone_after_the_next_list() -> None:
    async with _watching("dev-*", existing=("dev-a", "dev-b")) as watching:
        await watching.tells(Key("dev-a", "simple"), Key("dev-b", "simple"))
        watching.fake.silence_watches(NAMESPACE)
        watching.fake.drop(NAMESPACE, "dev-a", "")
        watching.fake.compact()
        watching.fake.cut_watches(NAMESPACE)
        await until(lambda: watching.watches.keys() == {Key("dev-b", "simple")}, "the end of dev-a", 30.0)


async def test_what_is_forbidden_in_one_namespace_stops_that_one_alone(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        async with _watching("one", "two", existing=("one", "two"), forbidden="two") as watching:
            await asyncio.wait_for(watching.watches.answered(), 10.0)
            await watching.tells(Key("one", "simple"))
            told = await happens(lambda: Key("two", "simple") in watching.changed, 60.0)
            assert not told, "what cannot be seen would be made again"
            assert watching.watches.keys() == {Key("one", "simple")}
            assert [watch.what for watch in watching.watches if watch.complaint] == ["pods in namespace two"]
            watching.fake.faults.clear()
            await watching.tells(Key("two", "simple"))
    assert "may not watch pods in namespace two" in caplog.text


async def test_a_kind_that_is_not_installed_stops_none() -> None:
    async with connected() as (fake, api):
        fake.fail("GET", GROUP, 404, times=10_000)
        fake.put(raw_cluster())
        changed: list[Key] = []
        watches = Watches(api, Store(), Scope(), changed.extend)
        task = asyncio.create_task(watches.run())
        await until(lambda: changed == [Key("default", "simple")], "the cluster", 10.0)
        assert [watch.resource for watch in watches if watch.complaint] == [GROUP]
        task.cancel()
        await asyncio.wait([task])


async def test_nothing_is_told_before_all_is_known() -> None:
    async with connected() as (fake, api):
        fault = fake.fail("GET", POD, 500, times=10_000)
        fake.put(raw_cluster())
        changed: list[Key] = []
        watches = Watches(api, Store(), Scope(), changed.extend)
        task = asyncio.create_task(watches.run())
        await until(lambda: fake.watching(CLUSTER), "the watch of clusters", 10.0)
        fake.put(raw_cluster("second"))
        await asyncio.sleep(60.0)
        assert changed == []
        assert watches.keys() == set()
        fault.times = 0
        await until(lambda: set(changed) == {Key("default", "simple"), Key("default", "second")}, "both", 60.0)
        task.cancel()
        await asyncio.wait([task])


async def test_what_one_watch_can_reach_again_the_others_try_at_once() -> None:
    async with _watching(existing=("one",)) as watching:
        key, fake = Key("one", "simple"), watching.fake
        await watching.tells(key)
        assert watching.watches.consistent_for(key)
        for resource in WATCHED:
            fake.fail("GET", resource, 500, times=10_000)
            fake.cut_watches(resource)
        await until(lambda: not watching.watches.consistent_for(key), "doubt", 10.0)
        await asyncio.sleep(300.0)
        fake.faults.clear()
        await until(lambda: not any(watch.state.stale for watch in watching.watches), "the end of it", 60.0)
        assert watching.watches.consistent_for(key)
        turned = [watch.state.since for watch in watching.watches]
        assert max(turned) - min(turned) < 1.0


async def test_where_lists_work_and_watches_do_not_it_goes_on_by_lists_and_does_not_hurry() -> None:
    async with _watching(existing=("one",)) as watching:
        key, fake = Key("one", "simple"), watching.fake
        await watching.tells(key)
        for resource in WATCHED:
            fake.fail("GET", resource, 410, times=10_000, matches=lambda seen: seen.query.get("watch") == "true")
            fake.cut_watches(resource)
        await asyncio.sleep(60.0)
        fake.requests.clear()
        for _ in range(10):
            await until(lambda: watching.watches.consistent_for(key), "a list of everything", 60.0)
            await until(lambda: not watching.watches.consistent_for(key), "doubt again", 60.0)
        await asyncio.sleep(300.0)
        assert all(len(fake.asked("GET", resource.plural)) < 100 for resource in WATCHED)


def _node(name: str, *, cordoned: bool = False) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "namespace": ""},
        "spec": {"unschedulable": cordoned},
    }


def _displaced(watching: Watching) -> set[str]:
    displaced = watching.store.snapshot(Key("one", "simple"))[1].displaced
    return {pod.name for pod in watching.store.snapshot(Key("one", "simple"))[1].pods if pod.uid in displaced}


async def test_nodes_that_are_cordoned_concern_the_clusters_with_pods_on_them() -> None:
    async with _watching("one", existing=("one",), nodes=True) as watching:
        fake, there = watching.fake, "simple-default-worker-0"
        fake.put(raw_pod(metadata={"namespace": "one"}, spec={"nodeName": "a"}))
        fake.put(_node("a"))
        await watching.tells(Key("one", "simple"))
        await until(lambda: fake.watching(NODE), "the watch of nodes", 10.0)
        await until(lambda: watching.store.snapshot(Key("one", "simple"))[1].pods, "the Pod", 10.0)
        watching.changed.clear()
        fake.put(_node("a", cordoned=True))
        await watching.tells(Key("one", "simple"))
        assert _displaced(watching) == {there}
        fake.drop(NODE, "a", "")
        await until(lambda: not _displaced(watching), "the end of the node", 10.0)
        fake.put(_node("a", cordoned=True))
        await until(lambda: _displaced(watching) == {there}, "the node's return", 10.0)
        fake.silence_watches(NODE)
        fake.drop(NODE, "a", "")
        fake.cut_watches(NODE)
        await until(lambda: not _displaced(watching), "the end that went unseen", 30.0)


async def test_nodes_are_watched_only_if_they_are_to_be() -> None:
    async with _watching(existing=("one",)) as watching:
        await watching.tells(Key("one", "simple"))
        assert "nodes" not in {plural for plural, _ in watching.asked}


async def test_a_want_of_permission_for_nodes_stops_nothing_and_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        async with _watching(existing=("one",), nodes=True) as watching:
            watching.fake.fail("GET", NODE, 403, reason="Forbidden", message="may not list nodes", times=10_000)
            await asyncio.wait_for(watching.watches.answered(), 10.0)
            assert watching.watches.consistent_for(Key("one", "simple"))
    assert "may not watch nodes: may not list nodes; grant" in caplog.text


async def test_renewed_every_kind_is_listed_once_more() -> None:
    async with _watching(existing=("one",), nodes=True) as watching:
        await asyncio.wait_for(watching.watches.answered(), 10.0)
        watching.fake.requests.clear()
        await asyncio.wait_for(watching.watches.renew(), 5.0)
        lists = [seen.plural for seen in watching.fake.requests if not seen.query.get("watch")]
        assert sorted(lists) == sorted([*EVERY_KIND, "nodes"])


def _flavor(name: str) -> dict[str, Any]:
    return raw_object("ResourceFlavor", name, FLAVOR.api_version, metadata={"namespace": ""}, spec={})


async def test_queues_are_watched_only_where_somebody_may_wait_in_them() -> None:
    async with _watching(existing=("one",)) as watching:
        await watching.tells(Key("one", "simple"))
        assert watching.store.snapshot(Key("one", "simple"))[1].queues is None
        assert not {WORKLOAD.plural, *(kind.plural for kind in QUEUES)} & {plural for plural, _ in watching.asked}
    async with _watching("one", existing=("one",), queues=True) as watching:
        await watching.tells(Key("one", "simple"))
        assert watching.asked >= {(WORKLOAD.plural, "one"), *((kind.plural, "") for kind in QUEUES)}


async def test_flavors_and_priorities_come_and_go_and_those_who_wait_hear_of_it() -> None:
    async with _watching(existing=("one",), queues=True) as watching:
        labels = {"kueue.x-k8s.io/queue-name": "team"}
        watching.fake.put(raw_cluster("waits", metadata={"namespace": "one", "labels": labels}))
        await watching.tells(Key("one", "waits"))
        watching.changed.clear()
        usual = raw_object("PriorityClass", "usual", POD_PRIORITY.api_version, metadata={"namespace": ""}, value=1)
        for raw in (_flavor("spot"), _flavor("usual"), usual):
            watching.fake.put(raw)
        await until(lambda: set(watching.store.queues.flavors) == {"spot", "usual"}, "both flavors", 10.0)
        await until(lambda: ("PriorityClass", "usual") in watching.store.queues.priorities, "the class", 10.0)
        assert set(watching.changed) == {Key("one", "waits")}
        watching.fake.drop(FLAVOR, "usual", "")
        await until(lambda: set(watching.store.queues.flavors) == {"spot"}, "the end of a flavor", 10.0)
        assert ("PriorityClass", "usual") in watching.store.queues.priorities


async def test_a_flavor_that_went_unseen_is_gone_after_the_next_list() -> None:
    async with _watching(existing=("one",), queues=True) as watching:
        for name in ("spot", "gpu"):
            watching.fake.put(_flavor(name))
        await until(lambda: set(watching.store.queues.flavors) == {"spot", "gpu"}, "both flavors", 10.0)
        watching.fake.lose(FLAVOR, "gpu", "")
        for watch in watching.watches:
            watch.renew()
        await until(lambda: set(watching.store.queues.flavors) == {"spot"}, "the end of a flavor", 10.0)


async def test_clusters_are_worked_on_where_kueue_is_not_installed() -> None:
    async with _watching(existing=("one",), queues=True) as watching:
        watching.fake.fail("GET", WORKLOAD, 404, reason="NotFound", times=10_000)
        await watching.tells(Key("one", "simple"))
        assert watching.watches.keys() == {Key("one", "simple")}
