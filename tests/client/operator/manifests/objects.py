"""Parts of manifests that several tests compare."""

from __future__ import annotations

from typing import Any

WORKER_ARGS = ["--name", "$(DASK_WORKER_NAME)", "--dashboard", "--dashboard-address", "8788"]


def container(part: dict[str, Any]) -> dict[str, Any]:
    (only,) = part["spec"]["containers"]
    return dict(only)
