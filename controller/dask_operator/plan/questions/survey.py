"""Asking schedulers whether their new workers have registered, when these have run for some time.

As long as one is missing, or the scheduler does not answer, it is asked again, after pauses that double. A scheduler
that knows all its workers is left alone until there are new ones.
"""

from __future__ import annotations

from collections.abc import Iterator

from dask_operator import manifests
from dask_operator.actions import WORKERS, Action, Ask, RequeueAt
from dask_operator.plan.report.problems import is_said_retiring, is_said_silent, is_said_unregistered, said_since
from dask_operator.plan.view import View
from dask_operator.plan.workers import registration

_PAUSE = (15.0, 900.0)
_NEW = 300.0
"""Seconds for which a worker is new. A controller that has just started does not ask about older ones."""


def plan_survey(view: View, now: float) -> Iterator[Action]:
    """Ask the scheduler which workers it has, if some of them may have failed to register."""
    scheduler, observed = view.scheduler, view.observed
    if not scheduler or not scheduler.ready or WORKERS in observed.asking or some_leave(view):
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


def some_leave(view: View) -> bool:
    """Return whether workers are about to leave, for which the scheduler is asked anyway."""
    groups = view.workers.values()
    return bool(view.removed) or any(
        workers.old or workers.leaving or len(workers.staying) > workers.group.replicas for workers in groups
    )


def _due(view: View, now: float) -> float | None:
    """Return when to ask, None if there is nothing to ask."""
    groups = [workers for workers in view.workers.values() if workers.ready and not workers.group.unread]
    if not groups:
        return None
    newest = max(workers.latest for workers in groups) + registration.TAKES
    if newest <= now:
        return _due_about(view, newest, now)
    ripe = [pod.started + registration.TAKES for each in groups for pod in each.staying if pod.ready]
    past, coming = [at for at in ripe if at <= now], min(at for at in ripe if at > now)
    due = _due_about(view, max(past), now) if past else None
    return coming if due is None else min(due, coming)


def _due_about(view: View, newest: float, now: float) -> float | None:
    """Return when to ask about workers that should have registered, the newest of them at `newest`."""
    survey, groups = view.observed.survey, view.workers.values()
    if not survey or survey.at > now:
        said = (
            is_said_silent(view)
            or is_said_retiring(view)
            or any(is_said_unregistered(view, workers.group) for workers in groups)
        )
        return now if said or now < newest + _NEW else None
    if survey.at < newest:
        return survey.at + _PAUSE[0]
    if survey.problem or any(registration.unregistered(view, each) for each in groups):
        since = said_since(view)
        lasts = survey.at - since if since is not None else 0.0
        return survey.at + min(max(lasts, _PAUSE[0]), _PAUSE[1])
    return None
