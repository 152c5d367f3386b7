"""Records what this process lacks as Events of its own Pod: `kubectl describe` shows them beside the failing probe."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from dask_operator import build
from dask_operator.kubernetes.api import Api
from dask_operator.kubernetes.errors import ApiError
from dask_operator.parse import rfc3339
from dask_operator.process.settings import PodReference
from dask_operator.resources import EVENT, POD

INTERVAL = 5.0
"""Seconds between looking for something new."""

logger = logging.getLogger(__name__)


async def record(api: Api, pod: PodReference, lacks: Callable[[], Iterable[str]], clock: Callable[[], float]) -> None:
    """Runs until cancelled. `lacks`: what only a person can mend, in sentences; each is recorded when it comes."""
    said: set[str] = set()
    while True:
        lacking = set(lacks())
        for sentence in sorted(lacking - said):
            await _record(api, pod, sentence, clock())
        said = lacking
        await asyncio.sleep(INTERVAL)


async def _record(api: Api, pod: PodReference, sentence: str, now: float) -> None:
    regarding = {"apiVersion": POD.api_version, "kind": POD.kind, **pod._asdict()}
    try:
        await api.create(EVENT, build.event(regarding, "Warning", "NotReady", sentence, rfc3339(now)))
    except ApiError as error:
        # The same was said before; or events are not permitted either, and the log has what is wrong.
        if error.reason != "AlreadyExists":
            logger.warning("event not recorded: %s", error.loggable)
