"""The choice of workers that leave when a group has too many.

No result is lost: a worker that may hold data leaves only after its scheduler has moved that data. A worker certainly
holds none in three cases only: it never started, its scheduler does not know it, or no scheduler is left that could
give the data to anybody. While the scheduler lists workers that belong to no Pod, every Pod that has started may be one
of them. All candidates belong to the group.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass

from dask_operator import names
from dask_operator.model import Pod, Registration, Survey
from dask_operator.parse import may_have_passed

REFUSAL_LASTS = 30.0
_STARTING_LASTS = 60.0


@dataclass(frozen=True, slots=True)
class Victims:
    """The choice. `delete`: workers that hold nothing; `retire`: workers that may hold data, each with a Dask address;
    `wait_until`: when to choose again, None if not needed.
    """

    delete: tuple[Pod, ...] = ()
    retire: tuple[tuple[Pod, str], ...] = ()
    wait_until: float | None = None


def together(parts: Sequence[Victims]) -> Victims:
    """Return several choices as one."""
    return Victims(
        delete=tuple(pod for part in parts for pod in part.delete),
        retire=tuple(pair for part in parts for pair in part.retire),
        wait_until=min((part.wait_until for part in parts if part.wait_until is not None), default=None),
    )


def without_scheduler(surplus: int, pods: Sequence[Pod], gone: bool) -> Victims:
    """Choose while no scheduler runs: workers that have not started, or any once the scheduler is `gone` for good."""
    idle = [pod for pod in pods if gone or _pending(pod)]
    return Victims(delete=tuple(sorted(idle, key=_pending_then_newest)[:surplus]))


def choose(
    surplus: int,
    pods: Sequence[Pod],
    survey: Survey,
    refused: Mapping[str, float],
    now: float,
    everyone: Sequence[Pod] = (),
    leaving: Container[str] = (),
) -> Victims:
    """Choose while a scheduler runs, by its answer: unknown workers first, then idle ones that hold least.

    `everyone`: all Pods of the cluster, because the scheduler's workers may be other Pods than the candidates.
    `refused`: when the scheduler last refused to retire a worker, by uid. `leaving`: the uids of those that it retires
    now, which take no data.

    With a surplus of 2, a candidate is treated like this:

    ==================================  ======================================================
    candidate                           becomes
    ==================================  ======================================================
    Pending, no container started yet   deleted first
    running, unknown for a minute       deleted, unless a registration belongs to no Pod
    running, started less than 60 s ago neither; counts as leaving, and `wait_until` is in 1 s
    known, drains already               retired next: another controller has chosen it
    known, no tasks, 1 MB               retired after that
    known, no tasks, 9 MB               then
    known, runs tasks for 5 s           then
    known, takes part in a P2P shuffle  retired last, because it stays until the shuffle ends
    known, refused 10 s ago             not retired; `wait_until` is in 20 s
    ==================================  ======================================================

    The last worker that the scheduler knows is never retired together with all others: it takes their data.
    """
    known = registered(everyone or pods, survey)
    doubtful = bool(unmatched(everyone or pods, survey))
    strangers = [pod for pod in pods if pod.uid not in known]
    settled = [pod for pod in strangers if not _starting(pod, now)]
    empty = sorted((pod for pod in settled if _pending(pod) or not doubtful), key=_pending_then_newest)[:surplus]
    surplus -= len(empty)
    soon = [pod for pod in strangers if _starting(pod, now)][:surplus]
    willing = [pod for pod in pods if pod.uid in known and now >= refused.get(pod.uid, 0.0) + REFUSAL_LASTS]
    willing.sort(key=lambda pod: _burden(known[pod.uid], pod))
    taking = {uid: workers for uid, workers in known.items() if uid not in leaving}
    retire = _but_the_last(willing[: surplus - len(soon)], taking)
    again = [now + 1.0] if soon else []
    if len(retire) + len(soon) < surplus:
        again += [at + REFUSAL_LASTS for uid, at in refused.items() if uid in known and at + REFUSAL_LASTS > now]
        again += [now + REFUSAL_LASTS] if doubtful else []
    return Victims(
        delete=tuple(empty),
        retire=tuple((pod, worker.address) for pod in retire for worker in known[pod.uid]),
        wait_until=min(again, default=None),
    )


def _but_the_last(retire: Sequence[Pod], known: Mapping[str, Sequence[Registration]]) -> Sequence[Pod]:
    """Leave out the worker that holds most, if no other would be left to take the data."""
    return retire[:-1] if len(retire) > 1 and len(retire) == len(known) else retire


def registered(pods: Sequence[Pod], survey: Survey) -> dict[str, list[Registration]]:
    """Return the registrations by Pod uid; a Pod may run several workers.

    They match by their Pod if the agent tells it, by name, or by address if only one Pod has that address: with
    hostNetwork several have.
    """
    found: dict[str, list[Registration]] = {}
    for pod, worker in _matched(pods, survey):
        if pod:
            found.setdefault(pod.uid, []).append(worker)
    return found


def unmatched(pods: Sequence[Pod], survey: Survey) -> list[Registration]:
    """Return the registrations that may belong to any Pod, because neither name nor address tells which.

    A registration with the name of a deleted Pod is left out: a scheduler notices late that a worker has died.
    """
    return [worker for pod, worker in _matched(pods, survey) if not pod and not _has_name_of_pod(worker)]


def _matched(pods: Sequence[Pod], survey: Survey) -> Iterator[tuple[Pod | None, Registration]]:
    by_name = {pod.name: pod for pod in pods}
    hosts = Counter(pod.ip for pod in pods if pod.ip)
    by_host = {pod.ip: pod for pod in pods if hosts[pod.ip] == 1}
    for worker in survey.workers:
        if worker.pod:
            yield by_name.get(worker.pod), worker
        else:
            yield by_name.get(_base_name(worker.name, by_name)) or by_host.get(_host(worker.address)), worker


def _has_name_of_pod(worker: Registration) -> bool:
    return bool(worker.pod) or names.is_worker(worker.name) or names.is_worker(_base_name(worker.name, ()))


def _base_name(name: str, known: Container[str]) -> str:
    """Return a worker's name without the number that `--nworkers` adds: NAME registers NAME-0 and NAME-1."""
    base, _, number = name.rpartition("-")
    return base if name not in known and number.isdecimal() else name


def _burden(workers: Sequence[Registration], pod: Pod) -> tuple[bool, bool, bool, int, float, int, float, str]:
    tasks, nbytes = sum(worker.tasks for worker in workers), sum(worker.nbytes for worker in workers)
    stays = not all(worker.draining for worker in workers)
    shuffles, seconds = any(worker.shuffles for worker in workers), max(worker.seconds for worker in workers)
    return stays, shuffles, tasks > 0, nbytes, seconds, tasks, -pod.created, pod.name


def _starting(pod: Pod, now: float) -> bool:
    """Return whether a worker runs that may register at any moment, and then get data."""
    started = pod.started if may_have_passed(pod.started, now) else pod.created
    return not _pending(pod) and now < started + _STARTING_LASTS


def _pending(pod: Pod) -> bool:
    return pod.phase != "Running"


def _pending_then_newest(pod: Pod) -> tuple[bool, bool, float, str]:
    return not _pending(pod), pod.problem is None, -pod.created, pod.name


def _host(address: str) -> str:
    """Return the host of a Dask address such as tcp://10.0.0.1:1234 or tls://[fd00::1]:1234."""
    return address.partition("://")[2].rpartition(":")[0].strip("[]")
