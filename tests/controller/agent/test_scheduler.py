"""The agent in real schedulers, with workers in processes."""

from __future__ import annotations

import ast
import asyncio
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import dask.array
import httpx
import pytest
from distributed import get_worker, secede
from tests.support.forked import ForkedProcess
from tests.support.kube import eventually
from tests.support.processes import AGENT, ROOT, Dask, a_dask

from dask_operator import agent, names
from dask_operator.agent import scheduler as scheduler_agent
from dask_operator.agent.scheduler import (
    ACTORS,
    DRAIN_SECONDS,
    LARGEST_REQUEST,
    LONGEST_NAME,
    MOST_RESOURCES,
    REMEMBERED,
    ROUTE,
    Agent,
    Leave,
    NannyDeparture,
    long_running,
    operation,
)
from dask_operator.manifests.grace import drain_seconds
from dask_operator.model import Registration
from dask_operator.reconcile import asking
from dask_operator.scheduler import answers

WORKERS = f"{ROUTE}/workers"
P2P = {"DASK_ARRAY__RECHUNK__METHOD": "p2p"}


@pytest.fixture
def dask_of_two() -> Iterator[Dask]:
    """A cluster with the workers `kept` and `leaving`."""
    with a_dask() as made:
        made.worker("kept")
        made.worker("leaving")
        yield made


def _slowly(log: Path, seconds: float) -> str:
    with log.open("a") as file:
        file.write("began\n")
    time.sleep(seconds)
    return "done"


def _slowly_and_seceded(log: Path, seconds: float) -> str:
    secede()
    return _slowly(log, seconds)


def _bulky(_: int) -> tuple[UUID, bytes]:
    return uuid4(), bytes(10 * 2**20)


def _first(pair: tuple[UUID, bytes]) -> UUID:
    return pair[0]


def _counted(counter: Any) -> int:
    value: int = counter.value().result()
    return value


class Counter:
    def value(self) -> int:
        return 1


def _drain(made: Dask, *workers: str, **others: float) -> dict[str, Any]:
    """Drain workers. Return the answer without its empty parts."""
    return _post(made, "drain", {"workers": list(workers), "seconds": 60.0, **others})


def _post(made: Dask, route: str, asked: dict[str, Any]) -> dict[str, Any]:
    answer = httpx.post(f"http://{made.http}/kubernetes/v1/{route}", json=asked, timeout=180).json()
    return {key: value for key, value in answer.items() if value}


def _told(made: Dask, name: str) -> dict[str, Any]:
    """Return what the agent tells about a worker."""
    workers = httpx.get(f"http://{made.http}/kubernetes/v1/workers", timeout=60).json()["workers"]
    (told,) = [worker for worker in workers.values() if worker["name"] == name]
    return dict(told)


def _leave(process: ForkedProcess, made: Dask) -> int:
    """Tell a worker to end, and return its exit code. Fails with the workers' logs if it does not end."""
    process.send_signal(signal.SIGTERM)
    try:
        return process.wait(180)
    except subprocess.TimeoutExpired:
        raise AssertionError(f"it goes on:\n{(made.folder / 'worker.log').read_text()}\n{made.log}") from None


@pytest.mark.parametrize("arguments", [["--nanny"], []], ids=["nanny", "no nanny"])
@pytest.mark.parametrize("task", [_slowly, _slowly_and_seceded])
def test_a_worker_that_gets_sigterm_ends_its_task_and_hands_over_its_results(
    tmp_path: Path, task: Any, arguments: list[str]
) -> None:
    with a_dask() as made:
        made.worker("kept")
        leaving = made.worker("leaving", *arguments)
        log = tmp_path / "log"
        held = made.client.map(lambda _: uuid4(), range(5), pure=False, workers=made.addresses("leaving"))
        results = made.client.gather(held)
        running = made.client.submit(task, log, 3.0, workers=made.addresses("leaving"), pure=False)
        eventually(log.exists, "the task runs", 120)
        assert _leave(leaving, made) == 0
        assert made.addresses() == made.addresses("kept")
        assert running.result(120) == "done"
        assert log.read_text() == "began\n", "it ran once"
        assert made.client.gather(held) == results


def test_a_worker_that_gets_sigterm_while_its_nanny_starts_it_ends_what_it_gets(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with a_dask() as made:
        made.worker("kept")
        waiting = made.client.submit(_slowly, log, 1.0, resources={"new": 1}, pure=False)
        leaving = made.coming_worker("leaving", "--nanny", "--resources", "new=1")
        eventually(lambda: "Start Nanny at" in (made.folder / "worker.log").read_text(), "the nanny starts", 120)
        assert _leave(leaving, made) == 0
        assert waiting.result(120) == "done"
        assert log.read_text() == "began\n", "it ran once"


def test_a_worker_that_may_not_drain_hands_over_its_results(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with a_dask({**AGENT, names.DRAIN_SECONDS_ENV: "0"}) as made:
        made.worker("kept")
        leaving = made.worker("leaving")
        on_leaving: Any = {"workers": made.addresses("leaving"), "allow_other_workers": True, "pure": False}
        held = made.client.map(_bulky, range(20), **on_leaving)
        results = made.client.gather(made.client.map(_first, held, **on_leaving))
        running = made.client.submit(_slowly, log, 8.0, **on_leaving)
        eventually(log.exists, "the task runs", 120)
        _leave(leaving, made)
        assert running.result(120) == "done"
        assert log.read_text() == "began\n" * 2, "it was not waited for"
        assert made.client.gather(made.client.map(_first, held, pure=False)) == results


def test_all_workers_of_a_process_drain(tmp_path: Path) -> None:
    with a_dask() as made:
        made.worker("kept")
        leaving = made.worker("leaving", processes=2)
        held = made.client.map(lambda _: uuid4(), range(20), pure=False, workers=made.addresses("leaving"))
        results = made.client.gather(held)
        assert _leave(leaving, made) == 0
        assert made.client.gather(held) == results


def test_tasks_that_wait_on_a_worker_that_drains_go_elsewhere(dask_of_two: Dask, tmp_path: Path) -> None:
    address, end = dask_of_two.addresses("leaving"), tmp_path / "end"
    tasks = dask_of_two.client.map(
        lambda n: _until_exists(tmp_path / str(n), end) if n == 0 else _slowly(tmp_path / str(n), 0.01),
        range(8),
        workers=address,
        allow_other_workers=True,
        pure=False,
    )
    eventually((tmp_path / "0").exists, "the first task runs", 120)
    with ThreadPoolExecutor() as pool:
        drain = pool.submit(_drain, dask_of_two, *address, seconds=300.0)
        try:
            dask_of_two.client.gather(tasks[1:])
            assert not drain.done()
        finally:
            end.touch()
        assert drain.result(180) == {"retired": address}
    assert tasks[0].result(120) == "done"
    assert [(tmp_path / str(n)).read_text() for n in range(1, 8)] == ["began\n"] * 7


def test_a_participant_of_a_shuffle_stays_until_its_end() -> None:
    with a_dask(AGENT | P2P) as made, dask.config.set({"array.rechunk.method": "p2p"}):
        made.worker("kept")
        made.worker("kept too")
        leaving = made.worker("leaving")
        numbers = dask.array.random.random((800, 800), chunks=(40, 800)).map_blocks(_paused)
        total = made.client.compute(numbers.rechunk((800, 40)).sum())
        eventually(lambda: " initialized by task" in made.log, "the shuffle runs", 120)
        assert _leave(leaving, made) == 0
        assert 0.0 < total.result(60) < 800.0 * 800.0
        assert " restarted due to" not in made.log


def test_a_new_shuffle_puts_no_output_on_a_worker_that_drains(tmp_path: Path) -> None:
    with a_dask(AGENT | P2P) as made, dask.config.set({"array.rechunk.method": "p2p"}):
        made.worker("kept")
        made.worker("kept too")
        made.worker("leaving")
        address, log = made.addresses("leaving"), tmp_path / "log"
        running = made.client.submit(_until_exists, log, tmp_path / "end", workers=address, pure=False)
        eventually(log.exists, "the task runs", 120)
        with ThreadPoolExecutor() as pool:
            drain = pool.submit(_drain, made, *address, seconds=300.0)
            eventually(lambda: "Retired worker" in made.log, "the worker is paused", 120)
            numbers = dask.array.random.random((200, 200), chunks=(20, 200)).rechunk((200, 20))
            try:
                assert made.client.compute(numbers.sum()).result(120) > 0.0
                assert not drain.done()
            finally:
                (tmp_path / "end").touch()
            assert drain.result(180) == {"retired": address}
        assert running.result(120) == "done"
        assert " initialized by task" in made.log
        assert " restarted due to" not in made.log


def _until_exists(log: Path, file: Path) -> str:
    log.touch()
    while not file.exists():
        time.sleep(0.1)
    return "done"


def _paused(block: Any) -> Any:
    time.sleep(0.1)
    return block


def test_the_last_worker_stays_and_goes_on(tmp_path: Path) -> None:
    with a_dask() as made:
        made.worker("last")
        held = made.client.submit(uuid4, pure=False)
        result = held.result(120)
        address = made.addresses("last")
        assert _drain(made, *address) == {"kept": {address[0]: "data"}}
        assert made.client.submit(sum, [1, 2]).result(120) == 3
        assert held.result(120) == result


def test_the_last_worker_that_gets_sigterm_waits_for_its_replacement() -> None:
    with a_dask() as made:
        leaving = made.worker("leaving")
        held = made.client.submit(uuid4, pure=False)
        result = held.result(120)
        leaving.send_signal(signal.SIGTERM)
        made.coming_worker("later")
        assert leaving.wait(60) == 0
        assert made.addresses() == made.addresses("later")
        assert held.result(120) == result


def test_a_second_signal_ends_a_worker_at_once(tmp_path: Path) -> None:
    with a_dask() as made:
        made.worker("kept")
        leaving = made.worker("leaving", "--nanny")
        running = made.client.submit(_slowly, tmp_path / "log", 60.0, workers=made.addresses("leaving"), pure=False)
        eventually((tmp_path / "log").exists, "the task runs", 120)
        leaving.send_signal(signal.SIGTERM)
        eventually(lambda: "Retire worker" in made.log, "the drain has begun", 120)
        _leave(leaving, made)
        assert not running.done()


def test_an_actor_keeps_its_worker(dask_of_two: Dask) -> None:
    address = dask_of_two.addresses("leaving")
    future = dask_of_two.client.submit(Counter, actor=True, workers=address)
    counter = future.result(120)
    assert _drain(dask_of_two, *address) == {"kept": {address[0]: "actors"}}
    assert dask_of_two.client.submit(_counted, counter).result(120) == 1


def test_after_its_time_a_worker_is_retired_with_what_runs_on_it(dask_of_two: Dask, tmp_path: Path) -> None:
    address, log = dask_of_two.addresses("leaving"), tmp_path / "log"
    running = dask_of_two.client.submit(_slowly, log, 5.0, workers=address, allow_other_workers=True, pure=False)
    eventually(log.exists, "the task runs", 120)
    assert _drain(dask_of_two, *address, seconds=0.5) == {"retired": address, "overdue": address}
    assert _drain(dask_of_two, *address) == {"retired": address, "overdue": address}, "asked once more"
    assert running.result(60) == "done"
    assert log.read_text() == "began\n" * 2


def test_a_task_whose_end_is_on_its_way_does_not_run_again(dask_of_two: Dask, tmp_path: Path) -> None:
    address, log = dask_of_two.addresses("leaving"), tmp_path / "log"
    running = dask_of_two.client.submit(
        _slowly_told_late, log, 3.0, workers=address, allow_other_workers=True, pure=False
    )
    eventually(log.exists, "the task runs", 120)
    assert _drain(dask_of_two, *address) == {"retired": address}
    assert running.result(60) == "done"
    assert log.read_text() == "began\n"


def _slowly_told_late(log: Path, seconds: float) -> str:
    """Let the scheduler hear of the end a while after the next heartbeat, which has a connection of its own."""
    stream: Any = get_worker().batched_stream
    send = stream.send
    stream.send = lambda *messages: asyncio.get_running_loop().call_later(0.7, send, *messages)
    return _slowly(log, seconds)


def test_an_idle_worker_without_time_is_not_overdue(dask_of_two: Dask) -> None:
    address = dask_of_two.addresses("leaving")
    assert _drain(dask_of_two, *address, seconds=0.0) == {"retired": address}


def test_a_worker_drains_once_for_all_who_ask(dask_of_two: Dask, tmp_path: Path) -> None:
    address, log = dask_of_two.addresses("leaving"), tmp_path / "log"
    running = dask_of_two.client.submit(_slowly, log, 3.0, workers=address, pure=False)
    eventually(log.exists, "the task runs", 120)
    with ThreadPoolExecutor() as pool:
        answers = [pool.submit(_drain, dask_of_two, *address) for _ in range(3)]
        assert [answer.result(180)["retired"] for answer in answers] == [address] * 3
    assert dask_of_two.log.count("Retire worker addresses") == 2, "once to pause it, and once to remove it"
    assert running.result(120) == "done"


def test_unknown_workers_are_neither_retired_nor_kept(dask_of_two: Dask) -> None:
    assert _drain(dask_of_two, "tcp://10.0.0.1:1") == {}


def test_preloads_of_configuration_files_stay_in_force(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("distributed: {scheduler: {preload: mine_preload}}\n")
    (tmp_path / "mine_preload.py").write_text("def dask_setup(scheduler):\n    print('MINE IS SET UP')\n")
    env = {"DASK_CONFIG": str(tmp_path), "PYTHONPATH": f"{tmp_path}:{ROOT / 'tests'}:{ROOT}", "PYTHONUNBUFFERED": "1"}
    with a_dask(AGENT | env) as made:
        eventually(lambda: "MINE IS SET UP" in made.log, "the user's preload is set up", 120)
        made.worker("last")
        assert "kept" not in _drain(made, *made.addresses())


def test_the_http_api_is_there_also_below_a_prefix() -> None:
    with a_dask(arguments=["--dashboard-prefix", "/team"]) as made:
        for route in ("/api/v1/get_workers", "/team/api/v1/get_workers"):
            assert httpx.get(f"http://{made.http}{route}").json() == {"num_workers": 0, "workers": []}


def test_routes_that_a_user_has_chosen_stay_as_they_are() -> None:
    with a_dask(AGENT | {"DASK_DISTRIBUTED__SCHEDULER__HTTP__ROUTES": "['distributed.http.health']"}) as made:
        answers = {
            route: httpx.get(f"http://{made.http}{route}").status_code for route in ("/health", "/api/v1", WORKERS)
        }
        assert answers == {"/health": 200, "/api/v1": 404, WORKERS: 404}


def test_a_scheduler_to_which_it_cannot_be_added_works_without_it() -> None:
    with a_dask(AGENT | {names.AGENT_ENV: agent.TEXT.replace("def _add(", "def _gone(")}) as made:
        made.worker("only")
        assert made.client.submit(sum, [1, 2]).result(120) == 3
        assert "works without" in made.log


def test_its_text_is_python_for_old_releases_and_its_plugins_are_text() -> None:
    ast.parse(agent.TEXT, feature_version=(3, 8))
    program = f"import os, pickle, sys; os.environ[{names.AGENT_ENV!r}] = sys.stdin.read()"
    program += "; space = {'__name__': 'x'}; exec(os.environ['KUBERNETES_DASK_AGENT'], space)"
    program += "; sys.stdout.buffer.write(pickle.dumps(space['Text']('NannyDeparture(7.0)')))"
    done = subprocess.run([sys.executable, "-c", program], input=agent.TEXT.encode(), capture_output=True, check=True)
    assert pickle.loads(done.stdout).seconds == 7.0
    assert b"NannyDeparture(7.0)" in done.stdout


def test_the_names_of_its_variables_are_those_of_the_manifests() -> None:
    assert f"os.environ['{names.AGENT_ENV}']" in agent.PRELOAD
    assert f'os.environ["{names.AGENT_ENV}"]' in agent.TEXT
    assert f'os.environ.get("{names.DRAIN_SECONDS_ENV}", ' in agent.TEXT
    assert f'os.environ.get("{names.POD_ENV}")' in agent.TEXT


def test_what_the_controller_knows_of_its_answers_is_as_it_says() -> None:
    assert asking.ACTORS == ACTORS
    assert (answers.MOST_RESOURCES, answers.LONGEST_NAME) == (MOST_RESOURCES, LONGEST_NAME)
    told = asyncio.run(Agent(SimpleNamespace(workers={"a": _idle()}, plugins={})).workers())
    assert {field.name for field in fields(Registration)} - {"address"} == set(told["workers"][_idle().address])


def _idle() -> Any:
    return SimpleNamespace(address="tcp://10.0.0.1:1", name="a", nbytes=0, processing=(), occupancy=0.0, last_seen=0.0)


def test_releases_that_pass_the_connection_or_name_seceded_tasks_otherwise_are_understood() -> None:
    act = operation(lambda **asked: asked)
    assert act(workers=["a"]) == act("the connection", workers=["a"]) == {"workers": ["a"]}
    for name in ("long_running", "_long_running"):
        assert long_running(SimpleNamespace(**{name: {"a"}})) == {"a"}
    assert not long_running(SimpleNamespace(long_running=set()))


def test_no_more_departures_than_a_thousand_are_remembered() -> None:
    async def retired(**_: Any) -> dict[str, Any]:
        return {"a": {}}

    async def all_leave() -> None:
        for number in range(REMEMBERED + 5):
            scheduler.workers = {str(number): _idle()}
            await drains.drain(str(number), 0.0)

    scheduler = SimpleNamespace(workers={}, plugins={}, retire_workers=retired)
    drains = Agent(scheduler)
    asyncio.run(all_leave())
    assert len(drains.gone) == REMEMBERED
    assert str(REMEMBERED + 4) in drains.gone


def test_a_worker_without_the_variable_drains_as_one_with_the_default_grace_period() -> None:
    assert str(int(DRAIN_SECONDS)) == drain_seconds({})


def test_a_worker_that_drains_is_told_and_may_be_taken_back(dask_of_two: Dask, tmp_path: Path) -> None:
    (address,), log = dask_of_two.addresses("leaving"), tmp_path / "log"
    running = dask_of_two.client.submit(_until_exists, log, tmp_path / "end", workers=[address], pure=False)
    try:
        eventually(log.exists, "the task runs", 120)
        assert _drain(dask_of_two, address, wait=3.0) == {"draining": {address: "tasks"}}
        told = _told(dask_of_two, "leaving")
        assert (told["draining"], told["leaves"], told["tasks"], told["shuffles"]) == (True, False, 1, False)
        assert told["seconds"] > 0.0
        assert _post(dask_of_two, "resume", {"workers": [address, "tcp://10.0.0.1:1"]}) == {"resumed": [address]}
        assert not _told(dask_of_two, "leaving")["draining"]
        later = dask_of_two.client.map(lambda n: n, range(4), workers=[address], pure=False)
    finally:
        (tmp_path / "end").touch()
    assert running.result(120) == "done"
    assert dask_of_two.client.gather(later) == [0, 1, 2, 3], "it works again"
    assert _drain(dask_of_two, address) == {"retired": [address]}
    assert _post(dask_of_two, "resume", {"workers": [address]}) == {}


def test_a_worker_whose_process_ends_is_not_taken_back(dask_of_two: Dask, tmp_path: Path) -> None:
    with a_dask() as made:
        made.worker("kept")
        leaving = made.worker("leaving")
        (address,), log = made.addresses("leaving"), tmp_path / "log"
        running = made.client.submit(_until_exists, log, tmp_path / "end", workers=[address], pure=False)
        try:
            eventually(log.exists, "the task runs", 120)
            leaving.send_signal(signal.SIGTERM)
            eventually(lambda: _told(made, "leaving")["leaves"], "it drains", 60)
            assert _post(made, "resume", {"workers": [address]}) == {}
        finally:
            (tmp_path / "end").touch()
        assert leaving.wait(60) == 0
        assert running.result(120) == "done"


def test_the_first_of_several_workers_is_not_kept_by_the_others(dask_of_two: Dask, tmp_path: Path) -> None:
    dask_of_two.worker("idle")
    (busy,), (idle,) = dask_of_two.addresses("leaving"), dask_of_two.addresses("idle")
    running = dask_of_two.client.submit(_until_exists, tmp_path / "log", tmp_path / "end", workers=[busy], pure=False)
    try:
        eventually((tmp_path / "log").exists, "the task runs", 120)
        assert _drain(dask_of_two, busy, idle, wait=60.0) == {"retired": [idle], "draining": {busy: "tasks"}}
    finally:
        (tmp_path / "end").touch()
    assert _drain(dask_of_two, busy, wait=60.0) == {"retired": [busy]}
    assert running.result(120) == "done"


def test_a_participant_of_a_shuffle_is_told(tmp_path: Path) -> None:
    with a_dask(AGENT | P2P) as made, dask.config.set({"array.rechunk.method": "p2p"}):
        made.worker("one")
        made.worker("two")
        made.client.run_on_scheduler(_hold_shuffles, end=tmp_path / "end")
        numbers = dask.array.random.random((400, 400), chunks=(20, 400))
        total = made.client.compute(numbers.rechunk((400, 20)).sum())
        try:
            eventually(lambda: _told(made, "one")["shuffles"], "the shuffle runs", 120)
        finally:
            (tmp_path / "end").touch()
        assert total.result(60) > 0.0


def _hold_shuffles(dask_scheduler: Any, end: Path) -> None:
    """Let no shuffle get past its barrier before a file exists."""
    barrier = dask_scheduler.handlers["shuffle_barrier"]

    async def waits(**asked: Any) -> Any:
        while not end.exists():  # noqa: ASYNC110, ASYNC240
            await asyncio.sleep(0.05)
        return await barrier(**asked)

    dask_scheduler.handlers["shuffle_barrier"] = waits


def test_a_request_that_is_too_large_is_not_read(dask_of_two: Dask) -> None:
    route = f"http://{dask_of_two.http}{ROUTE}/drain"
    assert httpx.post(route, content=b" " * (LARGEST_REQUEST + 1)).status_code == 413


def _left(told: list[str], **server: Any) -> None:
    """Let a server leave within 0 seconds. `told` gets what it is told, and at last the signal."""

    async def leave() -> None:
        leaves = Leave(
            lambda *_: told.append("signal"), 0.0, SimpleNamespace(**{"address": "tcp://10.0.0.1:1", **server})
        )
        await asyncio.wait_for(leaves._leave(signal.SIGTERM, None), 30.0)

    asyncio.run(leave())


async def _drained(**_: Any) -> dict[str, Any]:
    return {"kept": {}}


def test_a_worker_without_a_nanny_is_closed_before_the_signal_ends_its_event_loop() -> None:
    told: list[str] = []

    async def close() -> None:
        await asyncio.sleep(0.1)
        told.append("close")

    scheduler = SimpleNamespace(kubernetes_drain=_drained)
    _left(told, nanny=None, close=close, scheduler=scheduler)
    assert told == ["close", "signal"]
    _left(told, close=close, scheduler=scheduler, **vars(_nanny("running", "running")))
    assert told == ["close", "signal", "signal"], "Dask closes a nanny itself"


def _nanny(status: str, process: str = "") -> Any:
    """Return what the agent reads of a nanny: its status, and that of its worker's process."""
    worker = SimpleNamespace(status=SimpleNamespace(name=process)) if process else None
    return SimpleNamespace(address="tcp://10.0.0.1:1", status=SimpleNamespace(name=status), process=worker)


@pytest.mark.parametrize("nanny", [_nanny("init"), _nanny("init", "init"), _nanny("running", "starting")])
def test_a_worker_that_does_not_start_is_not_waited_for_longer_than_it_may_take(
    monkeypatch: pytest.MonkeyPatch, nanny: Any
) -> None:
    monkeypatch.setattr(scheduler_agent, "STARTING", 0.3)
    asyncio.run(_waited_for(nanny, at_least=0.3))


@pytest.mark.parametrize("nanny", [_nanny("closing"), _nanny("closed"), _nanny("running", "running")])
def test_a_nanny_that_starts_no_worker_is_not_waited_for(nanny: Any) -> None:
    asyncio.run(_waited_for(nanny, at_least=0.0))


async def _waited_for(nanny: Any, at_least: float) -> None:
    began = time.monotonic()
    nanny.scheduler = SimpleNamespace(kubernetes_drain=_drained)
    await asyncio.wait_for(Leave(None, 3600.0, nanny)._drain(nanny), 30.0)
    assert time.monotonic() - began >= at_least


def test_a_nanny_that_closes_starts_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    async def setup(nanny: Any, timeout: float) -> None:
        await asyncio.wait_for(NannyDeparture(20.0).setup(nanny), timeout)

    # Dask's handler of the signal has done its part.
    monkeypatch.setattr(signal, "getsignal", lambda _: signal.SIG_DFL)
    asyncio.run(setup(_nanny("init"), 30.0))
    closing = _nanny("init")
    monkeypatch.setattr(scheduler_agent, "PAUSE", 0.2)
    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(_closes(closing, setup(closing, 0.5)))


async def _closes(nanny: Any, setup: Any) -> None:
    """Let a nanny begin to close during its plugin's setup."""
    asyncio.get_running_loop().call_later(0.05, setattr, nanny.status, "name", "closing")
    await setup


def test_a_request_that_does_not_end_keeps_no_worker_from_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler_agent, "MOVING", 0.1)
    told: list[str] = []

    async def endless(**_: Any) -> None:
        while not told:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.05)

    _left(told, nanny=None, scheduler=SimpleNamespace(kubernetes_drain=endless))
    assert told == ["signal"]
