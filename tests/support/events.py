"""Changes of the objects in a namespace, as long as somebody listens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from dask_operator.kubernetes.api import Api
from dask_operator.kubernetes.errors import ApiError
from dask_operator.resources import Resource


async def events(api: Api, resource: Resource, namespace: str, version: str) -> AsyncIterator[Mapping[str, Any]]:
    """Yield the events since a version. Restart a watch that ends, or fails to start on a busy machine."""
    while True:
        try:
            async for event in api.watch(resource, namespace, version, 3600.0, 3600.0):
                version = event["object"]["metadata"]["resourceVersion"]
                yield event
        except ApiError as error:
            if error.code:
                raise
            await asyncio.sleep(0.5)
