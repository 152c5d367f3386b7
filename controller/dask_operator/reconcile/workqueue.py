"""The queue of clusters to plan: each key is worked on once at a time, and once for any number of reasons to do so.

A key that is added while it is being worked on is worked on again afterwards. Of the keys that are due, those of
different namespaces come in turn, so that a namespace of many clusters delays no other. If work takes long, as that on
clusters whose requests hang does, the keys of one namespace wait for each other: another namespace has its share at
once, beside them. Times are kept by the event
loop's clock, which nobody can set: a key that is due in a second is due in a second, also if the machine's clock is set
back an hour.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress

from dask_operator.backoff import Backoff
from dask_operator.model import Key

_BACKOFF = Backoff(first=0.5, longest=60.0)
AT_ONCE = 32
"""The number of keys that are worked on at a time, while no namespace has less than its share of them."""
LEAST_SHARE = 4
"""The number of keys of a namespace that are worked on at a time, whatever other namespaces have."""
_SPARE = 100
"""Void entries that the heap may have, in addition to as many as it has valid ones."""


class WorkQueue:
    """A queue of keys. The times at which to work on them are given as those of `clock`, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, Key]] = []
        self._ready: dict[str, deque[tuple[float, Key]]] = {}
        self._working: set[Key] = set()
        self._again: dict[Key, float] = {}
        self._rests: dict[Key, float] = {}
        self._errors: dict[Key, int] = {}
        self._changed = asyncio.Event()

    def add(self, key: Key, at: float | None = None) -> None:
        """Ask for work on a key, now or at a time; the earliest time counts."""
        self._add(key, _now() if at is None else _now() + at - self._clock())

    def hurry(self) -> None:
        """Make all keys due that wait for their time, because the clock was set and their times may have passed."""
        for key in list(self._due):
            self._add(key, _now())

    def _add(self, key: Key, due: float) -> None:
        if key in self._working:
            self._again[key] = min(due, self._again.get(key, due))
            return
        due = max(due, self._rests.get(key, due))
        if key in self._due and self._due[key] <= due:
            return
        self._due[key] = due
        self._push(due, key)
        self._changed.set()

    async def get(self) -> Key:
        """Wait for a due key, for `done` or `failed` to follow. One caller at a time.

        It is the one due longest of its namespace, whose turn it is.
        """
        while True:
            if (key := self._pop()) is not None:
                return key
            self._changed.clear()
            # Not by asyncio.wait_for: before Python 3.12 it ignores a cancellation that comes together with the change.
            with suppress(TimeoutError):
                async with asyncio.timeout(self._until_next()):
                    await self._changed.wait()

    def done(self, key: Key, pause: float = 0.0) -> None:
        """End the work on a key, and let it rest for `pause` seconds."""
        self._end(key)
        self._errors.pop(key, None)
        if pause:
            # Its entry in the heap ends the rest: nobody asks again for a cluster that is gone.
            self._rests[key] = _now() + pause
            self._push(self._rests[key], key)
        self._requeue(key)

    def failed(self, key: Key) -> float:
        """End the work on a key after an error, and return the seconds until the next attempt, longer each time."""
        errors = self._errors[key] = self._errors.get(key, 0) + 1
        pause = _BACKOFF.after(errors)
        self._end(key)
        self._rests[key] = self._again[key] = _now() + pause
        self._requeue(key)
        return pause

    def waiting(self) -> tuple[int, float]:
        """Return how many keys are due and not being worked on, and for how many seconds the first of them has been."""
        now = _now()
        due = [at for at in self._due.values() if at <= now]
        return len(due), now - min(due, default=now)

    def _end(self, key: Key) -> None:
        self._working.discard(key)
        self._changed.set()  # Another key may begin in its place.

    def _push(self, at: float, key: Key) -> None:
        heapq.heappush(self._heap, (at, key))
        # An entry that was served earlier than its time stays until then, which may be a week off.
        if len(self._heap) > 2 * (len(self._due) + len(self._rests)) + _SPARE:
            self._heap = [(at, key) for times in (self._due, self._rests) for key, at in times.items()]
            heapq.heapify(self._heap)

    def _requeue(self, key: Key) -> None:
        if (due := self._again.pop(key, None)) is not None:
            self._add(key, due)

    def _pop(self) -> Key | None:
        self._make_ready()
        while (namespace := self._next()) is not None:
            keys = self._ready.pop(namespace)
            due, key = keys.popleft()
            if keys:
                self._ready[namespace] = keys  # behind all others
            if self._due.get(key) != due:
                continue  # An earlier time was asked for since and has been served.
            del self._due[key]
            self._working.add(key)
            return key
        return None

    def _next(self) -> str | None:
        """Return the namespace whose turn it is, of those that may have another key worked on."""
        if len(self._working) < AT_ONCE:
            return next(iter(self._ready), None)
        at_work = Counter(key.namespace for key in self._working)
        share = max(AT_ONCE // len(self._ready.keys() | at_work.keys()), LEAST_SHARE)
        return next((namespace for namespace in self._ready if at_work[namespace] < share), None)

    def _make_ready(self) -> None:
        """Take what is due from the heap."""
        while self._heap and self._heap[0][0] <= _now():
            due, key = heapq.heappop(self._heap)
            if self._rests.get(key, due) <= due:
                self._rests.pop(key, None)
            if self._due.get(key) == due:  # Otherwise it is the end of a rest, or void.
                self._ready.setdefault(key.namespace, deque()).append((due, key))

    def _until_next(self) -> float | None:
        return max(self._heap[0][0] - _now(), 0.0) if self._heap else None


def _now() -> float:
    return asyncio.get_running_loop().time()
