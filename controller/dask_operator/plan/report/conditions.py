"""Conditions, and the time at which a status with them is written.

A status is written at once when somebody may be waiting for it. Its intermediate states are written every few seconds.
An Event is recorded when a condition changes for the worse, and when that ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from dask_operator.actions import Action, RecordEvent, RequeueAt, SetStatus
from dask_operator.model import Declared, Json, Observed, Problem
from dask_operator.parse import may_have_passed, rfc3339, timestamp
from dask_operator.plan.view import blocked, status

DEGRADED, PROGRESSING, SUSPENDED = "Degraded", "Progressing", "Suspended"
SCHEDULER_READY, WORKERS_READY = "SchedulerReady", "WorkersReady"
RETIRING = "Retiring"
"""The reason of `Progressing` while workers leave."""
_GENERATION = "observedGeneration"
# Messages of the API server have any length, and it refuses a status that is too long as a whole.
_LONGEST_REASON, _LONGEST_MESSAGE = 1024, 4096


class Condition(NamedTuple):
    """A condition as a plan wants it; `rendered` adds what Kubernetes adds."""

    type: str
    true: bool
    reason: str
    message: str


def degraded(problem: Problem | None) -> Condition:
    """Return the condition `Degraded`, which is true if there is a problem."""
    return Condition(DEGRADED, bool(problem), *(problem or Problem("AsExpected", "no problem is known")))


def as_said(problem: Problem | None, old: Json) -> Problem | None:
    """Return a problem in the words of the current status, if that has it already.

    Messages about the same problem vary from moment to moment; the first is as good as the next.
    """
    said = by_type(old).get(DEGRADED, {})
    same = problem and said.get("status") == "True" and said.get("reason") == problem.reason[:_LONGEST_REASON]
    return Problem(problem.reason, str(said.get("message"))) if problem and same else problem


def rendered(about: Declared, old: Json, wanted: Iterable[Condition], now: float) -> list[dict[str, Any]]:
    """Return conditions as a status has them.

    `old`: the current status, which has the time of each condition's last change.
    """
    before = by_type(old)
    return [_rendered(condition, before.get(condition.type, {}), about.generation, now) for condition in wanted]


def write(
    wanted: SetStatus, about: Declared, observed: Observed, now: float, interval: float, *, awaited: bool
) -> Iterator[Action]:
    """Write a status that has changed: at once if it is `awaited`, else `interval` seconds after the last write."""
    old, last = status(about, wanted.subject.kind, observed), observed.written.get(wanted.subject)
    if _says_the_same(old, wanted.status, inline=bool(last and last.inline)):
        return
    if failure := blocked(wanted.subject, observed, now):
        yield RequeueAt(failure.until, because=failure.problem.message, holds=wanted.subject)
        return
    before = last.at if last and last.uid == about.uid else about.created
    due = before + interval
    if may_have_passed(before, now) and now < due and not awaited:
        yield RequeueAt(due, because=f"the status of {wanted.subject.kind} {wanted.subject.name}")
        return
    yield wanted
    said, says = by_type(old), by_type(wanted.status)
    yield from _events(wanted, about, said.get(DEGRADED, {}), says.get(DEGRADED, {}))
    if SUSPENDED in says and is_true(said, SUSPENDED) != is_true(says, SUSPENDED):
        new = says[SUSPENDED]
        # The same may happen again, and an Event of the same words would not be recorded.
        message = f"{new['message']} (generation {about.generation})"
        yield RecordEvent(wanted.subject, about.uid, "Normal", new["reason"], message)


def _says_the_same(old: Json, new: Json, *, inline: bool) -> bool:
    """Return whether a status is as wanted. An `inline` one can never have the generation that its own write makes."""
    return all(
        _comparable(old.get(key), inline) == _comparable(value, inline)
        for key, value in new.items()
        if not (inline and key == _GENERATION)
    )


def _comparable(value: object, inline: bool) -> object:
    if not inline or not isinstance(value, list):
        return value
    return [
        {k: v for k, v in each.items() if k != _GENERATION} if isinstance(each, Mapping) else each for each in value
    ]


def by_type(of: Json) -> dict[str, Json]:
    """Return a status' conditions by their type."""
    conditions = of.get("conditions")
    known = conditions if isinstance(conditions, list) else []
    return {
        condition["type"]: condition
        for condition in known
        if isinstance(condition, Mapping) and isinstance(condition.get("type"), str)
    }


def is_true(conditions: Mapping[str, Json], type_: str) -> bool:
    """Return whether a condition is there and true."""
    return bool(conditions.get(type_, {}).get("status") == "True")


def _rendered(new: Condition, old: Mapping[str, Any], generation: int, now: float) -> dict[str, Any]:
    status_ = "True" if new.true else "False"
    same = old.get("status") == status_
    since = str(old.get("lastTransitionTime") or "") if same else ""
    return {
        "type": new.type,
        "status": status_,
        "reason": new.reason[:_LONGEST_REASON],
        "message": new.message[:_LONGEST_MESSAGE],
        "lastTransitionTime": since if since and may_have_passed(timestamp(since), now) else rfc3339(now),
        "observedGeneration": generation,
    }


def _events(wanted: SetStatus, about: Declared, old: Json, new: Json) -> Iterator[Action]:
    if new.get("status") == "True" and new["reason"] != old.get("reason"):
        yield RecordEvent(wanted.subject, about.uid, "Warning", new["reason"], new["message"])
    if new.get("status") == "False" and old.get("status") == "True":
        message = f"no longer: {old.get('reason')}: {old.get('message')}"
        yield RecordEvent(wanted.subject, about.uid, "Normal", "Recovered", message)
