"""A handler that fails."""

from __future__ import annotations

from typing import Any

import kopf


@kopf.on.create("daskcluster.kubernetes.dask.org")
async def raises(**_: Any) -> None:
    raise kopf.PermanentError("this plugin does not work")
