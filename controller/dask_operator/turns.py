"""Fair turns at something scarce, which several tenants share, such as connections.

Whoever asks for much waits for itself: tenants come one after another, not requests. Whoever takes long waits for
itself, too: after a second another turn begins in its place, and the tenant has only its share until it is quick again.
So one whose writes hang, because of a webhook in its namespaces, takes few places from others.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

PATIENCE = 1.0
"""Seconds after which a turn counts as slow: it goes on, and its place is free."""
SHARE = 2
"""The least share of a tenant, in turns at a time."""
MOST_SLOW = 160
"""Slow turns of all tenants together. Those after them keep their places."""


class _Tenant:
    """A tenant that has turns or waits for some. `slow`: the number of its turns that have given their places away."""

    def __init__(self) -> None:
        self.waiting: deque[asyncio.Future[None]] = deque()
        self.held = self.slow = 0


class Turns:
    """The turns of tenants, of which `places` go on at a time besides slow ones."""

    def __init__(self, places: int) -> None:
        self._places = self._free = places
        self._tenants: dict[str, _Tenant] = {}
        """Tenants in the order in which they are served."""

    @asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[None]:
        """Wait for a turn of a tenant, and have it within the block."""
        await self._begin(name)
        turn = _Turn(self, name)
        try:
            yield
        finally:
            self._end(name, slow=turn.end())

    def lend(self, name: str) -> bool:
        """Give the place of a slow turn to others, unless there are too many slow ones. Return whether it did."""
        if sum(tenant.slow for tenant in self._tenants.values()) >= MOST_SLOW:
            return False
        self._tenants[name].slow += 1
        self._free += 1
        self._admit()
        return True

    async def _begin(self, name: str) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tenants.setdefault(name, _Tenant()).waiting.append(turn)
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._forget(name)
            else:
                self._end(name, slow=False)
            raise

    def _end(self, name: str, *, slow: bool) -> None:
        tenant = self._tenants[name]
        tenant.held -= 1
        if slow:
            tenant.slow -= 1
        else:
            self._free += 1
        self._forget(name)
        self._admit()

    def _admit(self) -> None:
        while self._free and (name := self._next()) is not None:
            tenant = self._tenants.pop(name)
            self._tenants[name] = tenant  # behind all others
            turn = tenant.waiting.popleft()
            if not turn.cancelled():
                turn.set_result(None)
                tenant.held += 1
                self._free -= 1

    def _next(self) -> str | None:
        share = max(self._places // max(len(self._tenants), 1), SHARE)
        waiting = ((name, tenant) for name, tenant in self._tenants.items() if tenant.waiting)
        return next((name for name, tenant in waiting if not tenant.slow or tenant.held < share), None)

    def _forget(self, name: str) -> None:
        tenant = self._tenants.get(name)
        if tenant and not tenant.held and all(turn.cancelled() for turn in tenant.waiting):
            del self._tenants[name]


class _Turn:
    """A turn that has begun."""

    def __init__(self, turns: Turns, name: str) -> None:
        self._turns = turns
        self._name = name
        self._slow = False
        self._timer = self._later()

    def end(self) -> bool:
        """End the turn, and return whether it has given its place to others."""
        self._timer.cancel()
        return self._slow

    def _later(self) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(PATIENCE, self._is_slow)

    def _is_slow(self) -> None:
        self._slow = self._turns.lend(self._name)
        if not self._slow:
            self._timer = self._later()
