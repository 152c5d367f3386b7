"""Taking back workers that drain, when their group wants more workers again.

A worker of the current template that has not gone yet is as good as a new one, and it holds results.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from dask_operator import manifests
from dask_operator.actions import Action, Resume
from dask_operator.model import Pod, Survey
from dask_operator.plan.view import View, Workers, current_templates
from dask_operator.plan.workers import victims


def returning(view: View, workers: Workers) -> int:
    """Return how many workers of a group are about to be taken back."""
    return sum(pod.uid in view.observed.resuming for pod in workers.leaving)


def resumable(view: View, workers: Workers) -> list[Pod]:
    """Return the workers of a group that drain and may be taken back."""
    if not _running(view.scheduler):
        return []
    retiring, resuming = view.observed.retiring, view.observed.resuming
    current = current_templates(workers.group)
    return [
        pod
        for pod in workers.leaving
        if pod.uid in retiring and pod.uid not in resuming and not retiring[pod.uid].final
        if pod.template in current and pod.uid not in view.observed.displaced
    ]


def plan_resume(view: View, workers: Workers, pods: Sequence[Pod]) -> Iterator[Action]:
    """Take back these workers of a group."""
    back = [(pod.uid, address) for pod in pods for address in view.observed.retiring[pod.uid].addresses]
    yield from _resume(view, back, f"the group wants {workers.group.replicas} workers again")


def plan_resume_of_unasked(view: View, workers: Workers, survey: Survey) -> Iterator[Action]:
    """Take back workers that drain because a controller asked for it that has ended since, and that are to stay."""
    draining = [worker for worker in survey.workers if worker.draining and not worker.leaves]
    if not draining:
        return
    known = victims.registered(view.live, replace(survey, workers=tuple(draining)))
    back = [
        (pod.uid, worker.address)
        for pod in workers.new
        if pod.uid not in view.observed.resuming
        for worker in known.get(pod.uid, ())
    ]
    yield from _resume(view, back, f"the group wants {workers.group.replicas} workers")


def _running(scheduler: Pod | None) -> Pod | None:
    return scheduler if scheduler and scheduler.phase == "Running" else None


def _resume(view: View, back: Sequence[tuple[str, str]], because: str) -> Iterator[Action]:
    if back and (scheduler := _running(view.scheduler)):
        endpoint = manifests.scheduler_endpoint(view.cluster, view.observed.service, scheduler)
        yield Resume(endpoint, tuple(back), because)
