"""The hour of churn within a minute: the same users, the same troubles, and the same promises."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from bench.churn.replicas import LONGEST, PAUSE
from bench.churn.result import Result
from bench.churn.run import PATIENCE, churn
from tests.support.kube import Kube
from tests.support.kubeconfig import credentials

from dask_operator.kubernetes.api import Api

SECONDS = 45.0


async def _churned(kube: Kube, folder: Path, figure: Callable[[str], None]) -> Result:
    async with Api(credentials) as api:
        return await churn(api, kube, folder, seconds=SECONDS, clusters=15, seed=1, say=figure)


@pytest.mark.timeout(2 * PATIENCE)
def test_whatever_happens_all_becomes_as_declared_and_nothing_is_made_twice_or_lost(
    kube: Kube, tmp_path: Path, figure: Callable[[str], None]
) -> None:
    result = asyncio.run(_churned(kube, tmp_path, figure))
    assert len(result.calms) == 1
    assert len(result.troubles) >= SECONDS / (PAUSE + LONGEST)
    assert len({deed.what for deed in result.deeds}) > 10
