"""A DaskWorkerGroup: keeps the number of workers that it wants, replaces each that ends, and loses no result.

Growing comes first: ended workers are replaced and missing ones are created, at most `Policy.batch_size` per plan.
Surplus workers leave in three steps, each in a plan of its own: ask the scheduler which workers it knows, tell it to
retire the ones that `victims` chooses, and delete each when its tasks have ended and its data has moved. A group that
wants more workers again takes back those that have not gone yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count, islice

from dask_operator import manifests, names
from dask_operator.actions import WORKERS, Action, Ask, Create, Delete, RecordEvent, RequeueAt, Retire
from dask_operator.model import Endpoint, ObjectRef, Pod, Problem, Survey
from dask_operator.plan.report.status import scheduler_down_since
from dask_operator.plan.view import ENDED, View, Workers, blocked
from dask_operator.plan.workers import replacement, rollout, room, victims
from dask_operator.plan.workers.resume import plan_resume, plan_resume_of_unasked, resumable, returning
from dask_operator.plan.workers.room import Room
from dask_operator.resources import CLUSTER, DEPLOYMENT, GROUP, POD

_ANSWER_LASTS = 5.0
_REGISTRATION = 1.0  # about the time from a worker's start until its scheduler knows it
_PROVEN = 5.0  # a worker that fails soon after its start would lose the data that it was given
_SCHEDULER_GONE_AFTER = 60.0
_NAMED_IN_EVENT = 10


def plan_group(view: View, workers: Workers, now: float) -> Iterator[Action]:
    """Bring one group closer to the workers that it wants."""
    group = workers.group
    yield from _delete_retired(view, workers, now)
    step = rollout.step(
        group.replicas, workers.new, workers.old, room=_room(view, workers, now), leaving=workers.old_leaving
    )
    missing = max(step.create - returning(view, workers), 0)
    back = resumable(view, workers)[:missing]
    yield from plan_resume(view, workers, back)
    step = step._replace(create=missing - len(back))
    ended, outdated = rollout.split(group, workers.ended)
    yield from delete_workers(view, workers, outdated, now, "ended, and its template was edited since")
    if len(workers.staying) <= group.replicas or step.create:
        yield from _grow(view, workers, ended, step.create, now)
    else:
        yield from delete_workers(view, workers, ended, now, "ended, and the group has enough workers")
    survey = view.observed.survey
    if step.old_leave or step.new_leave:
        yield from _shrink(view, workers, step, now)
    elif survey and not survey.problem and _is_fresh(survey, now):
        yield from plan_resume_of_unasked(view, workers, survey)


def plan_removed_groups(view: View, now: float) -> Iterator[Action]:
    """Let the workers of removed groups leave as on any scale-down."""
    for workers in view.removed.values():
        yield from _delete_retired(view, workers, now, ", as its group was removed")
        yield from delete_workers(view, workers, workers.ended, now, "ended, and its group was removed")
        if workers.old:
            yield from _shrink(view, workers, rollout.Step(create=0, old_leave=len(workers.old), new_leave=0), now)


def _delete_retired(view: View, workers: Workers, now: float, why: str = "") -> Iterator[Action]:
    overdue = [pod for pod in workers.retired if pod.uid in view.observed.overdue]
    others = [pod for pod in workers.retired if pod.uid not in view.observed.overdue]
    yield from delete_workers(view, workers, others, now, f"retired: its data has moved to other workers{why}")
    because = "its drain time ended: its data has moved, and other workers compute again what it ran"
    yield from delete_workers(view, workers, overdue, now, because + why)


def _is_fresh(survey: Survey, now: float) -> bool:
    return survey.at <= now < survey.at + _ANSWER_LASTS


def _pods_of(workers: Workers) -> ObjectRef:
    return ObjectRef(POD.kind, names.workers(workers.group.name))


def _room(view: View, workers: Workers, now: float) -> Room:
    """Return what has to happen before workers of the current template fit into a quota and on the nodes."""
    if not workers.old:
        return Room.ENOUGH
    if workers.group.admitted is not None and _present(workers) >= workers.group.admitted:
        return Room.ANY
    refused = view.observed.failures.get(_pods_of(workers))
    stuck = [pod for pod in workers.new if pod.gated or pod.problem_at(now)]
    # No worker that leaves a cordoned node makes room on another.
    on_nodes = [] if len(workers.old) == workers.displaced else [pod.problem for pod in stuck if pod.problem]
    in_nodes = room.needed(on_nodes + ([refused.problem] if refused else []))
    in_queue = Room.ONE_OF_SEVERAL if any(pod.gated for pod in stuck) else Room.ENOUGH
    return max(in_nodes, in_queue, room.on_volumes(stuck, workers.staying, workers.old))


def _present(workers: Workers) -> int:
    """Return how many Pods of a group take a part of what its queue has admitted."""
    return sum(pod.phase not in ENDED for pod in workers.pods)


def _grow(view: View, workers: Workers, ended: Sequence[Pod], missing: int, now: float) -> Iterator[Action]:
    waiting = [pod for pod in ended if now < replacement.due(pod, now)][:missing]
    if waiting:
        yield RequeueAt(
            min(replacement.due(pod, now) for pod in waiting), because="workers that failed soon after their start"
        )
    kept = {pod.uid for pod in waiting}
    others = [pod for pod in ended if pod.uid not in kept]
    places = missing - len(waiting)
    number, pause = _allowance(view, workers, places, now)
    if pause:
        yield pause
    # An ended worker is deleted only when its successor may be created, which takes over its count of failures.
    going = others[: max(len(others) - places, 0) + number]
    for (reason, message), pods in _by_reason(going).items():
        yield from delete_workers(view, workers, pods, now, f"ended ({reason})", message)
    for manifest in manifests.worker_manifests(
        view.cluster,
        workers.group,
        islice(_free_ordinals(workers), number),
        replacement.next_attempt(going),
        view.service,
    ):
        yield Create(manifest, _pods_of(workers), f"the group wants {workers.group.replicas} workers")


def _allowance(view: View, workers: Workers, number: int, now: float) -> tuple[int, RequeueAt | None]:
    """Return how many of a number of workers may be created now, and when to plan again if none may."""
    # The scheduler comes first: workers could use up the quota that it needs, and would wait for it for ever.
    if not number or not view.scheduler:
        return 0, None
    ref, policy = _pods_of(workers), view.policy
    if failure := blocked(ref, view.observed, now):
        return 0, RequeueAt(failure.until, because=failure.problem.message, holds=ref)
    if policy.batch_delay and (pause := _last_created(workers) + policy.batch_delay) > now:
        return 0, RequeueAt(pause, because="the pause between batches of workers")
    if workers.group.admitted is not None:
        number = min(number, max(workers.group.admitted - _present(workers), 0))
    if not number:
        return 0, None
    # After a refusal one worker tries whether the cause is gone.
    return (1 if ref in view.observed.failures else min(number, policy.batch_size)), None


def _by_reason(pods: Sequence[Pod]) -> dict[Problem, list[Pod]]:
    reasons: dict[Problem, list[Pod]] = {}
    for pod in pods:
        reasons.setdefault(pod.problem or Problem(pod.phase, ""), []).append(pod)
    return reasons


def _free_ordinals(workers: Workers) -> Iterator[int]:
    # Never an ordinal a second time: a scheduler that has not noticed a worker's death refuses another of its name.
    used = workers.ordinals
    return (ordinal for ordinal in count(workers.group.last_ordinal + 1) if ordinal not in used)


def _last_created(workers: Workers) -> float:
    return max((pod.created for pod in workers.pods), default=0.0)


def _shrink(view: View, workers: Workers, step: rollout.Step, now: float) -> Iterator[Action]:
    scheduler, observed = view.scheduler, view.observed
    if not scheduler or scheduler.phase != "Running" or _keeps_crashing(scheduler):
        yield from _shrink_without_scheduler(view, workers, step, now)
        return
    if WORKERS in observed.asking:
        return
    survey, endpoint = observed.survey, manifests.scheduler_endpoint(view.cluster, observed.service, scheduler)
    if not survey or not _is_fresh(survey, now):
        leavers = step.old_leave + step.new_leave
        yield _ask(view, endpoint, f"{leavers} workers of {workers.group.name} are to leave")
    elif survey.problem:
        yield from _delete_pending(view, workers, step, now, "surplus, and has never started")
        yield RequeueAt(survey.at + _ANSWER_LASTS, because=survey.problem.message)
    else:
        yield from _shrink_by(view, workers, endpoint, survey, now)


def _keeps_crashing(scheduler: Pod) -> bool:
    # Each crash makes it forget all results, as if it were gone.
    return not scheduler.ready and scheduler.problem is not None and scheduler.problem.reason == "CrashLoopBackOff"


def _shrink_by(view: View, workers: Workers, endpoint: Endpoint, survey: Survey, now: float) -> Iterator[Action]:
    """Let surplus workers leave by the scheduler's answer."""
    everyone, old, new = view.live, workers.old, workers.new
    known = victims.registered(everyone, survey)
    if victims.unmatched(everyone, survey):
        # A running Pod may be a worker that the scheduler knows by another name.
        known |= {pod.uid: [] for pod in everyone if pod.phase == "Running" and pod.uid not in known}
    # A new worker counts as working only after a while, because it gets the data of the old ones.
    working = {pod.uid for pod in old if pod.uid in known}
    working |= {pod.uid for pod in new if pod.uid in known and now >= pod.started + _PROVEN}
    step = rollout.step(workers.group.replicas, new, old, room=_room(view, workers, now), working=working)
    leavers = [(pods, number) for pods, number in ((old, step.old_leave), (new, step.new_leave)) if number]
    if leavers:
        refused, leaving = view.observed.refused, view.observed.retiring
        chosen = [victims.choose(number, pods, survey, refused, now, everyone, leaving) for pods, number in leavers]
        yield from _let_go(view, workers, endpoint, survey, victims.together(chosen), now)
    elif now < survey.at + _REGISTRATION:
        yield RequeueAt(survey.at + _REGISTRATION, because="new workers that have not registered yet")
    else:
        yield _ask(view, endpoint, "whether the new workers have registered")


def _ask(view: View, endpoint: Endpoint, because: str) -> Ask:
    return Ask(WORKERS, endpoint, because, pods=view.running_workers)


def _shrink_without_scheduler(view: View, workers: Workers, step: rollout.Step, now: float) -> Iterator[Action]:
    gone_at = scheduler_down_since(view.cluster, view.observed, now) + _SCHEDULER_GONE_AFTER
    if now < gone_at:
        yield from _delete_pending(view, workers, step, now, "surplus, and no scheduler runs")
        yield RequeueAt(gone_at, because="its workers may hold data for a scheduler that comes back")
        return
    chosen = _without_scheduler(workers, step, gone=True)
    yield from delete_workers(view, workers, chosen, now, "surplus, and no scheduler runs")


def _delete_pending(view: View, workers: Workers, step: rollout.Step, now: float, because: str) -> Iterator[Action]:
    """Delete those surplus workers that have never started, for which no answer of a scheduler is needed."""
    yield from delete_workers(
        view, workers, _without_scheduler(workers, step, gone=False), now, because, unchanged=True
    )


def _without_scheduler(workers: Workers, step: rollout.Step, *, gone: bool) -> Sequence[Pod]:
    leavers = ((workers.old, step.old_leave), (workers.new, step.new_leave))
    return victims.together([victims.without_scheduler(number, pods, gone) for pods, number in leavers]).delete


def _let_go(
    view: View, workers: Workers, endpoint: Endpoint, survey: Survey, chosen: victims.Victims, now: float
) -> Iterator[Action]:
    if now > survey.at + _REGISTRATION and any(pod.phase == "Running" for pod in chosen.delete):
        yield _ask(view, endpoint, "whether workers that it did not know have registered since")
        return
    yield from delete_workers(view, workers, chosen.delete, now, "surplus, and holds no data", unchanged=True)
    if chosen.retire:
        retiring = tuple((pod.uid, address) for pod, address in chosen.retire)
        seconds = workers.group.drain_timeout if survey.agent else None
        because = f"the group wants {workers.group.replicas} workers of its current template"
        yield Retire(endpoint, retiring, because, seconds)
    elif chosen.wait_until is not None:
        yield RequeueAt(chosen.wait_until, because="workers that are starting, or that the scheduler did not retire")


def delete_workers(
    view: View,
    workers: Workers,
    pods: Sequence[Pod],
    now: float,
    because: str,
    detail: str = "",
    *,
    unchanged: bool = False,
    grace: int | None = None,
) -> Iterator[Action]:
    """Delete workers, and say so in one Event.

    `detail`: a text for the Event that the log does not get; `unchanged`: delete them only in the state in which they
    were seen, so that none has started since; `grace`: as of Delete.
    """
    ref, group = _pods_of(workers), workers.group
    if pods and (failure := blocked(ref, view.observed, now)):
        yield RequeueAt(failure.until, because=failure.problem.message, holds=ref)
        return
    # Without its ordinal in the status, a deleted worker could not be told from one that never existed.
    noted = [pod for pod in pods if pod.ordinal <= group.last_ordinal]
    for pod in noted:
        about = ObjectRef(DEPLOYMENT.kind, pod.deployment) if pod.deployment else ref
        yield Delete(pod.name, pod.uid, about, because, pod.resource_version if unchanged else None, grace)
    if noted:
        listed = ", ".join(pod.name for pod in noted[:_NAMED_IN_EVENT])
        more = f" and {len(noted) - _NAMED_IN_EVENT} more" if len(noted) > _NAMED_IN_EVENT else ""
        message = f"{listed}{more}: {because}{detail and f': {detail}'}"
        yield RecordEvent(*_told_of(view, workers), "Normal", "WorkersDeleted", message)


def _told_of(view: View, workers: Workers) -> tuple[ObjectRef, str]:
    """Return the object whose Events tell about the workers, and its uid: the cluster if the group does not exist."""
    if workers.group.uid:
        return ObjectRef(GROUP.kind, workers.group.name), workers.group.uid
    return ObjectRef(CLUSTER.kind, view.cluster.name), view.cluster.uid
