"""A cluster as every policy sees it: its groups, and its Pods sorted once.

Policies ask the same questions about the same Pods: which ones stay, which ones are on their way out, which ones have
ended, which ones have the current template. A cluster may have ten thousand Pods, so `View.of` answers these questions
in one walk over them, and a policy only reads the answers.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from dask_operator import names
from dask_operator.actions import Action, Create, Delete, Patch, RequeueAt, SetStatus
from dask_operator.model import (
    Cluster,
    Declared,
    Deployment,
    Failure,
    Group,
    Json,
    Object,
    ObjectRef,
    Observed,
    Pod,
    Problem,
    Service,
)
from dask_operator.parse import last_ordinals
from dask_operator.plan.policy import Policy
from dask_operator.resources import CLUSTER, POD

ENDED = ("Failed", "Succeeded")
RECOVERED_AFTER = 60.0
"""Seconds that a container which kept crashing must run before it counts as recovered."""


@dataclass(frozen=True)
class Workers:
    """The Pods of one group, sorted.

    A Pod that runs or may yet run is in `new` or `old` if it stays, and in `leaving` if its scheduler retires it or has
    retired it. `new`: made from the group's current template, and on a node where it may stay; `old`: all others.
    `displaced`: the number of those that are old for their node alone; `old_leaving`: of those that leave and are not
    as new ones. `retired`: retired, and not deleted yet. `ended`: ended, neither deleted nor retired. `ready`: the
    number of ready Pods among those that stay. `highest`, `highest_going`: the highest ordinal of all Pods, and of
    those that stay no longer.
    """

    group: Group
    pods: Sequence[Pod] = ()
    new: Sequence[Pod] = ()
    old: Sequence[Pod] = ()
    leaving: Sequence[Pod] = ()
    retired: Sequence[Pod] = ()
    ended: Sequence[Pod] = ()
    ending: Sequence[Pod] = ()
    """Pods that are being deleted."""
    displaced: int = 0
    old_leaving: int = 0
    ready: int = 0
    gated: int = 0
    """The number of those that stay and have a scheduling gate."""
    latest: float = 0.0
    """The last start of a ready Pod that stays."""
    unnamed: Sequence[Pod] = ()
    """Ready Pods that stay and that the scheduler does not know by their names, by its last answer."""
    highest: int = -1
    highest_going: int = -1
    suspects: Sequence[Pod] = ()
    """Pods that may have a problem: ended, or with one that the kubelet reports."""
    disowned: Sequence[Pod] = ()
    """Pods without an owner reference to their cluster."""

    @classmethod
    def of(cls, group: Group, pods: Sequence[Pod], cluster_uid: str, observed: Observed) -> Workers:
        """Sort a group's Pods."""
        new: list[Pod] = []
        old: list[Pod] = []
        leaving: list[Pod] = []
        retired: list[Pod] = []
        ended: list[Pod] = []
        ending: list[Pod] = []
        suspects: list[Pod] = []
        disowned: list[Pod] = []
        current = current_templates(group)
        displaced, old_leaving = 0, 0
        highest, highest_going = -1, -1
        for pod in pods:
            is_retired = pod.uid in observed.retired
            is_current = pod.template in current
            is_displaced = is_current and pod.uid in observed.displaced
            stays = False
            if pod.deleting:
                ending.append(pod)
            elif pod.phase in ENDED:
                (retired if is_retired else ended).append(pod)
            elif is_retired or pod.uid in observed.retiring:
                leaving.append(pod)
                old_leaving += not is_current or is_displaced
                if is_retired:
                    retired.append(pod)
            else:
                stays = True
                displaced += is_displaced
                (new if is_current and not is_displaced else old).append(pod)
            if pod.problem or pod.phase == "Succeeded":
                suspects.append(pod)
            if cluster_uid not in pod.owners:
                disowned.append(pod)
            highest = max(highest, pod.ordinal)
            if not stays:
                highest_going = max(highest_going, pod.ordinal)
        ready = [pod for pod in (*new, *old) if pod.ready]
        return cls(
            group=group,
            pods=pods,
            new=new,
            old=old,
            leaving=leaving,
            retired=retired,
            ended=ended,
            ending=ending,
            displaced=displaced,
            old_leaving=old_leaving,
            ready=len(ready),
            gated=sum(pod.gated for pod in (*new, *old)) if len(ready) < len(new) + len(old) else 0,
            latest=max((pod.started for pod in ready), default=0.0),
            unnamed=[pod for pod in ready if pod.name not in observed.survey.names] if observed.survey else (),
            highest=highest,
            highest_going=highest_going,
            suspects=suspects,
            disowned=disowned,
        )

    def at_most(self, replicas: int) -> Workers:
        """Return the same Pods of a group that wants this number of workers, or fewer."""
        return replace(self, group=replace(self.group, replicas=min(self.group.replicas, replicas)))

    @cached_property
    def staying(self) -> Sequence[Pod]:
        """Pods that run or may yet run and that nobody has told to leave."""
        return self.old if not self.new else self.new if not self.old else (*self.new, *self.old)

    @cached_property
    def ordinals(self) -> frozenset[int]:
        """The ordinals of all Pods."""
        return frozenset(pod.ordinal for pod in self.pods)

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of all Pods."""
        return frozenset(pod.name for pod in self.pods)


@dataclass(frozen=True)
class View:
    """A cluster at one moment.

    `workers`: for each of its groups that is not being deleted, by name; their `Group.replicas` is always the number
    that the group is to have. `removed`: the workers of groups that do not exist any more, by the group's name.
    """

    cluster: Cluster
    observed: Observed
    policy: Policy
    workers: Mapping[str, Workers]
    removed: Mapping[str, Workers]
    scheduler: Pod | None
    """The newest of the scheduler's Pods that run or may yet run."""
    runner: Pod | None
    """The Pod in which the program of the cluster's job runs now."""
    restarted: Sequence[Pod]
    """Pods with a container that had crashed more than once and was started again."""

    @classmethod
    def of(cls, cluster: Cluster, observed: Observed, policy: Policy = Policy()) -> View:
        """Sort what is observed of a cluster."""
        cluster = replace(cluster, ipv6=True) if policy.ipv6 else cluster
        ordinals = last_ordinals(cluster.status)
        groups = {g.name: g for g in observed.groups if not g.deleting and owned(g, cluster)}
        by_uid = {group.uid: group for group in groups.values()}
        pods: dict[str, list[Pod]] = {name: [] for name in groups}
        removed: dict[str, list[Pod]] = defaultdict(list)
        schedulers, restarted, runner = [], [], None
        for pod in observed.pods:
            if pod.restarted:
                restarted.append(pod)
            group = groups.get(pod.group)
            # As `owned`, without its calls.
            if group and (group.uid in pod.owners or not pod.owners):
                pods[pod.group].append(pod)
            elif pod.component == names.WORKER and (owner := next(filter(None, map(by_uid.get, pod.owners)), None)):
                # Its label was changed. It is still the owner's worker, and its name is taken.
                pods[owner.name].append(pod)
            elif pod.component == names.WORKER and cluster.uid in pod.owners:
                removed[pod.group].append(pod)
            elif pod.component == names.SCHEDULER:
                schedulers.append(pod)
            elif pod.component == names.JOB_RUNNER and pod.phase == "Running" and not pod.deleting:
                runner = pod
        sorted_ = {name: Workers.of(group, pods[name], cluster.uid, observed) for name, group in groups.items()}
        return cls(
            cluster=cluster,
            observed=observed,
            policy=policy,
            workers={
                name: _completed(each, ordinals.get(name, -1), fewest(name, cluster, observed))
                for name, each in sorted_.items()
            },
            removed={name: _of_removed(name, each, cluster, observed) for name, each in removed.items()},
            scheduler=max(live(schedulers), key=lambda pod: pod.created, default=None),
            runner=runner,
            restarted=restarted,
        )

    @property
    def groups(self) -> list[Group]:
        """The cluster's groups but those that are being deleted."""
        return [workers.group for workers in self.workers.values()]

    @property
    def default_group(self) -> Group | None:
        workers = self.workers.get(names.default_group(self.cluster.name))
        return workers.group if workers else None

    @property
    def deployment(self) -> Deployment | None:
        """The scheduler's Deployment, unless another cluster of this name owned it."""
        deployment = self.observed.deployment
        return deployment if owned(deployment, self.cluster) else None

    @property
    def service(self) -> Service | None:
        """The scheduler's Service, unless another cluster of this name owned it."""
        service = self.observed.service
        return service if owned(service, self.cluster) else None

    @cached_property
    def live(self) -> Sequence[Pod]:
        """All Pods of the cluster that run or may yet run."""
        return live(self.observed.pods)

    @cached_property
    def running_workers(self) -> int:
        """The number of worker Pods that an answer may be about. The cluster's labels alone do not count."""
        owners = {self.cluster.uid, *(group.uid for group in self.observed.groups)}
        pods = (pod for pod in self.observed.pods if pod.component == names.WORKER and pod.phase == "Running")
        return sum(not owners.isdisjoint(pod.owners) for pod in pods)

    @cached_property
    def refused_pods(self) -> frozenset[str]:
        """The names of Pods about which the API server has refused something."""
        return frozenset(ref.name for ref in self.observed.failures if ref.kind == POD.kind)


def current_templates(group: Group) -> frozenset[str]:
    """Return the values of `Pod.template` that stand for a group's current template."""
    current = frozenset((group.worker.hash,))
    # A Pod that another operator made counts as made from the template that was current when it was taken over.
    return current | {""} if group.adopted_template in ("", group.worker.hash) else current


def owned(child: Object | None, owner: Object) -> bool:
    """Return whether a child belongs to this owner or to nobody. The child of a deleted namesake is about to vanish."""
    if isinstance(child, Declared):
        # An object that users write may have owners of other kinds, such as a workflow.
        return child.cluster_uid in ("", owner.uid)
    return child is not None and (not child.owners or owner.uid in child.owners)


def status(about: Declared, kind: str, observed: Observed) -> Json:
    """Return an object's status, completed by the last write: older definitions keep none of it, or only a part."""
    written = observed.written.get(ObjectRef(kind, about.name))
    return {**written.status, **about.status} if written and written.uid == about.uid else about.status


def cluster_status(cluster: Cluster, observed: Observed) -> Json:
    """Return a DaskCluster's status."""
    return status(cluster, CLUSTER.kind, observed)


def live(pods: Iterable[Pod]) -> list[Pod]:
    """Return the Pods that run or may yet run."""
    return [pod for pod in pods if not pod.deleting and pod.phase not in ENDED]


def problem(pod: Pod, now: float) -> Problem | None:
    """Return what is wrong with a Pod, also between two crashes."""
    if pod.deleting or pod.phase == "Succeeded":
        return None
    sound = now >= pod.restarted + RECOVERED_AFTER if pod.restarted else pod.ready
    return None if sound else pod.problem_at(now)


def blocked(ref: ObjectRef, observed: Observed, now: float) -> Failure | None:
    """Return the failure that makes an action about this object wait."""
    failure = observed.failures.get(ref)
    return failure if failure and now < failure.until else None


def unless_blocked(action: Create | Patch | Delete | SetStatus, observed: Observed, now: float) -> Action:
    """Return the action, or the time at which it may be tried again."""
    if failure := blocked(action.subject, observed, now):
        because = f"{action.subject.kind} {action.subject.name}: {failure.problem.message}"
        return RequeueAt(failure.until, because, holds=action.subject)
    return action


def fewest(group: str, cluster: Cluster, observed: Observed) -> int | None:
    """Return the minimum of a group's DaskAutoscaler, None if none is known."""
    its = [each for each in observed.autoscalers if each.group == group and not each.deleting and owned(each, cluster)]
    # The oldest one counts; what one that is too large to be read says is not known.
    first = min(its, key=lambda each: (each.created, each.name), default=None)
    return first.minimum if first and not first.unread else None


def _completed(workers: Workers, ordinal: int, minimum: int | None) -> Workers:
    """Return a group's workers with the facts about the group that are not in its own object.

    `ordinal`: its last ordinal by its cluster's status; `minimum`: that of its autoscaler. A group whose user has set
    no number starts with so many workers, and with one if there is no minimum.
    """
    group = workers.group
    if group.replicas_unset:
        # Whoever removes the number wants it to stay as it is until an autoscaler decides it.
        group = replace(group, replicas=max(len(workers.new) + len(workers.old), 1 if minimum is None else minimum))
    if ordinal > group.last_ordinal:
        group = replace(group, last_ordinal=ordinal)
    return workers if group is workers.group else replace(workers, group=group)


def _of_removed(name: str, pods: Sequence[Pod], cluster: Cluster, observed: Observed) -> Workers:
    """Return the workers of a group that does not exist: it wants none, and none has a current template."""
    # Nothing is left to note their ordinals on, and no worker will be made that could get one of them again.
    gone = Group(cluster.namespace, name, "", 0, replicas=0, last_ordinal=sys.maxsize)
    workers = Workers.of(gone, pods, cluster.uid, observed)
    return replace(workers, new=(), old=workers.staying)
