"""Effects of a network, a load balancer or an API server in trouble on requests, answers and watches."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from aiohttp import web
from tests.faults.stories import Slot
from tests.support.fault_proxy import Call, Fault, Lines, LostError, PassOn, refusal

_WHICH = "{0.method} {0.path}"


class Trouble(Fault):
    """No trouble before `begin` and after `end`; disturbed connections stay disturbed. `hits`: their number."""

    def __init__(self) -> None:
        self.active = False
        self.hits = 0

    async def begin(self, slot: Slot) -> None:
        self.active = True

    async def last(self, seconds: float) -> None:
        """Cause the trouble from the users' act on for so many seconds."""
        await asyncio.sleep(seconds)

    async def end(self, slot: Slot) -> None:
        self.active = False


class Refusing(Trouble):
    """The first write of each kind to each object, or the first creation, is refused; with `done`, after its effect."""

    def __init__(self, answer: Callable[[], web.Response], *, done: bool = False, times: int = 1) -> None:
        super().__init__()
        self._answer = answer
        self._done = done
        self._times = times
        self._seen: Counter[str] = Counter()

    async def answer(self, call: Call, pass_on: PassOn) -> web.StreamResponse:
        which = _WHICH.format(call)
        self._seen[which] += call.writes
        if not call.writes or self._seen[which] > self._times or not self.active:
            return await pass_on()
        self.hits += 1
        if self._done:
            await pass_on()
        return self._answer()


class Losing(Refusing):
    """The answer to the first write of each kind is lost after its effect."""

    def __init__(self) -> None:
        super().__init__(_lose, done=True)


class Slow(Trouble):
    """Every answer takes seconds."""

    async def answer(self, call: Call, pass_on: PassOn) -> web.StreamResponse:
        if self.active:
            self.hits += 1
            await asyncio.sleep(1.5)
        return await pass_on()


class Unanswered(Trouble):
    """New requests and open watches get no answer, and no connection ends."""

    async def answer(self, call: Call, pass_on: PassOn) -> web.StreamResponse:
        if self.active:
            self.hits += 1
            await asyncio.Event().wait()
        return await pass_on()

    async def stream(self, call: Call, lines: Lines) -> Lines:
        async for line in lines:
            if self.active:
                self.hits += 1
                await asyncio.Event().wait()
            yield line


class Away(Trouble):
    """Every connection breaks, and so does every new one."""

    async def begin(self, slot: Slot) -> None:
        await super().begin(slot)
        slot.proxy.cut()

    async def answer(self, call: Call, pass_on: PassOn) -> web.StreamResponse:
        if self.active:
            self.hits += 1
            raise LostError
        return await pass_on()


class Expired(Trouble):
    """Each watch begins with an error that its resource version is too old, and each list is the first one again."""

    def __init__(self, *, stale: bool) -> None:
        super().__init__()
        self._lists: dict[str, bytes] = {}
        self._stale = stale

    async def begin(self, slot: Slot) -> None:
        await super().begin(slot)
        slot.proxy.cut()

    async def answer(self, call: Call, pass_on: PassOn) -> web.StreamResponse:
        if not self.active:
            return await pass_on()
        self.hits += 1
        if call.verb == "watch":
            # Half of them are refused by a code, half by an event.
            return refusal(410, "Expired", "too old resource version") if call.number % 2 else await pass_on()
        if call.verb == "list" and self._stale:
            await pass_on()
            return web.Response(body=self._lists.setdefault(call.plural, call.answer), content_type="application/json")
        return await pass_on()

    async def stream(self, call: Call, lines: Lines) -> Lines:
        if self.active:
            yield _error(410, "Expired", "too old resource version")
            return
        async for line in lines:
            yield line


class Events(Trouble):
    """Changes to the events of watches: `pass_event` yields the replacement of the `number`th in trouble."""

    async def stream(self, call: Call, lines: Lines) -> Lines:
        number = 0
        async for line in lines:
            number += self.active
            self.hits += self.active
            async for each in self.pass_event(line, number) if self.active else _as_it_is(line):
                yield each

    async def pass_event(self, line: bytes, number: int) -> Lines:
        yield line


class Repeated(Events):
    """Every event comes three times."""

    async def pass_event(self, line: bytes, number: int) -> Lines:
        for _ in range(3):
            yield line


class Breaking(Events):
    """Each watch breaks after its first event."""

    async def pass_event(self, line: bytes, number: int) -> Lines:
        if number > 1:
            raise LostError
        yield line


class Failing(Events):
    """Each watch ends with an error of the API server's after its first event."""

    async def pass_event(self, line: bytes, number: int) -> Lines:
        if number == 1:
            yield line
        if number == 2:
            yield _error(500, "InternalError", "etcd event received with PrevKv=nil")
            raise LostError


class Stalled(Events):
    """The watches stay open and silent, even after the trouble."""

    async def pass_event(self, line: bytes, number: int) -> Lines:
        await asyncio.Event().wait()
        yield line


class Rewound(Trouble):
    """Each watch ends after its second event, and the next one starts from the beginning again, as with another API
    server whose cache is behind."""

    def __init__(self) -> None:
        super().__init__()
        self._first: dict[str, str] = {}

    async def answer(self, call: Call, pass_on: PassOn) -> web.StreamResponse:
        if call.watches and self.active:
            self.hits += 1
            call.query["resourceVersion"] = self._first.setdefault(call.plural, call.query["resourceVersion"])
        return await pass_on()

    async def stream(self, call: Call, lines: Lines) -> Lines:
        number = 0
        async for line in lines:
            yield line
            number += 1
            if number % 2 == 0 and self.active:
                return


class Untold(Events):
    """Every third event is dropped. The watches end after a second each, instead of every few minutes."""

    async def stream(self, call: Call, lines: Lines) -> Lines:
        number = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(1.2):
                async for line in lines:
                    number += 1
                    if not self.active or number % 3:
                        yield line
                    else:
                        self.hits += 1


async def _as_it_is(line: bytes) -> Lines:
    yield line


def _lose() -> web.Response:
    raise LostError


def _error(code: int, reason: str, message: str) -> bytes:
    status = {"kind": "Status", "code": code, "reason": reason, "message": message, "metadata": {}}
    return json.dumps({"type": "ERROR", "object": status}).encode() + b"\n"


def conflict() -> web.Response:
    return refusal(409, "Conflict", "the object has been modified; please apply your changes to the latest version")


def too_many() -> web.Response:
    return refusal(429, "TooManyRequests", "the server has received too many requests", **{"Retry-After": "1"})


def internal() -> web.Response:
    return refusal(500, "InternalError", "etcdserver: leader changed")


def unavailable() -> web.Response:
    return refusal(503, "ServiceUnavailable", "the server is currently unable to handle the request")


def timed_out() -> web.Response:
    return refusal(504, "Timeout", "request did not complete within the allotted timeout")


TROUBLE: dict[str, Callable[[], Trouble]] = {
    "409 for every first write": lambda: Refusing(conflict),
    "429 with Retry-After for every first write": lambda: Refusing(too_many),
    "500 for every first write": lambda: Refusing(internal),
    "503 three times for every write": lambda: Refusing(unavailable, times=3),
    "504 after every first write was done": lambda: Refusing(timed_out, done=True),
    "500 after every first write was done": lambda: Refusing(internal, done=True),
    "answers of writes lost": Losing,
    "slow answers": Slow,
    "no answers, connections half open": Unanswered,
    "API server away": Away,
    "410 for every watch": lambda: Expired(stale=False),
    "410 for every watch, and stale lists": lambda: Expired(stale=True),
    "events repeated": Repeated,
    "watches break": Breaking,
    "ERROR events": Failing,
    "watches stalled": Stalled,
    "watches go back in time": Rewound,
    "events untold": Untold,
}
