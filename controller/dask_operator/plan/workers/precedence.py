"""A job's runner comes before its workers: a quota that has no room for both gets room by a worker that leaves.

Otherwise the program would wait for ever behind workers that have nothing to do. One worker leaves at a time, as on any
scale-down. The runner is tried again when that worker's Pod is gone, and no worker takes the place before.
"""

from __future__ import annotations

from dask_operator import names
from dask_operator.model import Failure, ObjectRef
from dask_operator.plan.view import View, Workers
from dask_operator.plan.workers import room
from dask_operator.plan.workers.room import Room
from dask_operator.resources import POD


def behind_runner(view: View, workers: Workers, now: float) -> Workers:
    """Return a group's workers with the number that it may have until the runner of the cluster's job has a Pod."""
    runner = ObjectRef(POD.kind, names.runner(view.cluster.job))
    refused = view.observed.failures.get(runner) if view.cluster.job else None
    if not refused or refused.problem.reason != "QuotaExceeded":
        return workers
    return workers.at_most(len(workers.staying) - (_makes_room(view, refused, now) == workers.group.name))


def _makes_room(view: View, refused: Failure, now: float) -> str:
    """Return the name of the group of which a worker is to leave now, empty if none is."""
    everyone = (*view.workers.values(), *view.removed.values())
    some_leave = any(workers.leaving or workers.retired or workers.ending for workers in everyone)
    largest = max(view.workers.values(), key=lambda workers: len(workers.staying), default=None)
    # After its pause the runner is tried first: room may have come from elsewhere.
    if some_leave or now >= refused.until or not largest or not largest.staying:
        return ""
    return "" if room.needed([refused.problem]) is Room.ENOUGH else largest.group.name
