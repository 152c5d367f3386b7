"""Dask's own protocol, by `distributed`, which connects, encrypts and writes.

It does not read: it would unpickle the answers, so that anyone who runs a scheduler could run code here. Import this
module by `lazy_rpc` only.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from distributed.comm.tcp import TCPConnector, TLSConnector
from distributed.security import Security

from dask_operator.scheduler.failures import RefusedError, RpcError

_CONNECT_TIMEOUT = 10.0
_QUOTED = 200
_LARGEST_GREETING = 64 * 2**10
_LENGTH = struct.Struct("Q")
_NO_CERTIFICATES = (
    "it uses TLS, and this operator has no certificates for it: mount them, and set "
    "DASK_DISTRIBUTED__COMM__TLS__CA_FILE, DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT and "
    "DASK_DISTRIBUTED__COMM__TLS__CLIENT__KEY to their paths"
)


class _Failure(msgspec.Struct):
    status: str = ""
    exception_text: str = ""


async def call(address: str, operation: str, timeout: float, largest: int, **arguments: Any) -> bytes:
    """Return the answer of the scheduler at a Dask address, within `timeout` seconds and `largest` bytes.

    It is returned as it was sent, for `answers` to read. Raises RpcError.
    """
    try:
        async with _connection(address) as comm, asyncio.timeout(timeout):
            await comm.write({"op": operation, "reply": True, "close": True, **arguments})
            answer = await _read(comm, largest)
    except RpcError:
        raise
    except TimeoutError as error:
        raise RpcError("no answer in time") from error
    except Exception as error:  # A scheduler may send anything, and each part of it fails in its own way.
        raise RpcError(str(error)[:_QUOTED] or type(error).__name__) from error
    if (failure := _failure(answer)).status in ("error", "uncaught-error"):
        text = failure.exception_text[:_QUOTED]
        raise RefusedError(f"{operation} failed: {text}; the scheduler's log says why")
    return answer


def _failure(answer: bytes) -> _Failure:
    try:
        return msgspec.msgpack.decode(answer, type=_Failure)
    except (ValueError, RecursionError):
        return _Failure()


@asynccontextmanager
async def _connection(address: str) -> AsyncIterator[Any]:
    """Open a connection and exchange greetings."""
    scheme, _, host = address.partition("://")
    connector: Any = TLSConnector() if scheme == "tls" else TCPConnector()
    async with asyncio.timeout(_CONNECT_TIMEOUT):
        comm = await connector.connect(host, deserialize=False, **_security(scheme))
    try:
        async with asyncio.timeout(_CONNECT_TIMEOUT):
            await comm.write(comm.handshake_info() | {"compression": None})
            await _read(comm, _LARGEST_GREETING)
        yield comm
    finally:
        comm.abort()


def _security(scheme: str) -> dict[str, Any]:
    """Return Dask's configuration of connections. Raises RpcError if it lacks the certificates for TLS."""
    try:
        security: Any = Security()
        arguments: dict[str, Any] = security.get_connection_args("client")
    except (OSError, ValueError) as error:
        raise RpcError(f"this operator cannot use its certificates for TLS: {error}") from error
    if scheme == "tls" and not arguments["ssl_context"]:
        raise RpcError(_NO_CERTIFICATES)
    if context := arguments["ssl_context"]:
        # From Python 3.13, the default. A scheduler may trust an authority that lacks the extensions that it asks for.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return arguments


async def _read(comm: Any, largest: int) -> bytes:
    """Return the next message: the first of its frames, whose lengths come first. Other frames have pickled data."""
    (size,) = _LENGTH.unpack(await comm.stream.read_bytes(_LENGTH.size))
    if size > largest:
        raise RpcError(f"its answer has {size} bytes, and at most {largest} are read")
    message: bytes = await comm.stream.read_bytes(size)
    (frames,) = _LENGTH.unpack_from(message)
    (length,) = _LENGTH.unpack_from(message, _LENGTH.size)
    begin = _LENGTH.size * (1 + frames)
    if begin + length > size:
        raise RpcError("its answer is shorter than it says")
    return message[begin : begin + length]
