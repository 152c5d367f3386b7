"""Additions to the controller: a host name for each scheduler, and a greeting for each cluster."""

from __future__ import annotations

from typing import Any

import kopf

HOST_ANNOTATION = "example.com/host"


@kopf.on.create("service", labels={"dask.org/component": "scheduler"})
async def host_of_scheduler(name: str | None, namespace: str | None, patch: kopf.Patch, **_: Any) -> None:
    patch.metadata.annotations[HOST_ANNOTATION] = f"{name}.{namespace}.example.com"


@kopf.on.create("daskcluster.kubernetes.dask.org")
async def greet(body: kopf.Body, name: str | None, **_: Any) -> None:
    kopf.info(body, reason="Greeted", message=f"hello {name}")
