"""Objects that are too large to be read: nobody knows what their users want, so all stays as it is, and they say so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dask_operator.actions import Action, SetStatus
from dask_operator.model import Declared, ObjectRef, Observed, Problem
from dask_operator.plan.report.conditions import Condition, as_said, by_type, degraded, rendered, write
from dask_operator.plan.report.ready import RECONCILING, readiness
from dask_operator.plan.view import status

_ADVICE = "its objects stay unchanged until it is smaller: move data into a ConfigMap or a volume"


def too_large(kind: str, about: Declared | None) -> Problem | None:
    """Return the problem of an object that is not read, None for one that is."""
    if not about or not about.unread:
        return None
    return Problem("ObjectTooLarge", f"{kind} {about.name} {about.unread}; {_ADVICE}")


def plan_unread(kind: str, about: Declared, observed: Observed, now: float) -> Iterator[Action]:
    """Say it in `Degraded`, and keep all else that the status says."""
    old = status(about, kind, observed)
    problem = as_said(too_large(kind, about), old)
    conditions = [degraded(problem), *readiness(about, old, problem, problem, now)]
    yield from write_conditions(kind, about, conditions, observed, now)


def write_conditions(
    kind: str, about: Declared, conditions: Sequence[Condition], observed: Observed, now: float
) -> Iterator[Action]:
    """Write these conditions, and leave the others and the rest of the status as they are."""
    if about.deleting:
        return
    old = status(about, kind, observed)
    said = by_type(old) | {each["type"]: each for each in rendered(about, old, conditions, now)}
    said.pop(RECONCILING, None)
    wanted = {"observedGeneration": about.generation, "conditions": list(said.values())}
    set_status = SetStatus(ObjectRef(kind, about.name), wanted, because="it is too large")
    yield from write(set_status, about, observed, now, 0.0, awaited=True)
