from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from dask_operator.model import Endpoint
from dask_operator.scheduler import lazy_rpc
from dask_operator.scheduler.failures import SchedulerError
from dask_operator.scheduler.questions import Schedulers


async def test_nobody_is_asked_while_there_is_no_address() -> None:
    with pytest.raises(SchedulerError, match="its Pod has no address yet"):
        async with Schedulers() as schedulers:
            await schedulers.workers(Endpoint("http://:8787", "tcp://:8786"))


async def test_nothing_is_imported_where_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib, "import_module", lambda name: pytest.fail(f"{name} is imported"))
    with pytest.raises(OSError, match="Connect call failed"):
        await lazy_rpc.ask("tcp://127.0.0.1:1", "identity", {}, 1, 1.0)


@pytest.mark.parametrize("scheme", ["ucx", "ws", "wss"])
async def test_protocols_that_the_operator_does_not_speak_are_not_tried(scheme: str) -> None:
    with pytest.raises(OSError, match=f"the operator asks schedulers that speak {scheme} over HTTP alone"):
        await lazy_rpc.ask(f"{scheme}://127.0.0.1:1", "identity", {}, 1, 1.0)


def test_distributed_is_not_imported_before_it_is_needed() -> None:
    code = (
        "import sys, dask_operator.__main__; print([name for name in sys.modules if name in ('dask', 'distributed')])"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"
