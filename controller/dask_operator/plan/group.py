"""A DaskWorkerGroup: as many workers as it wants, each replaced when it ends, none lost with what it holds."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice

from dask_operator import build
from dask_operator.actions import WORKERS, Action, Ask, Create, Delete, RecordEvent, RequeueAt, Retire
from dask_operator.model import Cluster, Endpoint, Group, ObjectRef, Observed, Pod, Problem, Survey
from dask_operator.names import WORKER
from dask_operator.plan.policy import Policy
from dask_operator.plan.report.status import scheduler_down_since
from dask_operator.plan.view import ENDED, blocked, leaving, live, removed_groups, scheduler_pod, workers
from dask_operator.plan.workers import replacement, rollout, room, victims
from dask_operator.plan.workers.room import Room
from dask_operator.resources import CLUSTER, DEPLOYMENT, GROUP, POD

_ANSWER_LASTS = 5.0
_REGISTRATION = 1.0  # about what a worker takes from its start until its scheduler knows it
_PROVEN = 5.0  # a worker that fails soon would take with it what it was given
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

    @property
    def told_of(self) -> tuple[ObjectRef, str]:
        """The object whose Events tell what becomes of the workers, and its uid."""
        if self.group.uid:
            return ObjectRef(GROUP.kind, self.group.name), self.group.uid
        return ObjectRef(CLUSTER.kind, self.cluster.name), self.cluster.uid


def plan_group(cluster: Cluster, group: Group, observed: Observed, now: float, policy: Policy) -> Iterator[Action]:
    at = _Situation(cluster, group, workers(group, observed), observed, now, policy)
    retired = [pod for pod in at.pods if pod.uid in observed.retired and not pod.deleting]
    yield from _delete(at, retired, "retired: its data has moved to other workers")
    staying = [pod for pod in live(at.pods) if not leaving(pod, observed)]
    new, old = rollout.split(group, staying)
    leaving_old = len(rollout.split(group, [pod for pod in live(at.pods) if leaving(pod, observed)])[1])
    step = rollout.step(group.replicas, new, old, room=_room(at, new), leaving=leaving_old)
    ended = [pod for pod in at.pods if pod.phase in ENDED and not pod.deleting and pod.uid not in observed.retired]
    ended, outdated = rollout.split(group, ended)
    yield from _delete(at, outdated, "ended, and its template was edited since")
    if len(staying) <= group.replicas or step.create:
        yield from _grow(at, ended, step.create)
    else:
        yield from _delete(at, ended, "ended, and the group has enough workers")
    if step.old_leave or step.new_leave:
        yield from _shrink(at, new, old, step)


def plan_removed_groups(cluster: Cluster, observed: Observed, now: float, policy: Policy) -> Iterator[Action]:
    """The workers of a group that was removed leave as on any scale-down."""
    for name, pods in removed_groups(cluster, observed).items():
        # Nothing is left where their ordinals could be noted, and no worker is made to which one could be given again.
        gone = Group(cluster.namespace, name, "", 0, replicas=0, last_ordinal=sys.maxsize)
        at = _Situation(cluster, gone, pods, observed, now, policy)
        done = [pod for pod in pods if not pod.deleting and (pod.phase in ENDED or pod.uid in observed.retired)]
        yield from _delete(at, done, "its group was removed")
        staying = [pod for pod in live(pods) if not leaving(pod, observed)]
        if staying:
            yield from _shrink(at, (), staying, rollout.Step(create=0, old_leave=len(staying), new_leave=0))


def _room(at: _Situation, new: Sequence[Pod]) -> Room:
    """What it takes that workers of the current template find a place, in a quota and on the nodes."""
    refused = at.observed.failures.get(ObjectRef(POD.kind, at.group.name))
    problems = [pod.problem for pod in new if pod.problem]
    return room.needed([*problems, refused.problem] if refused else problems)


def _grow(at: _Situation, ended: Sequence[Pod], missing: int) -> Iterator[Action]:
    waiting = [pod for pod in ended if at.now < replacement.due(pod)][:missing]
    if waiting:
        yield RequeueAt(min(map(replacement.due, waiting)), because="workers that failed soon after their start")
    kept = {pod.uid for pod in waiting}
    others = [pod for pod in ended if pod.uid not in kept]
    places = missing - len(waiting)
    number, pause = _allowance(at, places)
    if pause:
        yield pause
    # One goes only when its successor may come, which takes along how often it has failed.
    going = others[: max(len(others) - places, 0) + number]
    for (reason, message), pods in _by_reason(going).items():
        yield from _delete(at, pods, f"ended ({reason})", message)
    yield from _create(at, number, replacement.next_attempt(going))


def _allowance(at: _Situation, number: int) -> tuple[int, RequeueAt | None]:
    """How many of a number of workers may be created now, and when to ask again if none may."""
    subject = ObjectRef(POD.kind, at.group.name)
    # The scheduler comes first: workers could use up the quota that it needs, and wait for it for ever.
    if not number or not scheduler_pod(at.observed):
        return 0, None
    if failure := blocked(subject, at.observed, at.now):
        return 0, RequeueAt(failure.until, because=failure.problem.message, holds=subject)
    if at.policy.batch_delay and (pause := _pause_ends(at)) > at.now:
        return 0, RequeueAt(pause, because="the pause between batches of workers")
    # After a refusal one worker tries whether the reason is gone.
    return (1 if subject in at.observed.failures else min(number, at.policy.batch_size)), None


def _create(at: _Situation, number: int, attempt: int) -> Iterator[Action]:
    for manifest in build.workers(at.cluster, at.group, islice(_free_ordinals(at), number), attempt):
        because = f"the group wants {at.group.replicas} workers"
        yield Create(manifest, ObjectRef(POD.kind, at.group.name), because)


def _by_reason(pods: Sequence[Pod]) -> dict[Problem, list[Pod]]:
    reasons: dict[Problem, list[Pod]] = {}
    for pod in pods:
        reasons.setdefault(pod.problem or Problem(pod.phase, ""), []).append(pod)
    return reasons


def _free_ordinals(at: _Situation) -> Iterator[int]:
    # Never one that was given before: a scheduler that has not noticed a worker's death refuses another of its name.
    used = {pod.ordinal for pod in at.pods}
    return (ordinal for ordinal in count(at.group.last_ordinal + 1) if ordinal not in used)


def _pause_ends(at: _Situation) -> float:
    return max((pod.created for pod in at.pods), default=0.0) + at.policy.batch_delay


def _shrink(at: _Situation, new: Sequence[Pod], old: Sequence[Pod], step: rollout.Step) -> Iterator[Action]:
    scheduler, observed = scheduler_pod(at.observed), at.observed
    if not scheduler or scheduler.phase != "Running":
        yield from _shrink_without_scheduler(at, ((old, step.old_leave), (new, step.new_leave)))
        return
    if WORKERS in observed.asking or any(pod.uid in observed.retiring for pod in at.pods):
        return
    survey, endpoint = observed.survey, build.scheduler_endpoint(at.cluster, observed.service, scheduler)
    if not survey or not survey.at <= at.now < survey.at + _ANSWER_LASTS:
        yield _ask(at, endpoint, f"{step.old_leave + step.new_leave} workers of {at.group.name} are to go")
    elif survey.problem:
        yield RequeueAt(survey.at + _ANSWER_LASTS, because=survey.problem.message)
    else:
        yield from _shrink_by(at, endpoint, new, old, survey)


def _shrink_by(
    at: _Situation, endpoint: Endpoint, new: Sequence[Pod], old: Sequence[Pod], survey: Survey
) -> Iterator[Action]:
    everyone = live(at.observed.pods)
    known = victims.registered(everyone, survey)
    if victims.unmatched(everyone, survey):
        # One that runs may be a worker that the scheduler knows by another name, and works.
        known |= {pod.uid: [] for pod in everyone if pod.phase == "Running" and pod.uid not in known}
    working = {pod.uid for pod in (*new, *old) if pod.uid in known and _is_proven(at, pod, old)}
    step = rollout.step(at.group.replicas, new, old, room=_room(at, new), working=working)
    leavers = [(pods, number) for pods, number in ((old, step.old_leave), (new, step.new_leave)) if number]
    if leavers:
        refused = at.observed.refused
        chosen = [victims.choose(number, pods, survey, refused, at.now, everyone) for pods, number in leavers]
        yield from _let_go(at, endpoint, victims.together(chosen))
    elif at.now < survey.at + _REGISTRATION:
        yield RequeueAt(survey.at + _REGISTRATION, because="new workers that have not shown yet that they work")
    else:
        yield _ask(at, endpoint, "whether the new workers are there")


def _is_proven(at: _Situation, pod: Pod, old: Sequence[Pod]) -> bool:
    """Whether a worker may be given what an old one holds."""
    return pod in old or at.now >= pod.started + _PROVEN


def _ask(at: _Situation, endpoint: Endpoint, because: str) -> Ask:
    return Ask(WORKERS, endpoint, because, pods=_running_workers(at))


def _running_workers(at: _Situation) -> int:
    """How many Pods an answer may be about: those that anyone makes by their labels alone are none of the cluster's."""
    owners = {at.cluster.uid, *(group.uid for group in at.observed.groups)}
    workers = (pod for pod in at.observed.pods if pod.component == WORKER and pod.phase == "Running")
    return sum(not owners.isdisjoint(pod.owners) for pod in workers)


def _shrink_without_scheduler(at: _Situation, leavers: Sequence[tuple[Sequence[Pod], int]]) -> Iterator[Action]:
    gone_at = scheduler_down_since(at.cluster, at.observed, at.now) + _SCHEDULER_GONE_AFTER
    gone = at.now >= gone_at
    chosen = victims.together([victims.without_scheduler(number, pods, gone) for pods, number in leavers])
    yield from _delete(at, chosen.delete, "surplus, and no scheduler runs", unchanged=not gone)
    if len(chosen.delete) < sum(number for _, number in leavers):
        yield RequeueAt(gone_at, because="its workers may hold data for a scheduler that returns")


def _let_go(at: _Situation, endpoint: Endpoint, chosen: victims.Victims) -> Iterator[Action]:
    yield from _delete(at, chosen.delete, "surplus, and holds no data", unchanged=True)
    if chosen.retire:
        retiring = tuple((pod.uid, address) for pod, address in chosen.retire)
        because = f"the group wants {at.group.replicas} workers of its current template"
        yield Retire(endpoint, retiring, because)
    elif chosen.wait_until is not None:
        yield RequeueAt(chosen.wait_until, because="workers that are starting, or that the scheduler would not retire")


def _delete(
    at: _Situation, pods: Sequence[Pod], because: str, detail: str = "", *, unchanged: bool = False
) -> Iterator[Action]:
    """Deletes workers and says so in one Event, with a detail that is for no log.

    `unchanged`: only as they were seen, without having started since.
    """
    subject = ObjectRef(POD.kind, at.group.name)
    if pods and (failure := blocked(subject, at.observed, at.now)):
        yield RequeueAt(failure.until, because=failure.problem.message, holds=subject)
        return
    # Until its ordinal is noted in the status, a worker that is gone could not be told from one that never was.
    noted = [pod for pod in pods if pod.ordinal <= at.group.last_ordinal]
    for pod in noted:
        about = ObjectRef(DEPLOYMENT.kind, pod.deployment) if pod.deployment else subject
        yield Delete(pod.name, pod.uid, about, because, pod.resource_version if unchanged else None)
    if noted:
        listed = ", ".join(pod.name for pod in noted[:_NAMED_IN_EVENT])
        more = f" and {len(noted) - _NAMED_IN_EVENT} more" if len(noted) > _NAMED_IN_EVENT else ""
        yield RecordEvent(
            *at.told_of, "Normal", "WorkersDeleted", f"{listed}{more}: {because}{detail and f': {detail}'}"
        )
