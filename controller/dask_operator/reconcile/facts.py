"""The facts about one cluster besides its objects: its scheduler's answers, and the outcome of our own writes.

No IO and no clock: each method that needs the time is given it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import NamedTuple

from dask_operator.backoff import Backoff
from dask_operator.model import (
    Demand,
    Departure,
    Failure,
    Idleness,
    ObjectRef,
    Problem,
    Progress,
    Sample,
    Survey,
    Tasks,
    Written,
)
from dask_operator.resources import CLUSTER, POD

_BACKOFF = Backoff(first=1.0, longest=60.0)
HAS_EFFECT = 10.0
"""Seconds within which the same write again means that the first had no effect, and not that there is a new cause."""
_MOST_WARNINGS = 50
_NUMBER = re.compile(r"[0-9a-f]*[0-9][0-9a-f]*")
NEW_PODS = "new Pods"
"""The part of a group's writes that its new Pods are. Each has a name of its own, so none is ever written again."""
_NEW_PODS_KEPT = 100
TERMINATING = "Terminating"
"""The reason of a failure that lasts until an object of the same name is gone."""


class Deed(NamedTuple):
    """A write that succeeded: its object and the part of it, its reason, and a hash of what was written."""

    name: str
    because: str
    content: int = 0
    part: str = ""


class _Done(NamedTuple):
    """The last writes about a subject, their time, and how many times in a row they had been made before.

    Of several times, the next may be made at `until`.
    """

    deeds: set[Deed]
    at: float
    times: int = 0
    until: float = 0.0

    @property
    def lasts(self) -> float:
        """The time until which the same writes again mean that these had no effect."""
        return self.at + HAS_EFFECT + (2 * _BACKOFF.longest if self.times else 0.0)


@dataclass(slots=True)
class Facts:
    """The facts about one cluster. Fields are as in `model.Observed`; workers are known by the uid of their Pod."""

    survey: Survey | None = None
    demand: Demand | None = None
    idleness: Idleness | None = None
    progress: Progress | None = None
    asking: set[str] = field(default_factory=set)
    retiring: dict[str, Departure] = field(default_factory=dict)
    resuming: set[str] = field(default_factory=set)
    retired: set[str] = field(default_factory=set)
    overdue: set[str] = field(default_factory=set)
    refused: dict[str, float] = field(default_factory=dict)
    actors: set[str] = field(default_factory=set)
    failures: dict[ObjectRef, Failure] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    written: dict[ObjectRef, Written] = field(default_factory=dict)
    _known_warnings: set[tuple[str, str]] = field(default_factory=set)
    _done: dict[tuple[ObjectRef, str], _Done] = field(default_factory=dict)
    """The last writes by subject and part of it."""

    def clock_set(self, step: float) -> None:
        """Move all times by the seconds by which the clock was set, as if it had always been right."""
        if self.survey:
            self.survey = replace(self.survey, at=self.survey.at + step)
        if self.demand:
            samples = tuple(sample._replace(at=sample.at + step) for sample in self.demand.samples)
            self.demand = replace(self.demand, at=self.demand.at + step, samples=samples)
        if self.idleness:
            self.idleness = replace(self.idleness, at=self.idleness.at + step, since=self.idleness.since + step)
        if self.progress:
            self.progress = replace(self.progress, at=self.progress.at + step)
        self.refused = {uid: at + step for uid, at in self.refused.items()}
        self.retiring = {uid: each._replace(since=each.since + step) for uid, each in self.retiring.items()}
        self.failures = {about: replace(each, until=each.until + step) for about, each in self.failures.items()}
        self.written = {about: each._replace(at=each.at + step) for about, each in self.written.items()}
        self._done = {
            about: each._replace(at=each.at + step, until=each.until + step) for about, each in self._done.items()
        }

    def succeeded(
        self, subject: ObjectRef, deeds: Iterable[Deed] = (), now: float = 0.0, gone: Container[str] = ()
    ) -> None:
        """End the failure about a subject. `gone`: the names of those of its `new_pods` that do not exist any more.

        If the same was written right before, something undoes it, and so it does if half of the new Pods are gone. That
        counts as a failure again, and the subject is left alone for a while, longer each time.
        """
        self.failures.pop(subject, None)
        made = set(deeds)
        for part in {deed.part for deed in made}:
            done, before = (
                {deed for deed in made if deed.part == part},
                self._done.get((subject, part), _Done(set(), 0)),
            )
            known = before.deeds if before.at <= now < before.lasts else set()
            again = done & known
            if part == NEW_PODS:
                lost = again | {deed for deed in known if deed.name in gone}
                again = lost if 2 * len(lost) >= len(known) else set()
                done = set(islice((*done, *known), _NEW_PODS_KEPT))
            times = before.times + 1 if again else 0
            self._done[subject, part] = last = _Done(done, now, times, now + (_pause(times) if times else 0.0))
            if times:
                self.failures[subject] = Failure(_undone(subject, min(again), times), times, last.until)

    def of_next_cluster(self) -> Facts:
        """Return what is left of the facts once the DaskCluster is gone: its creation, as a job may create another."""
        created = {about: each for about, each in self._done.items() if about[0].kind == CLUSTER.kind and not about[1]}
        return Facts(_done=created)

    def holds(self, subject: ObjectRef, deed: Deed, now: float) -> bool:
        """Return whether a write is to wait because it had no effect before. It counts as failed until then.

        The failure that said so may be gone: its object was there for a moment, and was as wanted.
        """
        done = self._done.get((subject, deed.part))
        if not done or not done.at <= now < done.until or (deed not in done.deeds and deed.part != NEW_PODS):
            return False
        known = deed if deed in done.deeds else min(done.deeds, default=deed)
        self.failures[subject] = Failure(_undone(subject, known, done.times), done.times, done.until)
        return True

    def new_pods(self, subject: ObjectRef) -> set[str]:
        """Return the names of a group's Pods that were created last, but for those that went for a reason."""
        done = self._done.get((subject, NEW_PODS))
        return {deed.name for deed in done.deeds} if done else set()

    def deleted(self, subject: ObjectRef, name: str) -> None:
        """Record that we have deleted an object: whoever wants it again later undoes nothing."""
        self._done.pop((subject, ""), None)
        self.pod_deleted(subject, name)

    def pod_deleted(self, subject: ObjectRef, name: str) -> None:
        """Record that a Pod is gone because we deleted it, or after it has been there for a while."""
        if done := self._done.get((subject, NEW_PODS)):
            done.deeds.difference_update([deed for deed in done.deeds if deed.name == name])

    def failed(self, subject: ObjectRef, problem: Problem, now: float, at_least: float = 0.0) -> Failure:
        """Record and return a failure, with the time of the next attempt: later each time, and with jitter.

        `at_least` is the pause in seconds that the API server asked for.
        """
        before = self.failures.get(subject)
        attempts = before.attempts + 1 if before else 1
        failure = self.failures[subject] = Failure(problem, attempts, now + max(_pause(attempts), at_least))
        return failure

    def clear_failures(self, subjects: Iterable[ObjectRef]) -> None:
        """Drop the failures about these subjects."""
        for subject in subjects:
            self.failures.pop(subject, None)

    def object_gone(self, subject: ObjectRef) -> None:
        """End the failure that an object caused by being in the way of another of its name.

        What had no room in a quota may have it where a Pod was.
        """
        if subject.kind == POD.kind:
            full = {about: each for about, each in self.failures.items() if each.problem.reason == "QuotaExceeded"}
            self.failures |= {about: replace(each, until=0.0) for about, each in full.items()}
        failure = self.failures.get(subject)
        if failure and failure.problem.reason == TERMINATING:
            del self.failures[subject]

    def warned(self, about: str, text: str) -> None:
        """Record the API server's warning about an object that it accepted, unless a like one is known already.

        A warning may have a time or an id in it, and there may be thousands of Pods.
        """
        like = about, _NUMBER.sub("", text)
        if like not in self._known_warnings and len(self._known_warnings) < _MOST_WARNINGS:
            self._known_warnings.add(like)
            self.warnings.append(f"{about}: {text}")

    def reported(self, texts: Container[str]) -> None:
        """Drop warnings that have become Events."""
        self.warnings = [text for text in self.warnings if text not in texts]

    def asked(self, question: str) -> None:
        """Record that a question to the scheduler is under way."""
        self.asking.add(question)

    def answered(self, question: str) -> None:
        """Record that a question is no longer under way."""
        self.asking.discard(question)

    def surveyed(self, survey: Survey) -> None:
        """Record the scheduler's workers, or why it does not tell them."""
        self.survey = survey

    def demanded(self, sample: Sample, keep: float) -> None:
        """Record how many workers the scheduler wants, and drop samples older than `keep` seconds or newer than it."""
        kept = tuple(old for old in self._samples if sample.at - keep <= old.at <= sample.at)
        self.demand = Demand(sample.at, (*kept, sample))

    def demand_unknown(self, problem: Problem, now: float) -> None:
        """Record that the scheduler does not say how many workers it wants."""
        self.demand = Demand(now, self._samples, problem)

    @property
    def _samples(self) -> tuple[Sample, ...]:
        return self.demand.samples if self.demand else ()

    def idle(self, token: float | None, now: float, problem: Problem | None = None) -> None:
        """Record since when the scheduler says it is idle, by its own clock, so as a token for one idle period.

        The period began when this token was first seen.
        """
        before = self.idleness
        since = before.since if before and before.token is not None and before.token == token else now
        # The clock may have been set back.
        self.idleness = Idleness(now, token, min(since, now), problem)

    def progressed(self, tasks: Tasks | None, now: float) -> None:
        """Record how far the scheduler is, None if it does not tell."""
        self.progress = Progress(now, tasks)

    def retirement_began(self, departures: Mapping[str, Departure]) -> None:
        """Record that the scheduler has been asked to retire workers."""
        self.retiring |= departures

    def retirement_goes_on(self, waits_for: Mapping[str, str]) -> None:
        """Record what workers that drain still do."""
        known = {uid: text for uid, text in waits_for.items() if uid in self.retiring}
        self.retiring |= {uid: self.retiring[uid]._replace(waits_for=text) for uid, text in known.items()}

    def retirement_ended(
        self,
        asked: frozenset[str],
        retired: frozenset[str],
        present: frozenset[str],
        now: float,
        overdue: frozenset[str] = frozenset(),
        actors: frozenset[str] = frozenset(),
    ) -> None:
        """Record which of the workers asked for were retired; the others were refused.

        `overdue`, `actors` as in `model.Observed`. Workers that are not `present` any more need no record. The last
        survey is out of date.
        """
        self.retired |= retired & present
        self.overdue |= overdue & present
        self.refused |= dict.fromkeys((asked - retired) & present, now)
        self.actors = (self.actors - asked) | (actors & present)
        self._leave_no_more(asked)

    def retirement_failed(self, asked: frozenset[str], survey: Survey | None) -> None:
        """Record that nobody knows which workers were retired, so that the scheduler is asked again.

        `survey`: why it did not answer, if it did not.
        """
        self._leave_no_more(asked, survey)

    def resume_began(self, uids: frozenset[str]) -> None:
        """Record that the scheduler has been asked to take back workers."""
        self.resuming |= uids

    def resume_ended(self, asked: frozenset[str], resumed: frozenset[str]) -> None:
        """Record which of the workers asked for were taken back. The others leave."""
        self.resuming -= asked
        late = (asked - resumed) & self.retiring.keys()
        self.retiring |= {uid: self.retiring[uid]._replace(final=True) for uid in late}
        self._leave_no_more(resumed)

    def _leave_no_more(self, uids: frozenset[str], survey: Survey | None = None) -> None:
        self.retiring = {uid: departure for uid, departure in self.retiring.items() if uid not in uids}
        self.survey = survey

    def worker_gone(self, uid: str) -> None:
        """Drop what is known about a worker that no longer exists."""
        for uids in (self.retired, self.overdue, self.actors):
            uids.discard(uid)
        self.refused.pop(uid, None)


def _undone(subject: ObjectRef, deed: Deed, times: int) -> Problem:
    writes = f"{subject.kind} {deed.name} was written {times + 1} times ({deed.because}), each time without effect"
    hint = "an admission webhook, a policy or another program undoes it; it is tried again, less and less often"
    return Problem("WriteUndone", f"{writes}: {hint}")


def _pause(attempts: int) -> float:
    return _BACKOFF.after(attempts) * random.uniform(0.8, 1.2)
