from __future__ import annotations

import json
import threading
import time
from contextlib import suppress
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from distributed import Client
from tests.controller.parse.twisted import twisted
from tests.support.dask import a_dask_cluster, http_port

from dask_operator import parse
from dask_operator.model import Registration


@pytest.mark.parametrize("identity", [{}, {"workers": None}, {"workers": {"tcp://x:1": None}}, {"workers": []}])
def test_half_an_identity_makes_no_parser_fail(identity: dict[str, Any]) -> None:
    parse.registrations(identity)


def test_odd_identities_make_no_parser_fail() -> None:
    metrics = {"managed_bytes": 1, "spilled_bytes": {"memory": 1}, "task_counts": {"executing": 1}}
    for identity in twisted({"workers": {"tcp://10.0.0.1:4000": {"name": 1, "metrics": metrics}}}):
        parse.registrations(identity)


def test_what_was_retired() -> None:
    assert parse.retired({"tcp://10.0.0.1:4000": {"name": "a"}}) == {"tcp://10.0.0.1:4000"}
    assert parse.retired({}) == frozenset()


_RELEASED = threading.Event()


def _wait_for_release() -> None:
    _RELEASED.wait(60.0)


def _once_known(port: int, busy: str) -> dict[str, Registration]:
    """Return the scheduler's answer once a heartbeat has told it about the worker's task."""
    deadline = time.monotonic() + 15.0
    found: dict[str, Registration] = {}
    while time.monotonic() < deadline:
        # Until the heartbeat after a task's end, distributed 2026.8 cannot write its own identity (500).
        with suppress(HTTPError), urlopen(f"http://127.0.0.1:{port}/json/identity.json") as reply:
            found = {worker.address: worker for worker in parse.registrations(json.load(reply))}
            if found[busy].nbytes and found[busy].tasks:
                return found
        time.sleep(0.05)
    raise AssertionError(f"waited 15 s for the worker's heartbeat to tell of its result and task: {found}")


def test_the_identity_of_a_real_scheduler() -> None:
    """Use two workers: one holds a result and runs a task, the other does nothing."""
    with a_dask_cluster(workers=2) as cluster, Client(cluster) as client:
        busy, idle = (worker.address for worker in cluster.workers.values())
        held = client.submit(bytes, 1_000_000, workers=[busy], pure=False)
        held.result()
        running = client.submit(_wait_for_release, workers=[busy])
        try:
            found = _once_known(http_port(cluster), busy)
        finally:
            _RELEASED.set()
        running.result()
        assert set(found) == {busy, idle}
        assert found[busy].name == str(next(name for name, w in cluster.workers.items() if w.address == busy))
        assert found[busy].nbytes >= 1_000_000
        assert found[busy].tasks == 1
        assert (found[idle].nbytes, found[idle].tasks) == (0, 0)
