"""The problem of a Pod, by what its kubelet and the kube-scheduler report.

Some states are a problem only if they last: every Pod passes through them. No report tells a Secret that does not exist
from a volume that is mounted in a second. So such a problem has the time from which it counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from dask_operator.model import CLAIM, Json, Problem
from dask_operator.parse.values import at, integer, mappings, seconds, text

# Waiting reasons that do not pass by themselves, and the reason that a condition has. The image reasons alternate.
_STUCK = {
    "ErrImagePull": "ImagePullBackOff",
    "ImagePullBackOff": "ImagePullBackOff",
    "ErrImageNeverPull": "ImagePullBackOff",
    "InvalidImageName": "InvalidImageName",
    "CreateContainerConfigError": "CreateContainerConfigError",
    "CreateContainerError": "CreateContainerError",
    "RunContainerError": "RunContainerError",
    "CrashLoopBackOff": "CrashLoopBackOff",
}
# Seconds that a state lasts before it is a problem.
_PREPARING = 45.0  # volumes are attached and mounted, and the network is set up
_NOT_READY = 120.0
_STARTING = 300.0  # an image is pulled, or an init container runs
_NOTHING: frozenset[str] = frozenset()
_TOKEN = "kube-api-access-"  # noqa: S105 - the name of a volume that every Pod gets


class PodProblem(NamedTuple):
    """The problem of a Pod, and the time in seconds since the epoch from which it counts: 0.0 for at once."""

    problem: Problem | None = None
    counts_from: float = 0.0


_NONE = PodProblem()


def pod_problem(raw: Json, conditions: Mapping[str, Json], own: Json, *, failed: bool) -> PodProblem:
    """Return what is wrong with a Pod: with its program first, else with an init container or another one.

    `conditions`: those of its status, by type; `own`: the status of the program's container; `failed`: the program has
    ended for good, with an error.
    """
    spec, status = at(raw, "spec"), at(raw, "status")
    if status.get("phase") == "Failed" and status.get("reason"):
        return PodProblem(Problem(text(status.get("reason")), text(status.get("message"))))
    scheduled = at(conditions, "PodScheduled")
    if is_gated(conditions):
        return _NONE  # it waits for its turn, as in a queue
    if scheduled.get("status") == "False":
        return PodProblem(Problem(text(scheduled.get("reason")), text(scheduled.get("message"))))
    others = (status.get("initContainerStatuses"), status.get("containerStatuses"))
    every = (own, *(container for listed in others for container in mappings(listed)))
    if found := next(filter(None, (_container_problem(container, failed) for container in every)), None):
        return PodProblem(found)
    if at(conditions, "Ready").get("status") == "True":
        return _NONE
    return _delayed(spec, status, conditions, own) if conditions else _unnoticed(raw)


def is_gated(conditions: Mapping[str, Json]) -> bool:
    """Return whether a Pod has a scheduling gate, as the Pods in a queue of Kueue have."""
    return at(conditions, "PodScheduled").get("reason") == "SchedulingGated"


def mounted(spec: Json) -> frozenset[str]:
    """Return the Secrets, ConfigMaps, claims and other sources of volumes that a Pod cannot start without."""
    found = tuple(sorted(_sources(spec)))
    return _shared(found) if found else _NOTHING


def crashed_again(container: Json) -> bool:
    """Return whether a container runs after more than one failure, and so may end again."""
    last = at(container, "lastState", "terminated")
    running = at(container, "state").get("running")
    return bool(running and last.get("exitCode") and integer(container.get("restartCount")) > 1)


def ending(terminated: Json) -> str:
    """Return how a container ended, in words."""
    message = text(terminated.get("message")).strip()
    return f"exit code {terminated.get('exitCode')}, {terminated.get('reason')}" + (f", {message}" if message else "")


@lru_cache(maxsize=1024)
def _shared(sources: tuple[str, ...]) -> frozenset[str]:
    # All Pods of a group have the same, and there may be ten thousand.
    return frozenset(sources)


def _sources(spec: Json) -> Iterator[str]:
    for volume in mappings(spec.get("volumes")):
        if text(volume.get("name")).startswith(_TOKEN):
            continue
        for source in (volume, *mappings(at(volume, "projected").get("sources"))):
            yield from _named(source)
        if claim := text(at(volume, "persistentVolumeClaim").get("claimName")):
            yield f"{CLAIM}{claim}"
        if path := text(at(volume, "hostPath").get("path")):
            yield f"hostPath {path}"
        if driver := text(at(volume, "csi").get("driver")):
            yield f"volume of {driver}"
        if server := text(at(volume, "nfs").get("server")):
            yield f"NFS server {server}"


def _named(volume: Json) -> Iterator[str]:
    for key, kind in (("secret", "Secret"), ("configMap", "ConfigMap")):
        source = at(volume, key)
        name = text(source.get("secretName")) or text(source.get("name"))
        if name and not source.get("optional"):
            yield f"{kind} {name}"


def _container_problem(container: Json, failed: bool) -> Problem | None:
    """Return what is wrong with a container. A container that has ended restarts, unless its Pod has `failed`."""
    state = at(container, "state")
    waiting, ended = at(state, "waiting"), at(state, "terminated")
    name, last = container.get("name"), at(container, "lastState", "terminated")
    reason = _STUCK.get(text(waiting.get("reason")))
    if reason == "CrashLoopBackOff" or crashed_again(container) or (not failed and _has_failed_again(container)):
        return Problem("CrashLoopBackOff", f'container "{name}" keeps ending: {ending(last or ended)}')
    if reason:
        image = f', image "{container.get("image")}"' if container.get("image") else ""
        return Problem(reason, f'container "{name}"{image}: {text(waiting.get("message"))}')
    if failed and ended.get("exitCode"):
        return Problem(text(ended.get("reason")) or "Error", f'container "{name}" ended: {ending(ended)}')
    return None


def _has_failed_again(container: Json) -> bool:
    """Return whether a container has just failed after several restarts, before the kubelet reports its back-off."""
    ended = at(container, "state", "terminated")
    return bool(ended.get("exitCode")) and integer(container.get("restartCount")) > 1


def _delayed(spec: Json, status: Json, conditions: Mapping[str, Json], own: Json) -> PodProblem:
    """Return the state of a Pod that is a problem if it lasts."""
    prepared, ready = at(conditions, "PodReadyToStartContainers"), at(conditions, "Ready")
    if status.get("phase") == "Pending":
        since = seconds(prepared.get("lastTransitionTime"))
        if prepared.get("status") == "False":
            return PodProblem(Problem("ContainerCreating", _not_prepared(spec)), since + _PREPARING)
        if prepared:
            return next(_starting(spec, status, since), _NONE)
    elif status.get("phase") == "Running" and ready.get("status") == "False":
        started = seconds(at(own, "state", "running").get("startedAt"))
        if started:
            said = text(status.get("message")) or text(ready.get("message")) or "not ready"
            message = f"{said}; read its log, and check its readiness and startup probes"
            since = max(seconds(ready.get("lastTransitionTime")), started)
            reason = text(status.get("reason")) or text(ready.get("reason")) or "NotReady"
            return PodProblem(Problem(reason, message), since + _NOT_READY)
    return _NONE


def _unnoticed(raw: Json) -> PodProblem:
    """Return the problem of a Pod that neither a scheduler of Kubernetes nor a node has taken up."""
    spec, status = at(raw, "spec"), at(raw, "status")
    if status.get("phase") != "Pending" or _every(status):
        return _NONE
    scheduler, node = text(spec.get("schedulerName")) or "default-scheduler", text(spec.get("nodeName"))
    missing = f"node {node}, which spec.nodeName names," if node else f"Kubernetes' scheduler {scheduler}"
    created = seconds(at(raw, "metadata").get("creationTimestamp"))
    return PodProblem(Problem("NotScheduled", f"{missing} has not taken it up; see that it runs"), created + _PREPARING)


def _not_prepared(spec: Json) -> str:
    node, sources = text(spec.get("nodeName")), ", ".join(sorted(mounted(spec)))
    what = f"its volumes ({sources}) or its network" if sources else "its network"
    return f"node {node} has not set up {what}; kubectl describe pod says why"


def _starting(spec: Json, status: Json, since: float) -> Iterator[PodProblem]:
    """Yield the container that keeps the others of a prepared Pod from starting."""
    beside = {text(c.get("name")) for c in mappings(spec.get("initContainers")) if c.get("restartPolicy") == "Always"}
    for container in mappings(status.get("initContainerStatuses")):
        began, name = seconds(at(container, "state", "running").get("startedAt")), text(container.get("name"))
        if began and not (name in beside and container.get("started")):
            message = f'init container "{name}" runs and holds the others back; read its log'
            yield PodProblem(Problem("PodInitializing", message), began + _STARTING)
    for container in _every(status):
        if at(container, "state", "waiting").get("reason") == "ContainerCreating":
            name, image = text(container.get("name")), container.get("image")
            message = f'container "{name}" is not created yet: its node may still pull "{image}"'
            why = f"{message}; kubectl describe pod says why"
            yield PodProblem(Problem("ContainerCreating", why), since + _STARTING)


def _every(status: Json) -> Sequence[Json]:
    return [*mappings(status.get("initContainerStatuses")), *mappings(status.get("containerStatuses"))]
