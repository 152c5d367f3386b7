"""The problems that make this process not live or not ready, in sentences.

A process is live while it makes progress. An API server that is down, slow or refuses is no reason for a restart, which
would help nobody and lose everything known.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from dask_operator.kubernetes.lease import Election
from dask_operator.kubernetes.watch import Watch
from dask_operator.reconcile.loop import Loop
from dask_operator.reconcile.workqueue import WorkQueue

STUCK = 300.0
"""Seconds without a sign of life from a watch, or without work on due clusters. Requests time out after 30."""
STUCK_CLUSTER = 1800.0
"""Seconds for the work on one cluster, each of whose writes may time out."""
FAILING = 60.0
"""Seconds of failures after which a watch makes this process unready; shorter ones are put down to the network."""


def stuck_watches(watches: Iterable[Watch]) -> list[str]:
    """Return the watches that stand still."""
    now = asyncio.get_running_loop().time()
    quiet = ((watch.what, now - max(watch.last_try, watch.last_message)) for watch in watches)
    return [f"the watch of {what} has done nothing for {seconds:.0f} s" for what, seconds in quiet if seconds > STUCK]


def stuck_work(queue: WorkQueue, loop: Loop, since_answer: float) -> list[str]:
    """Return how the work stands still. `since_answer` is in seconds since a request ended, with or without success."""
    due, age = queue.waiting()
    found = []
    if min(age, loop.idle_for, since_answer) > STUCK:
        found.append(f"{due} clusters wait to be worked on, the first for {age:.0f} s, and nothing is done")
    if loop.busy_for > STUCK_CLUSTER:
        found.append(f"the work on one cluster has not ended for {loop.busy_for:.0f} s")
    return found


def unready(watches: Iterable[Watch], election: Election | None) -> list[str]:
    """Return why this process does not know everything, or may not lead."""
    now = asyncio.get_running_loop().time()
    found = [problem for watch in watches if (problem := _unsynced(watch, now))]
    if election and election.complaint:
        found.append(election.complaint.text)
    return found


def lasting_problems(watches: Iterable[Watch], election: Election | None) -> list[str]:
    """Return the problems that need a person: missing permissions, and CRDs that are not installed."""
    found = [watch.complaint.text for watch in watches if watch.complaint.lasting]
    if election and election.complaint.lasting:
        found.append(election.complaint.text)
    return found


def _unsynced(watch: Watch, now: float) -> str:
    complaint = watch.complaint
    if complaint and (complaint.lasting or now > complaint.since + FAILING or not watch.synced.is_set()):
        return complaint.text
    return "" if watch.synced.is_set() else f"not all {watch.what} have been listed yet"
