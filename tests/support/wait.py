"""Bounded waits that say what they waited for. What the running test has waited for stands in WAITS: see timing.py."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

WAITS: defaultdict[str, float] = defaultdict(float)
"""Seconds of the machine's clock by what was waited for."""
_FIRST_STEP, _LONGEST_STEP = 0.005, 0.5


@contextmanager
def recorded(what: str) -> Iterator[None]:
    """Adds the seconds that its body takes to what is waited for."""
    start = time.monotonic()
    try:
        yield
    finally:
        WAITS[what] += time.monotonic() - start


async def until(
    condition: Callable[[], object], what: str, seconds: float = 10.0, longest_step: float = _LONGEST_STEP
) -> None:
    """Returns as soon as the condition holds; fails, naming `what`, if that takes longer than `seconds`.

    It looks more and more seldom, but every `longest_step` seconds at least.
    """
    with recorded(what):
        if not await happens(condition, seconds, longest_step):
            raise AssertionError(f"waited {seconds:g} s for {what}, in vain")


async def until_seen(look: Callable[[], Awaitable[object]], what: str, seconds: float = 60.0) -> None:
    """The same where looking takes a request."""
    try:
        with recorded(what):
            async with asyncio.timeout(seconds):
                while not await look():  # noqa: ASYNC110 - what is looked at says nothing by itself
                    await asyncio.sleep(0.2)
    except TimeoutError:
        raise AssertionError(f"waited {seconds:g} s for {what}, in vain") from None


async def happens(condition: Callable[[], object], seconds: float, longest_step: float = _LONGEST_STEP) -> bool:
    """True as soon as the condition holds, False if it does not within `seconds`."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    step = _FIRST_STEP
    while not condition():
        if loop.time() >= deadline:
            return False
        await asyncio.sleep(step)
        step = min(step * 1.5, longest_step)
    return True


@asynccontextmanager
async def meanwhile(work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Runs something until the end of the block, whatever comes of it."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
