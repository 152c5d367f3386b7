"""Tenants whose objects take time, beside one whose objects are sound."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
from aiohttp import web
from tests.controller.reconcile.test_loop import operating
from tests.support.builders import raw_cluster
from tests.support.fake_api import FakeApi
from tests.support.server import serving
from tests.support.wait import until

from dask_operator.kubernetes.connection import REQUEST_TIMEOUT
from dask_operator.names import WORKER
from dask_operator.resources import POD


@asynccontextmanager
async def _webhook_that_hangs() -> AsyncIterator[FakeApi]:
    """Serve an API server whose webhook for Pods in all namespaces but `sound` does not answer."""
    fake = FakeApi()

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.method == "POST" and request.path.endswith("/pods") and "/namespaces/sound/" not in request.path:
            await asyncio.sleep(10 * REQUEST_TIMEOUT)
        return await fake.answer(request)

    async with serving(answer) as fake.url:
        yield fake


@pytest.mark.parametrize(("namespaces", "clusters"), [(1, 6), (6, 1), (10, 3), (1, 60), (60, 1)])
async def test_writes_that_hang_hold_up_no_other_namespace(namespaces: int, clusters: int) -> None:
    async with _webhook_that_hangs() as fake, operating(fake):
        for number in range(namespaces * clusters):
            where = {"namespace": f"bad-{number % namespaces}"}
            fake.put(raw_cluster(f"bad-{number}", workers=100, metadata=where))
        await asyncio.sleep(0.5)
        for number in range(20):
            began = asyncio.get_running_loop().time()
            name = f"sound-{number}"
            fake.put(raw_cluster(name, workers=2, metadata={"namespace": "sound"}))
            await until(partial(_has_workers, fake, name), "its workers", 60.0)
            # It takes two seconds, and while requests are on their way on a busy machine the clock may jump to a timer.
            assert asyncio.get_running_loop().time() - began < REQUEST_TIMEOUT / 2
            await asyncio.sleep(0.7)


def _has_workers(fake: FakeApi, cluster: str) -> bool:
    names: list[str] = [pod["metadata"]["name"] for pod in fake.objects(POD) if pod["metadata"]["namespace"] == "sound"]
    return sum(name.startswith(f"{cluster}-default-{WORKER}") for name in names) == 2
