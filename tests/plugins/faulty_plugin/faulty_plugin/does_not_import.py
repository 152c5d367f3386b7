"""A module that registers a handler, and then fails to import."""

from __future__ import annotations

from typing import Any

import kopf


@kopf.on.create("daskcluster.kubernetes.dask.org")
async def never_called(patch: kopf.Patch, **_: Any) -> None:
    patch.metadata.annotations["example.com/never"] = "called"


raise ModuleNotFoundError("No module named 'what_it_needs'")
