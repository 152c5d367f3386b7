"""Workers that run and that their scheduler does not know.

Kubernetes finds nothing wrong with a worker that cannot connect to its scheduler. A scheduler's answer tells, once the
worker has had the time to register.
"""

from __future__ import annotations

from dask_operator.model import Pod
from dask_operator.plan.view import View, Workers
from dask_operator.plan.workers import victims

TAKES = 45.0
"""Seconds from a worker's start until it should have registered."""


def unregistered(view: View, workers: Workers) -> list[Pod]:
    """Return a group's workers that the scheduler should know and does not, by its last answer.

    While the scheduler has workers that match no Pod, each Pod may be one of them.
    """
    survey = view.observed.survey
    if not survey or survey.problem:
        return []
    # Nearly all have registered by their names. Addresses are compared for the others alone.
    missing = [pod for pod in workers.unnamed if pod.started + TAKES <= survey.at]
    if not missing or victims.unmatched(view.live, survey):
        return []
    known = victims.registered(view.live, survey)
    return [pod for pod in missing if pod.uid not in known]
