"""A handler on what the controller itself has nothing to do with, and may not watch unless somebody permits it."""

from __future__ import annotations

from typing import Any

import kopf


@kopf.on.create("configmap", labels={"example.com/watched": kopf.PRESENT})
async def see(patch: kopf.Patch, **_: Any) -> None:
    patch.metadata.annotations["example.com/seen"] = "yes"
