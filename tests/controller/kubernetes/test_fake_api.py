"""The fake API server keeps the promises to which the API tier holds the real one."""

from __future__ import annotations

import pytest
from tests.support.api_contract import CHECKS, Check
from tests.support.fake_api import connected


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_the_fake_keeps_the_contract(check: Check) -> None:
    async with connected() as (_, api):
        await check(api, "default")
