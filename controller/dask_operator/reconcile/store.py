"""The controller's knowledge, by cluster: objects from watches and from replies to its own writes, and facts.

Two rules make it safe to plan from. A state never replaces a newer state of the same object. And an object that
vanished while a watch was down is gone after the next list. The store does no IO and has no clock.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from dask_operator import names
from dask_operator.model import (
    Autoscaler,
    Cluster,
    Deployment,
    Flavor,
    Group,
    Job,
    Json,
    Key,
    Object,
    ObjectRef,
    Observed,
    Pod,
    Priority,
    Queues,
    Service,
    Taint,
    Workload,
    Written,
)
from dask_operator.reconcile.facts import HAS_EFFECT, Facts
from dask_operator.resources import AUTOSCALER, CLUSTER, DEPLOYMENT, GROUP, JOB, POD, SERVICE, WORKLOAD

_T = TypeVar("_T", bound=Object)
_K = TypeVar("_K")
_V = TypeVar("_V")


class Store:
    """The world as far as it is known. Methods that change objects return the keys of the clusters concerned."""

    def __init__(self, *, queues: bool = False) -> None:
        """Create a store that knows nothing. `queues`: clusters may wait in queues."""
        self._queues = Queues({}, {}) if queues else None
        self._objects: dict[str, dict[tuple[str, str], Object]] = defaultdict(dict)
        self._children: dict[tuple[str, Key], dict[str, Object]] = defaultdict(dict)
        self._facts: dict[Key, Facts] = defaultdict(Facts)
        self._tainted: dict[str, tuple[Taint, ...]] = {}
        self._watched: dict[tuple[str, str], int] = {}
        self._deleted: set[str] = set()

    # From watches

    def observe(self, kind: str, seen: Object) -> Iterable[Key]:
        """Take an object's state from a watch."""
        self._advance(kind, seen.namespace, seen.resource_version)
        return self._put(kind, seen)

    def removed(self, kind: str, gone: Object) -> Iterable[Key]:
        """Take an object's end from a watch."""
        self._advance(kind, gone.namespace, gone.resource_version)
        known = self._objects[kind].get((gone.namespace, gone.name))
        if not known or known.uid != gone.uid:
            return ()
        facts = self._facts.get(cluster_of(known))
        if facts and isinstance(gone, Pod) and gone.deleted >= gone.created + HAS_EFFECT:
            facts.pod_deleted(ObjectRef(kind, names.workers(gone.group)), gone.name)
        return self._remove(kind, known)

    def replace(self, kind: str, namespace: str, listed: Iterable[Object], version: int) -> set[Key]:
        """Take a list of all objects of a kind in a namespace ("": in all); an object that it lacks is gone."""
        present = {(seen.namespace, seen.name): seen for seen in listed}
        changed = {key for seen in present.values() for key in self._put(kind, seen)}
        for known in list(self._objects[kind].values()):
            vanished = (known.namespace, known.name) not in present and known.resource_version <= version
            if vanished and namespace in ("", known.namespace):
                changed.update(self._remove(kind, known))
        self._watched[kind, namespace] = version
        return changed

    def reached(self, kind: str, namespace: str, version: int) -> None:
        """Record that a watch has shown everything up to a resource version."""
        self._watched[kind, namespace] = max(version, self._watched.get((kind, namespace), 0))

    def taint(self, node: str, taints: tuple[Taint, ...]) -> set[Key]:
        """Take the taints of a node, none if it is gone. Return the clusters with Pods on it if they have changed."""
        if taints == self._tainted.get(node, ()):
            return set()
        self._tainted[node] = taints
        if not taints:
            del self._tainted[node]
        pods = self._objects[POD.kind].values()
        return {cluster_of(pod) for pod in pods if isinstance(pod, Pod) and pod.node == node}

    def queue_fact(self, kind: str, seen: Flavor | Priority, *, gone: bool = False) -> set[Key]:
        """Take a ResourceFlavor or a priority class. Return the clusters that wait in queues."""
        flavors, priorities = self.queues
        if isinstance(seen, Flavor):
            flavors = _changed(flavors, seen.name, None if gone else seen)
        else:
            priorities = _changed(priorities, (kind, seen.name), None if gone else seen)
        self._queues = Queues(flavors, priorities)
        declared = (*self._objects[CLUSTER.kind].values(), *self._objects[JOB.kind].values())
        waiting = (each for each in declared if isinstance(each, Cluster | Job))
        return {each.key for each in waiting if names.QUEUE_LABEL in each.metadata.labels}

    @property
    def queues(self) -> Queues:
        """All ResourceFlavors and priority classes."""
        return self._queues or Queues({}, {})

    @property
    def tainted(self) -> frozenset[str]:
        """The names of the nodes that have taints."""
        return frozenset(self._tainted)

    # From replies to our own writes

    def learn(self, kind: str, written: Object) -> Iterable[Key]:
        """Take the object from a write's reply, unless a watch has passed it: the object may be gone again."""
        if written.resource_version <= self._reached(kind, written.namespace):
            return ()
        return self._put(kind, written)

    def deleted(self, kind: str, uid: str, namespace: str, name: str) -> None:
        """Record that we have deleted an object: until it vanishes, no older state brings it back to life."""
        known = self._objects[kind].get((namespace, name))
        if known and known.uid == uid:
            self._deleted.add(uid)
            self._put(kind, replace(known, deleting=True))

    def status_written(self, key: Key, subject: ObjectRef, status: Json, now: float, *, inline: bool = False) -> None:
        """Record a status that we have written, with `inline` into an object without a status subresource."""
        if about := self._objects[subject.kind].get((key.namespace, subject.name)):
            self._facts[key].written[subject] = Written(now, status, about.uid, inline)

    # Facts

    def facts(self, key: Key) -> Facts:
        """Return the facts about a cluster, to be changed. They last until a plan in which nobody declares it."""
        return self._facts[key]

    def clear_failures(self, key: Key, subjects: Iterable[ObjectRef]) -> None:
        """Drop failures that no longer matter, because no action about their subjects is wanted."""
        if facts := self._facts.get(key):
            facts.clear_failures(subjects)

    def retired(
        self,
        key: Key,
        asked: frozenset[str],
        retired: frozenset[str],
        now: float,
        overdue: frozenset[str] = frozenset(),
        actors: frozenset[str] = frozenset(),
    ) -> None:
        """Record the end of a retirement, as `Facts.retirement_ended` does, for workers that still exist."""
        kinds = (POD.kind, DEPLOYMENT.kind)
        present = frozenset(child.uid for kind in kinds for child in self._children_of(kind, key))
        self._facts[key].retirement_ended(asked, retired, present, now, overdue, actors)

    def clock_set(self, step: float) -> None:
        """Move the times of all facts by the seconds by which the clock was set."""
        for facts in self._facts.values():
            facts.clock_set(step)

    def forget_facts(self) -> None:
        """Drop all facts, which may have changed while another process led."""
        self._facts.clear()

    # For plans

    def snapshot(self, key: Key) -> tuple[Cluster | None, Observed]:
        """Return a DaskCluster and everything known about it. Facts about a cluster nobody declares end with it."""
        cluster = self._objects[CLUSTER.kind].get(key)
        facts = self._facts[key] if self._declared(key) else self._facts.pop(key, Facts())
        return cluster if isinstance(cluster, Cluster) else None, Observed(
            job=next(iter(self._children_of(JOB.kind, key)), None),
            deployment=self._scheduler(DEPLOYMENT.kind, key, Deployment),
            service=self._scheduler(SERVICE.kind, key, Service),
            groups=self._children_of(GROUP.kind, key),
            autoscalers=self._children_of(AUTOSCALER.kind, key),
            pods=(pods := self._children_of(POD.kind, key)),
            worker_deployments=tuple(
                each for each in self._children_of(DEPLOYMENT.kind, key) if each.component == names.WORKER
            ),
            workloads=self._children_of(WORKLOAD.kind, key),
            queues=self._queues,
            survey=facts.survey,
            demand=facts.demand,
            idleness=facts.idleness,
            progress=facts.progress,
            asking=frozenset(facts.asking),
            retiring=dict(facts.retiring),
            resuming=frozenset(facts.resuming),
            retired=frozenset(facts.retired),
            overdue=frozenset(facts.overdue),
            refused=dict(facts.refused),
            actors=frozenset(facts.actors),
            displaced=self._displaced(pods),
            failures=dict(facts.failures),
            warnings=tuple(facts.warnings),
            written=dict(facts.written),
        )

    def _displaced(self, pods: Iterable[Pod]) -> frozenset[str]:
        tainted = self._tainted
        if not tainted:
            return frozenset()
        return frozenset(pod.uid for pod in pods if pod.is_kept_away_by(tainted.get(pod.node, ())))

    def missing(self, kind: str, namespace: str, named: Iterable[str]) -> set[str]:
        """Return the names of those objects that do not exist."""
        return {name for name in named if (namespace, name) not in self._objects[kind]}

    def keys(self) -> set[Key]:
        """Return every cluster of which any object is known."""
        return {Key(*named) for named in self._objects[CLUSTER.kind]} | {key for _, key in self._children}

    def _declared(self, key: Key) -> bool:
        declared = (GROUP.kind, JOB.kind, AUTOSCALER.kind)
        return key in self._objects[CLUSTER.kind] or any((kind, key) in self._children for kind in declared)

    def _scheduler(self, kind: str, key: Key, type_: type[_T]) -> _T | None:
        child = self._children.get((kind, key), {}).get(names.scheduler(key.name))
        return child if isinstance(child, type_) else None

    def _children_of(self, kind: str, key: Key) -> tuple[Any, ...]:
        """Return a cluster's objects of a kind. Their type is not checked: there may be ten thousand Pods."""
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
                self._forget_cluster(known.key)
        self._objects[kind][named] = seen
        if not isinstance(seen, Cluster):
            self._children[kind, key][seen.name] = seen
        return (key, before) if before and before != key else (key,)

    def _remove(self, kind: str, known: Object) -> Iterable[Key]:
        key = cluster_of(known)
        del self._objects[kind][known.namespace, known.name]
        self._forget_uid(known)
        if facts := self._facts.get(key):
            facts.object_gone(ObjectRef(kind, known.name))
        if isinstance(known, Cluster):
            self._forget_cluster(key)
            return (key,)
        self._drop_child(kind, key, known.name)
        return (key,)

    def _forget_cluster(self, key: Key) -> None:
        if facts := self._facts.pop(key, None):
            self._facts[key] = facts.of_next_cluster()

    def _drop_child(self, kind: str, key: Key, name: str) -> None:
        children = self._children[kind, key]
        children.pop(name, None)
        if not children:
            del self._children[kind, key]

    def _forget_uid(self, known: Object) -> None:
        self._deleted.discard(known.uid)
        if isinstance(known, Pod | Deployment) and (facts := self._facts.get(cluster_of(known))):
            facts.worker_gone(known.uid)

    def _advance(self, kind: str, namespace: str, version: int) -> None:
        self.reached(kind, namespace if (kind, namespace) in self._watched else "", version)

    def _reached(self, kind: str, namespace: str) -> int:
        return self._watched.get((kind, namespace), self._watched.get((kind, ""), 0))


def _changed(table: Mapping[_K, _V], key: _K, value: _V | None) -> dict[_K, _V]:
    others = {each: kept for each, kept in table.items() if each != key}
    return others if value is None else {**others, key: value}


def cluster_of(about: Object) -> Key:
    """Return the cluster that an object belongs to, by its label or its spec."""
    match about:
        case Cluster() | Job():
            return about.key
        case Group() | Autoscaler() | Pod() | Deployment() | Service() | Workload():
            return Key(about.namespace, about.cluster)
    raise TypeError(f"a {type(about).__name__} belongs to no cluster")
