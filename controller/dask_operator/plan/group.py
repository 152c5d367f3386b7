"""A DaskWorkerGroup: as many workers as it wants, each replaced when it ends, none lost with what it holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice

from dask_operator import build
from dask_operator.actions import GROUP, POD, Action, Ask, Create, Delete, Emit, Retire, Wake
from dask_operator.model import Cluster, Group, Observed, Pod, Service, Subject
from dask_operator.plan import replacement, victims
from dask_operator.plan.policy import Policy
from dask_operator.plan.status import scheduler_down_since
from dask_operator.plan.view import ENDED, blocked, leaving, live, scheduler_pod, workers

_ANSWER_LASTS = 5.0
_SCHEDULER_GONE_AFTER = 60.0
_NAMED_IN_EVENT = 10


@dataclass(frozen=True, slots=True)
class _Situation:
    """One group at one moment. `pods`: its workers in any state."""

    cluster: Cluster
    group: Group
    pods: Sequence[Pod]
    observed: Observed
    now: float
    policy: Policy


def plan_group(cluster: Cluster, group: Group, observed: Observed, now: float, policy: Policy) -> Iterator[Action]:
    at = _Situation(cluster, group, workers(group, observed), observed, now, policy)
    retired = [pod for pod in at.pods if pod.uid in observed.retired and not pod.deleting]
    yield from _delete(at, retired, "retired: its data has moved to other workers")
    staying = [pod for pod in live(at.pods) if not leaving(pod, observed)]
    ended = [pod for pod in at.pods if pod.phase in ENDED and not pod.deleting and pod.uid not in observed.retired]
    missing = group.replicas - len(staying)
    if missing >= 0:
        yield from _grow(at, ended, missing)
        return
    yield from _delete(at, ended, "ended, and the group has enough workers")
    yield from _shrink(at, staying, -missing)


def _grow(at: _Situation, ended: Sequence[Pod], missing: int) -> Iterator[Action]:
    waiting = [pod for pod in ended if at.now < replacement.due(pod)][:missing]
    if waiting:
        yield Wake(min(map(replacement.due, waiting)), because="workers that failed soon after their start")
    kept = {pod.uid for pod in waiting}
    others = [pod for pod in ended if pod.uid not in kept]
    places = missing - len(waiting)
    number, pause = _allowance(at, places)
    if pause:
        yield pause
    # One goes only when its successor may come, which takes along how often it has failed.
    going = others[: max(len(others) - places, 0) + number]
    for reason, pods in _by_reason(going).items():
        yield from _delete(at, pods, f"ended ({reason})")
    yield from _create(at, number, replacement.next_attempt(going))


def _allowance(at: _Situation, number: int) -> tuple[int, Wake | None]:
    """How many of a number of workers may be created now, and when to ask again if none may."""
    subject = Subject(POD.kind, at.group.name)
    if not number:
        return 0, None
    if failure := blocked(subject, at.observed, at.now):
        return 0, Wake(failure.until, because=failure.problem.message)
    if at.policy.batch_delay and (pause := _pause_ends(at)) > at.now:
        return 0, Wake(pause, because="the pause between batches of workers")
    # After a refusal one worker tries whether the reason is gone.
    return (1 if subject in at.observed.failures else min(number, at.policy.batch_size)), None


def _create(at: _Situation, number: int, attempt: int) -> Iterator[Action]:
    for manifest in build.workers(at.cluster, at.group, islice(_free_ordinals(at), number), attempt):
        because = f"the group wants {at.group.replicas} workers"
        yield Create(manifest, Subject(POD.kind, at.group.name), because)


def _by_reason(pods: Sequence[Pod]) -> dict[str, list[Pod]]:
    reasons: dict[str, list[Pod]] = {}
    for pod in pods:
        reason = f"{pod.problem.reason}: {pod.problem.message}" if pod.problem else pod.phase
        reasons.setdefault(reason, []).append(pod)
    return reasons


def _free_ordinals(at: _Situation) -> Iterator[int]:
    # Never one that was given before: a scheduler that has not noticed a worker's death refuses another of its name.
    used = {pod.ordinal for pod in at.pods}
    return (ordinal for ordinal in count(at.group.last_ordinal + 1) if ordinal not in used)


def _pause_ends(at: _Situation) -> float:
    return max((pod.created for pod in at.pods), default=0.0) + at.policy.batch_delay


def _shrink(at: _Situation, staying: Sequence[Pod], surplus: int) -> Iterator[Action]:
    scheduler, observed = scheduler_pod(at.observed), at.observed
    if not scheduler or scheduler.phase != "Running":
        yield from _shrink_without_scheduler(at, staying, surplus)
        return
    if observed.asking or observed.retiring:
        return
    url, survey = _scheduler_url(at.cluster, observed.service), observed.survey
    if not survey or at.now >= survey.at + _ANSWER_LASTS:
        yield Ask(url, because=f"{surplus} of {len(staying)} workers of {at.group.name} are to go")
    elif survey.problem:
        yield Wake(survey.at + _ANSWER_LASTS, because=survey.problem.message)
    else:
        yield from _let_go(
            at, victims.choose(surplus, staying, survey, observed.refused, at.now, live(observed.pods)), url
        )


def _shrink_without_scheduler(at: _Situation, staying: Sequence[Pod], surplus: int) -> Iterator[Action]:
    gone_at = scheduler_down_since(at.cluster, at.now) + _SCHEDULER_GONE_AFTER
    gone = at.now >= gone_at
    chosen = victims.without_scheduler(surplus, staying, gone)
    yield from _delete(at, chosen.delete, "surplus, and no scheduler runs", unchanged=not gone)
    if len(chosen.delete) < surplus:
        yield Wake(gone_at, because="its workers may hold data for a scheduler that returns")


def _let_go(at: _Situation, chosen: victims.Victims, url: str) -> Iterator[Action]:
    yield from _delete(at, chosen.delete, "surplus, and holds no data", unchanged=True)
    if chosen.retire:
        retiring = tuple((pod.uid, address) for pod, address in chosen.retire)
        yield Retire(url, retiring, because=f"the group wants {at.group.replicas} workers")
    elif chosen.wait_until is not None:
        yield Wake(chosen.wait_until, because="workers that are starting, or that the scheduler would not retire")


def _delete(at: _Situation, pods: Sequence[Pod], because: str, *, unchanged: bool = False) -> Iterator[Action]:
    """Deletes workers and says so in one Event. `unchanged`: only as they were seen, without having started since."""
    subject = Subject(POD.kind, at.group.name)
    if pods and (failure := blocked(subject, at.observed, at.now)):
        yield Wake(failure.until, because=failure.problem.message)
        return
    # Until its ordinal is noted in the status, a worker that is gone could not be told from one that never was.
    noted = [pod for pod in pods if pod.ordinal <= at.group.last_ordinal]
    for pod in noted:
        yield Delete(pod.name, pod.uid, subject, because, pod.resource_version if unchanged else None)
    if noted:
        listed = ", ".join(pod.name for pod in noted[:_NAMED_IN_EVENT])
        more = f" and {len(noted) - _NAMED_IN_EVENT} more" if len(noted) > _NAMED_IN_EVENT else ""
        message = f"{listed}{more}: {because}"
        yield Emit(Subject(GROUP.kind, at.group.name), at.group.uid, "Normal", "WorkersDeleted", message)


def _scheduler_url(cluster: Cluster, service: Service | None) -> str:
    """Where the scheduler's HTTP server answers: the Service's address, or its name where it has none of its own."""
    has_address = service and service.cluster_ip not in ("", "None")
    host = service.cluster_ip if service and has_address else build.scheduler_host(cluster)
    port = build.dashboard_port(service.ports if service else {})
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
