from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest

from dask_operator.model import Need, Registration
from dask_operator.scheduler import answers
from dask_operator.scheduler.answers import JSON, MESSAGE, TooManyError, UnexpectedError, Wire

WIRES: dict[str, tuple[Wire, Callable[[Any], bytes]]] = {
    "json": (JSON, lambda value: json.dumps(value).encode()),
    "message": (MESSAGE, lambda value: bytes(msgpack.packb(value))),
}
BY_EITHER = pytest.mark.parametrize("wire", WIRES)
FAILURES = (ValueError, TypeError, RecursionError)
METRICS: dict[str, Any] = {
    "task_counts": {"executing": 2, "memory": 151, "long-running": 1, "waiting": 4},
    "bandwidth": {"total": 100000000, "workers": {}, "types": {}},
    "digests_total_since_heartbeat": {"tick-duration": 0.5, "latency": 0.01},
    "managed_bytes": 4228,
    "spilled_bytes": {"memory": 7, "disk": 3},
    "transfer": {"incoming_bytes": 0, "incoming_count": 0, "outgoing_bytes": 0},
    "event_loop_interval": 0.02,
    "cpu": 38.5,
    "host_net_io": {"read_bps": 329984.1, "write_bps": 329984.1},
    "host_disk_io": {"read_bps": 0.0, "write_bps": 0.0},
}


def _worker(name: Any = "a", **others: Any) -> dict[str, Any]:
    """Return a worker as a scheduler describes it."""
    directory = "/tmp/dask-scratch-space/worker-w4jcvp8y"
    said = {"type": "Worker", "id": name, "host": "10.0.0.1", "resources": {}, "local_directory": directory}
    return (
        said | {"name": name, "nthreads": 1, "services": {"dashboard": 1}, "metrics": METRICS, "nanny": None} | others
    )


def _identity(workers: Any) -> dict[str, Any]:
    return {"type": "Scheduler", "id": "s", "services": {"dashboard": 8787}, "started": 1.5, "workers": workers}


def _most(work: Callable[[], object]) -> int:
    """Return the most bytes that a function takes, besides its argument."""
    tracemalloc.start()
    try:
        work()
    except FAILURES:
        pass
    finally:
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return most


@BY_EITHER
def test_workers(wire: str) -> None:
    by, written = WIRES[wire]
    text = written(_identity({"tcp://10.0.0.1:1": _worker("a"), "tcp://10.0.0.2:1": _worker(3, metrics=None)}))
    assert answers.workers(text, by, 2) == (
        Registration("a", "tcp://10.0.0.1:1", 4235, 7),
        Registration("3", "tcp://10.0.0.2:1"),
    )
    assert answers.workers(written(_identity({})), by, 0) == ()


@BY_EITHER
def test_ten_thousand_workers(wire: str) -> None:
    by, written = WIRES[wire]
    text = written(_identity({f"tcp://10.0.{n // 250}.{n % 250}:40000": _worker(f"w-{n}") for n in range(10_000)}))
    assert len(answers.workers(text, by, 10_000)) == 10_000


@BY_EITHER
def test_several_workers_in_each_pod(wire: str) -> None:
    by, written = WIRES[wire]
    text = written(_identity({f"tcp://10.0.0.1:{n}": _worker(n) for n in range(64)}))
    assert len(answers.workers(text, by, 1)) == 64


@BY_EITHER
@pytest.mark.parametrize(
    "answer",
    [
        {},
        [],
        None,
        7,
        {"workers": None},
        {"workers": []},
        {"workers": {"tcp://10.0.0.1:1": None}},
        {"workers": {"tcp://10.0.0.1:1": []}},
        {"workers": {"tcp://10.0.0.1:1": {}, "tcp://10.0.0.2:1": 7}},
        {"workers": {"tcp://10.0.0.1:1": {"metrics": 7}}},
    ],
)
def test_what_is_not_all_understood_is_an_error(wire: str, answer: Any) -> None:
    by, written = WIRES[wire]
    with pytest.raises(FAILURES):
        answers.workers(written(answer), by, 10)


@BY_EITHER
def test_odd_fields_of_a_worker_are_as_absent(wire: str) -> None:
    by, written = WIRES[wire]
    oddities: list[Any] = [None, "x", 1.5, [], {}, [[]], "x" * 5_000]
    for odd in oddities:
        metrics = {"managed_bytes": odd, "spilled_bytes": {"memory": odd}, "task_counts": {"ready": odd}}
        (found,) = answers.workers(written(_identity({"tcp://10.0.0.1:1": _worker(odd, metrics=metrics)})), by, 1)
        assert (found.address, found.nbytes, found.tasks) == ("tcp://10.0.0.1:1", 0, 0)


@BY_EITHER
def test_what_is_too_deep_is_an_error(wire: str) -> None:
    by, _ = WIRES[wire]
    deep = b"[" * 50_000 + b"]" * 50_000 if wire == "json" else b"\x91" * 50_000 + b"\x00"
    key = b'{"workers":' if wire == "json" else b"\x81\xa7workers"
    for text in (deep, key + deep + (b"}" if wire == "json" else b"")):
        with pytest.raises(FAILURES):
            answers.workers(text, by, 10)
        with pytest.raises(FAILURES):
            answers.retired(text, by, 10)


def _filled(number: int, fields: bytes = b"") -> dict[str, bytes]:
    """Return answers about so many workers with these fields, by format."""
    of_json = b",".join(b'"%d":{%s}' % (n, fields) for n in range(number))
    entries = b"".join(bytes(msgpack.packb(str(n))) + b"\x80" for n in range(number))
    of_message = b"\x81\xa7workers\xdf" + number.to_bytes(4) + entries
    return {"json": b'{"workers":{%s}}' % of_json, "message": of_message}


@BY_EITHER
@pytest.mark.parametrize("pods", [0, 100, 240])
def test_more_workers_than_there_can_be_are_not_built(wire: str, pods: int) -> None:
    text, by = _filled(400_000)[wire], WIRES[wire][0]
    with pytest.raises(TooManyError):
        answers.workers(text, by, pods)
    assert _most(lambda: answers.workers(text, by, pods)) < 3 * len(text), "a copy of it or two"


def test_more_workers_than_there_can_be_are_an_error_however_long_they_are() -> None:
    text = _filled(2_000, b'"x":"%s"' % (b"x" * 100))["json"]
    with pytest.raises(TooManyError, match="it is about 2000 workers, and at most 1000 are read"):
        answers.workers(text, JSON, 0)
    assert len(answers.workers(text, JSON, 20)) == 2_000


@BY_EITHER
@pytest.mark.parametrize("place", ["beside", "name", "metrics", "worker"])
def test_what_nobody_asked_for_is_not_built(wire: str, place: str) -> None:
    by, written = WIRES[wire]
    much: list[Any] = [[]] * 500_000
    answer = {
        "beside": _identity({}) | {"x": much},
        "name": _identity({"tcp://10.0.0.1:1": _worker(much)}),
        "metrics": _identity({"tcp://10.0.0.1:1": _worker("a", metrics=METRICS | {"managed_bytes": much})}),
        "worker": _identity({"tcp://10.0.0.1:1": _worker("a", x=much)}),
    }[place]
    text = written(answer)
    assert len(answers.workers(text, by, 1)) == (place != "beside")
    assert _most(lambda: answers.workers(text, by, 1)) < 3 * len(text)


def test_numbers_that_are_none_are_borne() -> None:
    metrics = METRICS | {"cpu": float("nan"), "time": float("-inf"), "x": [float("inf")]}
    text = json.dumps(_identity({"tcp://10.0.0.1:1": _worker("NaN", metrics=metrics)})).encode()
    assert answers.workers(text, JSON, 1) == (Registration("NaN", "tcp://10.0.0.1:1", 4235, 7),)


def test_keys_that_are_no_texts_are_borne() -> None:
    metrics = METRICS | {"digests_total_since_heartbeat": {("execute", "x", "y"): 1.5, 7: 1, None: 2}}
    text = bytes(msgpack.packb(_identity({"tcp://10.0.0.1:1": _worker(metrics=metrics, x=msgpack.ExtType(5, b"x"))})))
    assert answers.workers(text, MESSAGE, 1) == (Registration("a", "tcp://10.0.0.1:1", 4235, 7),)


def _list(*workers: Any, number: Any = None) -> bytes:
    return json.dumps({"num_workers": len(workers) if number is None else number, "workers": workers}).encode()


def test_listed_workers() -> None:
    one, two = {"name": 0, "address": "tcp://10.0.0.1:1"}, {"name": "b", "address": "tcp://10.0.0.2:1"}
    assert answers.listed(_list(one, two), 2) == (
        Registration("0", "tcp://10.0.0.1:1"),
        Registration("b", "tcp://10.0.0.2:1"),
    )
    many = [{"name": n, "address": f"tcp://10.0.0.1:{n}"} for n in range(10_000)]
    assert len(answers.listed(_list(*many), 10_000)) == 10_000


@pytest.mark.parametrize(
    "text", [b"{}", b"[]", _list({}), _list({"address": ""}), _list([]), _list({"address": "a"}, number=2)]
)
def test_a_list_of_workers_that_is_not_whole_is_an_error(text: bytes) -> None:
    with pytest.raises(FAILURES):
        answers.listed(text, 2)


def test_a_list_of_nothings_is_not_built() -> None:
    text = b'{"num_workers":1000000,"workers":[%s{}]}' % (b"{}," * 999_999)
    with pytest.raises(TooManyError):
        answers.listed(text, 240)
    assert _most(lambda: answers.listed(text, 240)) < 2 * len(text)


@BY_EITHER
def test_what_was_retired(wire: str) -> None:
    by, written = WIRES[wire]
    assert answers.retired(written({"tcp://10.0.0.1:1": _worker()}), by, 1) == {"tcp://10.0.0.1:1"}
    assert answers.retired(written({}), by, 1) == frozenset()
    wrongs: list[Any] = [[], None, "x"]
    for wrong in wrongs:
        with pytest.raises(FAILURES):
            answers.retired(written(wrong), by, 1)


@BY_EITHER
def test_more_than_was_asked_for_is_not_read(wire: str) -> None:
    by, written = WIRES[wire]
    text = written({str(n): {} for n in range(400_000)})
    with pytest.raises(TooManyError):
        answers.retired(text, by, 100)
    assert _most(lambda: answers.retired(text, by, 100)) < 3 * len(text)


@pytest.mark.parametrize(("text", "value"), [(b'{"workers":3}', 3), (b'{"workers":null}', None)])
def test_a_value_is_under_its_key_in_json(text: bytes, value: object) -> None:
    assert JSON.value(text, "workers") == value


@pytest.mark.parametrize("text", [b"{}", b"[]", b"3", b'{"worker":3}'])
def test_an_answer_without_its_value_is_unexpected(text: bytes) -> None:
    with pytest.raises(UnexpectedError):
        JSON.value(text, "workers")


@pytest.mark.parametrize("value", [None, 3, 1.5])
def test_a_value_is_a_whole_message(value: object) -> None:
    assert MESSAGE.value(msgpack.packb(value), "workers") == value


@pytest.mark.parametrize("value", [None, True, -1, 1.0, "3", 2**31, [3]])
def test_no_number_of_workers(value: object) -> None:
    with pytest.raises(UnexpectedError):
        answers.target(value)


@pytest.mark.parametrize("value", [7, True, "now", float("nan"), float("inf"), {}])
def test_no_time(value: object) -> None:
    with pytest.raises(UnexpectedError):
        answers.idle_since(value)


def _demand(*needs: object, target: object = 3) -> bytes:
    return json.dumps({"target": target, "needs": needs}).encode()


def _need(threads: object = 2, offered: object = False, **resources: object) -> dict[str, object]:
    return {"resources": resources, "threads": threads, "offered": offered}


def test_demand() -> None:
    assert answers.demand(_demand(), JSON) == (3, ())
    said = _demand(_need(MEM=2, GPU=1.5), _need(7, True, GPU=0), _need())
    assert answers.demand(said, JSON) == (3, (Need((("GPU", 1.5), ("MEM", 2.0)), 2), Need((("GPU", 0.0),), 7, True)))


@pytest.mark.parametrize("number", [None, -1, "1", True, 1.5, 1e300, float("nan"), float("inf"), 2**31, 10**400])
def test_no_demand(number: object) -> None:
    for text in (_demand(target=number), _demand(_need(number, GPU=1))):
        with pytest.raises((ValueError, TypeError)):
            answers.demand(text, JSON)


@pytest.mark.parametrize("amount", [None, -1, "1", True, float("nan"), float("inf"), 10**400, [1]])
def test_no_amount_of_a_resource(amount: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        answers.demand(_demand(_need(GPU=amount)), JSON)


def test_no_more_resources_than_the_agent_tells_of() -> None:
    for needs in ([_need(**{f"r{n}": 1}) for n in range(21)], [_need(**{f"r{n}": 1 for n in range(21)})]):
        with pytest.raises(answers.TooManyError):
            answers.demand(_demand(*needs), JSON)
    with pytest.raises(ValueError):
        answers.demand(_demand(_need(**{"x" * 65: 1})), JSON)
    assert len(answers.demand(_demand(*[_need(**{"x" * 64: 1})] * 20), JSON)[1]) == 20
