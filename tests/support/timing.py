"""Times and waits of each test, written into the file $TIMES for `make times`."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.wait import WAITS

_MOST = 3  # waits reported for each test


def idle_seconds() -> float:
    """Return the seconds that the machine's cores have been idle since its start, added up."""
    _, *ticks = Path("/proc/stat").read_text().splitlines()[0].split()
    return int(ticks[3]) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Timing:
    """A pytest plugin. `file`: gets one line of JSON for each test."""

    file: Path

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        WAITS.clear()
        start, idle = time.monotonic(), idle_seconds()
        result = yield
        seconds = time.monotonic() - start
        longest = sorted(WAITS.items(), key=lambda wait: -wait[1])[:_MOST]
        line = {
            "test": item.nodeid,
            "seconds": round(seconds, 2),
            "idle": round((idle_seconds() - idle) / seconds / (os.cpu_count() or 1), 2),
            "waits": {what: round(waited, 1) for what, waited in longest},
        }
        with self.file.open("a") as lines:
            lines.write(json.dumps(line) + "\n")
        return result
