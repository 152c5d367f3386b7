"""Asking the scheduler of a DaskJob how far the job's tasks are, while its program runs.

A job that has run for longer is asked less often: whoever looks at it then knows it to the same share of its time.
"""

from __future__ import annotations

from collections.abc import Iterator

from dask_operator import manifests
from dask_operator.actions import PROGRESS, Action, Ask, RequeueAt
from dask_operator.plan.view import View

_SHARE = 10.0
_INTERVAL = (10.0, 60.0)
_BECAUSE = "how far its job is"


def plan_progress(view: View, now: float) -> Iterator[Action]:
    """Ask the scheduler how many tasks are done and how many are not."""
    scheduler, runner, observed = view.scheduler, view.runner, view.observed
    if not view.cluster.job or not scheduler or not scheduler.ready or not runner or PROGRESS in observed.asking:
        return
    interval = min(max((now - runner.started) / _SHARE, _INTERVAL[0]), _INTERVAL[1])
    known = observed.progress.at if observed.progress and observed.progress.at <= now else 0.0
    due = max(known, runner.started) + interval
    if now < due:
        yield RequeueAt(due, _BECAUSE)
        return
    yield Ask(PROGRESS, manifests.scheduler_endpoint(view.cluster, observed.service, scheduler), _BECAUSE)
