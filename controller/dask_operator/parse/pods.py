"""The parsers of Pods and of their nodes.

A Pod's containers say how the program is that runs in it. A node says by its taints whether Pods are to leave it: those
that Kubernetes adds for a node's condition come and go with its load, and do not count.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from dask_operator import names
from dask_operator.model import Json, Node, Pod, Taint, Toleration
from dask_operator.parse.metadata import meta_of, metadata_of, object_fields
from dask_operator.parse.pod_problems import crashed_again, ending, is_gated, mounted, pod_problem
from dask_operator.parse.values import at, integer, mappings, number, ordinal, seconds, text

# Schedulers that an earlier version of the controller has made have the last one.
_OUR_ENV = (names.SCHEDULER_ADDRESS_ENV, names.AGENT_ENV, names.HTTP_ROUTES_ENV)
_OVER = ("Succeeded", "Failed")
_CONDITIONS = "node.kubernetes.io/"
_CORDONED = Taint(f"{_CONDITIONS}unschedulable", "", "NoSchedule")
_KEEP_AWAY = ("NoSchedule", "NoExecute")
_OPERATORS = ("", "Equal")


def pod(raw: Json) -> Pod:
    """Return a Pod."""
    meta, spec, status = metadata_of(meta_of(raw)), at(raw, "spec"), at(raw, "status")
    conditions = {text(c.get("type")): c for c in mappings(status.get("conditions"))}
    component, containers = meta.labels.get(names.COMPONENT_LABEL, ""), mappings(status.get("containerStatuses"))
    program = _program(spec)
    own = _status_of(program, containers)
    seen_phase = text(status.get("phase"))
    ended = _ending_phase(program, own, spec, component)
    # Once no container runs, the Pod is about to get this phase too. An eviction or a rejection concerns the whole Pod.
    waits = seen_phase not in _OVER and not _goes_on(spec, containers)
    phase = seen_phase if waits or status.get("reason") else ended or seen_phase
    counted = (own, *_initial(spec, status))
    problem, counts_from = pod_problem(raw, conditions, own, failed=phase == "Failed")
    return Pod(
        **object_fields(raw),
        cluster=meta.labels.get(names.CLUSTER_LABEL, ""),
        component=component,
        group=meta.labels.get(names.GROUP_LABEL, ""),
        phase=phase,
        lingering=phase != seen_phase and seen_phase not in _OVER,
        ready=at(conditions, "Ready").get("status") == "True",
        ip=text(status.get("podIP")),
        started=_started(own) or seconds(status.get("startTime")),
        finished=_finished(own),
        ordinal=ordinal(number(meta.annotations.get(names.ORDINAL_ANNOTATION))),
        attempt=integer(number(meta.annotations.get(names.ATTEMPT_ANNOTATION))),
        failures=_failures(counted),
        ending=_last_ending(counted) if component == names.JOB_RUNNER else "",
        deployment=_deployment(raw),
        template=meta.annotations.get(names.TEMPLATE_ANNOTATION, ""),
        restarted=max((_started(c) for c in containers if crashed_again(c)), default=0.0),
        gated=is_gated(conditions),
        volumes=mounted(spec),
        node=text(spec.get("nodeName")),
        tolerations=_tolerations(spec),
        deleted=_deleted(meta_of(raw)),
        problem=problem,
        problem_from=counts_from,
    )


def node(raw: Json) -> Node:
    """Return a node."""
    spec = at(raw, "spec")
    listed = [
        Taint(text(each.get("key")), text(each.get("value")), text(each.get("effect")))
        for each in mappings(spec.get("taints"))
    ]
    taints = {taint for taint in listed if _is_given(taint.key) and taint.effect in _KEEP_AWAY}
    # The taint comes a moment after the field, by another controller.
    cordoned = {_CORDONED} if spec.get("unschedulable") is True else set()
    return Node(**object_fields(raw), taints=tuple(sorted(taints | cordoned)))


def _is_given(key: str) -> bool:
    """Return whether a taint's key is of one that somebody gives a node, and not of a node's condition."""
    return key == _CORDONED.key or not key.startswith(_CONDITIONS)


@lru_cache(maxsize=1024)
def _shared(tolerations: tuple[Toleration, ...]) -> tuple[Toleration, ...]:
    """Return the same object for the same tolerations, as those of a group's ten thousand Pods are."""
    return tolerations


def _tolerations(spec: Json) -> tuple[Toleration, ...]:
    listed = (
        Toleration(
            text(each.get("key")),
            text(each.get("value")) if text(each.get("operator")) in _OPERATORS else None,
            text(each.get("effect")),
        )
        for each in mappings(spec.get("tolerations"))
        if _is_given(text(each.get("key")))
    )
    return _shared(tuple(listed))


def _deleted(meta: Json) -> float:
    """Return when a Pod was told to end. Its metadata says until when it may exist."""
    return max(seconds(meta.get("deletionTimestamp")) - max(integer(meta.get("deletionGracePeriodSeconds")), 0), 0.0)


def _program(spec: Json) -> Json:
    """Return the container of a Pod that is the worker, the scheduler or the job's program.

    It is the first container that the user wrote. Those have a variable of ours; containers that webhooks insert do
    not.
    """
    containers = mappings(spec.get("containers"))
    return next(filter(_has_our_env, containers), containers[0] if containers else {})


def _has_our_env(container: Json) -> bool:
    return any(variable.get("name") in _OUR_ENV for variable in mappings(container.get("env")))


def _status_of(container: Json, statuses: Sequence[Json]) -> Json:
    """Return a container's status. Statuses have an order of their own."""
    first = statuses[0] if statuses else {}
    return next((status for status in statuses if status.get("name") == container.get("name")), first)


def _ending_phase(program: Json, own: Json, spec: Json, component: str) -> str:
    """Return `Succeeded` or `Failed` once a Pod's program has ended for good, whatever runs beside it; else nothing."""
    if program.get("restartPolicyRules"):
        return ""  # the kubelet decides which exit codes restart it
    policy = program.get("restartPolicy") or spec.get("restartPolicy")
    states = (at(own, "state"), at(own, "lastState"))
    now, last = (at(state, "terminated").get("exitCode") for state in states)
    if policy == "Always":
        # It restarts whenever it ends, and a program that has ended has nothing left to do.
        return "Succeeded" if component == names.JOB_RUNNER and 0 in (now, last) else ""
    if now == 0 and policy in ("OnFailure", "Never"):
        return "Succeeded"
    return "Failed" if now and policy == "Never" else ""


def _goes_on(spec: Json, statuses: Iterable[Json]) -> bool:
    """Return whether a container runs or will run again."""
    policies = {text(c.get("name")): c.get("restartPolicy") for c in mappings(spec.get("containers"))}
    return any(
        not _is_over(each, policies.get(text(each.get("name"))) or spec.get("restartPolicy")) for each in statuses
    )


def _is_over(status: Json, policy: object) -> bool:
    code = at(status, "state", "terminated").get("exitCode")
    return policy != "Always" and code is not None and (policy == "Never" or code == 0)


def _initial(spec: Json, status: Json) -> Iterator[Json]:
    """Yield the statuses of the init containers that run before the others, and not beside them."""
    beside = {text(c.get("name")) for c in mappings(spec.get("initContainers")) if c.get("restartPolicy") == "Always"}
    return (c for c in mappings(status.get("initContainerStatuses")) if text(c.get("name")) not in beside)


def _started(container: Json) -> float:
    """Return when a container was last started, whether it still runs or not."""
    state = at(container, "state")
    return seconds((at(state, "running") or at(state, "terminated")).get("startedAt"))


def _finished(container: Json) -> float:
    return seconds(at(container, "state", "terminated").get("finishedAt"))


def _failures(containers: Iterable[Json]) -> int:
    """Return how often containers have ended with an error, including those that are about to restart."""
    return sum(_failed_restarts(container) + _has_just_failed(container) for container in containers)


def _last_ending(containers: Iterable[Json]) -> str:
    """Return how a container last ended with an error; empty if none did."""
    for container in containers:
        for state in (at(container, "state"), at(container, "lastState")):
            ended = at(state, "terminated")
            if ended.get("exitCode"):
                return f'container "{container.get("name")}" ended: {ending(ended)}'
    return ""


def _failed_restarts(container: Json) -> int:
    # A container that always restarts may have ended without an error each time.
    last = at(container, "lastState", "terminated")
    return 0 if last and not last.get("exitCode") else integer(container.get("restartCount"))


def _has_just_failed(container: Json) -> bool:
    state = at(container, "state")
    if state.get("running"):
        return False
    ended = at(state, "terminated") or at(container, "lastState", "terminated")
    return bool(ended.get("exitCode"))


def _deployment(raw: Json) -> str:
    """Return the name of the Deployment whose ReplicaSet made a Pod: the ReplicaSet's name without its hash."""
    owners = mappings(meta_of(raw).get("ownerReferences"))
    sets = (text(owner.get("name")) for owner in owners if owner.get("kind") == "ReplicaSet")
    return next(sets, "").rpartition("-")[0]
