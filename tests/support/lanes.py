"""What the lanes of one run of pytest share: they are processes that run its tests side by side."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def shared(file: Path, begin: Callable[[], object], end: Callable[[], object]) -> Iterator[None]:
    """Calls `begin` for the first process that is inside, and `end` for the last. `file`: counts them."""
    with _count(file) as count:
        if count.read() == 0:
            begin()
        count.write(count.read() + 1)
    try:
        yield
    finally:
        with _count(file) as count:
            count.write(count.read() - 1)
            if count.read() == 0:
                end()


class _Count:
    def __init__(self, file: Path) -> None:
        self._file = file

    def read(self) -> int:
        return int(self._file.read_text() or 0)

    def write(self, number: int) -> None:
        self._file.write_text(str(number))


@contextmanager
def _count(file: Path) -> Iterator[_Count]:
    """Holds the file's lock, so that no process begins while another one ends."""
    with file.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        file.touch()
        yield _Count(file)
