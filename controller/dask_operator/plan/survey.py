"""Asking schedulers whether their new workers have registered, when these have run for some time.

As long as one is missing, or the scheduler does not answer, it is asked again. The pauses grow with the age of the
newest worker. A scheduler that knows all its workers is left alone until there are new ones.
"""

from __future__ import annotations

from collections.abc import Iterator

from dask_operator import manifests
from dask_operator.actions import WORKERS, Action, Ask, RequeueAt
from dask_operator.plan.report.problems import is_said_unregistered
from dask_operator.plan.view import View
from dask_operator.plan.workers import registration

_PAUSE = (15.0, 600.0)
_NEW = 300.0
"""Seconds for which a worker is new. A controller that has just started does not ask about older ones."""


def plan_survey(view: View, now: float) -> Iterator[Action]:
    """Ask the scheduler which workers it has, if some of them may have failed to register."""
    scheduler, observed = view.scheduler, view.observed
    if not scheduler or not scheduler.ready or WORKERS in observed.asking or _some_leave(view):
        return
    due = _due(view, now)
    if due is None:
        return
    because = "whether its new workers have registered"
    if now < due:
        yield RequeueAt(due, because)
        return
    endpoint = manifests.scheduler_endpoint(view.cluster, observed.service, scheduler)
    yield Ask(WORKERS, endpoint, because, pods=view.running_workers)


def _some_leave(view: View) -> bool:
    """Return whether workers are about to leave, for which the scheduler is asked anyway."""
    groups = view.workers.values()
    return bool(view.removed) or any(
        workers.old or workers.leaving or len(workers.staying) > workers.group.replicas for workers in groups
    )


def _due(view: View, now: float) -> float | None:
    """Return when to ask, None if there is nothing to ask."""
    ripe = [
        pod.started + registration.TAKES
        for workers in view.workers.values()
        for pod in workers.staying
        if pod.ready and not workers.group.unread
    ]
    past, coming = [at for at in ripe if at <= now], [at for at in ripe if at > now]
    times = [min(coming)] if coming else []
    if past:
        times += _due_now(view, max(past), now)
    return min(times, default=None)


def _due_now(view: View, newest: float, now: float) -> Iterator[float]:
    """Yield when to ask about workers that should have registered, the newest of them at `newest`."""
    survey, groups = view.observed.survey, view.workers.values()
    if not survey or survey.at > now:
        if now < newest + _NEW or any(is_said_unregistered(view, workers.group) for workers in groups):
            yield now
    elif survey.at < newest:
        yield survey.at + _PAUSE[0]
    elif survey.problem or any(registration.unregistered(view, each) for each in groups):
        yield survey.at + min(max((survey.at - newest) / 2, _PAUSE[0]), _PAUSE[1])
