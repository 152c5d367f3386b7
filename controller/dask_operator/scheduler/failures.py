"""The ways in which a scheduler fails to answer, as values: which of them another protocol can help is decided once."""

from __future__ import annotations

import enum
import reprlib
from http import HTTPStatus
from typing import Any, NamedTuple

from dask_operator.model import Problem

CONNECT_TIMEOUT = 3.0
"""Seconds without a connection after which a scheduler counts as unreachable, by either protocol."""
# A mesh or another gateway before the scheduler answers so when it could not reach it.
_FROM_GATEWAYS = (HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT)


class Kind(enum.Enum):
    """The point at which a question failed."""

    UNREACHED = enum.auto()
    """The scheduler itself sent nothing. It may have heard the question."""
    NO_ROUTE = enum.auto()
    """The scheduler does not have the route, so it has done nothing."""
    UNSPEAKABLE = enum.auto()
    """HTTP 500, or an answer over the size limit: the scheduler works, and cannot give this answer."""
    FINAL = enum.auto()
    """The scheduler was reached and answered wrongly, as it would by any other protocol."""


class Failure(NamedTuple):
    """A question without an answer, and why, for a person."""

    kind: Kind
    problem: Problem


class SchedulerError(Exception):
    """No usable answer by any protocol: `problem` says why, for a person, and `kind` at which point."""

    def __init__(self, problem: Problem, kind: Kind = Kind.FINAL) -> None:
        super().__init__(problem.message)
        self.problem = problem
        self.kind = kind


class RpcError(OSError):
    """A scheduler's failure to answer by Dask's protocol, in words for a person."""


class RefusedError(RpcError):
    """A scheduler's answer that it does not do what it was asked for."""


def unreached(cause: str) -> Failure:
    """Return the failure of a question that got no answer."""
    hint = "its workers are kept; check the scheduler's log, and network policies between controller and it"
    return Failure(Kind.UNREACHED, Problem("SchedulerUnreachable", f"{cause}; {hint}"))


def refused(code: int, url: str) -> Failure:
    """Return the failure that an HTTP status means."""
    if code == HTTPStatus.NOT_FOUND:
        fix = "add distributed.http.scheduler.api to the scheduler's distributed.scheduler.http.routes"
        return Failure(Kind.NO_ROUTE, Problem("SchedulerApiDisabled", f"{url} does not exist: {fix}"))
    if code in _FROM_GATEWAYS:
        return unreached(f"{url} answered {code}")
    problem = Problem("SchedulerError", f"{url} answered {code}; its workers are kept; the scheduler's log says why")
    return Failure(Kind.UNSPEAKABLE if code == HTTPStatus.INTERNAL_SERVER_ERROR else Kind.FINAL, problem)


def too_long(url: str, largest: int) -> Failure:
    """Return the failure of an answer over the size limit."""
    return Failure(Kind.UNSPEAKABLE, wrong(url, f"more than {largest} bytes"))


def wrong(source: str, cause: str) -> Problem:
    """Return the problem of an answer that makes no sense."""
    return Problem("SchedulerAnswer", f"{source}: {cause}")


def unexpected(source: str, value: Any) -> Problem:
    """Return the problem of an answer with this value where another was expected."""
    return wrong(source, f"unexpected answer {reprlib.repr(value)}")
