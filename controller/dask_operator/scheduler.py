"""A Dask scheduler over HTTP: which workers it has and what they hold, and moving it off those that are to go.

The routes are distributed's own `distributed.http.scheduler.json` and `distributed.http.scheduler.api`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

import aiohttp

from dask_operator.model import Problem, Registration
from dask_operator.parse import listed_workers, registrations, retired

_ANSWER_TIMEOUT = aiohttp.ClientTimeout(total=10.0, sock_connect=3.0)
# Data moves before the answer comes, and that may be a lot of it.
_RETIRE_TIMEOUT = aiohttp.ClientTimeout(total=3600.0, sock_connect=3.0)


class SchedulerError(Exception):
    """A scheduler that does not answer as it should; `problem` says why, for a person. `code`: HTTP's, or 0."""

    def __init__(self, problem: Problem, code: int = 0) -> None:
        super().__init__(problem.message)
        self.problem = problem
        self.code = code


class Schedulers:
    """All schedulers: a connection to each while it is needed. `url` is that of a scheduler's HTTP server."""

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def workers(self, url: str) -> tuple[Registration, ...]:
        """The scheduler's workers, with what they hold if it says so. Raises SchedulerError."""
        try:
            return registrations(await self._ask("GET", f"{url}/json/identity.json", None, _ANSWER_TIMEOUT))
        except SchedulerError as error:
            # A busy scheduler of 2026.8 cannot write its workers' metrics as JSON, whose keys are tuples then.
            if error.code != HTTPStatus.INTERNAL_SERVER_ERROR:
                raise
        return listed_workers(await self._ask("GET", f"{url}/api/v1/get_workers", None, _ANSWER_TIMEOUT))

    async def retire(self, url: str, addresses: Sequence[str]) -> frozenset[str]:
        """Moves the data of these workers to others and ends them; returns the addresses for which that was done.

        A worker whose data no other can take stays. Raises SchedulerError.
        """
        body = {"workers": list(addresses)}
        return retired(await self._ask("POST", f"{url}/api/v1/retire_workers", body, _RETIRE_TIMEOUT))

    async def _ask(self, method: str, url: str, body: Any, timeout: aiohttp.ClientTimeout) -> dict[str, Any]:
        try:
            async with self._session.request(method, url, json=body, timeout=timeout) as response:
                text = await response.text()
                if response.status != 200:
                    raise SchedulerError(_refusal(response.status, url), response.status)
                reply = json.loads(text)
        except (aiohttp.ClientError, TimeoutError, UnicodeDecodeError) as error:
            what = str(error) or type(error).__name__
            hint = "its workers are kept; check the scheduler's log, and network policies between controller and it"
            raise SchedulerError(Problem("SchedulerUnreachable", f"{url}: {what}; {hint}")) from error
        except ValueError as error:
            raise SchedulerError(Problem("SchedulerAnswer", f"{url}: not JSON: {text[:100]!r}")) from error
        if not isinstance(reply, dict):
            raise SchedulerError(Problem("SchedulerAnswer", f"{url}: not a JSON object: {text[:100]!r}"))
        return reply


def _refusal(code: int, url: str) -> Problem:
    if code == 404:
        fix = "add distributed.http.scheduler.api to the scheduler's distributed.scheduler.http.routes"
        return Problem("SchedulerApiDisabled", f"{url} does not exist, so no worker can be retired: {fix}")
    return Problem("SchedulerError", f"{url} answered {code}; its workers are kept; the scheduler's log says why")
