"""A handler for a kind that the controller itself does not use, and may not watch without a further permission."""

from __future__ import annotations

from typing import Any

import kopf


@kopf.on.create("configmap", labels={"example.com/watched": kopf.PRESENT})
async def see(patch: kopf.Patch, **_: Any) -> None:
    patch.metadata.annotations["example.com/seen"] = "yes"
