"""A Kubernetes and a Dask scheduler in memory, which do what a plan asks for and show the result to the next plan.

Objects are JSON, made by `build`, read by `parse` and kept in a `Store`, as in production. Nothing happens by itself:
`settle` and `run` let Pods start and time pass, and the test does everything else.
"""

from __future__ import annotations

import copy
import itertools
import json
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tests.support.builders import NAMESPACE, NOON, raw_cluster, raw_deployment, raw_group
from tests.support.object_store import DELETED, ObjectStore, Raw, is_outdated, merge, owners, patched, pod_of

from dask_operator import parse
from dask_operator.actions import (
    IDLE,
    PROGRESS,
    TARGET,
    Action,
    Ask,
    ClearFailures,
    Create,
    Delete,
    Patch,
    RecordEvent,
    RequeueAt,
    Resume,
    Retire,
    SetStatus,
)
from dask_operator.model import (
    Cluster,
    Departure,
    Key,
    Need,
    ObjectRef,
    Observed,
    Pod,
    Problem,
    Registration,
    Sample,
    Survey,
    Tasks,
)
from dask_operator.names import RESERVED_PREFIX
from dask_operator.parse import rfc3339
from dask_operator.plan import Policy, plan
from dask_operator.reconcile.store import Store

WRITES = (Create, Patch, Delete, SetStatus)
KEY = Key(NAMESPACE, "simple")
DECLARED = ("DaskCluster", "DaskWorkerGroup", "DaskJob", "DaskAutoscaler")
_ROUNDS = 500
_PLANS = 40

Write = Create | Patch | Delete | SetStatus


class World:
    """A DaskCluster, `simple`, with its objects, and objects that name missing clusters.

    `done`: all actions so far; `now`: the time.
    """

    def __init__(self, workers: int | None = 3, policy: Policy = Policy(), *, queues: bool = False) -> None:
        """Create a world with a DaskCluster of `workers` workers, or without one if None. `queues`: as of a Store."""
        self.now = NOON
        self.policy = policy
        self._has_queues = queues
        self.store = Store(queues=queues)
        self.done: list[Action] = []
        self.held: dict[str, int] = {}
        """Bytes of results by worker, without copies."""
        self.lost: list[str] = []
        """Workers deleted with results on them while a scheduler ran."""
        self.names: Counter[str] = Counter()
        """Number of Pods created under each name."""
        self.refuses: Callable[[Raw], Problem | None] = lambda _: None
        """The reason to refuse an object, as with a quota."""
        self.forbids: Callable[[Write], Problem | None] = lambda _: None
        """The reason to refuse another write, as with an admission webhook."""
        self.starts: Callable[[Pod], bool] = lambda _: True
        """Whether a Pod starts, rather than stay pending."""
        self.unschedulable: Callable[[Pod], bool] = lambda _: False
        """Whether no node has room for a Pod that does not start."""
        self.unschedulable_because = "0/3 nodes are available: 3 Insufficient cpu."
        self.ends: Callable[[Pod], str] = lambda _: ""
        """Whether a worker ends, three seconds after its start: `Failed`, `Succeeded`, or `Rejected` by its node."""
        self.registers: Callable[[Pod], bool] = lambda _: True
        """Whether a running worker registers with its scheduler."""
        self.lingers: Callable[[Pod], bool] = lambda _: False
        """Whether a Pod that is being deleted still exists."""
        self.keeps: Callable[[Raw], Raw] | None = None
        """The part of a status kept by definitions without a status subresource; None for definitions that have one."""
        self.scheduler_answers = True
        self.retiring_takes = 0.0
        """Seconds from the request to retire workers to its answer."""
        self.agent = True
        """Whether the scheduler has the controller's agent."""
        self.target: int | None = None
        """Number of workers the scheduler asks for; None for no answer."""
        self.nodes: dict[str, bool] = {"node-0": True, "node-1": True, "node-2": True, "node-3": True}
        """Whether each node takes Pods. A Pod that starts gets one of those that do, or starts later."""
        self.tasks = Tasks(0, 0, 0)
        """The progress that the scheduler tells."""
        self.needs: tuple[Need, ...] = ()
        """The needs of the scheduler's tasks."""
        self.idle_since: float | None = None
        """Start of the scheduler's idle period; None while it is busy."""
        self._retirements: list[tuple[float, Retire]] = []
        self._unasked: list[tuple[float, Retire]] = []
        """The drains for which a controller asked that has ended since."""
        self._left: set[str] = set()
        """The uids of workers that were retired while nobody asked."""
        self._kept = ObjectStore(self._told, version=10)
        self._numbers = itertools.count()
        self._parsed_pods: dict[str, Pod] = {}
        if workers is not None:
            self.put(raw_cluster(workers=workers))

    # Its state

    @property
    def cluster(self) -> Cluster:
        return parse.cluster(self.raw("DaskCluster", "simple"))

    def pods(self, group: str = "simple-default") -> list[Pod]:
        """Return a group's workers, in any state."""
        return [pod for pod in self._pods() if pod.group == group]

    def running(self, group: str = "simple-default") -> list[str]:
        return [pod.name for pod in self.pods(group) if pod.phase == "Running" and not pod.deleting]

    def replicas(self, group: str = "simple-default") -> int:
        wanted: int = self.raw("DaskWorkerGroup", group)["spec"]["worker"]["replicas"]
        return wanted

    def objects(self, kind: str = "") -> list[Raw]:
        """Return all objects of users and the controller, or those of a kind."""
        return [raw for raw in self._kept.every(kind) if raw["kind"] in parse.PARSERS]

    def raw(self, kind: str, name: str) -> Raw:
        found = self._find(kind, name)
        assert found, f"there is no {kind} {name}"
        return found

    def has(self, kind: str, name: str) -> bool:
        return self._find(kind, name) is not None

    def status(self, kind: str = "DaskCluster", name: str = "simple") -> Mapping[str, Any]:
        return self.raw(kind, name).get("status") or {}

    def observed(self) -> Observed:
        return self.store.snapshot(KEY)[1]

    def plan(self) -> tuple[Action, ...]:
        every = (KEY, *sorted(self.store.keys() - {KEY}))
        return tuple(action for key in every for action in plan(*self.store.snapshot(key), self.now, self.policy))

    def writes(self) -> int:
        """Return the number of requests that change something in the API server, without Events."""
        return sum(isinstance(action, WRITES) for action in self.done)

    # A test's acts

    def put(self, raw: Raw) -> None:
        """Create or replace an object, as another client."""
        self._kept.put({**raw, "metadata": {**raw["metadata"], "namespace": NAMESPACE}}, self.now)

    def add_group(self, name: str, workers: int) -> None:
        self.put(raw_group(name, workers=workers))

    def add_worker_deployments(self, number: int, group: str = "simple-default") -> None:
        """Create workers as an older operator made them."""
        owner = {"kind": "DaskWorkerGroup", "uid": self.raw("DaskWorkerGroup", group)["metadata"]["uid"]}
        labels = {
            "dask.org/cluster-name": "simple",
            "dask.org/component": "worker",
            "dask.org/workergroup-name": group,
        }
        for n in range(number):
            meta = {"uid": f"uid-of-{group}-{n}", "labels": labels, "ownerReferences": [owner]}
            spec = {"replicas": 1, "template": {"metadata": {"labels": labels}, "spec": {}}}
            self.put(raw_deployment(f"{group}-worker-{n:010x}", metadata=meta, spec=spec))

    def write_status(self, kind: str, name: str, **status: Any) -> None:
        """Update keys of an object's status, as another controller."""
        raw = self.raw(kind, name)
        self._update({**raw, "status": merge(raw.get("status"), status)})

    def edit(self, kind: str, name: str, **spec: Any) -> None:
        """Update keys of an object's spec, as its user."""
        raw = self.raw(kind, name)
        self._update({**raw, "spec": merge(raw["spec"], spec)})

    def rewrite(self, wanted: Raw) -> None:
        """Give an object another spec, labels and annotations, as its user; keep the controller's own annotations."""
        raw = self.raw(wanted["kind"], wanted["metadata"]["name"])
        notes = {k: v for k, v in (raw["metadata"].get("annotations") or {}).items() if k.startswith(RESERVED_PREFIX)}
        given = {key: wanted["metadata"].get(key) or {} for key in ("labels", "annotations")}
        metadata = {**raw["metadata"], **given, "annotations": given["annotations"] | notes}
        self._update({**raw, "metadata": metadata, "spec": copy.deepcopy(wanted["spec"])})

    def edit_workers(self, image: str, kind: str = "DaskWorkerGroup", name: str = "simple-default") -> None:
        """Give a group's workers another image."""
        self.edit(kind, name, worker={"spec": {"containers": [{"name": "worker", "image": image}]}})

    def scale(self, workers: int, kind: str = "DaskWorkerGroup", name: str = "simple-default") -> None:
        self.edit(kind, name, worker={"replicas": workers})

    def scale_cluster(self, workers: int) -> None:
        self.scale(workers, "DaskCluster", "simple")

    def remove(self, kind: str, name: str) -> None:
        """Delete an object with all objects that it alone owns, as the garbage collector does."""
        self._kept.remove_with_owned(kind, name, NAMESPACE)

    def delete(self, kind: str, name: str) -> None:
        """Delete an object as a person does: a Pod that lingers stays until it no longer does."""
        raw = self.raw(kind, name)
        if kind == "Pod" and self.lingers(parse.pod(raw)):
            self._update({**raw, "metadata": {"deletionTimestamp": rfc3339(self.now), **raw["metadata"]}})
        else:
            self.remove(kind, name)

    def end(self, pod: str, phase: str, *, reason: str = "", beside: str = "") -> None:
        """End a Pod: `Failed` or `Succeeded`. With a reason the kubelet ends it, and no container has an end time.

        `beside`: a container that goes on, and keeps the Pod running.
        """
        status = {**self.status("Pod", pod)}
        code = 0 if phase == "Succeeded" else 1
        ended = {"exitCode": code, "reason": "Completed" if not code else "Error", "finishedAt": rfc3339(self.now)}
        status |= {"phase": phase, "conditions": []}
        if reason:
            status |= {"reason": reason, "message": "the node is short of memory", "containerStatuses": []}
        else:
            (before,) = status.get("containerStatuses") or [{}]
            main = {"name": self._program(pod), "restartCount": before.get("restartCount", 0)}
            status["containerStatuses"] = [{**main, "state": {"terminated": ended}}]
        if beside:
            going_on = {"name": beside, "restartCount": 0, "state": {"running": {"startedAt": rfc3339(self.now)}}}
            status |= {"phase": "Running", "containerStatuses": [going_on, *status["containerStatuses"]]}
        self._update({**self.raw("Pod", pod), "status": status})
        self.held.pop(pod, None)

    def restart(self, pod: str) -> None:
        """Let a Pod's container fail, and the kubelet restart it."""
        status = self.status("Pod", pod)
        (before,) = status.get("containerStatuses") or [{}]
        ended = {"exitCode": 1, "reason": "Error", "finishedAt": rfc3339(self.now)}
        container = {
            "name": self._program(pod),
            "restartCount": before.get("restartCount", 0) + 1,
            "state": {"running": {"startedAt": rfc3339(self.now)}},
            "lastState": {"terminated": ended},
        }
        self._update({**self.raw("Pod", pod), "status": {**status, "containerStatuses": [container]}})

    def cordon(self, *names: str, back: bool = False) -> None:
        """Keep Pods away from nodes, or with `back` let them in again."""
        for name in names:
            self.nodes[name] = back
            node = {"metadata": {"name": name}, "spec": {} if back else {"unschedulable": True}}
            self.store.taint(name, parse.node(node).taints)

    def on(self, node: str) -> set[str]:
        """Return the names of the workers that run on a node."""
        return {pod.name for pod in self._pods() if pod.node == node and pod.component == "worker"}

    def restart_controller(self) -> None:
        queues, self.store = self.store.queues, Store(queues=self._has_queues)
        for flavor in queues.flavors.values():
            self.store.queue_fact("ResourceFlavor", flavor)
        for (kind, _), priority in queues.priorities.items():
            self.store.queue_fact(kind, priority)
        self._unasked += [(ends, retire) for ends, retire in self._retirements if retire.seconds is not None]
        self._retirements.clear()
        for raw in self.objects():
            self.store.observe(raw["kind"], parse.PARSERS[raw["kind"]](raw))

    # The controller's acts

    def apply(self, actions: Sequence[Action], only: int | None = None) -> None:
        """Do actions in the order in which they are executed.

        `only`: number of actions after which the controller is killed.
        """
        refused: set[ObjectRef] = set()
        for action in executed(actions)[:only]:
            if not isinstance(action, WRITES):
                self.done.append(action)
                self._do(action)
                continue
            if action.subject in refused:
                continue
            self.done.append(action)
            if problem := self._problem(action):
                refused.add(action.subject)
                self._failed(action.subject, problem)
                continue
            self._do(action)
            self.store.facts(KEY).succeeded(action.subject)

    def act(self, left: int) -> tuple[list[Action], int]:
        """Do one plan, and kill the controller after `left` of its actions.

        Return the planned actions without RequeueAt, and the number of actions left now, below 0 after the kill.
        """
        actions: list[Action] = [action for action in self.plan() if not isinstance(action, RequeueAt)]
        if 0 <= left < len(actions):
            self.apply(actions, only=left)
            self.restart_controller()
        else:
            self.apply(actions)
        return actions, left - len(actions)

    def act_killed(self, after: int) -> None:
        """Do plans, and let Pods start in between, with a controller that is killed after so many actions."""
        left = after
        for _ in range(_PLANS):
            _, left = self.act(left) if left >= 0 else (self.step(), -1)
            self.run_pods()

    def step(self) -> tuple[Action, ...]:
        """Do one plan, and also the next one if the scheduler was asked, since its answer changes the plan."""
        actions = self.plan()
        self.apply(actions)
        if any(isinstance(action, Ask) for action in actions):
            self.apply(answered := self.plan())
            return actions + answered
        return actions

    def settle(self, seconds: float = 60.0) -> list[Action]:
        """Plan, let Pods start and time pass, until no action is left or the time is over."""
        start, deadline, rounds = len(self.done), self.now + seconds, 0
        while rounds < _ROUNDS:
            actions, before = self.step(), self.now
            moved = self.run_pods()
            rounds = rounds + 1 if self.now == before else 0
            if not actions and not moved and not self._retirements:
                return self.done[start:]
            if moved or not all(isinstance(action, RequeueAt) for action in actions):
                continue
            wakes = [action.at for action in actions if isinstance(action, RequeueAt)]
            later = min([*wakes, *(ends for ends, _ in self._retirements)])
            if later > deadline:
                self.now = deadline
                return self.done[start:]
            rounds = 0 if later > self.now else rounds
            self.now = max(later, self.now)
        raise AssertionError(f"still at work after {_ROUNDS} plans; the last: {self.done[-5:]}")

    def run(self, seconds: float, tick: float = 1.0) -> list[Action]:
        """Let time pass, and settle every `tick` seconds."""
        start, end = len(self.done), self.now + seconds
        while self.now < end:
            until = min(self.now + tick, end)
            self.settle(until - self.now)
            self.now = max(self.now, until)
        self.settle(0.0)
        return self.done[start:]

    def run_pods(self) -> bool:
        """Do the kubelet's, the Deployment controller's and the API server's part. Return whether anything changed."""
        changed = self._end_retirements() or self._run_deployments()
        for pod in self._pods():
            changed = self._run_pod(pod) or changed
        return changed

    def _run_pod(self, pod: Pod) -> bool:
        if pod.deleting:
            if gone := not self.lingers(pod):
                self.remove("Pod", pod.name)
            return gone
        how = self.ends(pod) if pod.component == "worker" else ""
        if pod.phase == "Pending" and how == "Rejected":
            self.end(pod.name, "Failed", reason="OutOfcpu")
        elif pod.phase == "Pending" and self.starts(pod) and any(self.nodes.values()):
            self._start(pod)
        elif pod.phase == "Pending" and self.unschedulable(pod) and (not pod.problem or pod.problem_from):
            self._cannot_be_scheduled(pod)
        elif pod.phase == "Running" and how:
            self.now += 3.0
            self.end(pod.name, how)
        else:
            return False
        return True

    def _run_deployments(self) -> bool:
        changed = False
        for deployment in self._kept.every("Deployment"):
            name = deployment["metadata"]["name"]
            template = deployment["spec"].get("template") or {"metadata": {}}
            revision = json.dumps(template, sort_keys=True)
            replica_set = f"{name}-5d9f8b"
            found = self._find("ReplicaSet", replica_set)
            if not found or found["revision"] != revision:
                self.remove("ReplicaSet", replica_set)
                owner = [{"kind": "Deployment", "uid": deployment["metadata"]["uid"]}]
                meta = {"name": replica_set, "ownerReferences": owner}
                self.put({"kind": "ReplicaSet", "metadata": meta, "revision": revision})
                changed = True
            changed = self._run_replica_set(replica_set, template) or changed
        return changed

    def _run_replica_set(self, name: str, template: Raw) -> bool:
        uid = self.raw("ReplicaSet", name)["metadata"]["uid"]
        if any(
            uid in pod.owners and not pod.deleting and pod.phase not in ("Failed", "Succeeded") for pod in self._pods()
        ):
            return False
        owner = [{"kind": "ReplicaSet", "name": name, "uid": uid}]
        pod = pod_of(template, f"{name}-{next(self._numbers)}", NAMESPACE, ownerReferences=owner)
        if self.refuses(pod):
            return False
        self.put(pod)
        return True

    def _start(self, pod: Pod) -> None:
        number = next(self._numbers)
        status = {
            "phase": "Running",
            "startTime": rfc3339(self.now),
            "podIP": f"10.0.{number // 250}.{number % 250}",
            "conditions": [{"type": "Ready", "status": "True"}],
        }
        raw, free = self.raw("Pod", pod.name), [name for name, takes in self.nodes.items() if takes]
        spec = {**raw["spec"], "nodeName": free[number % len(free)]}
        self._update({**raw, "spec": spec, "status": status})

    def _cannot_be_scheduled(self, pod: Pod) -> None:
        said = {"reason": "Unschedulable", "message": self.unschedulable_because}
        condition = {"type": "PodScheduled", "status": "False", **said}
        self._update({**self.raw("Pod", pod.name), "status": {"phase": "Pending", "conditions": [condition]}})

    def _do(self, action: Action) -> None:
        match action:
            case Create():
                self._create(action.manifest)
            case Patch():
                self._patch(action)
            case SetStatus():
                self._set_status(action)
            case Delete():
                self._delete(action)
            case Ask():
                self._ask(action)
            case ClearFailures():
                self.store.clear_failures(KEY, action.subjects)
            case Retire() | Resume():
                self._let_go_or_back(action)
            case RequeueAt() | RecordEvent():
                pass

    def _let_go_or_back(self, action: Retire | Resume) -> None:
        if isinstance(action, Retire):
            self._begin_retirement(action)
        else:
            self._resume(action)

    def _create(self, manifest: Mapping[str, Any]) -> None:
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        if self.has(kind, name):
            return
        if kind == "Pod":
            self.names[name] += 1
        self.put(dict(manifest))

    def _patch(self, action: Patch) -> None:
        if raw := self._find(action.subject.kind, action.subject.name):
            self._update(patched(raw, action.body))

    def _set_status(self, action: SetStatus) -> None:
        raw = self._find(action.subject.kind, action.subject.name)
        if not raw:
            return
        status = merge(raw.get("status"), action.status)
        if self.keeps is None:
            self._update({**raw, "status": status})
        else:
            notes = {"metadata": {"annotations": dict(action.notes)}} if action.notes else {}
            self._update({**merge(raw, notes), "status": self.keeps(status)})
        self.store.status_written(KEY, action.subject, action.status, self.now, inline=self.keeps is not None)

    def _delete(self, action: Delete) -> None:
        kind = action.subject.kind
        raw = self._find(kind, action.name)
        if not raw or raw["metadata"]["uid"] != action.uid:
            return
        version = action.resource_version
        if version is not None and version != parse.resource_version(raw):
            return
        if (
            self.held.pop(action.name, 0)
            and action.uid not in self.observed().retired | self._left
            and self._scheduler_runs()
        ):
            self.lost.append(action.name)
        self.store.deleted(kind, action.uid, NAMESPACE, action.name)
        self.delete(kind, action.name)

    def _ask(self, action: Ask) -> None:
        unreachable = Problem("SchedulerUnreachable", "no answer")
        if action.question == TARGET and self.target is not None and self.scheduler_answers:
            self.store.facts(KEY).demanded(Sample(self.now, self.target, action.replicas, self.needs), action.keep)
        elif action.question == TARGET:
            self.store.facts(KEY).demand_unknown(unreachable, self.now)
        elif action.question == IDLE and self.scheduler_answers:
            self.store.facts(KEY).idle(self.idle_since, self.now)
        elif action.question == PROGRESS:
            self.store.facts(KEY).progressed(self.tasks if self.scheduler_answers and self.agent else None, self.now)
        elif action.question == IDLE:
            self.store.facts(KEY).idle(None, self.now, unreachable)
        else:
            self.store.facts(KEY).surveyed(self._answer())

    def _begin_retirement(self, action: Retire) -> None:
        departures = {uid: Departure((address,), self.now, final=not self.agent) for uid, address in action.workers}
        self.store.facts(KEY).retirement_began(departures)
        if action.seconds is None:
            self._retirements.append((self.now + self.retiring_takes, action))
        else:
            self._retirements += [self._begin_drain(action, each) for each in action.workers]
        self._end_retirements()

    def _begin_drain(self, action: Retire, worker: tuple[str, str]) -> tuple[float, Retire]:
        """Return the drain of one worker, which goes on if another controller has begun it."""
        begun = [drain for drain in self._unasked if worker in drain[1].workers]
        self._unasked = [drain for drain in self._unasked if worker not in drain[1].workers]
        takes = min(self.retiring_takes, action.seconds or 0.0)
        return begun[0] if begun else (self.now + takes, replace(action, workers=(worker,)))

    def _resume(self, action: Resume) -> None:
        facts, uids = self.store.facts(KEY), frozenset(uid for uid, _ in action.workers)
        facts.resume_began(uids)
        draining = {uid for _, drain in self._drains() for uid, _ in drain.workers}
        self._retirements = [each for each in self._retirements if uids.isdisjoint(uid for uid, _ in each[1].workers)]
        self._unasked = [each for each in self._unasked if uids.isdisjoint(uid for uid, _ in each[1].workers)]
        facts.resume_ended(uids, uids & draining)

    def _drains(self) -> list[tuple[float, Retire]]:
        return [each for each in (*self._retirements, *self._unasked) if each[1].seconds is not None]

    def _end_retirements(self) -> bool:
        for _, retire in [each for each in self._unasked if each[0] <= self.now]:
            self._left |= self._retire(retire)[0]
        self._unasked = [each for each in self._unasked if each[0] > self.now]
        due = [retire for ends, retire in self._retirements if ends <= self.now]
        self._retirements = [(ends, retire) for ends, retire in self._retirements if ends > self.now]
        for retire in due:
            asked = frozenset(uid for uid, _ in retire.workers)
            if self.scheduler_answers:
                gone, kept = self._retire(retire)
                self.store.retired(KEY, gone | kept, gone, self.now)
                self.store.facts(KEY).retirement_failed(asked - gone - kept, None)
            else:
                self.store.facts(KEY).retirement_failed(asked, self._answer())
        return bool(due)

    def _retire(self, action: Retire) -> tuple[frozenset[str], frozenset[str]]:
        """Move the data of workers to others. Return the uids of those that were retired, and of those that stay."""
        workers = [pod for pod in self._pods() if pod.component == "worker" and pod.phase == "Running"]
        addressed = {f"tcp://{pod.ip}:4000": pod for pod in workers}
        leaving = {
            uid: self._registered_as(addressed[address]) for uid, address in action.workers if address in addressed
        }
        others = (*self._retirements, *self._unasked)
        gone = self.observed().retired | self._left | {uid for _, other in others for uid, _ in other.workers}
        takers = [self._registered_as(pod) for pod in workers if self._uid(pod) not in gone]
        stay = [name for name in takers if name not in leaving.values()]
        kept = {uid for uid, name in leaving.items() if self.held.get(name) and not stay}
        for uid, name in leaving.items():
            if uid not in kept and (moved := self.held.pop(name, 0)):
                self.held[stay[0]] = self.held.get(stay[0], 0) + moved
        return frozenset(leaving) - kept, frozenset(kept)

    def _answer(self) -> Survey:
        if not self.scheduler_answers:
            return Survey(self.now, problem=Problem("SchedulerUnreachable", "no answer"))
        workers = [pod for pod in self._pods() if pod.component == "worker" and pod.phase == "Running"]
        gone = self.observed().retired | self._left
        workers = [pod for pod in workers if self.registers(pod) and self._uid(pod) not in gone]
        draining = {uid for _, drain in self._drains() for uid, _ in drain.workers}
        return Survey(self.now, tuple(self._registration(pod, draining) for pod in workers), agent=self.agent)

    def _registration(self, pod: Pod, draining: Container[str]) -> Registration:
        name, drains = self._registered_as(pod), self._uid(pod) in draining
        return Registration(name, f"tcp://{pod.ip}:4000", self.held.get(name, 0), draining=drains)

    def _registered_as(self, pod: Pod) -> str:
        """Return a worker's name in Dask; an older operator's have the name of their Deployment."""
        return pod.deployment or pod.name

    def _uid(self, pod: Pod) -> str:
        """Return the uid under which a plan knows a worker: its Deployment's if it has one."""
        if not pod.deployment:
            return pod.uid
        uid: str = self.raw("Deployment", pod.deployment)["metadata"]["uid"]
        return uid

    def _scheduler_runs(self) -> bool:
        return any(pod.component == "scheduler" and pod.phase == "Running" for pod in self._pods())

    def _problem(self, action: Write) -> Problem | None:
        if problem := self.forbids(action):
            return problem
        if isinstance(action, Patch):
            return self._cannot_patch(action)
        if not isinstance(action, Create):
            return None
        manifest = action.manifest
        found = self._find(manifest["kind"], manifest["metadata"]["name"])
        owner = manifest["metadata"]["ownerReferences"][0]["uid"]
        if found and owner not in owners(found):
            return Problem("NameTaken", f"{manifest['metadata']['name']} belongs to something else")
        return None if found else self.refuses(dict(manifest))

    def _cannot_patch(self, action: Patch) -> Problem | None:
        raw = self._find(action.subject.kind, action.subject.name)
        if not raw:
            return None
        if action.pod and (problem := self.refuses(dict(action.pod))):
            return problem
        if is_outdated(action.body, raw):
            return Problem("Conflict", "it has changed")
        try:
            patched(raw, action.body)
        except LookupError as error:
            return Problem("Invalid", f"the patch adds to {error}, which does not exist")
        return None

    def _failed(self, subject: ObjectRef, problem: Problem) -> None:
        before = self.observed().failures.get(subject)
        attempts = before.attempts + 1 if before else 1
        # Longer than the store's own pause, which is random.
        self.store.facts(KEY).failed(subject, problem, self.now, at_least=1.25 * min(2.0 ** (attempts - 1), 60.0))

    def _pods(self) -> list[Pod]:
        return list(self._parsed_pods.values())

    def _program(self, pod: str) -> str:
        """Return the name of a Pod's first container."""
        containers = self.raw("Pod", pod).get("spec", {}).get("containers") or [{"name": "main"}]
        name: str = containers[0]["name"]
        return name

    def _find(self, kind: str, name: str) -> Raw | None:
        return self._kept.find(kind, name, NAMESPACE)

    def _update(self, raw: Raw) -> None:
        self._kept.update(raw, *(() if self.keeps and raw["kind"] != "Pod" else ("status",)))

    def _told(self, what: str, raw: Raw) -> None:
        """Report an object to the controller's store."""
        kind = raw["kind"]
        if kind not in parse.PARSERS:
            return
        parsed = parse.PARSERS[kind](copy.deepcopy(raw))
        if what == DELETED:
            self.store.removed(kind, parsed)
        else:
            self.store.observe(kind, parsed)
        if isinstance(parsed, Pod) and what == DELETED:
            del self._parsed_pods[parsed.name]
        elif isinstance(parsed, Pod):
            self._parsed_pods[parsed.name] = parsed


def executed(actions: Iterable[Action]) -> list[Action]:
    """Return actions in the order in which they are executed: changes, then statuses, then Events, then the rest."""
    order = ((Create, Patch, Delete), (SetStatus,), (RecordEvent,), (Ask, Retire, Resume, ClearFailures, RequeueAt))
    every = list(actions)
    return [action for kinds in order for action in every if isinstance(action, kinds)]
