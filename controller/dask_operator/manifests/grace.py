"""The time that Kubernetes gives a worker to end, and how much of it the worker may drain."""

from __future__ import annotations

from typing import Any

from dask_operator.model import Json

_FIELD = "terminationGracePeriodSeconds"
# A worker closes within this time, or is killed.
_CLOSING = 10
_GRACE_PERIOD = 30


def with_grace_period(spec: Json, drain_timeout: float) -> dict[str, Any]:
    """Return a worker's Pod spec with the time to drain and to close, unless its user decides how the Pod ends."""
    if spec.get(_FIELD) is not None or _has_hook(spec):
        return dict(spec)
    return {**spec, _FIELD: int(drain_timeout) + _CLOSING}


def drain_seconds(spec: Json) -> str:
    """Return how long a worker may drain of the time that Kubernetes gives its Pod to end."""
    grace = spec.get(_FIELD)
    return str(max((grace if isinstance(grace, int) else _GRACE_PERIOD) - _CLOSING, 0))


def _has_hook(spec: Json) -> bool:
    """Return whether the container that runs Dask, the first, has a hook that Kubernetes executes before SIGTERM."""
    containers = spec.get("containers")
    first = containers[0] if isinstance(containers, list) and containers else None
    lifecycle = first.get("lifecycle") if isinstance(first, dict) else None
    return isinstance(lifecycle, dict) and bool(lifecycle.get("preStop"))
