"""Room for new workers: tells whether a worker that does not fit would fit if an old one left.

A new worker that is refused for another reason, or that fits nowhere, would be refused again after an old one has left.
Then the edit would take a worker away and bring none.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Sequence
from enum import IntEnum

from dask_operator.model import CLAIM, Pod, Problem

# A ResourceQuota: "exceeded quota: NAME, requested: pods=1,cpu=2, used: pods=3,cpu=9, limited: pods=3,cpu=10"
_QUOTA = re.compile(r"requested: (?P<requested>\S*), used: \S*, limited: (?P<limited>[^\s;]*)")
_COUNTS = ("pods", "count/pods")
_ONE_POD = "ReadWriteOncePod"
# Words of kube-scheduler about nodes where only another Pod is in the way
_TAKEN_BY_PODS = (
    "Insufficient ",
    "Too many pods",
    "free ports",
    "anti-affinity rules",
    "topology spread constraints",
    "max volume count",
    _ONE_POD,
)
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE]([+-]?[0-9]+)|([numkKMGTPE]?i?))")
_SUFFIXES = {
    "n": 1e-9,
    "u": 1e-6,
    "m": 1e-3,
    "": 1.0,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "P": 1e15,
    "E": 1e18,
} | {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50, "Ei": 2.0**60}


class Room(IntEnum):
    """Conditions under which a new worker has room.

    ENOUGH: it has room, or no departure of a worker would give it room. ONE_OF_SEVERAL: an old worker may have to
    leave, but not the last one that works, because it may leave in vain. ANY: an old worker has to leave, and that is
    enough.
    """

    ENOUGH = 0
    ONE_OF_SEVERAL = 1
    ANY = 2


def needed(problems: Iterable[Problem]) -> Room:
    """Return the condition under which new workers with these problems have room."""
    return max(map(_needed, problems), default=Room.ENOUGH)


def on_volumes(stuck: Iterable[Pod], staying: Sequence[Pod], old: Container[Pod]) -> Room:
    """Return the condition under which new workers that wait for their volumes get them.

    `stuck`: new workers with a problem. A claim that one node or one Pod may use (ReadWriteOnce, ReadWriteOncePod) is
    free once the only worker that uses it has left. Nothing in a Pod tells such a claim from a Secret that does not
    exist, so the last worker that works leaves only if it has mounted all that the new one mounts.
    """
    mounted = {pod.volumes for pod in stuck if _waits_for_volumes(pod)}
    return max((_on_volumes(volumes, staying, old) for volumes in mounted), default=Room.ENOUGH)


def _waits_for_volumes(pod: Pod) -> bool:
    if not pod.problem:
        return False
    return pod.problem.reason == "ContainerCreating" or _ONE_POD in pod.problem.message


def _on_volumes(volumes: frozenset[str], staying: Sequence[Pod], old: Container[Pod]) -> Room:
    claims = {volume for volume in volumes if volume.startswith(CLAIM)}
    users = [pod for pod in staying if pod.phase == "Running" and not claims.isdisjoint(pod.volumes)]
    if len(users) != 1 or users[0] not in old:
        return Room.ENOUGH
    return Room.ANY if volumes <= users[0].volumes else Room.ONE_OF_SEVERAL


def _needed(problem: Problem) -> Room:
    if problem.reason == "QuotaExceeded":
        return _needed_in_quota(problem.message)
    if problem.reason == "Unschedulable" and any(text in problem.message for text in _TAKEN_BY_PODS):
        return Room.ONE_OF_SEVERAL
    return Room.ENOUGH


def _needed_in_quota(message: str) -> Room:
    found = _QUOTA.search(message)
    if not found:
        return Room.ONE_OF_SEVERAL
    requested, limited = _amounts(found["requested"]), _amounts(found["limited"])
    if any(amount > limited.get(resource, amount) for resource, amount in requested.items()):
        return Room.ENOUGH
    return Room.ANY if requested.keys() <= set(_COUNTS) else Room.ONE_OF_SEVERAL


def _amounts(listed: str) -> dict[str, float]:
    """Return resources and amounts as a quota lists them: `cpu=500m,memory=1Gi`."""
    pairs = (pair.partition("=") for pair in listed.split(",") if pair)
    return {resource: _quantity(amount) for resource, _, amount in pairs}


def _quantity(text: str) -> float:
    """Return a Kubernetes quantity such as `500m`, `1Gi` or `2e3` as a number, 0.0 if it is none."""
    found = _QUANTITY.fullmatch(text)
    if not found:
        return 0.0
    number, exponent, suffix = found.groups()
    if exponent is not None:
        return float(f"{number}e{exponent}")
    return float(number) * _SUFFIXES.get(suffix, 0.0)
