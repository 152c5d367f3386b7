"""`Ready`, `Reconciling` and `Stalled`, of which one at most is true: what kstatus (Helm 4, Flux) and kubectl wait for.

`Ready` stays when it is false, as people look for it; the two others are there only while they are true. A program that
waits gives up when it sees `Stalled`. So a problem counts as one that needs a person at once only if no retry ends it,
and any other one if it has lasted: a node may be on its way, or an object that is applied a moment later.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from dask_operator.actions import RequeueAt
from dask_operator.model import Declared, Json, Problem
from dask_operator.parse import may_have_passed, timestamp
from dask_operator.plan.report.conditions import DEGRADED, PROGRESSING, SUSPENDED, Condition, by_type, is_true

READY, RECONCILING, STALLED = "Ready", "Reconciling", "Stalled"
ROLLING_OUT = "RollingOut"
"""The reason of `Progressing` while workers of earlier templates are replaced."""
_PATIENCE = 600.0
"""Seconds for which a problem may last before it counts as one that needs a person, as a Deployment's progress may."""
_APPLIED = 60.0
"""Seconds within which the objects of one release or repository have all been applied, in whatever order."""
_PATIENCE_WITH: Mapping[str, float] = MappingProxyType(
    dict.fromkeys(("ClusterNotFound", "GroupNotFound"), _APPLIED)
    | dict.fromkeys(
        (
            # What a Pod's template says, or lacks.
            *("ImagePullBackOff", "InvalidImageName", "CrashLoopBackOff"),
            *("CreateContainerConfigError", "CreateContainerError", "RunContainerError"),
            # What the API server refuses.
            *("QuotaExceeded", "Forbidden", "Invalid", "BadRequest", "InvalidSpec"),
            # What objects say that contradicts others.
            *("NameTaken", "AnotherAutoscaler", "PortNotFound", "ObjectTooLarge"),
        ),
        0.0,
    )
)
_WELL = Problem("AsWanted", "everything that it needs to be used is ready")


def readiness(
    about: Declared, old: Json, missing: Problem | None, problem: Problem | None, now: float
) -> Iterator[Condition]:
    """Yield the conditions of an object.

    `old`: the current status; `missing`: what the object waits for, None if it is ready; `problem`: why that does not
    come, None if it may be on its way.
    """
    if not missing:
        yield Condition(READY, True, *_WELL)
        return
    why = problem or missing
    yield Condition(READY, False, *why)
    lasts = problem and now >= _began(about, old, now) + _patience(problem.reason, rolls=missing.reason == ROLLING_OUT)
    yield Condition(STALLED if lasts else RECONCILING, True, *why)


def ended(failure: Problem | None) -> Iterator[Condition]:
    """Yield the conditions of an object that will not change any more. `failure`: None if it has ended well."""
    yield Condition(READY, not failure, *(failure or Problem("Ended", "it has ended with success")))
    if failure:
        yield Condition(STALLED, True, *failure)


def suspended(why: str) -> Condition:
    """Return the condition of an object that is not to run: nobody carries anything out, and nobody has to act."""
    return Condition(READY, False, SUSPENDED, why)


def was_ready(about: Declared, old: Json) -> bool:
    """Return whether a status says that the object is ready as its user wants it now."""
    said = by_type(old).get(READY, {})
    return said.get("status") == "True" and said.get("observedGeneration") == about.generation


def plan_stall(about: Declared, wanted: Json, now: float) -> Iterator[RequeueAt]:
    """Wait until the problem that holds up an object has lasted too long. `wanted`: the status that says so."""
    said = by_type(wanted)
    if RECONCILING in said and (DEGRADED not in said or is_true(said, DEGRADED)):
        reason, rolls = said[RECONCILING]["reason"], said.get(PROGRESSING, {}).get("reason") == ROLLING_OUT
        due = _began(about, wanted, now) + _patience(reason, rolls=rolls)
        if now < due:
            yield RequeueAt(due, because=f"{reason}, which may pass by itself")


def _patience(reason: str, *, rolls: bool) -> float:
    # A rollout lets old workers go first where a quota has no room for more.
    return _PATIENCE if rolls and reason == "QuotaExceeded" else _PATIENCE_WITH.get(reason, _PATIENCE)


def _began(about: Declared, said: Json, now: float) -> float:
    """Return since when a problem keeps the object from getting ready. An edit of a stalled one starts anew."""
    conditions = by_type(said)
    if conditions.get(STALLED, {}).get("observedGeneration") == about.generation:
        return 0.0  # it has lasted already
    # An autoscaler has no `Degraded`.
    types = [RECONCILING, *([DEGRADED] if DEGRADED in conditions else [])]
    if not all(is_true(conditions, each) for each in types):
        return now
    since = max(timestamp(str(conditions[each].get("lastTransitionTime"))) for each in types)
    return since if since and may_have_passed(since, now) else now
