from __future__ import annotations

import socket
from typing import Any

import pytest
from distributed import Scheduler
from tests.controller.parse.twisted import twisted

from dask_operator.manifests.ipv6 import HOST, listening_on_ipv6

ALIAS = {"ip": "::", "hostnames": ["any-ipv6"]}
BOTH = ":8787,any-ipv6:8787"


def _changed(**container: Any) -> dict[str, Any]:
    spec = listening_on_ipv6({"containers": [container]})
    assert spec["hostAliases"] == [ALIAS]
    changed: dict[str, Any] = spec["containers"][0]
    return changed


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        ({"args": ["dask", "scheduler"]}, {"args": ["dask", "scheduler", "--dashboard-address", BOTH]}),
        (
            {"args": ["/usr/bin/dask-scheduler", "--protocol", "tls"]},
            {"args": ["/usr/bin/dask-scheduler", "--dashboard-address", BOTH, "--protocol", "tls"]},
        ),
        (
            {"command": ["python", "-m"], "args": ["distributed.cli.dask_scheduler"]},
            {"command": ["python", "-m"], "args": ["distributed.cli.dask_scheduler", "--dashboard-address", BOTH]},
        ),
        (
            {"command": ["dask"], "args": ["scheduler"]},
            {"command": ["dask"], "args": ["scheduler", "--dashboard-address", BOTH]},
        ),
        (
            {"args": ["dask", "scheduler", "--dashboard-address", ":9001"]},
            {"args": ["dask", "scheduler", "--dashboard-address", ":9001,any-ipv6:9001"]},
        ),
        (
            {"args": ["dask", "worker", "--dashboard-address", "8788", "--nthreads", "2"]},
            {"args": ["dask", "worker", "--dashboard-address", ":8788,any-ipv6:8788", "--nthreads", "2"]},
        ),
        (
            {"args": ["dask", "worker", "--dashboard-address=8788"]},
            {"args": ["dask", "worker", "--dashboard-address=:8788,any-ipv6:8788"]},
        ),
        (
            {"command": ["dask", "worker", "--dashboard-address"], "args": [":8788"]},
            {"command": ["dask", "worker", "--dashboard-address"], "args": [":8788,any-ipv6:8788"]},
        ),
    ],
)
def test_http_servers_listen_at_all_addresses(container: dict[str, Any], expected: dict[str, Any]) -> None:
    assert _changed(**container) == expected


@pytest.mark.parametrize(
    "container",
    [
        {"args": ["dask", "worker"]},
        {"args": ["dask", "scheduler", "--dashboard-address", "10.0.0.1:8787"]},
        {"args": ["dask", "scheduler", "--dashboard-address", "localhost:8787"]},
        {"args": ["dask", "scheduler", "--dashboard-address=$(ADDRESS)"]},
        {"args": ["airflow", "scheduler"]},
        {"command": ["sh", "-c", "exec dask scheduler"]},
        {"image": "dask"},
        {"command": [], "args": []},
    ],
)
def test_other_words_stay(container: dict[str, Any]) -> None:
    assert _changed(**container) == container


def test_the_users_own_aliases_stay() -> None:
    own = {"ip": "10.0.0.1", "hostnames": ["db"]}
    spec = {"containers": [{"name": "worker"}], "hostAliases": [own], "hostNetwork": True}
    assert listening_on_ipv6(spec) == spec | {"hostAliases": [own, ALIAS]}


def test_no_odd_template_makes_it_fail() -> None:
    container = {"command": ["dask"], "args": ["scheduler", "--dashboard-address", "8787"]}
    for spec in twisted({"containers": [container], "hostAliases": [ALIAS]}):
        listening_on_ipv6(spec)


@pytest.mark.real_time
async def test_dask_takes_the_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    found = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *more, **how: found({HOST: "::"}.get(host, host), *more, **how)
    )
    async with Scheduler(host="127.0.0.1", port=0, dashboard=False, dashboard_address=f":0,{HOST}:0") as scheduler:
        families = {listening.family for listening in scheduler.http_server._sockets.values()}
    assert families == {socket.AF_INET, socket.AF_INET6}
