"""A Dask scheduler: which workers it has and what they hold, how many it wants, whether it is idle, and moving data off
workers that are to go.

It is asked over HTTP, by distributed's own routes (`distributed.http.scheduler.json` and `.api`). Where these are off
or do not answer it is asked by Dask's own protocol (`rpc`). A wrong answer is final: who gave it has been reached, and
would work no better if asked in another way.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import math
import reprlib
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import aiohttp

from dask_operator.model import Endpoint, Problem, Registration
from dask_operator.scheduler import answers
from dask_operator.scheduler.answers import JSON, MESSAGE

logger = logging.getLogger(__name__)
LARGEST_ANSWER = 16 * 2**20
"""In bytes: what ten thousand workers take. Of more of them only names and addresses are asked for."""
_LARGEST_VALUE = 64 * 2**10
# Who has few Pods may not send much, whatever his scheduler says.
_ANSWER_OF_NONE = 256 * 2**10
_ANSWER_PER_POD = 16 * 2**10
_ANSWER_TIMEOUT = 10.0
"""In seconds, for all attempts together."""
# Data moves before the answer comes, and that may be a lot of it.
_RETIRE_TIMEOUT = 3600.0
_CONNECT_TIMEOUT = 3.0
_PAUSES = (0.2, 0.8)
_T = TypeVar("_T")
_LARGEST_TARGET = 2**31 - 1  # of what has replicas
# What stands between the controller and the scheduler, such as a mesh, says that it could not reach it.
_FROM_GATEWAYS = (HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT)


class SchedulerError(Exception):
    """A scheduler that does not answer as it should; `problem` says why, for a person."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class _NoAnswerError(SchedulerError):
    """Nothing was heard of the scheduler itself."""


class _ApiOffError(_NoAnswerError):
    """The scheduler does not have the route, so it has done nothing."""


class _FailedError(SchedulerError):
    """The scheduler could not put its answer into words, or into too many."""


class Schedulers:
    """All schedulers: a connection to each while it is needed.

    What is asked of one raises SchedulerError, and leaves it as it was.
    """

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=0, force_close=True, socket_factory=_watched_socket)
        # Compressed, a small answer could become one that fills the memory.
        self._session = aiohttp.ClientSession(
            connector=connector, auto_decompress=False, headers={"Accept-Encoding": "identity"}
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def workers(self, endpoint: Endpoint, pods: int = 0) -> tuple[Registration, ...]:
        """The scheduler's workers, which are in so many Pods, with what they hold if it says so."""
        url = f"{endpoint.url}/json/identity.json"
        try:
            text = await self._get(url, _largest(pods))
        except _NoAnswerError as error:
            return await _workers_by_rpc(endpoint, error, pods)
        except _FailedError as error:
            return await self._workers_of_busy(endpoint, error, pods)
        return _understood(url, text, lambda text: answers.workers(text, JSON, pods))

    async def target(self, endpoint: Endpoint) -> int:
        """How many workers the scheduler wants, for what it has to do."""
        try:
            url = f"{endpoint.url}/api/v1/adaptive_target"
            return _target(url, _object(url, await self._get(url)).get("workers"))
        except _NoAnswerError as error:
            return _target(endpoint.address, await _value_by_rpc(endpoint, error, "adaptive_target"))

    async def idle_since(self, endpoint: Endpoint) -> float | None:
        """Since when the scheduler has had nothing to do, in seconds since the epoch by its clock; None if it has.

        It looks by itself, four times a second, in the same way, and so loses nothing by being asked.
        """
        try:
            url = f"{endpoint.url}/api/v1/check_idle"
            answer = _object(url, await self._get(url))
            return _time(url, answer.get("idle_since", math.nan))
        except _NoAnswerError as error:
            return _time(endpoint.address, await _value_by_rpc(endpoint, error, "check_idle"))

    async def retire(self, endpoint: Endpoint, addresses: Sequence[str]) -> frozenset[str]:
        """Moves the data of these workers to others and ends them; returns the addresses for which that was done.

        A worker whose data no other can take stays. After an error some may have been retired, or may yet be.
        """
        number, asked = len(addresses), {"workers": list(addresses)}
        try:
            found = await self._retire(endpoint.url, addresses)
        except _NoAnswerError as error:
            answer = await _by_rpc(endpoint, error, "retire_workers", _largest(number), _RETIRE_TIMEOUT, **asked)
            found = _understood(endpoint.address, answer, lambda answer: answers.retired(answer, MESSAGE, number))
        return found & frozenset(addresses)

    async def _workers_of_busy(
        self, endpoint: Endpoint, failure: SchedulerError, pods: int
    ) -> tuple[Registration, ...]:
        """A busy scheduler of 2026.8 cannot write its workers' metrics as JSON, whose keys are tuples then.

        So these are had by RPC; and if they are not, HTTP still says which workers there are.
        """
        try:
            return await _workers_by_rpc(endpoint, failure, pods)
        except SchedulerError as error:
            reason = error.problem.reason
            logger.info("%s: its workers leave in any order, as what they hold is not known: %s", endpoint.url, reason)
        url = f"{endpoint.url}/api/v1/get_workers"
        return _understood(url, await self._get(url, _largest(pods)), lambda text: answers.listed(text, pods))

    async def _retire(self, url: str, addresses: Sequence[str]) -> frozenset[str]:
        """Raises _NoAnswerError only if the scheduler was not told.

        If a connection breaks later it may be at work, and must not be told the same in another way at the same time:
        of two retirements of a worker that both fail, the later leaves it unable to work for ever.
        """
        await self._get(f"{url}/api/v1")
        route, number = f"{url}/api/v1/retire_workers", len(addresses)
        try:
            text = await self._answer("POST", route, _largest(number), _RETIRE_TIMEOUT, {"workers": list(addresses)})
        except _ApiOffError:
            raise
        except _NoAnswerError as error:
            raise SchedulerError(error.problem) from error
        return _understood(route, text, lambda text: answers.retired(text, JSON, number))

    async def _get(self, url: str, largest: int = _LARGEST_VALUE) -> bytes:
        """An answer's text. While there is none it is asked for again, a few times."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + _ANSWER_TIMEOUT
        for pause in _PAUSES:
            try:
                return await self._answer("GET", url, largest, deadline - clock())
            except _ApiOffError:
                raise
            except _NoAnswerError:
                if clock() + pause >= deadline:
                    raise
                await asyncio.sleep(pause)
        return await self._answer("GET", url, largest, deadline - clock())

    async def _answer(self, method: str, url: str, largest: int, seconds: float, body: Any = None) -> bytes:
        timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=_CONNECT_TIMEOUT)
        try:
            async with self._session.request(
                method, url, json=body, timeout=timeout, allow_redirects=False
            ) as response:
                if response.status != HTTPStatus.OK:
                    raise _refusal(response.status, url)
                return await _bounded(response, url, min(largest, LARGEST_ANSWER))
        except (aiohttp.ClientError, OSError) as error:
            raise _NoAnswerError(_unreachable(f"{url}: {str(error) or type(error).__name__}")) from error


def _watched_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """A socket that notices within a minute that its peer is gone without a word, as with a node that lost power."""
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return made


def _largest(pods: int = 0) -> int:
    """How many bytes an answer about the workers in so many Pods may have."""
    return min(LARGEST_ANSWER, _ANSWER_OF_NONE + _ANSWER_PER_POD * pods)


async def _bounded(response: aiohttp.ClientResponse, url: str, largest: int) -> bytes:
    parts, size = [], 0
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > largest:
            raise _FailedError(_wrong(url, f"more than {largest} bytes"))
    return b"".join(parts)


async def _workers_by_rpc(endpoint: Endpoint, failure: SchedulerError, pods: int) -> tuple[Registration, ...]:
    answer = await _by_rpc(endpoint, failure, "identity", _largest(pods))
    return _understood(endpoint.address, answer, lambda answer: answers.workers(answer, MESSAGE, pods))


async def _value_by_rpc(endpoint: Endpoint, failure: SchedulerError, operation: str) -> Any:
    answer = await _by_rpc(endpoint, failure, operation, _LARGEST_VALUE)
    return _understood(endpoint.address, answer, importlib.import_module("dask_operator.scheduler.rpc").value)


async def _by_rpc(
    endpoint: Endpoint,
    failure: SchedulerError,
    operation: str,
    largest: int,
    timeout: float = _ANSWER_TIMEOUT,
    **arguments: Any,
) -> bytes:
    """The answer to an operation that HTTP could not be used for because of `failure`."""
    try:
        await _knock(endpoint.address)
        # In a thread: it takes half a second of computing, the first time.
        rpc = await asyncio.to_thread(importlib.import_module, "dask_operator.scheduler.rpc")
        answer: bytes = await rpc.call(endpoint.address, operation, timeout, largest, **arguments)
        return answer
    except (OSError, ImportError) as error:
        reason, message = failure.problem
        raise SchedulerError(Problem(reason, f"{message}; and {endpoint.address}: {error}")) from error


async def _knock(address: str) -> None:
    """Raises OSError if nobody listens, for which nothing needs to be imported."""
    parts = urlsplit(address)
    if not parts.hostname:  # which would be this machine
        raise OSError("its Pod has no address yet")
    try:
        async with asyncio.timeout(_CONNECT_TIMEOUT):
            _, writer = await asyncio.open_connection(parts.hostname, parts.port)
    except TimeoutError as error:
        raise OSError(f"no connection within {_CONNECT_TIMEOUT:.0f} s") from error
    writer.close()
    await writer.wait_closed()


def _understood(source: str, answer: bytes, read: Callable[[bytes], _T]) -> _T:
    """Strict, because a worker that its scheduler does not know counts as one without data."""
    try:
        return read(answer)
    except answers.TooManyError as error:
        raise SchedulerError(_wrong(source, str(error))) from error
    except Exception as error:  # a scheduler may send anything, and each part of it fails in a way of its own
        raise SchedulerError(_not_understood(source, answer)) from error


def _not_understood(source: str, answer: bytes) -> Problem:
    if len(answer) <= _LARGEST_VALUE:
        with suppress(ValueError, RecursionError):
            return _unexpected(source, json.loads(answer))
    return _wrong(source, f"not understood: {answer[:100].decode(errors='replace')!r}")


def _object(url: str, text: bytes) -> Mapping[str, Any]:
    answer = _understood(url, text, json.loads)
    if not isinstance(answer, Mapping):
        raise SchedulerError(_unexpected(url, answer))
    return answer


def _target(source: str, answer: Any) -> int:
    if not isinstance(answer, int) or isinstance(answer, bool) or not 0 <= answer <= _LARGEST_TARGET:
        raise SchedulerError(_unexpected(source, answer))
    return answer


def _time(source: str, answer: Any) -> float | None:
    if answer is None or (isinstance(answer, float) and math.isfinite(answer)):
        return answer
    raise SchedulerError(_unexpected(source, answer))


def _unexpected(source: str, answer: Any) -> Problem:
    return _wrong(source, f"unexpected answer {reprlib.repr(answer)}")


def _wrong(source: str, what: str) -> Problem:
    return Problem("SchedulerAnswer", f"{source}: {what}")


def _unreachable(what: str) -> Problem:
    hint = "its workers are kept; check the scheduler's log, and network policies between controller and it"
    return Problem("SchedulerUnreachable", f"{what}; {hint}")


def _refusal(code: int, url: str) -> SchedulerError:
    if code == HTTPStatus.NOT_FOUND:
        fix = "add distributed.http.scheduler.api to the scheduler's distributed.scheduler.http.routes"
        return _ApiOffError(Problem("SchedulerApiDisabled", f"{url} does not exist: {fix}"))
    if code in _FROM_GATEWAYS:
        return _NoAnswerError(_unreachable(f"{url} answered {code}"))
    problem = Problem("SchedulerError", f"{url} answered {code}; its workers are kept; the scheduler's log says why")
    return _FailedError(problem) if code == HTTPStatus.INTERNAL_SERVER_ERROR else SchedulerError(problem)
