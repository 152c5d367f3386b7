"""An election's decisions as a table: what is seen, at which time, and what is done about it."""

from __future__ import annotations

from typing import Any

import pytest

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

NAME = LeaseName("default", "controller")
TIMES = Times()
DURATION, DEADLINE, POLL = TIMES.duration, TIMES.deadline, TIMES.poll
SAFE = Times(15, 10.0, 2.0)
EARLY, LATE = "2026-01-01T00:00:00.000000Z", "2026-01-01T00:00:01.000000Z"


def _lease(holder: Any = "b", **spec: Any) -> Json:
    return {"metadata": {"resourceVersion": "7"}, "spec": {"holderIdentity": holder, **spec}}


@pytest.mark.parametrize(
    ("lease", "seen_at", "now", "decided"),
    [
        (_lease(""), 100.0, 100.0, Take()),
        (_lease(None), 100.0, 100.0, Take()),
        (_lease("a"), 100.0, 100.0, Take()),
        (_lease("b"), 100.0, 100.0, Wait(POLL)),
        (_lease("b"), 100.0, 100.0 + DURATION - 0.25, Wait(0.25)),
        (_lease("b"), 100.0, 100.0 + DURATION, Take()),
        (_lease("b", leaseDurationSeconds=30), 100.0, 100.0 + DURATION, Wait(POLL)),
        (_lease("b", leaseDurationSeconds=30), 100.0, 130.0, Take()),
        (_lease("b", leaseDurationSeconds=1), 100.0, 101.0, Take()),
        (_lease("b", leaseDurationSeconds=0), 100.0, 101.0, Wait(POLL)),
        (_lease("b", leaseDurationSeconds=0), 100.0, 100.0 + DURATION, Take()),
        (_lease("b", leaseDurationSeconds="long"), 100.0, 100.0 + DURATION, Take()),
        (_lease("b", renewTime="1999-01-01T00:00:00.000000Z"), 100.0, 101.0, Wait(POLL)),
        (_lease("b", renewTime="2999-01-01T00:00:00.000000Z"), 100.0, 100.0 + DURATION, Take()),
        ({"spec": None}, 100.0, 100.0, Take()),
        ({"spec": []}, 100.0, 100.0, Take()),
        ({}, 100.0, 100.0, Take()),
    ],
)
def test_a_candidate_takes_a_free_lease_and_waits_for_another(
    lease: Json, seen_at: float, now: float, decided: object
) -> None:
    assert decide(KnownLease(lease, True, seen_at), "a", NEVER, now, TIMES) == decided


def test_a_candidate_takes_a_lease_that_never_was_and_waits_out_the_time_of_one_that_was_deleted() -> None:
    assert decide(KnownLease(), "a", NEVER, 100.0, TIMES) == Take()
    deleted = KnownLease(_lease("b"), True, 100.0).read(None, 101.0)
    assert decide(deleted, "a", NEVER, 101.0, TIMES) == Wait(POLL), "b may still write"
    assert decide(deleted, "a", NEVER, 100.0 + DURATION, TIMES) == Take()
    assert decide(deleted, "b", NEVER, 101.0, TIMES) == Take(), "it was its own"


@pytest.mark.parametrize(
    ("lease", "now", "decided"),
    [
        (_lease("a"), 100.0, Renew()),
        (_lease("a"), 100.0 + DEADLINE - 0.001, Renew()),
        (_lease("a"), 100.0 + DEADLINE, Lost()),
        (_lease("a"), 5000.0, Lost()),
        (_lease("b"), 100.0, Lost("b holds it")),
        (_lease(""), 100.0, Lost("nobody holds it")),
        ({}, 100.0, Lost("nobody holds it")),
    ],
)
def test_a_holder_renews_the_lease_until_it_is_lost(lease: Json, now: float, decided: object) -> None:
    assert decide(KnownLease(lease, True, 100.0), "a", 100.0 + DEADLINE, now, TIMES) == decided


def test_a_holder_whose_lease_is_deleted_has_lost_it() -> None:
    deleted = KnownLease(_lease("a"), True, 100.0).read(None, 101.0)
    assert decide(deleted, "a", 100.0 + DEADLINE, 101.0, TIMES) == Lost("it was deleted")


@pytest.mark.parametrize("times", [TIMES, SAFE, Times(137, 107.0, 26.0), Times(2, 1.0, 0.5)])
def test_terms_of_any_times_do_not_meet(times: Times) -> None:
    held = taken(KnownLease(), NAME, "a", EARLY, times)
    ended = 100.0 + times.deadline
    assert decide(KnownLease(held, True, 100.0), "a", ended, ended, times) == Lost()
    assert isinstance(decide(KnownLease(held, True, 100.0), "b", NEVER, ended + 0.999, TIMES), Wait), "by the Lease"
    assert decide(KnownLease(held, True, 100.0), "b", NEVER, 100.0 + times.duration, SAFE) == Take()
    assert times.request * 2 <= times.deadline, "a renewal may fail once"


@pytest.mark.parametrize(
    ("times", "sentence"),
    [
        ((4, 3.5, 1.0), "the lease duration of 4 s must be at least a second longer than the renew deadline of 3.5 s"),
        ((15, 3.0, 2.0), "the renew deadline of 3 s must be at least twice the retry period of 2 s"),
        ((15, 10.0, 0.0), "the retry period of 0 s must be more than 0"),
        ((15, float("nan"), 1.0), "the renew deadline of nan s must be"),
    ],
)
def test_times_that_make_no_sense_are_refused(times: tuple[int, float, float], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Times(*times)


def test_a_renewal_puts_the_duration_back_that_somebody_has_edited() -> None:
    assert renewed(_lease("a", leaseDurationSeconds=1), LATE, SAFE)["spec"]["leaseDurationSeconds"] == 15


def test_a_term_ends_a_second_before_the_next_can_begin() -> None:
    sent, seen = 100.0, 100.0  # It cannot be seen earlier.
    ended = sent + DEADLINE
    assert decide(KnownLease(_lease("a"), True, seen), "a", ended, ended, TIMES) == Lost()
    assert isinstance(decide(KnownLease(_lease("a"), True, seen), "b", NEVER, ended + 0.999, TIMES), Wait)
    assert decide(KnownLease(_lease("a"), True, seen), "b", NEVER, ended + 1.0, TIMES) == Take()


def test_the_time_of_a_lease_begins_when_this_process_sees_it_change() -> None:
    first = KnownLease().read(_lease("b", renewTime=EARLY), 100.0)
    assert (first.holder, first.expires) == ("b", 100.0 + DURATION)
    assert first.read(_lease("b", renewTime=EARLY), 102.0).expires == 100.0 + DURATION
    assert first.read(_lease("b", renewTime=LATE), 102.0).expires == 102.0 + DURATION
    assert first.read(_lease("b", renewTime="1999-01-01T00:00:00.000000Z"), 102.0).expires == 102.0 + DURATION
    touched = {**_lease("b", renewTime=EARLY), "metadata": {"labels": {"a": "b"}}}
    assert first.read(touched, 102.0).expires == 100.0 + DURATION, "labels renew nothing"
    assert (first.read(None, 102.0).holder, first.read(None, 102.0).exists) == ("b", False)


def test_the_first_holder_makes_the_lease() -> None:
    assert taken(KnownLease(), NAME, "a", EARLY, TIMES) == {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"namespace": "default", "name": "controller"},
        "spec": {
            "holderIdentity": "a",
            "leaseDurationSeconds": 4,
            "acquireTime": EARLY,
            "renewTime": EARLY,
            "leaseTransitions": 0,
        },
    }


@pytest.mark.parametrize(("before", "after"), [(0, 1), (6, 7), (None, 0), ("x", 0)])
def test_the_next_holder_counts_and_keeps_what_is_not_its_own(before: Any, after: int) -> None:
    old = _lease("b", leaseTransitions=before, strategy="OldestEmulationVersion")
    new = taken(KnownLease(old, True, 100.0), NAME, "a", LATE, TIMES)
    assert new["metadata"] == old["metadata"], "its resource version, by which the API server decides a race"
    assert new["spec"]["leaseTransitions"] == after
    assert (new["spec"]["holderIdentity"], new["spec"]["strategy"]) == ("a", "OldestEmulationVersion")


def test_a_lease_that_was_deleted_is_made_anew() -> None:
    deleted = KnownLease(_lease("b", leaseTransitions=6), True, 100.0).read(None, 101.0)
    assert taken(deleted, NAME, "a", EARLY, TIMES) == taken(KnownLease(), NAME, "a", EARLY, TIMES)


def test_a_renewal_changes_its_time_alone_and_giving_back_the_holder_as_well() -> None:
    held = taken(KnownLease(), NAME, "a", EARLY, TIMES)
    assert renewed(held, LATE, TIMES) == {**held, "spec": {**held["spec"], "renewTime": LATE}}
    assert given_back(held, LATE) == {**held, "spec": {**held["spec"], "renewTime": LATE, "holderIdentity": ""}}
