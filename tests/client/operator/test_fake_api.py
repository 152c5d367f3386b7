"""The fake API server keeps the same promises as the real one in the API tier."""

from __future__ import annotations

import httpx
import pytest
from tests.support.client_contract import CHECKS, Check
from tests.support.fake_api import serve


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_the_fake_keeps_what_the_client_counts_on(check: Check) -> None:
    async with serve() as fake:
        fake.absent_namespaces = {"no-such-namespace"}
        fake.absent_groups = {"no-such-group.dask.org"}
        headers = {"Authorization": f"Bearer {fake.token}"}
        async with httpx.AsyncClient(base_url=fake.url, headers=headers) as session:
            await check(session, "default")
