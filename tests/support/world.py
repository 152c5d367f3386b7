"""A Kubernetes and a Dask scheduler in memory: what a plan asks for is done, and the next plan sees it.

Objects are JSON, made by `build` and read by `parse`, as in life. Nothing happens by itself: `settle` lets Pods start
and time pass, and everything else is done to the world by the test.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.support.builders import NOON, raw_cluster, raw_group

from dask_operator import parse
from dask_operator.actions import Action, Ask, Create, Delete, Emit, Patch, Retire, SetStatus, Wake
from dask_operator.model import Cluster, Failure, Observed, Pod, Problem, Registration, Subject, Survey
from dask_operator.plan import Policy, plan
from dask_operator.plan.status import rfc3339

WRITES = (Create, Patch, Delete, SetStatus)
_ROUNDS = 500

Raw = dict[str, Any]


@dataclass
class Memory:
    """What a controller process knows besides objects; a restart forgets it."""

    survey: Survey | None = None
    retired: set[str] = field(default_factory=set)
    refused: dict[str, float] = field(default_factory=dict)
    failures: dict[Subject, Failure] = field(default_factory=dict)
    status_written: dict[Subject, float] = field(default_factory=dict)


class World:
    """One DaskCluster, `simple`, and what is made for it. `done` are all actions so far, `now` the time."""

    def __init__(self, workers: int = 3, policy: Policy = Policy()) -> None:
        self.now = NOON
        self.policy = policy
        self.memory = Memory()
        self.done: list[Action] = []
        self.held: dict[str, int] = {}
        """Bytes of results by worker; nobody else has them."""
        self.lost: list[str] = []
        """Workers that went with results on them while a scheduler ran."""
        self.names: Counter[str] = Counter()
        """How many Pods there have ever been of each name."""
        self.refuses: Callable[[Raw], Problem | None] = lambda _: None
        """Why the API server will not have an object, as a quota would."""
        self.starts: Callable[[Pod], bool] = lambda _: True
        """Whether a Pod starts, rather than stay pending."""
        self.ends: Callable[[Pod], str] = lambda _: ""
        """Whether a worker ends, three seconds after its start: `Failed`, `Succeeded`, or `Rejected` by its node."""
        self.scheduler_answers = True
        self._version = 10
        self._uids = 0
        self._objects: dict[tuple[str, str], Raw] = {}
        self.put(raw_cluster(workers=workers))

    # What there is

    @property
    def cluster(self) -> Cluster:
        return parse.cluster(self._objects["DaskCluster", "simple"])

    def pods(self, group: str = "simple-default") -> list[Pod]:
        """A group's workers, in any state."""
        return [pod for pod in self._pods() if pod.group == group]

    def running(self, group: str = "simple-default") -> list[str]:
        return [pod.name for pod in self.pods(group) if pod.phase == "Running" and not pod.deleting]

    def raw(self, kind: str, name: str) -> Raw:
        return self._objects[kind, name]

    def has(self, kind: str, name: str) -> bool:
        return (kind, name) in self._objects

    def status(self, kind: str = "DaskCluster", name: str = "simple") -> Mapping[str, Any]:
        return self._objects[kind, name].get("status") or {}

    def observed(self) -> Observed:
        seen = {kind: [raw for (k, _), raw in self._objects.items() if k == kind] for kind, _ in self._objects}
        deployments = [parse.deployment(raw) for raw in seen.get("Deployment", [])]
        services = [parse.service(raw) for raw in seen.get("Service", [])]
        return Observed(
            deployment=next(iter(deployments), None),
            service=next(iter(services), None),
            groups=tuple(parse.group(raw) for raw in seen.get("DaskWorkerGroup", [])),
            pods=tuple(self._pods()),
            survey=self.memory.survey,
            retired=frozenset(self.memory.retired),
            refused=dict(self.memory.refused),
            failures=dict(self.memory.failures),
            status_written=dict(self.memory.status_written),
        )

    def plan(self) -> tuple[Action, ...]:
        desired = self.cluster if self.has("DaskCluster", "simple") else None
        return plan(desired, self.observed(), self.now, self.policy)

    def writes(self) -> int:
        """Requests that change something in the API server, without Events."""
        return sum(isinstance(action, WRITES) for action in self.done)

    # What a test does to it

    def put(self, raw: Raw) -> None:
        """Makes or replaces an object, as somebody else."""
        kept = copy.deepcopy(raw)
        self._uids += 1
        kept["metadata"].setdefault("creationTimestamp", rfc3339(self.now))
        kept["metadata"].setdefault("uid", f"uid-{self._uids}")
        self._objects[kept["kind"], kept["metadata"]["name"]] = self._touched(kept)

    def add_group(self, name: str, workers: int) -> None:
        self.put(raw_group(name, workers=workers))

    def scale(self, workers: int, kind: str = "DaskWorkerGroup", name: str = "simple-default") -> None:
        raw = self._objects[kind, name]
        raw["spec"] = {**raw["spec"], "worker": {**raw["spec"]["worker"], "replicas": workers}}
        raw["metadata"]["generation"] = raw["metadata"].get("generation", 1) + 1
        self._touched(raw)

    def scale_cluster(self, workers: int) -> None:
        self.scale(workers, "DaskCluster", "simple")

    def remove(self, kind: str, name: str) -> None:
        """Deletes an object and, as the garbage collector does, what it owns."""
        gone = self._objects.pop((kind, name), None)
        if gone is None:
            return
        self.memory.retired.discard(gone["metadata"]["uid"])
        for (child_kind, child), raw in list(self._objects.items()):
            if gone["metadata"]["uid"] in _owners(raw):
                self.remove(child_kind, child)

    def end(self, pod: str, phase: str, *, reason: str = "") -> None:
        """A worker ends: `Failed` or `Succeeded`. With a reason it is the kubelet's doing: no container says when."""
        status = self._objects["Pod", pod].setdefault("status", {})
        code = 0 if phase == "Succeeded" else 1
        ended = {"exitCode": code, "reason": "Completed" if not code else "Error", "finishedAt": rfc3339(self.now)}
        status |= {"phase": phase, "conditions": []}
        if reason:
            status |= {"reason": reason, "message": "the node is short of memory", "containerStatuses": []}
        else:
            status["containerStatuses"] = [{"name": "worker", "state": {"terminated": ended}}]
        self._touched(self._objects["Pod", pod])
        self.held.pop(pod, None)

    def restart_controller(self) -> None:
        self.memory = Memory()

    # What it does with a plan

    def apply(self, actions: Sequence[Action], only: int | None = None) -> None:
        """Does actions; the first `only` of them, where the controller is killed in between."""
        refused: set[Subject] = set()
        for action in actions[:only]:
            if isinstance(action, WRITES) and action.subject in refused:
                continue
            self.done.append(action)
            if isinstance(action, WRITES) and (problem := self._problem(action)):
                refused.add(action.subject)
                self._failed(action.subject, problem)
                continue
            self._do(action)
            if isinstance(action, WRITES):
                self.memory.failures.pop(action.subject, None)

    def step(self) -> tuple[Action, ...]:
        """One plan, done."""
        actions = self.plan()
        self.apply(actions)
        return actions

    def settle(self, seconds: float = 60.0) -> list[Action]:
        """Plans, lets Pods start and time pass, until there is nothing left to do or the time is over."""
        start, deadline = len(self.done), self.now + seconds
        for _ in range(_ROUNDS):
            actions = self.step()
            moved = self.run_pods()
            if not actions and not moved:
                return self.done[start:]
            if not moved and all(isinstance(action, Wake) for action in actions):
                self.now = min(action.at for action in actions if isinstance(action, Wake))
                if self.now > deadline:
                    self.now = deadline
                    return self.done[start:]
        raise AssertionError(f"still at work after {_ROUNDS} plans; the last: {self.done[-5:]}")

    def run_pods(self) -> bool:
        """The kubelet's, the Deployment controller's and the API server's part. Whether anything changed."""
        changed = self._run_scheduler()
        for pod in self._pods():
            if pod.deleting:
                continue
            how = self.ends(pod) if pod.component == "worker" else ""
            if pod.phase == "Pending" and how == "Rejected":
                self.end(pod.name, "Failed", reason="OutOfcpu")
                changed = True
            elif pod.phase == "Pending" and self.starts(pod):
                self._start(pod)
                changed = True
            elif pod.phase == "Running" and how:
                self.now += 3.0
                self.end(pod.name, how)
                changed = True
        return changed

    def _run_scheduler(self) -> bool:
        deployment = self._objects.get(("Deployment", "simple-scheduler"))
        if not deployment or any(pod.component == "scheduler" for pod in self._pods()):
            return False
        template = deployment["spec"]["template"]
        owner = [{"uid": deployment["metadata"]["uid"]}]
        meta = {**template["metadata"], "name": f"simple-scheduler-{self._uids}", "namespace": "default"}
        self.put({"kind": "Pod", "metadata": {**meta, "ownerReferences": owner}, "status": {"phase": "Pending"}})
        return True

    def _start(self, pod: Pod) -> None:
        raw = self._objects["Pod", pod.name]
        raw["status"] = {
            "phase": "Running",
            "startTime": rfc3339(self.now),
            "podIP": f"10.0.{self._uids // 250}.{self._uids % 250}",
            "conditions": [{"type": "Ready", "status": "True"}],
        }
        self._uids += 1
        self._touched(raw)

    def _do(self, action: Action) -> None:
        match action:
            case Create():
                self._create(action.manifest)
            case Patch():
                self._merge(action.subject, action.body)
            case SetStatus():
                self._merge(action.subject, {"status": action.status})
                self.memory.status_written[action.subject] = self.now
            case Delete():
                self._delete(action)
            case Ask():
                self.memory.survey = self._answer()
            case Retire():
                self._retire(action)
            case Wake() | Emit():
                pass

    def _create(self, manifest: Mapping[str, Any]) -> None:
        raw = copy.deepcopy(dict(manifest))
        name = raw["metadata"]["name"]
        if (raw["kind"], name) in self._objects:
            return
        if raw["kind"] == "Pod":
            self.names[name] += 1
            raw["status"] = {"phase": "Pending"}
        if raw["kind"] == "Service":
            raw["spec"]["clusterIP"] = "10.96.0.7"
        self.put(raw)

    def _merge(self, subject: Subject, body: Mapping[str, Any]) -> None:
        raw = self._objects[subject.kind, subject.name]
        merged = merge(raw, body)
        raw.clear()
        raw.update(self._touched(merged))

    def _delete(self, action: Delete) -> None:
        raw = self._objects.get(("Pod", action.name))
        if not raw or raw["metadata"]["uid"] != action.uid:
            return
        version = action.resource_version
        if version is not None and version != parse.resource_version(raw):
            return
        if self.held.pop(action.name, 0) and action.uid not in self.memory.retired and self._scheduler_runs():
            self.lost.append(action.name)
        self.remove("Pod", action.name)

    def _retire(self, action: Retire) -> None:
        self.memory.survey = None
        if not self.scheduler_answers:
            self.memory.survey = self._answer()
            return
        leaving = {uid for uid, _ in action.workers}
        stay = [pod.name for pod in self._pods() if pod.component == "worker" and pod.phase == "Running"]
        stay = [name for name in stay if self._objects["Pod", name]["metadata"]["uid"] not in leaving]
        for pod in [pod for pod in self._pods() if pod.uid in leaving]:
            moved = self.held.get(pod.name, 0)
            if moved and not stay:
                self.memory.refused[pod.uid] = self.now
                continue
            if moved:
                self.held[stay[0]] = self.held.get(stay[0], 0) + self.held.pop(pod.name)
            self.memory.retired.add(pod.uid)

    def _answer(self) -> Survey:
        if not self.scheduler_answers:
            return Survey(self.now, problem=Problem("SchedulerUnreachable", "no answer"))
        workers = [pod for pod in self._pods() if pod.component == "worker" and pod.phase == "Running"]
        known = [Registration(p.name, f"tcp://{p.ip}:4000", self.held.get(p.name, 0)) for p in workers]
        return Survey(self.now, tuple(known))

    def _scheduler_runs(self) -> bool:
        return any(pod.component == "scheduler" and pod.phase == "Running" for pod in self._pods())

    def _problem(self, action: Create | Patch | Delete | SetStatus) -> Problem | None:
        if not isinstance(action, Create):
            return None
        manifest = action.manifest
        found = self._objects.get((manifest["kind"], manifest["metadata"]["name"]))
        owner = manifest["metadata"]["ownerReferences"][0]["uid"]
        if found and owner not in _owners(found):
            return Problem("NameTaken", f"{manifest['metadata']['name']} belongs to something else")
        return None if found else self.refuses(dict(manifest))

    def _failed(self, subject: Subject, problem: Problem) -> None:
        before = self.memory.failures.get(subject)
        attempts = before.attempts + 1 if before else 1
        self.memory.failures[subject] = Failure(problem, attempts, self.now + min(2.0 ** (attempts - 1), 60.0))

    def _pods(self) -> list[Pod]:
        return [parse.pod(raw) for (kind, _), raw in self._objects.items() if kind == "Pod"]

    def _touched(self, raw: Raw) -> Raw:
        self._version += 1
        raw["metadata"]["resourceVersion"] = str(self._version)
        return raw


def merge(target: Any, patch: Any) -> Any:
    """A JSON merge patch (RFC 7386)."""
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    merged = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


def _owners(raw: Mapping[str, Any]) -> list[str]:
    return [owner["uid"] for owner in raw["metadata"].get("ownerReferences") or []]
