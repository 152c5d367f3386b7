"""Against a real scheduler that talks TLS, and against peers that speak Dask's protocol as none should.

What a real scheduler answers is tested with `dask_operator.scheduler`, in whose place this is used.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import dask
import msgpack  # type: ignore[import-untyped]
import pytest
from distributed.protocol.core import dumps
from distributed.protocol.serialize import ToPickle
from distributed.protocol.utils import pack_frames
from tests.support.clock import Run
from tests.support.dask import WITHOUT_API, a_dask_cluster, client_tls, endpoint, make_certificates
from tests.support.server import verify_strictly

from dask_operator.scheduler import rpc
from dask_operator.scheduler.failures import RefusedError, RpcError, SchedulerError
from dask_operator.scheduler.questions import Schedulers

LARGEST = 100_000
HELLO: dict[str, Any] = {"compression": None, "python": (3, 11, 0), "pickle-protocol": 5}


def _message(value: Any) -> bytes:
    """Return a message as distributed sends it."""
    packed = pack_frames(dumps(value))
    return struct.pack("Q", len(packed)) + packed


@asynccontextmanager
async def _peer(messages: Iterable[bytes], silent: bool = False) -> AsyncIterator[str]:
    """Yield the Dask address of a peer that sends these bytes and, unless `silent`, closes the connection."""
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for message in messages:
            writer.write(message)
        if silent:
            await reader.read()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        ended.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        try:
            yield f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            await ended.wait()


def _value(answer: bytes) -> Any:
    return msgpack.loads(answer, strict_map_key=False, use_list=False)


def _says(*messages: bytes, silent: bool = False) -> Callable[[], Coroutine[Any, Any, Any]]:
    async def asked() -> Any:
        async with _peer(messages, silent) as address:
            return _value(await rpc.call(address, "identity", 10.0, LARGEST))

    return asked


def test_an_answer(run: Run) -> None:
    answer = {"workers": {("a", 1): [None, 1.5, "text"]}}
    assert run(_says(_message(HELLO), _message(answer))()) == {"workers": {("a", 1): (None, 1.5, "text")}}


async def test_an_answer_is_given_as_it_was_sent() -> None:
    async with _peer([_message(HELLO), _message({"workers": {}})], silent=True) as address:
        assert await rpc.call(address, "identity", 10.0, LARGEST) == b"\x81\xa7workers\x80"


@pytest.mark.parametrize("frame", [b"\xdf\x00\x01\x86\xa0" + b"\xa0\x80" * 40_000, b"\x91" * 90_000])
async def test_what_comes_is_not_built_up(frame: bytes) -> None:
    packed = struct.pack("QQ", 1, len(frame)) + frame
    async with _peer([_message(HELLO), struct.pack("Q", len(packed)) + packed], silent=True) as address:
        assert await rpc.call(address, "identity", 10.0, LARGEST) == frame


def test_who_greets_at_length_is_not_heard(run: Run) -> None:
    with pytest.raises(RpcError, match="has 65537 bytes, and at most 65536 are read"):
        run(_says(struct.pack("Q", 65_537))())


def test_a_failure_is_told(run: Run) -> None:
    failure = {"status": "uncaught-error", "exception_text": "KeyError('tcp://10.0.0.1:1')", "exception": None}
    with pytest.raises(RefusedError, match=r"identity failed: KeyError\('tcp.*; the scheduler's log says why"):
        run(_says(_message(HELLO), _message(failure))())


@pytest.mark.parametrize(
    "said",
    [
        [],
        [b"HTTP/1.1 400 Bad Request\r\n\r\n"],
        [struct.pack("Q", 8) + b"\xff" * 8],
        [struct.pack("QQQ", 16, 1, 1000)],
        [struct.pack("QQQ", 17, 1, 1) + b"\xc1"],
        [_message(HELLO)],
        [_message(HELLO), struct.pack("Q", 2**63)],
        [_message(HELLO), struct.pack("Q", LARGEST + 1)],
        [_message(HELLO), struct.pack("Q", 0)],
        [_message(HELLO), struct.pack("QQQ", 16, 2**60, 1)],
        [_message(HELLO), struct.pack("QQQ", 16, 1, 2**60)],
    ],
)
def test_garbage_is_an_error(run: Run, said: list[bytes]) -> None:
    with pytest.raises(RpcError) as caught:
        run(_says(*said)())
    assert 0 < len(str(caught.value)) < 300


@pytest.mark.parametrize("said", [[], [_message(HELLO)]])
def test_silence_does_not_last(run: Run, said: list[bytes]) -> None:
    with pytest.raises(RpcError, match="no answer in time"):
        run(_says(*said, silent=True)())


class Trap:
    """An object that leaves a trace where it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._trace),)


def test_nothing_is_unpickled(run: Run, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    trap = _message({"workers": ToPickle(Trap(trace))})
    run(_says(trap, trap)())
    assert not trace.exists()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder)
    return folder


def test_a_scheduler_that_talks_tls(certificates: Path) -> None:
    with a_dask_cluster(workers=2, routes=WITHOUT_API, certificates=certificates) as cluster:
        leaving = cluster.workers[0].address

        async def asked() -> tuple[set[str], frozenset[str]]:
            async with Schedulers() as schedulers:
                found = {worker.address for worker in await schedulers.workers(endpoint(cluster))}
                return found, await schedulers.retire(endpoint(cluster), [leaving])

        assert leaving.startswith("tls://")
        with dask.config.set(client_tls(certificates)):
            found, retired = asyncio.run(asked())
        assert found == {worker.address for worker in cluster.workers.values()}
        assert retired == {leaving}


def test_an_authority_without_key_usage_is_trusted(certificates: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verify_strictly(monkeypatch)
    with dask.config.set(client_tls(certificates)):
        context = rpc._security("tls")["ssl_context"]
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT


def test_what_is_wrong_with_certificates_is_said(certificates: Path, tmp_path: Path) -> None:
    make_certificates(tmp_path)
    missing = {name: f"{path}.missing" for name, path in client_tls(tmp_path).items()}
    wanted: dict[str, dict[str, Any]] = {
        "it uses TLS, and this operator has no certificates for it: mount them, and set DASK_DISTRIBUTED__": {},
        "TLS certificate does not match": client_tls(tmp_path),
        "this operator cannot use its certificates for TLS": missing,
    }
    with a_dask_cluster(workers=0, routes=WITHOUT_API, certificates=certificates) as cluster:

        async def asked() -> None:
            async with Schedulers() as schedulers:
                await schedulers.demand(endpoint(cluster))

        for message, settings in wanted.items():
            with dask.config.set(settings), pytest.raises(SchedulerError) as caught:
                asyncio.run(asked())
            assert "does not exist: add distributed.http.scheduler.api" in caught.value.problem.message
            assert message in caught.value.problem.message
