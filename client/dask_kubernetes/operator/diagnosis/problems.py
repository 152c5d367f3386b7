"""Reasons that keep a cluster from starting, as sentences for users.

Most reasons come from the status of Pods. Where Pods are missing, they come from the conditions of the DaskCluster and
its groups, if the operator writes conditions.
"""

from __future__ import annotations

from dataclasses import dataclass

from dask_kubernetes.operator.diagnosis import facts
from dask_kubernetes.operator.diagnosis.facts import Json, Snapshot

NOT_TAKEN_UP = "NotTakenUp"
"""The reason of the problem that no operator has acted yet. Every cluster starts with this problem."""
CRASHED = "CrashLoopBackOff"
DELETED = "Deleted"
NOT_FOLLOWED = "NotFollowed"
"""The reason of the problem that the operator has not acted on the last change. Every change starts with it."""
UNSCHEDULABLE = "Unschedulable"

_PULL = "ImagePullBackOff"
_INVALID_IMAGE = "InvalidImageName"
_OUT_OF_MEMORY = "OOMKilled"
# Reasons of waiting containers that do not recover by themselves: the problem's reason, and its description.
_STUCK = {
    _INVALID_IMAGE: (_INVALID_IMAGE, 'has an invalid image name, "{image}"'),
    "ErrImagePull": (_PULL, 'cannot pull image "{image}"'),
    "ImagePullBackOff": (_PULL, 'cannot pull image "{image}"'),
    "ErrImageNeverPull": (_PULL, 'cannot pull image "{image}"'),
    "CreateContainerConfigError": ("CreateContainerConfigError", 'cannot create container "{container}"'),
    "CreateContainerError": ("CreateContainerError", 'cannot create container "{container}"'),
    "RunContainerError": ("RunContainerError", 'cannot start container "{container}"'),
}
# The first of these is reported if workers have different problems; unlisted reasons come last.
_MOST_FUNDAMENTAL = (
    _INVALID_IMAGE,
    _PULL,
    UNSCHEDULABLE,
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    CRASHED,
    _OUT_OF_MEMORY,
)
_LOOK_AT_IT = "see that it runs, and that it watches this namespace"
_ATTEMPT = ": ErrImagePull: "
_LONGEST_QUOTE = 500


@dataclass(frozen=True)
class Problem:
    """A reason that keeps a cluster from starting.

    Parameters
    ----------
    reason
        One word in CamelCase, mostly Kubernetes' own.
    message
        A sentence for the user.
    pod, container
        The crashed container, whose log says more.
    fatal
        Whether waiting cannot help.
    """

    reason: str
    message: str
    pod: str | None = None
    fatal: bool = False
    container: str | None = None


def scheduler_problem(snapshot: Snapshot) -> Problem | None:
    """Return the problem that keeps the scheduler from starting, if any."""
    cluster, pod = facts.mapping(snapshot.cluster), facts.scheduler_pod(snapshot)
    if facts.deleting(cluster):
        return Problem(DELETED, f"DaskCluster {facts.name(cluster)} is being deleted.", fatal=True)
    if facts.suspended(cluster):
        return _suspended(cluster)
    return None if facts.scheduler_ready(snapshot) and snapshot.service else _startup_problem(snapshot, cluster, pod)


def _startup_problem(snapshot: Snapshot, cluster: Json, pod: Json | None) -> Problem | None:
    if facts.phase(cluster) == "Error":
        return _refused(cluster)
    if pod and (problem := pod_problem(pod)):
        return problem
    if not (pod and snapshot.service) and (problem := _degraded(cluster, "DaskCluster")):
        return problem
    return _not_taken_up(cluster) if cluster and not _taken_up(snapshot) else None


def workers_problem(snapshot: Snapshot) -> Problem | None:
    """Return the most fundamental problem that keeps workers from starting, if any."""
    if snapshot.cluster and facts.suspended(snapshot.cluster):
        return _suspended(snapshot.cluster)
    of_pods = [problem for pod in facts.workers(snapshot) if (problem := pod_problem(pod))]
    if of_pods:
        return min(of_pods, key=_fundamental)
    short = [group for group in facts.groups(snapshot) if _is_short(group, snapshot)]
    of_groups = (_degraded(group, "DaskWorkerGroup") for group in short)
    if problem := next(filter(None, of_groups), None):
        return problem
    # With a healthy scheduler, the condition can only be about the workers.
    if not short or not facts.scheduler_ready(snapshot):
        return None
    if problem := _degraded(facts.mapping(snapshot.cluster), "DaskCluster"):
        return problem
    return next((_not_followed(group) for group in short if facts.is_stale(group)), None)


def pod_problem(pod: Json) -> Problem | None:
    """Return the problem of a Pod, if any. A crashing container counts as a problem while it runs again, too."""
    status, name = facts.mapping(pod.get("status")), facts.name(pod)
    if facts.deleting(pod) or facts.ready(pod) or status.get("phase") == "Succeeded":
        return None
    failed = status.get("phase") == "Failed"
    if failed and (reason := facts.text(status.get("reason"))):
        return Problem(reason, _sentence(f"Pod {name} has failed ({reason})", status.get("message")))
    if (why := facts.unschedulable(pod)) is not None:
        return Problem(UNSCHEDULABLE, _sentence(f"Pod {name} cannot be scheduled", why))
    found = next(filter(None, (_container_problem(pod, each) for each in facts.containers(pod))), None)
    return Problem("Failed", f"Pod {name} has failed without a reason.") if failed and not found else found


def _container_problem(pod: Json, container: Json) -> Problem | None:
    waiting = facts.mapping(facts.mapping(container.get("state")).get("waiting"))
    reason = facts.text(waiting.get("reason"))
    if reason in _STUCK:
        return _stuck(pod, container, reason, facts.text(waiting.get("message")))
    if reason == CRASHED:
        # The kubelet also backs off from a container that keeps ending with exit code 0.
        last = facts.mapping(facts.mapping(container.get("lastState")).get("terminated"))
        return _ending(pod, container, last, again=True)
    again = facts.integer(container.get("restartCount")) > 1
    ended = _last_failure(container, again=again)
    return _ending(pod, container, ended, again=again) if ended else None


def _stuck(pod: Json, container: Json, reason: str, why: str) -> Problem:
    name, wrong = _STUCK[reason]
    said = wrong.format(image=facts.image(pod, container), container=facts.text(container.get("name")))
    # Between two attempts, the kubelet's message is a note on its back-off, followed by the error.
    message = _sentence(f"Pod {facts.name(pod)} {said}", why.rpartition(_ATTEMPT)[2])
    return Problem(name, message, fatal=name == _INVALID_IMAGE)


def _last_failure(container: Json, *, again: bool) -> Json:
    """Return the `terminated` state of the container's last failure, empty if the container may be healthy now.

    A running container counts as healthy, unless it has failed `again`.
    """
    state, last = facts.mapping(container.get("state")), facts.mapping(container.get("lastState"))
    if state.get("terminated"):
        return facts.failed(state)
    return facts.failed(last) if again or state.get("waiting") else {}


def _ending(pod: Json, container: Json, ended: Json, *, again: bool) -> Problem:
    name, reason = facts.text(container.get("name")), facts.text(ended.get("reason"))
    where = f'Pod {facts.name(pod)}: container "{name}"'
    if reason == _OUT_OF_MEMORY:
        limit = facts.memory_limit(pod, container)
        more = f"more memory than its limit of {limit}" if limit else "more memory than the node has"
        return Problem(reason, f"{where} was killed because it used {more} ({reason}).")
    how = "keeps ending" if again else "has ended"
    code = f" with exit code {ended.get('exitCode')} ({reason or 'Error'})" if ended else ""
    message = _sentence(f"{where} {how}{code}", ended.get("message"))
    return Problem(CRASHED if again else reason or "Error", message, facts.name(pod), container=name or None)


def _suspended(cluster: Json) -> Problem:
    name = facts.name(cluster)
    if facts.mapping(cluster.get("spec")).get("suspend") is not True:
        said = facts.condition(cluster, "Suspended")
        if said.get("reason") == "Queued":
            why = f"{said.get('message')}. A greater resource_timeout lets Python wait for longer"
            return Problem("Queued", f"DaskCluster {name} has no Pods yet: {why}.")
        return Problem("Suspended", f"DaskCluster {name} was resumed, and its Pods from before have not ended yet.")
    command = f"""kubectl patch daskcluster {name} --type merge --patch '{{"spec": {{"suspend": false}}}}'"""
    message = f"DaskCluster {name} is suspended and has no Pods. Start it anew with resume(), or with: {command}"
    return Problem("Suspended", message, fatal=True)


def _refused(cluster: Json) -> Problem:
    if said := _degraded(cluster, "DaskCluster"):
        return Problem(said.reason, said.message, fatal=True)
    # Operators without conditions reject only names.
    advice = "its name is not valid; choose a shorter one of lower-case letters, digits and '-'"
    return Problem("Error", f"The operator rejected DaskCluster {facts.name(cluster)}: {advice}.", fatal=True)


def _degraded(obj: Json, kind: str) -> Problem | None:
    condition = facts.condition(obj, "Degraded")
    if condition.get("status") != "True":
        return None
    reason = facts.text(condition.get("reason")) or "Degraded"
    return Problem(reason, _sentence(f"{kind} {facts.name(obj)} ({reason})", condition.get("message")))


def _not_taken_up(cluster: Json) -> Problem:
    return Problem(NOT_TAKEN_UP, f"No operator has taken up DaskCluster {facts.name(cluster)}: {_LOOK_AT_IT}.")


def _not_followed(group: Json) -> Problem:
    message = f"The operator has not acted on the last change of DaskWorkerGroup {facts.name(group)}: {_LOOK_AT_IT}."
    return Problem(NOT_FOLLOWED, message)


def _taken_up(snapshot: Snapshot) -> bool:
    status = facts.mapping(facts.mapping(snapshot.cluster).get("status"))
    return bool(status.get("phase") or status.get("conditions") or snapshot.service or snapshot.groups or snapshot.pods)


def _is_short(group: Json, snapshot: Snapshot) -> bool:
    return len(facts.live(facts.of_group(snapshot, group))) < facts.replicas(group, 1)


def _fundamental(problem: Problem) -> tuple[int, str]:
    known = problem.reason in _MOST_FUNDAMENTAL
    return _MOST_FUNDAMENTAL.index(problem.reason) if known else len(_MOST_FUNDAMENTAL), problem.message


def _sentence(start: str, words: object) -> str:
    """Return a sentence from its start and a quoted message, which may have several lines, or be missing."""
    said = " ".join(facts.text(words).split())
    said = said if len(said) <= _LONGEST_QUOTE else f"{said[:_LONGEST_QUOTE]}…"
    text = f"{start}: {said}" if said else start
    return text if text.endswith((".", "…", "!")) else f"{text}."
