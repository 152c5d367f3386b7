from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from kopf import ConnectionInfo
from tests.support.fake_api import FakeApi, Fault, Seen, connected
from tests.support.server import serving
from tests.support.slow import Relay, relayed
from tests.support.wait import happens, meanwhile, until

from dask_operator.kubernetes.api import Api
from dask_operator.kubernetes.leadership import LeaseName, Times
from dask_operator.kubernetes.lease import Election, identity
from dask_operator.resources import LEASE

NAME = LeaseName("default", "controller")
TIMES = Times()
DURATION, DEADLINE, RENEWAL = TIMES.duration, TIMES.deadline, TIMES.retry
SAFE = Times(15, 10.0, 2.0)
Term = tuple[str, float, float]


@dataclass
class Candidates:
    """Several elections against one fake. `terms`: who led from when to when, by the event loop's clock."""

    fake: Any
    api: Any
    elections: dict[str, Election] = field(default_factory=dict)
    tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    terms: list[Term] = field(default_factory=list)
    leads: list[str] = field(default_factory=list)

    def start(self, name: str) -> Election:
        self.elections[name] = Election(self.api, NAME, name)
        self.tasks[name] = asyncio.create_task(self.elections[name].run(lambda: self._lead(name)))
        return self.elections[name]

    async def _lead(self, name: str) -> None:
        began = now()
        self.leads.append(name)
        try:
            await asyncio.Event().wait()
        finally:
            self._ended(name, began)

    def _ended(self, name: str, began: float) -> None:
        if name in self.leads:
            self.leads.remove(name)
            self.terms.append((name, began, now()))

    async def leader(self, *names: str) -> None:
        await until(lambda: self.leads == list(names), f"{names} to lead, not {self.leads}", 60.0)

    async def stop(self, name: str) -> None:
        task = self.tasks.pop(name)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    def kill(self, name: str) -> None:
        """Stop all its requests and replies, and the process with them."""
        self.elections[name]._api = _Dead()  # type: ignore[assignment]
        self._ended(name, 0.0)

    def cut(self, name: str, *, after: bool = False) -> Fault:
        """Answer its renewals with errors; with `after`, although they are carried out."""

        def its(seen: Seen) -> bool:
            return bool(seen.body["spec"]["holderIdentity"] == name)

        fault: Fault = self.fake.fail("PUT", LEASE, 504, reason="Timeout", times=10_000, after=after, matches=its)
        return fault

    @property
    def spec(self) -> dict[str, Any]:
        lease = self.fake.find(LEASE, NAME.name)
        assert lease
        spec: dict[str, Any] = lease["spec"]
        return spec


class _Dead:
    async def hang(self, *_: object) -> None:
        await asyncio.Event().wait()

    get = replace = create = hang


def now() -> float:
    return asyncio.get_running_loop().time()


@asynccontextmanager
async def _candidates(*names: str) -> AsyncIterator[Candidates]:
    async with connected() as (fake, api):
        candidates = Candidates(fake, api)
        for name in names:
            candidates.start(name)
            await until(lambda: candidates.leads, "a leader", 10.0)
        yield candidates
        for name in list(candidates.tasks):
            await candidates.stop(name)
    for (_, _, end), (_, begin, _) in pairwise(candidates.terms):
        assert end <= begin, "two lead at a time"


def test_every_process_has_an_identity_of_its_own() -> None:
    assert identity() != identity()


async def test_the_first_leads_and_says_so() -> None:
    async with _candidates("a", "b") as candidates:
        await candidates.leader("a")
        await asyncio.sleep(30.0)
        assert candidates.leads == ["a"]
        assert candidates.elections["b"].holder == "a"
        assert candidates.elections["a"].leading()
        assert not candidates.elections["b"].leading()
        assert candidates.spec["holderIdentity"] == "a"
        assert candidates.spec["leaseDurationSeconds"] == DURATION
        assert candidates.spec["leaseTransitions"] == 0


async def test_it_is_renewed_every_second() -> None:
    async with _candidates("a") as candidates:
        before = len(candidates.fake.asked("PUT", "leases"))
        await asyncio.sleep(60.0)
        assert 50 <= len(candidates.fake.asked("PUT", "leases")) - before <= 61
        assert len(candidates.fake.asked("GET", "leases")) <= 2, "the holder has no need to look"


async def test_a_holder_that_ends_hands_over_at_once() -> None:
    async with _candidates("a", "b") as candidates:
        await candidates.stop("a")
        ended = now()
        await candidates.leader("b")
        assert now() - ended < 1.0
        assert candidates.spec["leaseTransitions"] == 1


async def test_it_is_given_back_though_a_renewal_was_under_way() -> None:
    async with _candidates("a") as candidates:
        fault = candidates.cut("a", after=True)
        await until(lambda: candidates.elections["a"].complaint, "a renewal whose reply is lost", 5.0)
        fault.times = 0
        await candidates.stop("a")
        assert candidates.spec["holderIdentity"] == ""


async def test_the_work_ends_before_the_lease_is_given_back() -> None:
    async with connected() as (fake, api):

        async def lead() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(8.0)
                assert election.leading(), "renewed until the work has ended"
                ended.append(now())

        ended: list[float] = []
        election = Election(api, NAME, "a")
        task = asyncio.create_task(election.run(lead))
        await until(election.leading, "the election", 5.0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended == [pytest.approx(now(), abs=0.5)]
        lease = fake.find(LEASE, NAME.name)
        assert lease
        assert lease["spec"]["holderIdentity"] == ""


async def test_a_holder_that_is_gone_is_followed_when_its_time_is_up() -> None:
    async with _candidates("a", "b") as candidates:
        await asyncio.sleep(10.3)
        candidates.kill("a")
        killed = now()
        await candidates.leader("b")
        candidates.tasks.pop("a").cancel()
    (_, (_, begin, _)) = candidates.terms
    assert DURATION - RENEWAL <= begin - killed <= 5.0


@pytest.mark.parametrize("after", [False, True])
async def test_a_holder_that_cannot_renew_ends_its_work_before_another_leads(after: bool) -> None:
    async with _candidates("a", "b") as candidates:
        await asyncio.sleep(20.0)
        candidates.cut("a", after=after)
        await candidates.leader("b") if not after else await candidates.leader()
    (first, *_) = candidates.terms
    assert first[0] == "a"
    assert first[2] <= 20.0 + 10.0


async def test_writes_are_forbidden_from_the_deadline_on_whatever_the_process_does() -> None:
    async with _candidates("a") as candidates:
        candidates.cut("a")
        election = candidates.elections["a"]
        await asyncio.sleep(DEADLINE - 0.1 - now())
        assert election.leading()
        await asyncio.sleep(0.1)
        assert not election.leading()
    assert candidates.terms[0][2] == pytest.approx(DEADLINE, abs=0.1)


async def test_it_leads_again_when_it_can_renew_again(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        async with _candidates("a") as candidates:
            fault = candidates.cut("a")
            await candidates.leader()
            fault.times = 0
            await candidates.leader("a")
    assert [name for name, _, _ in candidates.terms] == ["a", "a"]
    assert "lost the lease default/controller, as lease default/controller: 504 Timeout" in caplog.text


async def test_clocks_are_not_trusted() -> None:
    async with _candidates("a") as candidates:
        lease = candidates.fake.find(LEASE, NAME.name)
        await candidates.stop("a")
        spec = {**lease["spec"], "holderIdentity": "x", "renewTime": "1999-01-01T00:00:00.000000Z"}
        candidates.fake.put({**lease, "spec": spec})
        seen = now()
        candidates.start("b")
        await candidates.leader("b")
    (_, (_, begin, _)) = candidates.terms
    assert begin - seen == pytest.approx(DURATION, abs=0.1), "as seen here, not as the other says"


async def test_one_of_many_wins_a_free_lease() -> None:
    async with _candidates() as candidates:
        names = [f"c{number}" for number in range(10)]
        for name in names:
            candidates.start(name)
        await asyncio.sleep(3.0)
        for _ in names:
            (leader,) = candidates.leads
            await candidates.stop(leader)
            if candidates.tasks:
                await until(lambda: candidates.leads, "the next", 2.0)
    assert len(candidates.terms) == 10


async def test_a_lease_that_is_deleted_is_made_again() -> None:
    async with _candidates("a", "b") as candidates:
        await asyncio.sleep(5.0)
        candidates.fake.drop(LEASE, NAME.name)
        await until(lambda: candidates.fake.find(LEASE, NAME.name), "the lease", 5.0)
        await asyncio.sleep(10.0)
        assert candidates.leads == ["a"], "the others waited for its time to be up"


async def test_a_lease_that_is_taken_by_hand_is_lost() -> None:
    async with _candidates("a") as candidates:
        await asyncio.sleep(5.0)
        lease = candidates.fake.find(LEASE, NAME.name)
        candidates.fake.put({**lease, "spec": {**lease["spec"], "holderIdentity": "somebody"}})
        await candidates.leader()
        assert candidates.elections["a"].holder == "somebody"
        await candidates.leader("a")


@pytest.mark.parametrize(
    "spec",
    [
        None,
        {},
        {"holderIdentity": None},
        {"holderIdentity": 7, "leaseDurationSeconds": "long", "leaseTransitions": "x"},
        {"holderIdentity": "gone", "leaseDurationSeconds": 0},
    ],
)
async def test_a_lease_of_any_shape_can_be_taken(spec: Any) -> None:
    async with _candidates() as candidates:
        metadata = {"name": NAME.name, "namespace": NAME.namespace, "labels": {"kept": "yes"}}
        candidates.fake.put(
            {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
        )
        candidates.start("a")
        await candidates.leader("a")
        assert candidates.fake.find(LEASE, NAME.name)["metadata"]["labels"] == {"kept": "yes"}


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_what_is_not_permitted_is_said_once_and_tried_again(
    caplog: pytest.LogCaptureFixture, method: str
) -> None:
    with caplog.at_level(logging.WARNING):
        async with _candidates() as candidates:
            fault = candidates.fake.fail(method, LEASE, 403, reason="Forbidden", message="may not", times=10_000)
            election = candidates.start("a")
            await asyncio.sleep(600.0)
            assert "permit get, create and update of leases.coordination.k8s.io there" in election.complaint.text
            assert len(candidates.fake.asked(method, "leases")) < 150
            fault.times = 0
            await candidates.leader("a")
            assert election.complaint.text == ""
    assert len(caplog.records) == 1
    assert "lease default/controller: 403 Forbidden: may not" in caplog.text


async def test_an_api_server_that_does_not_answer_keeps_nobody_leading() -> None:
    async with _candidates("a") as candidates:
        candidates.elections["a"]._api = _Dead()  # type: ignore[assignment]
        await candidates.leader()
        candidates.elections["a"]._api = candidates.api
    assert candidates.terms[0][2] == pytest.approx(DEADLINE, abs=0.1)


async def test_an_error_of_the_work_ends_the_election_and_gives_the_lease_back() -> None:
    async with connected() as (fake, api):

        async def lead() -> None:
            raise ValueError("a mistake of ours")

        with pytest.raises(ValueError, match="a mistake of ours"):
            await Election(api, NAME, "a").run(lead)
        lease = fake.find(LEASE, NAME.name)
        assert lease
        assert lease["spec"]["holderIdentity"] == ""


async def _forever() -> None:
    await asyncio.Event().wait()


@asynccontextmanager
async def _slow(certificates: Path, times: Times) -> AsyncIterator[tuple[Relay, Election]]:
    """Yield an election that leads by TLS through a relay, which still answers at once."""
    fake, tls = FakeApi(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificates / "server.crt", certificates / "server.key")
    async with serving(fake.answer, tls) as url, relayed(int(url.rpartition(":")[2])) as relay:
        server = f"https://127.0.0.1:{relay.port}"
        async with Api(
            lambda: ConnectionInfo(server=server, ca_path=certificates / "server.crt", token="valid")
        ) as api:
            election = Election(api, NAME, "a", times)
            async with meanwhile(election.run(_forever)):
                await until(election.leading, "the election", 5.0)
                yield relay, election


@pytest.mark.parametrize(
    ("times", "delay", "reconnects", "leads"),
    [
        (TIMES, 0.7, True, True),
        (TIMES, 1.3, False, True),
        (TIMES, 2.0, False, False),
        (SAFE, 1.0, True, True),
        (SAFE, 2.0, True, True),
        (SAFE, 4.5, False, True),
        (SAFE, 11.0, False, False),
        (Times(137, 107.0, 26.0), 14.0, True, True),
    ],
)
async def test_a_slow_api_server_ends_no_term_that_has_time_for_it(
    certificates: Path, times: Times, delay: float, reconnects: bool, leads: bool
) -> None:
    """Wait for renewals by a slow relay; a new connection takes two answers more, for its handshake."""
    async with _slow(certificates, times) as (relay, election):
        relay.delay = delay
        if reconnects:
            relay.cut()
        assert await happens(lambda: not election.leading(), 300.0) != leads
        if not leads:
            assert f"did not answer within {times.request:g} s, half of the renew deadline" in election.complaint.text
            relay.delay = 0.0
            await until(election.leading, "the next election", 60.0)


async def test_a_lease_whose_duration_was_edited_gets_its_own_back() -> None:
    async with _candidates("a") as candidates:
        lease = candidates.fake.find(LEASE, NAME.name)
        candidates.fake.put({**lease, "spec": {**lease["spec"], "leaseDurationSeconds": 1}})
        await until(lambda: candidates.spec["leaseDurationSeconds"] == DURATION, "a renewal", 5.0)
        assert candidates.leads == ["a"]


@pytest.mark.parametrize("before", [False, True])
async def test_who_finds_the_lease_vacant_when_it_starts_and_when_it_wins_succeeds_nobody(before: bool) -> None:
    async with _candidates() as candidates:
        if before:
            candidates.start("former")
            await candidates.leader("former")
            await candidates.stop("former")
        election = Election(candidates.api, NAME, "a")
        await election.look()
        await asyncio.sleep(10.0)
        async with meanwhile(election.run(_forever)):
            await until(election.leading, "the election", 5.0)
            assert not election.succeeds


async def test_who_finds_another_leader_or_an_interlude_or_cannot_look_succeeds_another() -> None:
    async with _candidates() as candidates:
        early, late, blind = (Election(candidates.api, NAME, name) for name in ("early", "late", "blind"))
        await early.look()
        candidates.start("a")
        await candidates.leader("a")
        await late.look()
        await candidates.stop("a")
        candidates.fake.fail("GET", LEASE, 500)
        await blind.look()
        for election in (early, late, blind):
            async with meanwhile(election.run(_forever)):
                await until(election.leading, "the election", 5.0)
                assert election.succeeds


async def test_who_leads_again_may_have_missed_another() -> None:
    async with _candidates() as candidates:
        election = Election(candidates.api, NAME, "a")
        await election.look()
        for again in (False, True):
            async with meanwhile(election.run(_forever)):
                await until(election.leading, "the election", 5.0)
                assert election.succeeds == again
