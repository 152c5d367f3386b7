"""Bounded waits, with their purpose in the error. WAITS has those of the running test: see timing.py."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

WAITS: defaultdict[str, float] = defaultdict(float)
"""Seconds of the machine's clock by purpose of the wait."""
_FIRST_STEP, _LONGEST_STEP = 0.005, 0.5


@contextmanager
def recorded(what: str) -> Iterator[None]:
    """Add the seconds of the block to the waits for `what`."""
    start = time.monotonic()
    try:
        yield
    finally:
        WAITS[what] += time.monotonic() - start


async def until(
    condition: Callable[[], object], what: str, seconds: float = 10.0, longest_step: float = _LONGEST_STEP
) -> None:
    """Wait for a condition; fail, naming `what`, after `seconds`.

    The checks become less frequent, down to one every `longest_step` seconds.
    """
    with recorded(what):
        if not await happens(condition, seconds, longest_step):
            raise AssertionError(f"waited {seconds:g} s for {what}, in vain")


async def until_seen(look: Callable[[], Awaitable[object]], what: str, seconds: float = 60.0) -> None:
    """Wait as `until` does, for a condition that takes a request."""
    try:
        with recorded(what):
            async with asyncio.timeout(seconds):
                while not await look():  # noqa: ASYNC110 - the other side sends no signal
                    await asyncio.sleep(0.2)
    except TimeoutError:
        raise AssertionError(f"waited {seconds:g} s for {what}, in vain") from None


async def happens(condition: Callable[[], object], seconds: float, longest_step: float = _LONGEST_STEP) -> bool:
    """Return True as soon as the condition holds, and False if it does not within `seconds`."""
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
    """Run a coroutine until the end of the block, whatever its result."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
