"""Resources shared by the lanes of a pytest run, processes that run its tests side by side."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def shared(file: Path, begin: Callable[[], object], end: Callable[[], object]) -> Iterator[None]:
    """Call `begin` for the first process inside the block, and `end` for the last. `file`: counts them."""
    with _locked(file):
        if not _inside(file):
            begin()
        file.write_text(str(_inside(file) + 1))
    try:
        yield
    finally:
        with _locked(file):
            file.write_text(str(_inside(file) - 1))
            if not _inside(file):
                end()


def _inside(file: Path) -> int:
    return int(file.read_text()) if file.exists() else 0


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Lock the file, so that no process begins while another one ends."""
    with file.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
