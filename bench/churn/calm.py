"""Differences between the namespace at rest and the declared state, in sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.churn.wishes import REVISION, Wish
from bench.setting import pages

from dask_operator import names
from dask_operator.kubernetes.api import Api
from dask_operator.resources import AUTOSCALER, CLUSTER, DEPLOYMENT, GROUP, JOB, POD, SERVICE, WATCHED, Resource

_REPLICA_SET = Resource("ReplicaSet", "apps", "v1", "replicasets", (), names.CLUSTER_LABEL)
_Raw = dict[str, Any]


@dataclass(frozen=True)
class Seen:
    """Every object in the namespace at one moment, by kind and name."""

    objects: Mapping[str, Mapping[str, _Raw]] = field(default_factory=dict)

    @property
    def versions(self) -> dict[tuple[str, str], str]:
        every = ((kind, name, raw) for kind, named in self.objects.items() for name, raw in named.items())
        return {(kind, name): raw["metadata"]["resourceVersion"] for kind, name, raw in every}

    def named(self, resource: Resource, name: str) -> _Raw:
        return self.objects[resource.kind].get(name, {})

    def pods(self, component: str, cluster: str) -> list[_Raw]:
        wanted = {names.COMPONENT_LABEL: component, names.CLUSTER_LABEL: cluster}.items()
        return [pod for pod in self.objects[POD.kind].values() if wanted <= pod["metadata"]["labels"].items()]

    def phases(self) -> Counter[str]:
        """Return the number of DaskClusters in each phase."""
        clusters = self.objects[CLUSTER.kind].values()
        return Counter(cluster.get("status", {}).get("phase", "Created") for cluster in clusters)

    def workers(self) -> int:
        labels = (pod["metadata"]["labels"] for pod in self.objects[POD.kind].values())
        return sum(each.get(names.COMPONENT_LABEL) == names.WORKER for each in labels)


async def look(api: Api, namespace: str) -> Seen:
    objects: dict[str, dict[str, _Raw]] = {}
    for resource in (*WATCHED, _REPLICA_SET):
        listed = [raw async for page in pages(api, resource, namespace) for raw in page.items]
        objects[resource.kind] = {raw["metadata"]["name"]: raw for raw in listed}
    return Seen(objects)


def differences(wishes: Mapping[str, Wish], seen: Seen) -> list[str]:
    return [*_left_over(wishes, seen), *(found for wish in wishes.values() for found in _wrong(wish, seen))]


def _left_over(wishes: Mapping[str, Wish], seen: Seen) -> Iterator[str]:
    clusters = {name for name, wish in wishes.items() if not wish.ended}
    groups = {group for wish in wishes.values() if not wish.ended for group in wish.workers}
    scheduler = {names.scheduler(name) for name in clusters}
    wanted = {
        CLUSTER: clusters,
        JOB: {name for name, wish in wishes.items() if wish.job},
        AUTOSCALER: {name for name, wish in wishes.items() if wish.bounds},
        GROUP: groups,
        SERVICE: scheduler,
        DEPLOYMENT: scheduler,
    }
    for resource, expected in wanted.items():
        for name in seen.objects[resource.kind].keys() - expected:
            yield f"{resource.kind} {name} is left over"
    for resource in (POD, _REPLICA_SET):
        for name, raw in seen.objects[resource.kind].items():
            labels = raw["metadata"]["labels"]
            known = wishes if labels.get(names.COMPONENT_LABEL) == names.JOB_RUNNER else clusters
            if labels[names.CLUSTER_LABEL] not in known:
                yield f"{resource.kind} {name} is left over"


def _wrong(wish: Wish, seen: Seen) -> Iterator[str]:
    if wish.job:
        yield from _wrong_job(wish, seen)
    if wish.ended:
        return
    cluster = seen.named(CLUSTER, wish.name)
    if not cluster or (not wish.job and cluster["metadata"]["uid"] != wish.uid):
        yield f"DaskCluster {wish.name} does not exist"
        return
    yield from _wrong_status(CLUSTER, cluster, wish.workers[wish.default])
    if cluster.get("status", {}).get("phase") != "Running":
        yield f"DaskCluster {wish.name} is {cluster.get('status', {}).get('phase')}"
    for group, workers in wish.workers.items():
        yield from _wrong_group(wish, group, workers, seen)
    if not seen.named(SERVICE, names.scheduler(wish.name)):
        yield f"Service {names.scheduler(wish.name)} does not exist"
    revision = wish.revisions[names.scheduler(wish.name)]
    yield from _wrong_pods(f"the scheduler of {wish.name}", seen.pods(names.SCHEDULER, wish.name), 1, revision)


def _wrong_group(wish: Wish, name: str, workers: int, seen: Seen) -> Iterator[str]:
    group = seen.named(GROUP, name)
    if not group:
        yield f"DaskWorkerGroup {name} does not exist"
        return
    if not wish.job:  # a job's cluster reports the same in its own status, and the group's copy follows minutes later
        yield from _wrong_status(GROUP, group, workers)
    if (said := group["spec"]["worker"]["replicas"]) != workers:
        yield f"DaskWorkerGroup {name} wants {said} workers, not {workers}"
    pods = seen.pods(names.WORKER, wish.name)
    own = [pod for pod in pods if pod["metadata"]["labels"][names.GROUP_LABEL] == name]
    yield from _wrong_pods(f"group {name}", own, workers, wish.revisions[name])


def _wrong_status(resource: Resource, raw: _Raw, workers: int) -> Iterator[str]:
    status, what = raw.get("status", {}), f"the status of {resource.kind} {raw['metadata']['name']}"
    if status.get("observedGeneration") != raw["metadata"]["generation"]:
        yield f"{what} is of another generation"
    for count in ("replicas", "readyReplicas", "updatedReplicas"):
        if status.get(count) != workers:
            yield f"{what} has {status.get(count)} as {count}, not {workers}"
    conditions = {condition["type"]: condition for condition in status.get("conditions", ())}
    for type_ in ("Progressing", "Degraded"):
        if (condition := conditions.get(type_, {})).get("status") != "False":
            yield f"{what} has {type_}: {condition.get('message')}"


def _wrong_pods(what: str, pods: Iterable[_Raw], number: int, revision: int) -> Iterator[str]:
    pods = list(pods)
    if len(pods) != number:
        yield f"{what} has {len(pods)} Pods, not {number}"
    if unready := [pod["metadata"]["name"] for pod in pods if not _is_ready(pod)]:
        yield f"{what} has Pods that are not ready: {', '.join(unready)}"
    if any(_revision(pod) != revision for pod in pods):
        yield f"{what} has Pods of {sorted({_revision(pod) for pod in pods})}, and not of revision {revision} alone"


def _wrong_job(wish: Wish, seen: Seen) -> Iterator[str]:
    status = seen.named(JOB, wish.name).get("status", {})
    wanted = wish.ended or "Running"
    if (status.get("jobStatus"), status.get("failed")) != (wanted, wish.failures):
        said = f"{status.get('jobStatus')} after {status.get('failed')} failures"
        yield f"DaskJob {wish.name} is {said}, not {wanted} after {wish.failures}"
    runners = len(seen.pods(names.JOB_RUNNER, wish.name))
    if runners != 1:
        yield f"DaskJob {wish.name} has {runners} runners"


def _is_ready(pod: _Raw) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"] and pod["status"]["phase"] == "Running"


def _revision(pod: _Raw) -> int:
    env = pod["spec"]["containers"][0].get("env", ())
    return next((int(each["value"]) for each in env if each["name"] == REVISION), 0)
