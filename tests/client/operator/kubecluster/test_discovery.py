"""Tools that list clusters of every kind find the visible DaskClusters, and get no error if there are none."""

from __future__ import annotations

import asyncio

from tests.client.operator.conftest import Kubeconfig
from tests.support.fake_api import FakeApi
from tests.support.server import free_port

from dask_kubernetes.operator import KubeCluster, discover


def put(fake: FakeApi, *names: tuple[str, str]) -> None:
    for namespace, name in names:
        fake.put({"kind": "DaskCluster", "metadata": {"name": name, "namespace": namespace}, "spec": {}})


async def discovered() -> list[tuple[str, type]]:
    return [each async for each in discover()]


def test_those_of_all_namespaces(fake: FakeApi) -> None:
    put(fake, ("default", "mine"), ("other", "theirs"))
    assert asyncio.run(discovered()) == [("mine", KubeCluster), ("theirs", KubeCluster)]


def test_those_of_ones_own_namespace_where_no_more_is_permitted(fake: FakeApi) -> None:
    put(fake, ("default", "mine"), ("other", "theirs"))
    fake.refuses = lambda seen: not seen.namespace
    assert asyncio.run(discovered()) == [("mine", KubeCluster)]


def test_none_where_nothing_is_permitted_or_installed(fake: FakeApi) -> None:
    fake.refuses = lambda _: True
    assert asyncio.run(discovered()) == []
    fake.refuses = lambda _: False
    fake.absent_groups = {"kubernetes.dask.org"}
    assert asyncio.run(discovered()) == []
    assert len(fake.asked("GET")) == 3, "and what is not installed is asked for once"


def test_none_where_there_is_no_kubernetes(kubeconfig: Kubeconfig) -> None:
    assert asyncio.run(discovered()) == []
    kubeconfig.write(f"http://127.0.0.1:{free_port()}")
    assert asyncio.run(discovered()) == []


def test_one_who_looks_no_further_leaves_nothing_open(fake: FakeApi) -> None:
    async def first() -> str:
        found = discover()
        async for name, _ in found:
            await found.aclose()  # type: ignore[attr-defined]
            return name
        raise AssertionError("there is one")

    put(fake, ("default", "mine"), ("default", "second"))
    assert asyncio.run(first()) == "mine"
