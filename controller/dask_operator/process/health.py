"""Whether this process is alive and whether it is ready, each as what is wrong with it, in sentences.

Alive means that it gets on. That an API server is down, refuses or is slow is no reason to start anew: it would help
nobody, and everything known would be lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from dask_operator.kubernetes.lease import Election
from dask_operator.kubernetes.watch import Watch
from dask_operator.reconcile.loop import Loop
from dask_operator.reconcile.workqueue import WorkQueue

STUCK = 300.0
"""Seconds without any sign of a watch, or of work that is due. An unanswered request ends after 30."""
STUCK_CLUSTER = 1800.0
"""The same for the work on one cluster: each of its writes may go unanswered."""
FAILING = 60.0
"""Seconds after which a watch that fails makes this process unready; until then it may be the network."""


def stuck_watches(watches: Iterable[Watch]) -> list[str]:
    """What stands still in the watches."""
    now = asyncio.get_running_loop().time()
    quiet = ((watch.what, now - max(watch.last_try, watch.last_message)) for watch in watches)
    return [f"the watch of {what} has done nothing for {seconds:.0f} s" for what, seconds in quiet if seconds > STUCK]


def stuck_work(queue: WorkQueue, loop: Loop, since_answer: float) -> list[str]:
    """What stands still in the work. `since_answer`: seconds since a request ended, well or not."""
    due, age = queue.waiting()
    found = []
    if min(age, loop.idle_for, since_answer) > STUCK:
        found.append(f"{due} clusters wait to be worked on, the first for {age:.0f} s, and nothing is done")
    if loop.busy_for > STUCK_CLUSTER:
        found.append(f"the work on one cluster has not ended for {loop.busy_for:.0f} s")
    return found


def unready(watches: Iterable[Watch], election: Election | None) -> list[str]:
    """What this process does not know, or may not do."""
    now = asyncio.get_running_loop().time()
    found = [problem for watch in watches if (problem := _unsynced(watch, now))]
    if election and election.complaint:
        found.append(election.complaint.text)
    return found


def lasting_problems(watches: Iterable[Watch], election: Election | None) -> list[str]:
    """What only a person can mend: permissions, and definitions that are not installed."""
    found = [watch.complaint.text for watch in watches if watch.complaint.lasting]
    if election and election.complaint.lasting:
        found.append(election.complaint.text)
    return found


def _unsynced(watch: Watch, now: float) -> str:
    complaint = watch.complaint
    if complaint and (complaint.lasting or now > complaint.since + FAILING or not watch.synced.is_set()):
        return complaint.text
    return "" if watch.synced.is_set() else f"not all {watch.what} have been listed yet"
