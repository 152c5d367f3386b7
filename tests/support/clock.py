"""An event loop whose clock jumps to the next timer, so that minutes of waiting take no time.

Sockets on loopback and short work in threads are waited for: time passes only when neither they nor other tasks have
anything to do.
"""

from __future__ import annotations

import asyncio
import inspect
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar, TypeVarTuple, Unpack

import pytest

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")
# Real seconds for a loopback connection or a thread before the clock jumps: more for a longer jump.
_LEAST_GRACE, _MOST_GRACE, _GRACE_PER_SECOND = 0.002, 0.02, 0.004
# Real seconds for threads at work before the clock jumps.
_THREADS_GRACE = 0.5
_STUCK = 20.0


class Run(Protocol):
    """Run a coroutine to its end."""

    def __call__(self, coroutine: Coroutine[Any, Any, _T], /) -> _T: ...


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine test in virtual time, unless marked `real_time`. Needs this hook in conftest.py."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    parameters = inspect.signature(pyfuncitem.obj).parameters
    test = pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in parameters})
    runner = asyncio.run if pyfuncitem.get_closest_marker("real_time") else run_in_virtual_time
    runner(test)
    return True


@pytest.fixture
def run() -> Run:
    """A function that runs a coroutine to its end. Waiting takes no time: the clock jumps to the next timer."""
    return run_in_virtual_time


def run_in_virtual_time(coroutine: Coroutine[Any, Any, _T]) -> _T:
    with asyncio.Runner(loop_factory=_VirtualLoop) as runner:
        return runner.run(coroutine)


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._now = 0.0
        self.threads = 0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        return self._now

    def run_in_executor(self, executor: Any, func: Callable[[Unpack[_Ts]], _T], *args: *_Ts) -> asyncio.Future[_T]:
        work = super().run_in_executor(executor, func, *args)
        self.threads += 1
        work.add_done_callback(self._thread_ended)
        return work

    def _thread_ended(self, _: asyncio.Future[Any]) -> None:
        self.threads -= 1

    def jump(self, seconds: float) -> None:
        self._now += seconds


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self, loop: _VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout <= 0:
            return super().select(0)
        if timeout is None:
            if ready := super().select(_STUCK):
                return ready
            raise RuntimeError("the test waits for something that nothing will bring about")
        if self._loop.threads and (ready := super().select(_THREADS_GRACE)):
            return ready
        if ready := super().select(min(_LEAST_GRACE + _GRACE_PER_SECOND * timeout, _MOST_GRACE)):
            return ready
        self._loop.jump(timeout)
        return []
