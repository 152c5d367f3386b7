"""The election: requests about the Lease, as `leadership` decides them, and the work that the leader does."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import uuid
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from dask_operator.backoff import Backoff
from dask_operator.kubernetes.api import Api, Reply
from dask_operator.kubernetes.complaint import Complaint
from dask_operator.kubernetes.errors import ApiError
from dask_operator.kubernetes.leadership import (
    NEVER,
    KnownLease,
    LeaseName,
    Lost,
    Renew,
    Take,
    Times,
    Wait,
    decide,
    given_back,
    renewed,
    taken,
)
from dask_operator.model import Json
from dask_operator.resources import LEASE

_BACKOFF = Backoff(first=0.5, longest=5.0)

Lead = Callable[[], Coroutine[Any, Any, None]]
logger = logging.getLogger(__name__)


def identity() -> str:
    """Return a name for this process that no other process has."""
    return f"{socket.gethostname()}_{uuid.uuid4().hex[:12]}"


class Election:
    """The part of one process in an election. While it has a `complaint`, it cannot tell who leads.

    `succeeds`: whether another process may have led since `look`, or since this one last led.
    """

    def __init__(self, api: Api, lease: LeaseName, identity: str, times: Times = Times()) -> None:
        self._api = api
        self._name = lease
        self._identity = identity
        self._times = times
        self._seen = KnownLease()
        self._vacant: KnownLease | None = None
        self._until = NEVER
        self._sent = NEVER
        self._failures = 0
        self.succeeds = True
        self.complaint = Complaint(logger)

    @property
    def holder(self) -> str:
        """The identity of the leader as far as this process knows, or an empty string."""
        return self._seen.holder

    def leading(self) -> bool:
        """Return whether this process may write at this moment."""
        return _now() < self._until

    async def look(self) -> None:
        """Note whether somebody leads, before this process learns what there is."""
        with suppress(ApiError):
            await self._look()
            self._vacant = None if self.holder else self._seen

    async def run(self, lead: Lead) -> None:
        """Run `lead` whenever this process holds the Lease, and cancel it when the Lease is lost.

        When it is cancelled itself, or `lead` fails, it waits for `lead` to end and gives the Lease back.
        """
        while True:
            await self._win()
            logger.info("%s: this process leads now, as %s", self._what, self._identity)
            try:
                await self._lead(lead)
            finally:
                await self._give_back()

    async def _win(self) -> None:
        while True:
            pause = self._times.poll * random.uniform(0.2, 1.0)
            try:
                await self._look()
                match decide(self._seen, self._identity, NEVER, _now(), self._times):
                    case Take() if await self._take():
                        return
                    case Wait(seconds):
                        pause = seconds
                self._settle()
            except ApiError as error:
                self._complain(error)
                pause = _BACKOFF.after(self._failures)
            await asyncio.sleep(pause)

    async def _lead(self, lead: Lead) -> None:
        work, renewal = asyncio.create_task(lead()), asyncio.create_task(self._keep())
        try:
            await asyncio.wait({work, renewal}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # Renewals go on until the work has ended, so that nobody else begins meanwhile.
            work.cancel()
            await asyncio.wait({work})
            renewal.cancel()
            await asyncio.wait({renewal})
        if not work.cancelled():
            work.result()

    async def _keep(self) -> None:
        """Renew the Lease until it is lost."""
        because = ""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._until) as deadline:
                while True:
                    match decide(self._seen, self._identity, self._until, _now(), self._times):
                        case Renew():
                            await asyncio.sleep(self._pause())
                            await self._renew()
                            deadline.reschedule(self._until)
                        case Lost(because):
                            break
        self._until = NEVER
        because = because or self.complaint.text or "this process stood still"
        logger.error("lost the %s, as %s; nothing is written until it is won again", self._what, because)

    def _pause(self) -> float:
        """Return the seconds before the next renewal. A slow answer leaves less of the term, so it is not added."""
        return self._times.poll if self.complaint else max(self._sent + self._times.retry - _now(), 0.0)

    async def _take(self) -> bool:
        sent = self._sent = _now()
        self.succeeds, self._vacant = self._seen != self._vacant, None
        if won := await self._put(taken(self._seen, self._name, self._identity, _micro_time(), self._times)):
            self._settle()
            self._until = sent + self._times.deadline
        return won

    async def _renew(self) -> None:
        sent = self._sent = _now()
        try:
            if not await self._put(renewed(self._seen.lease, _micro_time(), self._times)):
                await self._look()
                return
        except ApiError as error:
            self._complain(error)
            return
        # A reply that comes after the deadline is no use: others may have taken the Lease.
        if self.leading():
            self._until = sent + self._times.deadline
        self._settle()

    async def _give_back(self) -> None:
        if not self.leading():
            return
        self._until = NEVER
        with suppress(ApiError):
            # Again if it fails: a renewal that was cancelled may have succeeded all the same.
            while self._seen.exists and self.holder == self._identity:
                if await self._put(given_back(self._seen.lease, _micro_time())):
                    logger.info("%s: given back", self._what)
                    return
                await self._look()

    async def _look(self) -> None:
        lease: Json | None
        try:
            lease = (await self._answer(self._api.get(LEASE, *self._name))).body
        except ApiError as error:
            if error.code != 404:
                raise
            lease = None
        self._seen = self._seen.read(lease, _now())

    async def _put(self, lease: Json) -> bool:
        """Return whether it was written; not if it has changed meanwhile or exists no more."""
        put = self._api.replace if self._seen.exists else self._api.create
        try:
            reply = await self._answer(put(LEASE, lease))
        except ApiError as error:
            if error.code not in (404, 409):
                raise
            return False
        self._seen = KnownLease(reply.body, exists=True, changed=_now())
        return True

    async def _answer(self, request: Coroutine[Any, Any, Reply]) -> Reply:
        try:
            async with asyncio.timeout(self._times.request):
                return await request
        except TimeoutError:
            message = f"the API server did not answer within {self._times.request:g} s, half of the renew deadline"
            raise ApiError(0, "Timeout", message) from None

    def _settle(self) -> None:
        self._failures = 0
        self.complaint.settle()

    def _complain(self, error: ApiError) -> None:
        self._failures += 1
        forbidden = error.code == 403
        hint = "; permit get, create and update of leases.coordination.k8s.io there, as the chart's Role does"
        self.complaint.make(f"{self._what}: {error}{hint if forbidden else ''}", _now(), lasting=forbidden)

    @property
    def _what(self) -> str:
        return f"lease {self._name.namespace}/{self._name.name}"


def _micro_time() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _now() -> float:
    return asyncio.get_running_loop().time()
