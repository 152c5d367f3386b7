"""Sequences of users' changes to a Dask cluster and of troubles meanwhile, and the state the users then want.

Hypothesis chooses the steps. The tests execute them in memory or on a real API server.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

Raw = dict[str, Any]

DEFAULT, GPU = "default", "gpu"
GROUPS = (DEFAULT, GPU)
WISHES = ("scale", "edit workers", "add group", "delete group", "autoscale")
"""Users' changes to a group."""
ALL_WISHES = ("scale cluster", "edit scheduler", "no autoscaling", "delete cluster", "create cluster", "suspend")
TROUBLE = ("worker is deleted", "worker fails", "worker ends")
"""Troubles of a group's workers."""
ALL_TROUBLE = (
    "service is deleted",
    "deployment is deleted",
    "scheduler is deleted",
    "scheduler falls silent",
    "scheduler answers",
    "scheduler asks for workers",
    "controller is killed",
    "time passes",
    "quota",
    "no quota",
)
MOST = 5


class Step(NamedTuple):
    """A change or trouble. `group`: its group; `number`: of workers or seconds, or a version."""

    what: str
    group: str = ""
    number: int = 0

    def __repr__(self) -> str:
        return " ".join(filter(None, (self.what, self.group, str(self.number))))


_STEPS = st.one_of(
    st.builds(Step, st.sampled_from(WISHES), st.sampled_from(GROUPS), st.integers(0, MOST)),
    st.builds(Step, st.sampled_from(("scale", "scale", "edit workers")), st.just(DEFAULT), st.integers(0, MOST)),
    st.builds(Step, st.sampled_from(ALL_WISHES), st.just(""), st.integers(0, MOST)),
    st.builds(Step, st.sampled_from(TROUBLE), st.sampled_from(GROUPS), st.integers(0, MOST)),
    st.builds(Step, st.sampled_from(ALL_TROUBLE), st.just(""), st.integers(0, MOST)),
)


def sequences(steps: int) -> st.SearchStrategy[list[Step]]:
    return st.lists(_STEPS, min_size=steps // 2, max_size=steps)


def chosen(number: int, steps: int) -> list[list[Step]]:
    """Return `number` sequences, the same ones each time."""
    found: list[list[Step]] = []

    @settings(max_examples=number, derandomize=True, database=None, deadline=None, phases=[Phase.generate])
    @given(sequences(steps))
    def keep(sequence: list[Step]) -> None:
        found.append(sequence)

    keep()
    return found


class Maker(Protocol):
    """Manifests for the place where the steps are executed. `number`: of workers."""

    def cluster(self, number: int) -> Raw: ...

    def group(self, name: str, number: int) -> Raw: ...

    def autoscaler(self, group: str, minimum: int, maximum: int) -> Raw: ...


class Change(NamedTuple):
    """A change of an object: its creation (`spec` is all of it), a patch of its spec, or its deletion (`spec` None)."""

    kind: str
    name: str
    spec: Raw | None
    create: bool = False


@dataclass
class Wanted:
    """The objects declared under the name of a cluster, and the wanted number of workers of each group.

    None for a group that was autoscaled: as many as it had then.
    """

    name: str
    make: Maker
    objects: dict[tuple[str, str], Raw] = field(default_factory=dict)
    replicas: dict[str, int | None] = field(default_factory=dict)

    def take(self, step: Step) -> Sequence[Change]:
        """Return the changes of a step, and record what the users now want; nothing if the step makes no sense here."""
        takes: dict[str, Callable[[str, int], Sequence[Change]]] = {
            "scale": self._scale,
            "edit workers": self._edit_workers,
            "add group": self._add_group,
            "delete group": self._delete_group,
            "autoscale": self._autoscale,
            "scale cluster": lambda _, number: self._scale_cluster(number),
            "edit scheduler": lambda _, number: self._edit_scheduler(number),
            "no autoscaling": lambda *_: self._delete("DaskAutoscaler", self.name),
            "delete cluster": lambda *_: [change for key in list(self.objects) for change in self._delete(*key)],
            "create cluster": lambda _, number: self._create_cluster(number),
            "suspend": lambda _, number: self._suspend(suspended=bool(number % 2)),
        }
        return takes[step.what](self._group(step.group), step.number) if step.what in takes else ()

    def has(self, kind: str, name: str) -> bool:
        return (kind, name) in self.objects

    @property
    def groups(self) -> list[str]:
        """The names of the wanted groups."""
        own = [name for kind, name in self.objects if kind == "DaskWorkerGroup"]
        return [self._group(DEFAULT), *own] if self.has("DaskCluster", self.name) else own

    @property
    def suspended(self) -> bool:
        """Whether the cluster is to have no Pods."""
        cluster = self.objects.get(("DaskCluster", self.name))
        return bool(cluster and cluster["spec"].get("suspend"))

    def _group(self, short: str) -> str:
        return f"{self.name}-{short}"

    def _create_cluster(self, number: int) -> Sequence[Change]:
        if self.has("DaskCluster", self.name):
            return ()
        self._have(self._group(DEFAULT), number)
        return self._create(self.make.cluster(number))

    def _add_group(self, group: str, number: int) -> Sequence[Change]:
        if group == self._group(DEFAULT) or self.has("DaskWorkerGroup", group):
            return ()
        self._have(group, number)
        return self._create(self.make.group(group, number))

    def _delete_group(self, group: str, _: int) -> Sequence[Change]:
        if group != self._group(DEFAULT) or not self.has("DaskCluster", self.name):
            return self._delete("DaskWorkerGroup", group)
        # The default group comes back, since its cluster has it.
        self._have(group, self._of_cluster()["worker"]["replicas"])
        return [Change("DaskWorkerGroup", group, None)]

    def _scale(self, group: str, number: int) -> Sequence[Change]:
        if group not in self.groups:
            return ()
        self._have(group, number)
        return self._patch("DaskWorkerGroup", group, {"worker": {"replicas": number}})

    def _scale_cluster(self, number: int) -> Sequence[Change]:
        if not self.has("DaskCluster", self.name):
            return ()
        group = self._group(DEFAULT)
        if self._of_cluster()["worker"]["replicas"] != number:
            self._have(group, number)
        return self._patch("DaskCluster", self.name, {"worker": {"replicas": number}})

    def _edit_workers(self, group: str, number: int) -> Sequence[Change]:
        key = ("DaskCluster", self.name) if group == self._group(DEFAULT) else ("DaskWorkerGroup", group)
        if not self.has(*key):
            return ()
        containers = _of_version(self.objects[key]["spec"]["worker"]["spec"]["containers"], number)
        return self._patch(*key, {"worker": {"spec": {"containers": containers}}})

    def _edit_scheduler(self, number: int) -> Sequence[Change]:
        if not self.has("DaskCluster", self.name):
            return ()
        containers = _of_version(self._of_cluster()["scheduler"]["spec"]["containers"], number)
        return self._patch("DaskCluster", self.name, {"scheduler": {"spec": {"containers": containers}}})

    def _suspend(self, *, suspended: bool) -> Sequence[Change]:
        if not self.has("DaskCluster", self.name):
            return ()
        return self._patch("DaskCluster", self.name, {"suspend": suspended})

    def _autoscale(self, group: str, number: int) -> Sequence[Change]:
        made = self.make.autoscaler(group, number % 3, number % 3 + 3)
        if group in self.groups:
            self.replicas[group] = None
        if self.has("DaskAutoscaler", self.name):
            return self._patch("DaskAutoscaler", self.name, made["spec"])
        return self._create(made)

    def _have(self, group: str, number: int) -> None:
        autoscaler = self.objects.get(("DaskAutoscaler", self.name))
        autoscaled = autoscaler and autoscaler["spec"]["workerGroup"] == group
        self.replicas[group] = None if autoscaled else number

    def _of_cluster(self) -> Raw:
        spec: Raw = self.objects["DaskCluster", self.name]["spec"]
        return spec

    def _create(self, raw: Raw) -> Sequence[Change]:
        kind, name = raw["kind"], raw["metadata"]["name"]
        self.objects[kind, name] = copy.deepcopy(raw)
        return [Change(kind, name, raw, create=True)]

    def _patch(self, kind: str, name: str, spec: Raw) -> Sequence[Change]:
        if self.has(kind, name):
            _merge(self.objects[kind, name]["spec"], spec)
        return [Change(kind, name, spec)]

    def _delete(self, kind: str, name: str) -> Sequence[Change]:
        return [Change(kind, name, None)] if self.objects.pop((kind, name), None) else ()


def _of_version(containers: Sequence[Raw], number: int) -> list[Raw]:
    first, *others = containers
    return [{**first, "image": f"dask:{number}"}, *others]


def _merge(into: Raw, spec: Raw) -> None:
    for key, value in spec.items():
        if isinstance(value, dict):
            _merge(into.setdefault(key, {}), value)
        else:
            into[key] = copy.deepcopy(value)
