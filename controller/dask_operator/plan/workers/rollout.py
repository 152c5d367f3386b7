"""Workers of an edited template: new ones come first, then as many old ones leave, a quarter of the group at a time.

An old worker leaves as on any scale-down, with nothing lost. Old ones that do not work go at once, so that an edit
mends a group that could not start. Where there is no room for one more worker, one old one leaves first; where an edit
is refused for any other reason, all old ones stay.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import NamedTuple

from dask_operator import build
from dask_operator.model import Group, Pod
from dask_operator.plan.workers.room import Room

_SURGE = 4  # a quarter


class Step(NamedTuple):
    """How many workers are to be created, and how many of the old and of the new ones are to leave."""

    create: int
    old_leave: int
    new_leave: int


def split(group: Group, pods: Sequence[Pod]) -> tuple[list[Pod], list[Pod]]:
    """A group's workers of the current template, and those of an older one."""
    current = build.worker_template(group)
    new: list[Pod] = []
    old: list[Pod] = []
    for pod in pods:
        # What another operator made was made from what was current when it was taken over.
        made_from = pod.template or group.adopted_template
        (new if made_from in ("", current) else old).append(pod)
    return new, old


def step(
    wanted: int,
    new: Sequence[Pod],
    old: Sequence[Pod],
    *,
    room: Room,
    working: Container[str] | None = None,
    leaving: int = 0,
) -> Step:
    """The next step on the way to `wanted` workers of the current template.

    `room`: what it takes to have a place for one more. `working`: the uids of those that do their work; before it is
    known who does, those that are ready. `leaving`: how many old ones are on their way out.
    """
    surge = -(-wanted // _SURGE) if old or leaving else 0
    create = min(wanted - len(new), wanted + surge - len(new) - len(old) - leaving)
    known = {pod.uid for pod in (*new, *old) if pod.ready} if working is None else working
    at_work = sum(pod.uid in known for pod in (*new, *old))
    broken = sum(pod.uid not in known for pod in old)
    makes_room = room is Room.ANY or (room is Room.ONE_OF_SEVERAL and at_work > 1)
    spared = max(at_work - wanted + makes_room, 0)
    return Step(max(create, 0), min(broken + spared, len(old)), max(len(new) - wanted, 0))
