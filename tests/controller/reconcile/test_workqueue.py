from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sized

import pytest

from dask_operator.model import Key
from dask_operator.reconcile.workqueue import AT_ONCE, LEAST_SHARE, WorkQueue

A, B, C = Key("default", "a"), Key("default", "b"), Key("other", "a")


def _now() -> float:
    return asyncio.get_running_loop().time()


def _queue() -> WorkQueue:
    return WorkQueue(asyncio.get_running_loop().time)


async def _empty(queue: WorkQueue, seconds: float = 1000.0) -> bool:
    """Return whether nothing comes in that time."""
    try:
        async with asyncio.timeout(seconds):
            await queue.get()
    except TimeoutError:
        return True
    return False


def _kept(queue: WorkQueue) -> int:
    """Return how many things it remembers."""
    return sum(len(value) for value in vars(queue).values() if isinstance(value, Sized))


async def test_a_key_asked_for_twice_is_worked_on_once() -> None:
    queue = _queue()
    queue.add(A)
    queue.add(A)
    assert await queue.get() == A
    queue.done(A)
    assert await _empty(queue)


async def test_keys_come_in_the_order_in_which_they_are_due() -> None:
    queue = _queue()
    queue.add(A, at=5.0)
    queue.add(B, at=1.0)
    queue.add(C, at=3.0)
    assert [(await queue.get(), _now()) for _ in range(3)] == [(B, 1.0), (C, 3.0), (A, 5.0)]


async def test_the_earliest_time_asked_for_counts() -> None:
    queue = _queue()
    queue.add(A, at=50.0)
    queue.add(A, at=10.0)
    queue.add(A, at=20.0)
    assert (await queue.get(), _now()) == (A, 10.0)
    queue.done(A)
    assert await _empty(queue), "the later times are served with the earliest"


async def test_an_earlier_time_wakes_who_waits_for_a_later_one() -> None:
    queue = _queue()
    queue.add(A, at=50.0)
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(1.0)
    queue.add(B)
    assert (await waiting, _now()) == (B, 1.0)
    assert (await queue.get(), _now()) == (A, 50.0)


async def test_a_key_is_never_worked_on_twice_at_a_time() -> None:
    queue = _queue()
    queue.add(A)
    assert await queue.get() == A
    queue.add(A)
    assert await _empty(queue), "it is being worked on"
    queue.done(A)
    assert await queue.get() == A, "and again afterwards"
    queue.done(A)
    assert await _empty(queue)


async def test_a_time_asked_for_during_the_work_is_kept() -> None:
    queue = _queue()
    queue.add(A)
    await queue.get()
    queue.add(A, at=30.0)
    queue.add(A, at=20.0)
    queue.add(A, at=40.0)
    queue.done(A)
    assert (await queue.get(), _now()) == (A, 20.0)


async def test_a_pause_holds_for_what_was_asked_for_during_the_work() -> None:
    queue = _queue()
    queue.add(A)
    await queue.get()
    queue.add(A)
    queue.done(A, pause=0.5)
    assert (await queue.get(), _now()) == (A, 0.5)


async def test_a_pause_holds_for_what_is_asked_for_afterwards() -> None:
    queue = _queue()
    queue.add(A)
    await queue.get()
    queue.done(A, pause=0.5)
    queue.add(A)
    assert (await queue.get(), _now()) == (A, 0.5)


async def test_a_pause_holds_for_its_own_key_alone() -> None:
    queue = _queue()
    queue.add(A)
    await queue.get()
    queue.done(A, pause=500.0)
    queue.add(B)
    assert (await queue.get(), _now()) == (B, 0.0)


async def test_errors_are_tried_again_later_each_time() -> None:
    queue = _queue()
    queue.add(A)
    pauses = []
    for _ in range(10):
        before = _now()
        await queue.get()
        pauses.append(queue.failed(A))
        assert _now() - before == (pauses[-2] if len(pauses) > 1 else 0.0)
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]


async def test_errors_without_end_are_tried_again_without_end() -> None:
    queue = _queue()
    for _ in range(1100):
        queue.failed(A)
    assert queue.failed(A) == 60.0, "seventeen hours of errors, a minute each"


async def test_a_success_ends_the_series_of_errors() -> None:
    queue = _queue()
    for outcome in (queue.failed, queue.failed, queue.done):
        queue.add(A)
        await queue.get()
        outcome(A)
    queue.add(A)
    await queue.get()
    assert queue.failed(A) == 0.5


async def test_one_keys_errors_delay_no_other() -> None:
    queue = _queue()
    queue.add(A)
    await queue.get()
    queue.failed(A)
    queue.add(B)
    assert (await queue.get(), _now()) == (B, 0.0)


async def test_who_waits_can_be_cancelled_without_losing_a_key() -> None:
    queue = _queue()
    queue.add(A, at=5.0)
    assert await _empty(queue, seconds=1.0)
    assert (await queue.get(), _now()) == (A, 5.0)


async def test_it_tells_how_many_wait_and_how_long() -> None:
    queue = _queue()
    assert queue.waiting() == (0, 0.0)
    queue.add(A, at=1.0)
    queue.add(B, at=2.0)
    queue.add(C, at=100.0)
    await asyncio.sleep(5.0)
    assert queue.waiting() == (2, 4.0)
    assert await queue.get() == A
    assert queue.waiting() == (1, 3.0), "without what is being worked on"


async def test_nothing_is_kept_of_keys_that_nobody_asks_for_any_more() -> None:
    queue = _queue()
    for number in range(1000):
        queue.add(Key("default", f"cluster-{number}"))
        queue.done(await queue.get(), pause=0.5)
    assert await _empty(queue)
    assert _kept(queue) == 0


async def test_times_that_have_been_served_earlier_do_not_pile_up() -> None:
    queue = _queue()
    queue.add(B, at=500.0)
    for _ in range(1000):
        queue.add(A, at=604_800.0)
        queue.add(A)
        assert await queue.get() == A
        queue.done(A)
    assert _kept(queue) < 200
    queue.add(A, at=1000.0)
    assert [(await queue.get(), _now()) for _ in range(2)] == [(B, 500.0), (A, 1000.0)]


async def test_who_is_told_to_end_ends_though_a_key_comes_at_that_moment() -> None:
    queue = _queue()

    async def work() -> None:
        while True:
            queue.done(await queue.get())

    queue.add(B, at=1000.0)
    working = asyncio.create_task(work())
    await asyncio.sleep(1.0)
    queue.add(A)
    await asyncio.sleep(0)
    working.cancel()
    await asyncio.wait({working}, timeout=10.0)
    assert working.cancelled()


@pytest.mark.parametrize("step", [-3600.0, 3600.0, -0.5, 1e9])
async def test_a_clock_that_is_set_moves_nothing_that_is_due(step: float) -> None:
    begin, ahead = 1_700_000_000.0, [0.0]
    queue = WorkQueue(lambda: begin + _now() + ahead[0])
    queue.add(A, at=begin + 5.0)
    queue.add(B)
    assert await queue.get() == B
    queue.failed(B)
    ahead[0] = step
    assert queue.waiting() == (0, 0.0)
    assert [(await queue.get(), _now()) for _ in range(2)] == [(B, 0.5), (A, 5.0)]
    queue.add(C, at=begin + step + 8.0)
    assert await queue.get() == C
    assert _now() == pytest.approx(8.0, abs=0.001)


async def test_keys_can_be_hurried_but_for_those_that_rest() -> None:
    queue = _queue()
    queue.add(A, at=5000.0)
    queue.add(B)
    queue.done(await queue.get(), pause=2.0)
    queue.add(B)
    queue.hurry()
    assert [(await queue.get(), _now()) for _ in range(2)] == [(A, 0.0), (B, 2.0)]


async def test_namespaces_with_due_keys_come_in_turn() -> None:
    queue = _queue()
    for number in range(1000):
        queue.add(Key("many", str(number)))
    await asyncio.sleep(10.0)
    for key in (A, B, C):
        queue.add(key)
    assert [(await queue.get()).namespace for _ in range(6)] == ["many", "default", "other", "many", "default", "many"]


async def test_a_namespace_whose_keys_take_long_takes_no_share_of_others() -> None:
    queue = _queue()
    for number in range(AT_ONCE + 10):
        queue.add(Key("slow", str(number)))
    slow = [await queue.get() for _ in range(AT_ONCE)]
    assert await _empty(queue)
    for namespace in ("one", "two"):
        for number in range(AT_ONCE):
            queue.add(Key(namespace, str(number)))
    begun = [await queue.get() for _ in range(2 * (AT_ONCE // 3))]
    assert Counter(key.namespace for key in begun) == {"one": AT_ONCE // 3, "two": AT_ONCE // 3}
    assert await _empty(queue)
    queue.done(begun[0])
    assert (await queue.get()).namespace == begun[0].namespace
    for key in slow:
        queue.done(key)
    assert await queue.get()


async def test_each_of_many_namespaces_has_the_least_share() -> None:
    queue = _queue()
    for namespace in range(AT_ONCE):
        for number in range(AT_ONCE):
            queue.add(Key(str(namespace), str(number)))
    begun = [await queue.get() for _ in range(AT_ONCE * LEAST_SHARE)]
    assert set(Counter(key.namespace for key in begun).values()) == {LEAST_SHARE}
    assert await _empty(queue)


async def test_a_key_that_is_due_again_before_its_turn_is_worked_on_once() -> None:
    queue = _queue()
    queue.add(A)
    queue.add(C)
    queue.add(B, at=5.0)
    assert await queue.get() == A
    await asyncio.sleep(10.0)
    assert await queue.get() == C
    queue.hurry()
    queue.add(B, at=1.0)
    assert await queue.get() == B
    queue.done(B)
    assert await _empty(queue)
