"""Everything the controller knows, by cluster; filled by watches, by the replies to its own writes, and by schedulers.

Two rules make it safe to plan from: a state never replaces a newer one of the same object, and what vanished while a
watch was down is gone after the next list. It does no IO and has no clock.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Container, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar

from dask_operator import names
from dask_operator.backoff import Backoff
from dask_operator.model import (
    Autoscaler,
    Cluster,
    Demand,
    Deployment,
    Failure,
    Group,
    Idleness,
    Job,
    Json,
    Key,
    Object,
    ObjectRef,
    Observed,
    Pod,
    Problem,
    Sample,
    Service,
    Survey,
    Written,
)
from dask_operator.resources import AUTOSCALER, CLUSTER, DEPLOYMENT, GROUP, JOB, POD, SERVICE

_BACKOFF = Backoff(first=1.0, longest=60.0)
_SOON = 10.0
"""Seconds within which a write that is made again had no effect, rather than another cause."""
TERMINATING = "Terminating"
"""The reason of a failure that lasts until an object of the same name is gone."""
_T = TypeVar("_T", bound=Object)


class Deed(NamedTuple):
    """A write that has succeeded: to which object and which part of it, why, and a hash of what was written."""

    name: str
    because: str
    content: int = 0
    part: str = ""


class _Done(NamedTuple):
    """What was done at once about a subject, when, and how many times before that in a row."""

    deeds: set[Deed]
    at: float
    times: int

    @property
    def lasts(self) -> float:
        """Until when the same again is taken for a sign that it had no effect."""
        return self.at + _SOON + (2 * _BACKOFF.longest if self.times else 0.0)


@dataclass(slots=True)
class _Facts:
    """What is known about one cluster besides its objects."""

    survey: Survey | None = None
    demand: Demand | None = None
    idleness: Idleness | None = None
    asking: set[str] = field(default_factory=set)
    retiring: frozenset[str] = frozenset()
    retired: set[str] = field(default_factory=set)
    refused: dict[str, float] = field(default_factory=dict)
    failures: dict[ObjectRef, Failure] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    warned: set[str] = field(default_factory=set)
    written: dict[ObjectRef, Written] = field(default_factory=dict)
    done: dict[tuple[ObjectRef, str], _Done] = field(default_factory=dict)
    """What was done the last time, by what it was about and which part of that."""


class Store:
    """The world as far as it is known. Methods that change it return the keys of the clusters it matters to."""

    def __init__(self) -> None:
        self._objects: dict[str, dict[tuple[str, str], Object]] = defaultdict(dict)
        self._children: dict[tuple[str, Key], dict[str, Object]] = defaultdict(dict)
        self._facts: dict[Key, _Facts] = defaultdict(_Facts)
        self._watched: dict[tuple[str, str], int] = {}
        self._deleted: set[str] = set()

    # What watches say

    def observe(self, kind: str, seen: Object) -> Iterable[Key]:
        """A state of an object, from a watch."""
        self._advance(kind, seen.namespace, seen.resource_version)
        return self._put(kind, seen)

    def removed(self, kind: str, gone: Object) -> Iterable[Key]:
        """An object's end, from a watch."""
        self._advance(kind, gone.namespace, gone.resource_version)
        known = self._objects[kind].get((gone.namespace, gone.name))
        return self._remove(kind, known) if known and known.uid == gone.uid else ()

    def replace(self, kind: str, namespace: str, listed: Iterable[Object], version: int) -> set[Key]:
        """All objects of a kind in a namespace ("": in all), from a list of this version; what it lacks is gone."""
        present = {(seen.namespace, seen.name): seen for seen in listed}
        changed = {key for seen in present.values() for key in self._put(kind, seen)}
        for known in list(self._objects[kind].values()):
            vanished = (known.namespace, known.name) not in present and known.resource_version <= version
            if vanished and namespace in ("", known.namespace):
                changed.update(self._remove(kind, known))
        self._watched[kind, namespace] = version
        return changed

    def reached(self, kind: str, namespace: str, version: int) -> None:
        """A watch has shown everything up to this version."""
        self._watched[kind, namespace] = max(version, self._watched.get((kind, namespace), 0))

    # What our own writes tell

    def learn(self, kind: str, written: Object) -> Iterable[Key]:
        """The object in a write's reply. Ignored if a watch has gone past it: it may be gone already."""
        if written.resource_version <= self._reached(kind, written.namespace):
            return ()
        return self._put(kind, written)

    def deleted(self, kind: str, uid: str, namespace: str, name: str) -> None:
        """An object was deleted by us; until it vanishes no older state makes it alive again."""
        known = self._objects[kind].get((namespace, name))
        if known and known.uid == uid:
            self._deleted.add(uid)
            self._put(kind, replace(known, deleting=True))

    def succeeded(self, key: Key, subject: ObjectRef, deeds: frozenset[Deed] = frozenset(), now: float = 0.0) -> None:
        """Forgets that something was refused. What is done again right after it was done had no effect:

        something undoes it, and what it was about is left alone for a while, longer each time.
        """
        facts = self._facts[key]
        facts.failures.pop(subject, None)
        for part in {deed.part for deed in deeds}:
            done, before = {deed for deed in deeds if deed.part == part}, facts.done.get((subject, part))
            again = done & before.deeds if before and before.at <= now < before.lasts else set()
            times = before.times + 1 if before and again else 0
            facts.done[subject, part] = _Done(done, now, times)
            if times:
                problem = _undone(subject, min(again), times)
                facts.failures[subject] = Failure(problem, times, now + _pause(times))

    def failed(self, key: Key, subject: ObjectRef, problem: Problem, now: float, at_least: float = 0.0) -> Failure:
        """Remembers a failure, and when it should be tried again: later each time, and not everybody at once.

        `at_least`: the seconds that the API server asked for.
        """
        before = self._facts[key].failures.get(subject)
        attempts = before.attempts + 1 if before else 1
        failure = Failure(problem, attempts, now + max(_pause(attempts), at_least))
        self._facts[key].failures[subject] = failure
        return failure

    def void(self, key: Key, subjects: Iterable[ObjectRef]) -> None:
        """What was refused about these is no longer wanted."""
        if facts := self._facts.get(key):
            for subject in subjects:
                facts.failures.pop(subject, None)

    def warned(self, key: Key, text: str) -> None:
        """The API server's warning about an object it accepted; each is planned with once."""
        facts = self._facts[key]
        if text not in facts.warned:
            facts.warned.add(text)
            facts.warnings.append(text)

    def reported(self, key: Key, texts: Container[str]) -> None:
        """These warnings have become Events."""
        if facts := self._facts.get(key):
            facts.warnings = [text for text in facts.warnings if text not in texts]

    def status_written(self, key: Key, subject: ObjectRef, status: Json, now: float, *, inline: bool = False) -> None:
        if about := self._objects[subject.kind].get((key.namespace, subject.name)):
            self._facts[key].written[subject] = Written(now, status, about.uid, inline)

    # What schedulers say

    def asking(self, key: Key, question: str) -> None:
        self._facts[key].asking.add(question)

    def answered(self, key: Key, question: str) -> None:
        """A question is no longer under way."""
        self._facts[key].asking.discard(question)

    def surveyed(self, key: Key, survey: Survey) -> None:
        self._facts[key].survey = survey

    def demanded(self, key: Key, sample: Sample, keep: float) -> None:
        """How many workers a scheduler asks for. What it asked for is remembered for `keep` seconds."""
        facts = self._facts[key]
        before = facts.demand.samples if facts.demand else ()
        kept = tuple(old for old in before if old.at >= sample.at - keep)
        facts.demand = Demand(sample.at, (*kept, sample))

    def demand_unknown(self, key: Key, problem: Problem, now: float) -> None:
        facts = self._facts[key]
        facts.demand = Demand(now, facts.demand.samples if facts.demand else (), problem)

    def idle(self, key: Key, token: float | None, now: float, problem: Problem | None = None) -> None:
        """What a scheduler calls the time since when it is idle. A time that it has named before began back then."""
        facts = self._facts[key]
        before = facts.idleness
        since = before.since if before and before.token is not None and before.token == token else now
        # The clock may have been set back since.
        facts.idleness = Idleness(now, token, min(since, now), problem)

    def retiring(self, key: Key, uids: frozenset[str]) -> None:
        self._facts[key].retiring |= uids

    def retired(self, key: Key, asked: frozenset[str], uids: frozenset[str], now: float) -> None:
        """The end of a retirement: of those asked for these were retired, the others refused.

        What the scheduler said before is old.
        """
        facts = self._facts[key]
        present = {child.uid for kind in (POD.kind, DEPLOYMENT.kind) for child in self._children_of(kind, key)}
        facts.retired |= uids & present
        facts.refused |= dict.fromkeys((asked - uids) & present, now)
        facts.retiring -= asked
        facts.survey = None

    def retirement_failed(self, key: Key, asked: frozenset[str], survey: Survey) -> None:
        """It is not known who was retired; the scheduler will be asked again."""
        facts = self._facts[key]
        facts.retiring -= asked
        facts.survey = survey

    def forget_facts(self) -> None:
        """What is known besides objects may have changed while another process worked."""
        self._facts.clear()

    # What a plan needs

    def snapshot(self, key: Key) -> tuple[Cluster | None, Observed]:
        """A DaskCluster and what is known about it. Facts about what no user declares any more are forgotten."""
        cluster = self._objects[CLUSTER.kind].get(key)
        facts = self._facts[key] if self._declared(key) else self._facts.pop(key, _Facts())
        return cluster if isinstance(cluster, Cluster) else None, Observed(
            job=next(iter(self._children_of(JOB.kind, key)), None),
            deployment=self._scheduler(DEPLOYMENT.kind, key, Deployment),
            service=self._scheduler(SERVICE.kind, key, Service),
            groups=self._children_of(GROUP.kind, key),
            autoscalers=self._children_of(AUTOSCALER.kind, key),
            pods=self._children_of(POD.kind, key),
            worker_deployments=tuple(
                each for each in self._children_of(DEPLOYMENT.kind, key) if each.component == names.WORKER
            ),
            survey=facts.survey,
            demand=facts.demand,
            idleness=facts.idleness,
            asking=frozenset(facts.asking),
            retiring=facts.retiring,
            retired=frozenset(facts.retired),
            refused=dict(facts.refused),
            failures=dict(facts.failures),
            warnings=tuple(facts.warnings),
            written=dict(facts.written),
        )

    def keys(self) -> set[Key]:
        """Every cluster that anything is known of."""
        return {Key(*named) for named in self._objects[CLUSTER.kind]} | {key for _, key in self._children}

    def _declared(self, key: Key) -> bool:
        declared = (GROUP.kind, JOB.kind, AUTOSCALER.kind)
        return key in self._objects[CLUSTER.kind] or any((kind, key) in self._children for kind in declared)

    def _scheduler(self, kind: str, key: Key, type_: type[_T]) -> _T | None:
        child = self._children.get((kind, key), {}).get(names.scheduler(key.name))
        return child if isinstance(child, type_) else None

    def _children_of(self, kind: str, key: Key) -> tuple[Any, ...]:
        """Of the kind's own type, which is not looked at again: there may be ten thousand Pods."""
        children = self._children.get((kind, key))
        return tuple(children.values()) if children else ()

    def _put(self, kind: str, seen: Object) -> Iterable[Key]:
        named = (seen.namespace, seen.name)
        known = self._objects[kind].get(named)
        if known and seen.resource_version < known.resource_version:
            return ()
        if seen.uid in self._deleted and not seen.deleting:
            seen = replace(seen, deleting=True)
        before = cluster_of(known) if known else None
        key = cluster_of(seen)
        if known and before and before != key:
            self._drop_child(kind, before, known.name)
        if known and known.uid != seen.uid:
            self._forget_uid(known)
            if isinstance(known, Cluster):
                self._facts.pop(known.key, None)
        self._objects[kind][named] = seen
        if not isinstance(seen, Cluster):
            self._children[kind, key][seen.name] = seen
        return (key, before) if before and before != key else (key,)

    def _remove(self, kind: str, known: Object) -> Iterable[Key]:
        key = cluster_of(known)
        del self._objects[kind][known.namespace, known.name]
        self._forget_uid(known)
        self._no_longer_in_the_way(key, ObjectRef(kind, known.name))
        if isinstance(known, Cluster):
            self._facts.pop(key, None)
            return (key,)
        self._drop_child(kind, key, known.name)
        return (key,)

    def _no_longer_in_the_way(self, key: Key, subject: ObjectRef) -> None:
        """What had to wait until an object is gone need not wait any longer."""
        facts = self._facts.get(key)
        failure = facts.failures.get(subject) if facts else None
        if facts and failure and failure.problem.reason == TERMINATING:
            del facts.failures[subject]

    def _drop_child(self, kind: str, key: Key, name: str) -> None:
        children = self._children[kind, key]
        children.pop(name, None)
        if not children:
            del self._children[kind, key]

    def _forget_uid(self, known: Object) -> None:
        self._deleted.discard(known.uid)
        if isinstance(known, Pod | Deployment) and (facts := self._facts.get(cluster_of(known))):
            facts.retired.discard(known.uid)
            facts.refused.pop(known.uid, None)

    def _advance(self, kind: str, namespace: str, version: int) -> None:
        self.reached(kind, namespace if (kind, namespace) in self._watched else "", version)

    def _reached(self, kind: str, namespace: str) -> int:
        return self._watched.get((kind, namespace), self._watched.get((kind, ""), 0))


def _undone(subject: ObjectRef, deed: Deed, times: int) -> Problem:
    what = f"{subject.kind} {deed.name} was written {times + 1} times ({deed.because}), each time without effect"
    hint = "an admission webhook, a policy or another program undoes it; it is tried again, less and less often"
    return Problem("WriteUndone", f"{what}: {hint}")


def _pause(attempts: int) -> float:
    return _BACKOFF.after(attempts) * random.uniform(0.8, 1.2)


def cluster_of(about: Object) -> Key:
    """The cluster that an object is part of, by its label or by what it says."""
    match about:
        case Cluster() | Job():
            return about.key
        case Group() | Autoscaler() | Pod() | Deployment() | Service():
            return Key(about.namespace, about.cluster)
    raise TypeError(f"a {type(about).__name__} belongs to no cluster")
