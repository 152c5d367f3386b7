"""Events about the controller's own Pod: `kubectl describe` shows beside a failing probe what has to be done."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from dask_operator import manifests
from dask_operator.kubernetes.api import Api
from dask_operator.kubernetes.errors import ApiError
from dask_operator.parse import rfc3339
from dask_operator.process.settings import PodReference
from dask_operator.resources import EVENT, POD

INTERVAL = 5.0
"""Seconds between looks for new problems."""

logger = logging.getLogger(__name__)


async def record(
    api: Api, pod: PodReference, problems: Callable[[], Iterable[str]], clock: Callable[[], float]
) -> None:
    """Record each of the `problems`, in sentences, when it begins, until cancelled."""
    recorded: set[str] = set()
    while True:
        current = set(problems())
        for sentence in sorted(current - recorded):
            await _record(api, pod, sentence, clock())
        recorded = current
        await asyncio.sleep(INTERVAL)


async def _record(api: Api, pod: PodReference, sentence: str, now: float) -> None:
    regarding = {"apiVersion": POD.api_version, "kind": POD.kind, **pod._asdict()}
    try:
        await api.create(EVENT, manifests.event_manifest(regarding, "Warning", "NotReady", sentence, rfc3339(now)))
    except ApiError as error:
        # It exists from before; or Events are not permitted either, and the log has the sentence.
        if error.reason != "AlreadyExists":
            logger.warning("event not recorded: %s", error.loggable)
