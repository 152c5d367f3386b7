"""Who of several controllers writes: the holder of a Lease, as Kubernetes' own components elect theirs.

The holder renews it every second, and may write for three seconds from when the last renewal that succeeded was sent.
Another takes it four seconds after it last saw it change. Neither trusts the other's clock, and as no renewal is seen
before it is sent there is always a second in which nobody writes. Whoever deletes the Lease, or takes the holder out of
it by hand, asks for an election at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
import uuid
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, NamedTuple

from dask_operator.backoff import Backoff
from dask_operator.kubernetes.api import Api, ApiError, Reply
from dask_operator.model import Json
from dask_operator.resources import LEASE

DURATION = 4.0
RENEWAL = 1.0
DEADLINE = 3.0
POLL = 0.5
_BACKOFF = Backoff(first=POLL, longest=5.0)
_ANSWER = 1.5
"""Seconds that one request may take: a second one fits before the deadline."""
_NEVER = float("-inf")

Lead = Callable[[], Coroutine[Any, Any, None]]
logger = logging.getLogger(__name__)


def identity() -> str:
    """A name for this process that no other has."""
    return f"{socket.gethostname()}_{uuid.uuid4().hex[:12]}"


class LeaseName(NamedTuple):
    namespace: str
    name: str


class Election:
    """`holder` is who leads as far as is known, or empty; `problem` why this is not known, or empty; `forbidden`:
    whether that is for want of a permission."""

    def __init__(self, api: Api, lease: LeaseName, identity: str) -> None:
        self._api = api
        self._name = lease
        self._identity = identity
        self._lease: Json = {}
        self._exists = False
        self._changed = _NEVER
        self._until = _NEVER
        self._errors = 0
        self.problem = ""
        self.forbidden = False

    @property
    def holder(self) -> str:
        return _holder(self._lease)

    def leading(self) -> bool:
        """Whether this process may write at this moment."""
        return _now() < self._until

    async def run(self, lead: Lead) -> None:
        """Has `lead` run whenever this process leads, and cancels it when it does no longer, until cancelled.

        Cancelled itself it gives the lease back, once `lead` has ended. What `lead` raises ends it too.
        """
        while True:
            await self._win()
            logger.info("%s: this process leads now, as %s", self._what, self._identity)
            try:
                await self._lead(lead)
            finally:
                await self._release()

    async def _win(self) -> None:
        while True:
            try:
                await self._look()
                if _now() >= self._expires and await self._take():
                    return
                self._well()
            except ApiError as error:
                self._complain(error)
            await asyncio.sleep(self._pause())

    async def _lead(self, lead: Lead) -> None:
        work, renewal = asyncio.create_task(lead()), asyncio.create_task(self._keep())
        try:
            await asyncio.wait({work, renewal}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            work.cancel()
            await asyncio.wait({work})
            renewal.cancel()
            await asyncio.wait({renewal})
        if not work.cancelled():
            work.result()

    async def _keep(self) -> None:
        """Returns once the lease is lost."""
        try:
            async with asyncio.timeout_at(self._until) as deadline:
                while self.leading():
                    await asyncio.sleep(RENEWAL if not self.problem else POLL)
                    await self._renew()
                    deadline.reschedule(self._until)
        except TimeoutError:
            self._until = _NEVER
        logger.error("lost the %s, as %s; nothing is written until it is won again", self._what, self._loss())

    def _loss(self) -> str:
        if not self._exists:
            return "it was deleted"
        if self.holder != self._identity:
            return f"{self.holder or 'nobody'} holds it"
        return self.problem or "this process stood still"

    async def _renew(self) -> None:
        try:
            if not await self._put(self._claimed(renewed=True)):
                await self._look()
                if self.holder != self._identity or not self._exists:
                    self._until = _NEVER
            else:
                self._well()
        except ApiError as error:
            self._complain(error)

    async def _release(self) -> None:
        """So that another need not wait for the lease to expire."""
        if not self.leading():
            return
        self._until = _NEVER
        with contextlib.suppress(ApiError):
            # A second time, where a renewal was under way that is done all the same.
            while self.holder == self._identity:
                spec = {**self._spec, "holderIdentity": "", "renewTime": _micro_time()}
                if await self._put({**self._lease, "spec": spec}):
                    logger.info("%s: given back", self._what)
                    return
                await self._look()

    async def _look(self) -> None:
        try:
            lease = (await self._answer(self._api.get(LEASE, *self._name))).body
        except ApiError as error:
            if error.code != 404:
                raise
            self._exists = False
            return
        self._exists = True
        if lease.get("spec") != self._lease.get("spec"):
            self._changed = _now()
        self._lease = lease

    async def _take(self) -> bool:
        sent = _now()
        if not self._exists:
            self._lease = {}
        if taken := await self._put(self._claimed(renewed=False)):
            self._well()
            self._until = sent + DEADLINE
        return taken

    async def _put(self, lease: Json) -> bool:
        """False if it has been changed meanwhile, or is no more."""
        sent = _now()
        put = self._api.replace if self._exists else self._api.create
        try:
            self._lease = (await self._answer(put(LEASE, lease))).body
        except ApiError as error:
            if error.code not in (404, 409):
                raise
            return False
        self._exists, self._changed = True, _now()
        if self.leading():
            self._until = sent + DEADLINE
        return True

    def _claimed(self, *, renewed: bool) -> Json:
        spec, now = self._spec, _micro_time()
        transitions = spec.get("leaseTransitions")
        changes: dict[str, Any] = {"renewTime": now}
        if not renewed:
            changes |= {
                "holderIdentity": self._identity,
                "leaseDurationSeconds": int(DURATION),
                "acquireTime": now,
                "leaseTransitions": transitions + 1 if isinstance(transitions, int) else 0,
            }
        empty = {"apiVersion": LEASE.api_version, "kind": LEASE.kind, "metadata": self._name._asdict()}
        return {**(self._lease or empty), "spec": {**spec, **changes}}

    async def _answer(self, request: Coroutine[Any, Any, Reply]) -> Reply:
        try:
            async with asyncio.timeout(_ANSWER):
                return await request
        except TimeoutError:
            raise ApiError(0, "Timeout", f"the API server did not answer within {_ANSWER:g} s") from None

    def _pause(self) -> float:
        if self.problem:
            return _BACKOFF.after(self._errors)
        until = self._expires - _now()
        return min(POLL, until) if until > 0 else POLL * random.uniform(0.2, 1.0)

    @property
    def _expires(self) -> float:
        """When the lease may be taken."""
        if self.holder in ("", self._identity):
            return _NEVER
        duration = self._spec.get("leaseDurationSeconds")
        return self._changed + (duration if isinstance(duration, int) and duration > 0 else DURATION)

    @property
    def _spec(self) -> Json:
        return _spec(self._lease)

    @property
    def _what(self) -> str:
        return f"lease {self._name.namespace}/{self._name.name}"

    def _well(self) -> None:
        self._errors = 0
        self.problem = ""
        self.forbidden = False

    def _complain(self, error: ApiError) -> None:
        """Says what is wrong when it begins, and when it becomes something else."""
        self._errors += 1
        problem = f"{self._what}: {error}"
        self.forbidden = error.code == 403
        if self.forbidden:
            problem += "; permit get, create and update of leases.coordination.k8s.io there, as the chart's Role does"
        if problem != self.problem:
            logger.error("%s", problem)
        self.problem = problem


def _spec(lease: Json) -> Json:
    spec = lease.get("spec")
    return spec if isinstance(spec, dict) else {}


def _holder(lease: Json) -> str:
    return str(_spec(lease).get("holderIdentity") or "")


def _micro_time() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _now() -> float:
    return asyncio.get_running_loop().time()
