"""An event loop whose clock jumps to the next thing that is due, so that a wait of minutes takes none.

Sockets on loopback work: time passes only when neither they nor anything else has something to do.
"""

from __future__ import annotations

import asyncio
import inspect
import selectors
from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

import pytest

_T = TypeVar("_T")
# What a loopback connection or a thread may take, in real seconds, before the clock jumps: the more, the farther it is.
_LEAST_GRACE, _MOST_GRACE, _GRACE_PER_SECOND = 0.002, 0.02, 0.004
_STUCK = 20.0


class Run(Protocol):
    """Runs a coroutine to its end."""

    def __call__(self, coroutine: Coroutine[Any, Any, _T], /) -> _T: ...


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Runs a test that is a coroutine, in virtual time unless it says `real_time`, where conftest.py has this hook."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    parameters = inspect.signature(pyfuncitem.obj).parameters
    test = pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in parameters})
    runner = asyncio.run if pyfuncitem.get_closest_marker("real_time") else run_in_virtual_time
    runner(test)
    return True


@pytest.fixture
def run() -> Run:
    """Runs a coroutine to its end. Waiting takes no time: the clock jumps to whatever is due next."""
    return run_in_virtual_time


def run_in_virtual_time(coroutine: Coroutine[Any, Any, _T]) -> _T:
    with asyncio.Runner(loop_factory=_VirtualLoop) as runner:
        return runner.run(coroutine)


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        return self._now

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
        if ready := super().select(min(_LEAST_GRACE + _GRACE_PER_SECOND * timeout, _MOST_GRACE)):
            return ready
        self._loop.jump(timeout)
        return []
