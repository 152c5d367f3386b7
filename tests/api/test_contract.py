"""The real API server keeps the same promises as the fake of the unit tests."""

from __future__ import annotations

import asyncio

import pytest
from tests.support import client_contract
from tests.support.api_contract import CHECKS, Check
from tests.support.kube import PATIENCE, Kube
from tests.support.kubeconfig import credentials
from tests.support.wait import until

from dask_kubernetes.operator.access.credentials import Credentials
from dask_operator.kubernetes.api import Api


def _all_closed() -> bool:
    transports = asyncio.get_running_loop()._transports  # type: ignore[attr-defined]
    return all(transport._sock is None for transport in transports.values())


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_real_server_keeps_the_contract(kube: Kube, monkeypatch: pytest.MonkeyPatch, check: Check) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kube.kubeconfig))

    async def checked() -> None:
        async with Api(credentials) as api:
            await check(api, kube.namespace)
        # TLS connections close in the background; a later test's garbage collection would find them open.
        await until(_all_closed, "the end of all connections", PATIENCE)

    asyncio.run(checked())


@pytest.mark.parametrize("check", client_contract.CHECKS, ids=lambda check: check.__name__)
def test_the_real_server_keeps_what_the_client_counts_on(
    kube: Kube, monkeypatch: pytest.MonkeyPatch, check: client_contract.Check
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kube.kubeconfig))

    async def checked() -> None:
        async with (await Credentials.read()).session(timeout=30.0) as session:
            await check(session, kube.namespace)
        await until(_all_closed, "the end of all connections", PATIENCE)

    asyncio.run(checked())
