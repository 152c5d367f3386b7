"""The questions to a scheduler: its workers, how many it wants, since when it is idle, and how far it is.

Each can be asked over HTTP and by Dask's own protocol. HTTP comes first. Where its routes are off or do not answer, the
scheduler is asked by Dask's protocol. A wrong answer is final, because the scheduler that gave it has been reached.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from dask_operator.model import Drained, Endpoint, Need, Problem, Registration, Tasks
from dask_operator.scheduler import answers, lazy_rpc
from dask_operator.scheduler.answers import JSON, MESSAGE, Wire
from dask_operator.scheduler.failures import Failure, Kind, RefusedError, SchedulerError, unexpected, wrong
from dask_operator.scheduler.http import LARGEST_ANSWER, Http

logger = logging.getLogger(__name__)
_LARGEST_VALUE = 64 * 2**10
# A cluster of few Pods may not send much, whatever its scheduler says.
_ANSWER_OF_NONE = 256 * 2**10
_ANSWER_PER_POD = 16 * 2**10
_ANSWER_TIMEOUT = 10.0
# The answer comes after all data have moved.
_RETIRE_TIMEOUT = 600.0
# Seconds after which the agent answers, though no drain has ended.
_WAIT = 30.0
_UNKNOWN_OPERATION = b"\xc0"
"""Dask's answer, None, to an operation that the scheduler does not have."""
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Question(Generic[_T]):
    """A question in both protocols: a route and an operation, and how to read the answer to either.

    `largest` is in bytes, `timeout` in seconds. A question with `arguments` makes the scheduler act.
    """

    route: str
    operation: str
    read: Callable[[bytes, Wire], _T]
    largest: int = _LARGEST_VALUE
    timeout: float = _ANSWER_TIMEOUT
    arguments: Mapping[str, Any] = field(default_factory=dict)


def _workers(pods: int) -> Question[tuple[Registration, ...]]:
    return Question(
        "/json/identity.json", "identity", lambda text, wire: answers.workers(text, wire, pods), _largest(pods)
    )


def _names(pods: int) -> Question[tuple[Registration, ...]]:
    return Question("/api/v1/get_workers", "", lambda text, _: answers.listed(text, pods), _largest(pods))


_DEMAND = Question("/kubernetes/v1/demand", "kubernetes_demand", answers.demand)
# The question to a scheduler without the agent: it does not tell which resources tasks need.
_TARGET = Question(
    "/api/v1/adaptive_target", "adaptive_target", lambda text, wire: answers.target(wire.value(text, "workers"))
)
# A scheduler looks four times a second itself, so asking changes nothing.
_IDLE = Question(
    "/api/v1/check_idle", "check_idle", lambda text, wire: answers.idle_since(wire.value(text, "idle_since"))
)
_PROGRESS = Question("/kubernetes/v1/progress", "kubernetes_progress", answers.progress)
_HAS_API = Question("/api/v1", "", lambda text, _: text)


def _burdens(pods: int) -> Question[tuple[Registration, ...]]:
    return Question(
        "/kubernetes/v1/workers",
        "kubernetes_workers",
        lambda text, wire: answers.burdens(text, wire, pods),
        _largest(pods),
    )


def _drain(addresses: Sequence[str], seconds: float) -> Question[Drained]:
    route, operation, timeout = "/kubernetes/v1/drain", "kubernetes_drain", _WAIT + _ANSWER_TIMEOUT
    return _about(route, operation, answers.drained, addresses, timeout, seconds=seconds, wait=_WAIT)


def _resume(addresses: Sequence[str]) -> Question[frozenset[str]]:
    return _about("/kubernetes/v1/resume", "kubernetes_resume", answers.resumed, addresses, _ANSWER_TIMEOUT)


def _retire(addresses: Sequence[str]) -> Question[frozenset[str]]:
    return _about("/api/v1/retire_workers", "retire_workers", answers.retired, addresses, _RETIRE_TIMEOUT)


def _about(
    route: str,
    operation: str,
    read: Callable[[bytes, Wire, int], _T],
    addresses: Sequence[str],
    timeout: float,
    **others: float,
) -> Question[_T]:
    """Return a question that makes the scheduler do something with workers, with its `others` arguments."""
    number = len(addresses)
    return Question(
        route,
        operation,
        lambda text, wire: read(text, wire, number),
        _largest(number),
        timeout,
        {"workers": list(addresses), **others},
    )


class Schedulers:
    """All schedulers; open it with `async with`. Every question raises SchedulerError if it gets no usable answer."""

    def __init__(self) -> None:
        self._http = Http()

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.__aexit__(kind, error, trace)

    async def survey(self, endpoint: Endpoint, pods: int = 0) -> tuple[tuple[Registration, ...], bool]:
        """Return the scheduler's workers as `workers` does, and whether the agent has told them, who knows more."""
        try:
            told = await self._ask_agent(endpoint, _burdens(pods))
        except SchedulerError as error:
            if error.kind is Kind.UNREACHED:
                raise
        else:
            if not isinstance(told, Failure):
                return told, True
        return await self.workers(endpoint, pods), False

    async def workers(self, endpoint: Endpoint, pods: int = 0) -> tuple[Registration, ...]:
        """Return the scheduler's workers, which run in this many Pods, with their burdens if it tells them."""
        question = _workers(pods)
        answer = await self._by_http(endpoint, question)
        if isinstance(answer, Failure) and answer.kind is Kind.UNSPEAKABLE:
            return await self._workers_of_busy(endpoint, answer, pods)
        return await self._read(endpoint, question, answer)

    async def demand(self, endpoint: Endpoint) -> tuple[int, tuple[Need, ...]]:
        """Return how many workers the scheduler wants, and what its tasks want that need resources.

        A scheduler without the controller's agent wants workers for all tasks.
        """
        told = await self._ask_agent(endpoint, _DEMAND)
        if not isinstance(told, Failure):
            return told
        answer = told if told.kind is Kind.UNREACHED else await self._by_http(endpoint, _TARGET)
        return await self._read(endpoint, _TARGET, answer), ()

    async def idle_since(self, endpoint: Endpoint) -> float | None:
        """Return when the scheduler became idle, in seconds since the epoch by its own clock, or None if it is busy."""
        return await self._read(endpoint, _IDLE, await self._by_http(endpoint, _IDLE))

    async def progress(self, endpoint: Endpoint) -> Tasks | None:
        """Return how far the scheduler is, or None if it has no agent: Dask forgets tasks that are done."""
        told = await self._ask_agent(endpoint, _PROGRESS)
        return None if isinstance(told, Failure) else told

    async def drain(self, endpoint: Endpoint, addresses: Sequence[str], seconds: float) -> Drained:
        """Let the agent retire workers, each when its tasks and shuffles have ended or after so many seconds.

        Return when one has ended, or after a while. To be called again with those that drain: they go on. The agent
        moves the data of workers to others. A worker whose data no other can take stays.
        """
        question = _drain(addresses, seconds)
        return await self._read(endpoint, question, await self._by_http(endpoint, question))

    async def resume(self, endpoint: Endpoint, addresses: Sequence[str]) -> frozenset[str]:
        """Let the agent take back workers that drain; return the addresses of those for which it was not too late."""
        question = _resume(addresses)
        return await self._read(endpoint, question, await self._by_http(endpoint, question))

    async def retire(self, endpoint: Endpoint, addresses: Sequence[str]) -> frozenset[str]:
        """Move the data of workers to others and end them; return the addresses of those that were retired.

        What they run is computed again. A worker whose data no other can take stays. After an error some may have been
        retired, or may be later.
        """
        question = _retire(addresses)
        answer = await self._by_http(endpoint, _HAS_API)
        if not isinstance(answer, Failure):
            return await self._act(endpoint, question) & frozenset(addresses)
        return await self._read(endpoint, question, answer) & frozenset(addresses)

    async def _ask_agent(self, endpoint: Endpoint, question: Question[_T]) -> _T | Failure:
        """Return the agent's answer, or the failure of HTTP if the scheduler has no agent.

        A scheduler that is too busy to answer may have it, and so is no scheduler without: raises SchedulerError.
        """
        answer = await self._by_http(endpoint, question)
        if not isinstance(answer, Failure):
            return _understood(f"{endpoint.url}{question.route}", answer, JSON, question)
        # A scheduler whose HTTP routes are closed may have the agent all the same.
        if answer.kind is not Kind.UNREACHED and not isinstance(await self._by_http(endpoint, _HAS_API), Failure):
            return answer
        said = await _said_by_rpc(endpoint, question, answer)
        return answer if said == _UNKNOWN_OPERATION else _understood(endpoint.address, said, MESSAGE, question)

    async def _act(self, endpoint: Endpoint, question: Question[_T]) -> _T:
        """Make a scheduler act that answers HTTP.

        After a broken connection it may be at work, and must not be told the same by another protocol at the same time:
        of two retirements of a worker that both fail, the later leaves it unable to work for ever.
        """
        answer = await self._by_http(endpoint, question)
        if isinstance(answer, Failure) and answer.kind is Kind.UNREACHED:
            raise SchedulerError(answer.problem, answer.kind)
        return await self._read(endpoint, question, answer)

    async def _workers_of_busy(self, endpoint: Endpoint, failure: Failure, pods: int) -> tuple[Registration, ...]:
        """Return the workers of a scheduler that cannot write their metrics as JSON.

        A busy scheduler of 2026.8 cannot, since the keys are tuples. Dask's protocol can carry them. If it does not
        answer, HTTP still gives the names and addresses.
        """
        try:
            return await _by_rpc(endpoint, _workers(pods), failure)
        except SchedulerError as error:
            reason = error.problem.reason
            logger.info("%s: its workers leave in any order, as what they hold is not known: %s", endpoint.url, reason)
        names = _names(pods)
        answer = await self._by_http(endpoint, names)
        if isinstance(answer, Failure):
            raise SchedulerError(answer.problem, answer.kind)
        return _understood(f"{endpoint.url}{names.route}", answer, JSON, names)

    async def _by_http(self, endpoint: Endpoint, question: Question[Any]) -> bytes | Failure:
        url = f"{endpoint.url}{question.route}"
        if question.arguments:
            return await self._http.post(url, question.arguments, question.largest, question.timeout)
        return await self._http.get(url, question.largest, question.timeout)

    async def _read(self, endpoint: Endpoint, question: Question[_T], answer: bytes | Failure) -> _T:
        """Read an HTTP answer, or ask by Dask's protocol if HTTP did not reach the scheduler."""
        match answer:
            case bytes():
                return _understood(f"{endpoint.url}{question.route}", answer, JSON, question)
            case Failure(Kind.UNREACHED | Kind.NO_ROUTE):
                return await _by_rpc(endpoint, question, answer)
        raise SchedulerError(answer.problem, answer.kind)


async def _by_rpc(endpoint: Endpoint, question: Question[_T], failure: Failure) -> _T:
    """Ask by Dask's protocol, after the `failure` of HTTP."""
    return _understood(endpoint.address, await _said_by_rpc(endpoint, question, failure), MESSAGE, question)


async def _said_by_rpc(endpoint: Endpoint, question: Question[Any], failure: Failure) -> bytes:
    try:
        return await lazy_rpc.ask(
            endpoint.address, question.operation, question.arguments, question.largest, question.timeout
        )
    except (OSError, ImportError) as error:
        reason, message = failure.problem
        kind = Kind.FINAL if isinstance(error, RefusedError) else Kind.UNREACHED
        raise SchedulerError(Problem(reason, f"{message}; and {endpoint.address}: {error}"), kind) from error


def _largest(pods: int) -> int:
    """Return the most bytes that an answer about the workers in this many Pods may have."""
    return min(LARGEST_ANSWER, _ANSWER_OF_NONE + _ANSWER_PER_POD * pods)


def _understood(source: str, answer: bytes, wire: Wire, question: Question[_T]) -> _T:
    """Read an answer in full or raise SchedulerError: a worker that its scheduler does not know counts as empty."""
    try:
        return question.read(answer, wire)
    except answers.TooManyError as error:
        raise SchedulerError(wrong(source, str(error))) from error
    except answers.UnexpectedError as error:
        raise SchedulerError(unexpected(source, error.value)) from error
    except Exception as error:  # A scheduler may send anything, and each part of it fails in its own way.
        raise SchedulerError(_not_understood(source, answer)) from error


def _not_understood(source: str, answer: bytes) -> Problem:
    if len(answer) <= _LARGEST_VALUE:
        with suppress(ValueError, RecursionError):
            return unexpected(source, json.loads(answer))
    return wrong(source, f"not understood: {answer[:100].decode(errors='replace')!r}")
