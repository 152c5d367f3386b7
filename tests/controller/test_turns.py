from __future__ import annotations

import asyncio
from collections.abc import Sized
from contextlib import suppress

from dask_operator.turns import MOST_SLOW, PATIENCE, SHARE, Turns


def _now() -> float:
    return asyncio.get_running_loop().time()


class _Tenants:
    """Tenants whose requests take `seconds` each. `ended`: the tenant of each request, in the order of their ends."""

    def __init__(self, places: int) -> None:
        self.turns = Turns(places)
        self.ended: list[str] = []
        self.at_once = self.most = 0

    def ask(self, tenant: str, seconds: float, times: int = 1) -> list[asyncio.Task[None]]:
        return [asyncio.create_task(self._one(tenant, seconds)) for _ in range(times)]

    async def _one(self, tenant: str, seconds: float) -> None:
        async with self.turns.turn(tenant):
            self.at_once += 1
            self.most = max(self.most, self.at_once)
            try:
                await asyncio.sleep(seconds)
            finally:
                self.at_once -= 1
        self.ended.append(tenant)


async def test_not_more_go_on_at_a_time_than_there_are_places() -> None:
    tenants = _Tenants(4)
    await asyncio.gather(*tenants.ask("a", 0.5, 10), *tenants.ask("b", 0.5, 10))
    assert tenants.most == 4
    assert _now() == 2.5, "nobody has waited in vain"


async def test_whoever_asks_for_much_waits_for_itself() -> None:
    tenants = _Tenants(4)
    many = tenants.ask("many", 0.5, 1000)
    await asyncio.sleep(0.1)
    await asyncio.gather(*tenants.ask("few", 0.5, 2))
    assert _now() == 1.0, "they come next"
    await asyncio.gather(*many)


async def test_tenants_have_as_many_turns_as_others() -> None:
    tenants = _Tenants(1)
    await asyncio.gather(*tenants.ask("a", 0.1, 3), *tenants.ask("b", 0.1, 3), *tenants.ask("c", 0.1, 1))
    assert tenants.ended == ["a", "a", "b", "c", "a", "b", "b"], "the first was there alone"


async def test_whoever_takes_long_holds_up_nobody_else_for_longer_than_a_second() -> None:
    tenants = _Tenants(40)
    hanging = [task for n in range(6) for task in tenants.ask(f"hangs-{n}", 10.0, 40)]
    await asyncio.sleep(0.0)
    await asyncio.gather(*tenants.ask("sound", 0.1, 2))
    assert _now() <= PATIENCE + 0.2
    for _ in range(40):
        began = _now()
        await asyncio.gather(*tenants.ask("sound", 0.1, 2))
        assert _now() - began <= PATIENCE + 0.2
    await asyncio.gather(*hanging)


async def test_a_slow_tenant_has_its_share_until_it_is_quick_again() -> None:
    tenants = _Tenants(40)
    slow = tenants.ask("slow", 10.0, SHARE) + tenants.ask("slow", 20.0, 100)
    await asyncio.sleep(0.5)
    assert tenants.at_once == 40, "nobody knows yet"
    await asyncio.gather(*tenants.ask("sound", 0.1, 100))
    assert _now() < 1.5, "it has all places"
    await asyncio.sleep(14.0)
    assert tenants.at_once == 40, "alone, it has as many turns as there are places"
    for task in slow:
        task.cancel()
    await asyncio.wait(slow)
    quick = tenants.ask("slow", 0.1, 40)
    await asyncio.sleep(0.05)
    assert tenants.at_once == 40
    await asyncio.gather(*quick)


async def test_of_several_slow_tenants_each_has_its_share() -> None:
    tenants = _Tenants(40)
    slow = [task for n in range(10) for task in tenants.ask(f"slow-{n}", 60.0, 30)]
    await asyncio.sleep(30.0)
    # The first ones had all places before they were slow, and then the others had.
    assert tenants.at_once <= 40 + 40 + 9 * SHARE
    await asyncio.gather(*slow)


async def test_slow_turns_of_all_tenants_are_limited() -> None:
    tenants = _Tenants(40)
    hanging = [task for n in range(100) for task in tenants.ask(f"hangs-{n}", 60.0, 8)]
    await asyncio.sleep(50.0)
    assert tenants.at_once == MOST_SLOW + 40
    await asyncio.gather(*hanging)
    assert tenants.most == MOST_SLOW + 40


async def test_a_turn_that_is_given_up_while_it_waits_or_begins_is_no_place_less() -> None:
    tenants = _Tenants(1)
    for moment in (0.0, 0.4, 0.5, 0.6, 2.0):
        (first, second) = tenants.ask("a", 0.5) + tenants.ask("a", 0.5)
        await asyncio.sleep(moment)
        for task in (first, second):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await asyncio.wait_for(asyncio.gather(*tenants.ask("a", 0.1), *tenants.ask("b", 0.1)), 5.0)


async def test_nothing_is_remembered_of_tenants_that_are_gone() -> None:
    tenants = _Tenants(2)
    await asyncio.gather(*(task for n in range(50) for task in tenants.ask(str(n), 3.0, 2)))
    assert not any(value for value in vars(tenants.turns).values() if isinstance(value, Sized))
