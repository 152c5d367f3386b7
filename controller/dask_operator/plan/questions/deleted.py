"""Workers whose Pods somebody else deletes while they start: they may have missed that they are to leave.

Kubernetes tells it once, by SIGTERM. The first process of a container does not get a signal for which it has no handler
yet, as Python has none while it loads Dask. Such a worker would register, work until its grace period ends, and be
killed with all that it holds. So its scheduler is asked whether it has registered, and lets it drain.
"""

from __future__ import annotations

from collections.abc import Iterator

from dask_operator import manifests
from dask_operator.actions import WORKERS, Action, Ask, RequeueAt, Retire
from dask_operator.model import Endpoint, Pod, Survey
from dask_operator.plan.questions.survey import some_leave
from dask_operator.plan.view import View, Workers
from dask_operator.plan.workers import victims

_STARTS_WITHIN = 120.0
"""Seconds within which a worker has its handler of the signal."""
_SIGNAL_TAKES = 5.0
"""Seconds until a worker that has got the signal drains."""
_PAUSE = 10.0
"""Seconds between two questions, as the worker may register at any time."""


def plan_deleted(view: View, now: float) -> Iterator[Action]:
    """Let workers drain that are being deleted and may not know it."""
    scheduler, observed = view.scheduler, view.observed
    everyone = (*view.workers.values(), *view.removed.values())
    unaware = [(workers, pods) for workers in everyone if (pods := _unaware(view, workers))]
    if not unaware or not scheduler or scheduler.phase != "Running":
        return
    first = min(pod.deleted for _, pods in unaware for pod in pods) + _SIGNAL_TAKES
    if now < first:
        yield RequeueAt(first, because="workers that are deleted while they start")
        return
    survey, endpoint = observed.survey, manifests.scheduler_endpoint(view.cluster, observed.service, scheduler)
    if not survey or not first <= survey.at <= now < survey.at + _PAUSE:
        if WORKERS not in observed.asking and not some_leave(view):
            yield Ask(WORKERS, endpoint, "whether workers that are being deleted drain", pods=view.running_workers)
        return
    yield RequeueAt(survey.at + _PAUSE, because="workers that are deleted while they start")
    if survey.problem:
        return
    for workers, pods in unaware:
        yield from _drain(workers, [pod for pod in pods if _is_willing(view, pod, now)], view, endpoint, survey)


def _unaware(view: View, workers: Workers) -> list[Pod]:
    """Return the workers of a group that are being deleted, and that nobody has let drain."""
    retiring, retired = view.observed.retiring, view.observed.retired
    return [
        pod
        for pod in workers.ending
        if pod.phase == "Running"
        and pod.deleted < pod.started + _STARTS_WITHIN
        and pod.uid not in retiring
        and pod.uid not in retired
    ]


def _is_willing(view: View, pod: Pod, now: float) -> bool:
    return now >= view.observed.refused.get(pod.uid, 0.0) + victims.REFUSAL_LASTS


def _drain(workers: Workers, pods: list[Pod], view: View, endpoint: Endpoint, survey: Survey) -> Iterator[Action]:
    known = victims.registered((*view.live, *pods), survey)
    going = [(pod.uid, worker.address) for pod in pods for worker in known.get(pod.uid, ()) if not worker.leaves]
    if going:
        seconds = workers.group.drain_timeout if survey.agent else None
        yield Retire(endpoint, tuple(going), "somebody deletes their Pods, and they do not drain", seconds)
