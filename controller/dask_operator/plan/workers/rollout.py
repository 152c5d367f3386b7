"""Rolling out an edited template, and leaving cordoned nodes: new workers come first, then as many old ones leave, a
quarter of the group at a time.

An old worker leaves as on any scale-down, with nothing lost. Old workers that do not work leave at once, so that an
edit mends a group that could not start. Where there is no room for one more worker, one old worker leaves first. Where
an edit is refused for any other reason, all old workers stay.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import NamedTuple

from dask_operator.model import Group, Pod
from dask_operator.plan.view import current_templates
from dask_operator.plan.workers.room import Room

_SURGE = 4  # a quarter


class Step(NamedTuple):
    """The numbers of workers to create, and of old and new ones to let go."""

    create: int
    old_leave: int
    new_leave: int


def split(group: Group, pods: Sequence[Pod]) -> tuple[list[Pod], list[Pod]]:
    """Return the Pods of a group's current template, and those of earlier ones."""
    current = current_templates(group)
    return [pod for pod in pods if pod.template in current], [pod for pod in pods if pod.template not in current]


def step(
    wanted: int,
    new: Sequence[Pod],
    old: Sequence[Pod],
    *,
    room: Room,
    working: Container[str] | None = None,
    leaving: int = 0,
) -> Step:
    """Return the next step on the way to `wanted` workers of the current template.

    `room`: what has to happen before one more worker fits. `working`: the uids of the workers that do their work; None
    before it is known, then ready ones count. `leaving`: how many old workers are on their way out.

    The group may have `surge` more workers than it wants while there are old ones. Old workers leave as far as enough
    others work::

        surge     = ceil(wanted / 4)
        create    = min(wanted - new, wanted + surge - new - old - leaving)
        old_leave = old ones that do not work + workers at work beyond `wanted`
        new_leave = new - wanted

    For 4 workers, all of them working, with room for one more:

    ========================  ===  ===  =======  ======  =========
    state                     new  old  leaving  create  old_leave
    ========================  ===  ===  =======  ======  =========
    edited                      0    4        0       1          0
    the first new one works     1    4        0       0          1
    the old one is retiring     1    3        1       0          0
    it is gone                  1    3        0       1          0
    the last new one works      4    1        0       0          1
    done                        4    0        0       0          0
    ========================  ===  ===  =======  ======  =========

    Without room (`Room.ONE_OF_SEVERAL` or `Room.ANY`) one old worker more leaves, so the group has one less for a
    while.
    """
    surge = -(-wanted // _SURGE) if old or leaving else 0
    create = min(wanted - len(new), wanted + surge - len(new) - len(old) - leaving)
    known = {pod.uid for pod in (*new, *old) if pod.ready} if working is None else working
    at_work = sum(pod.uid in known for pod in (*new, *old))
    broken = sum(pod.uid not in known for pod in old)
    makes_room = room is Room.ANY or (room is Room.ONE_OF_SEVERAL and at_work > 1)
    spared = max(at_work - wanted + makes_room, 0)
    return Step(max(create, 0), min(broken + spared, len(old)), max(len(new) - wanted, 0))
