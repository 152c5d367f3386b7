"""Replacing workers that have ended: at once after a minute of life, else after a pause that doubles with each failure.

Until then the Pod stays. It keeps its place in the group, and its log can be read.
"""

from __future__ import annotations

from collections.abc import Sequence

from dask_operator.backoff import Backoff
from dask_operator.model import Pod
from dask_operator.parse import may_have_passed

_LIVED = 60.0
_DELAY = Backoff(first=10.0, longest=300.0)


def due(pod: Pod, now: float) -> float:
    """Return when to replace an ended worker, in seconds since the epoch."""
    if not _short_lived(pod) or not pod.attempt:
        return 0.0
    return ended(pod, now) + _DELAY.after(pod.attempt)


def ended(pod: Pod, now: float) -> float:
    """Return when a Pod ended. If its node's clock is wrong, it is the time of its creation, by the API server's."""
    return at if may_have_passed(at := _ended(pod), now) else pod.created


def next_attempt(replaced: Sequence[Pod]) -> int:
    """Return the attempt of the workers that replace these: 0 if none of them ended soon after its start."""
    return max((pod.attempt + 1 for pod in replaced if _short_lived(pod)), default=0)


def _short_lived(pod: Pod) -> bool:
    return _ended(pod) - (pod.started or pod.created) < _LIVED


def _ended(pod: Pod) -> float:
    # The kubelet reports no time for a Pod that it rejected or evicted.
    return pod.finished or pod.started or pod.created
