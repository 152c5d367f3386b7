"""Who leaves when a group has too many workers.

No result is lost: a worker that may hold data leaves only after its scheduler has moved that data. A worker is known to
hold none only if it never started, if its scheduler does not know it, or if there is no scheduler left that could give
the data to anybody. Candidates are always the group's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dask_operator.model import Pod, Registration, Survey

REFUSAL_LASTS = 30.0
_STARTING_LASTS = 60.0


@dataclass(frozen=True, slots=True)
class Victims:
    """`delete`: hold nothing; `retire`: with their Dask addresses; `wait_until`: when to look again, if needed."""

    delete: tuple[Pod, ...] = ()
    retire: tuple[tuple[Pod, str], ...] = ()
    wait_until: float | None = None


def without_scheduler(surplus: int, pods: Sequence[Pod], gone: bool) -> Victims:
    """While no scheduler runs: those that have not started, or anyone when the scheduler is gone for good."""
    idle = [pod for pod in pods if gone or _pending(pod)]
    return Victims(delete=tuple(sorted(idle, key=_pending_then_newest)[:surplus]))


def choose(surplus: int, pods: Sequence[Pod], survey: Survey, refused: Mapping[str, float], now: float) -> Victims:
    """While a scheduler runs, by its answer: first who it does not know, then who is idle and holds least."""
    known = _registered(pods, survey)
    strangers = [pod for pod in pods if pod.uid not in known]
    empty = sorted((pod for pod in strangers if not _starting(pod, now)), key=_pending_then_newest)[:surplus]
    surplus -= len(empty)
    soon = [pod for pod in strangers if _starting(pod, now)][:surplus]
    willing = [pod for pod in pods if pod.uid in known and now >= refused.get(pod.uid, 0.0) + REFUSAL_LASTS]
    willing.sort(key=lambda pod: _burden(known[pod.uid], pod))
    retire = willing[: surplus - len(soon)]
    again = [now + 1.0] if soon else []
    if len(retire) + len(soon) < surplus:
        again += [at + REFUSAL_LASTS for uid, at in refused.items() if uid in known and at + REFUSAL_LASTS > now]
    return Victims(
        delete=tuple(empty),
        retire=tuple((pod, known[pod.uid].address) for pod in retire),
        wait_until=min(again, default=None),
    )


def _registered(pods: Sequence[Pod], survey: Survey) -> dict[str, Registration]:
    """The registrations by Pod uid. By name, or by address where the user named the worker otherwise."""
    by_name = {worker.name: worker for worker in survey.workers}
    by_host = {_host(worker.address): worker for worker in survey.workers}
    found = ((pod, by_name.get(pod.name) or (by_host.get(pod.ip) if pod.ip else None)) for pod in pods)
    return {pod.uid: worker for pod, worker in found if worker}


def _burden(worker: Registration, pod: Pod) -> tuple[bool, int, int, float, str]:
    return worker.tasks > 0, worker.nbytes, worker.tasks, -pod.created, pod.name


def _starting(pod: Pod, now: float) -> bool:
    """Whether a worker runs that may register, and get data, at any moment."""
    return not _pending(pod) and now < pod.started + _STARTING_LASTS


def _pending(pod: Pod) -> bool:
    return pod.phase != "Running"


def _pending_then_newest(pod: Pod) -> tuple[bool, bool, float, str]:
    return not _pending(pod), pod.problem is None, -pod.created, pod.name


def _host(address: str) -> str:
    """The host of a Dask address such as tcp://10.0.0.1:1234 or tls://[fd00::1]:1234."""
    return address.partition("://")[2].rpartition(":")[0].strip("[]")
