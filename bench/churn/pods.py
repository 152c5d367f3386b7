"""All Pods of the namespace as they come and go, and the promises about workers.

No two workers get the same name, since a scheduler refuses the second. No worker that its scheduler knows is deleted,
unless the scheduler has retired it or a user wanted it gone.
"""

from __future__ import annotations

from collections import defaultdict

from dask_operator.kubernetes.api import Api
from dask_operator.kubernetes.errors import ApiError
from dask_operator.model import Json, Pod
from dask_operator.names import SCHEDULER, WORKER
from dask_operator.parse import PARSERS
from dask_operator.resources import POD

_SECONDS = 300.0


class Pods:
    """The Pods of a namespace. `now`: by name; `created`: number of workers so far; `broken`: violations, in sentences.

    `retired`: uids of workers that their scheduler has retired. `given_up`: uids of Pods, or uids or names of their
    DaskClusters, whose end is wanted.
    """

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self._namespace = namespace
        self._uids: dict[str, set[str]] = defaultdict(set)
        # At creation: Kubernetes removes the reference to a deleted owner before it deletes the rest.
        self._owners: dict[str, tuple[str, ...]] = {}
        self.now: dict[str, Pod] = {}
        self.retired: set[str] = set()
        self.given_up: set[str] = set()
        self.broken: list[str] = []

    @property
    def created(self) -> int:
        return sum(map(len, self._uids.values()))

    def of(self, cluster: str, component: str) -> list[Pod]:
        return [pod for pod in self.now.values() if (pod.cluster, pod.component) == (cluster, component)]

    def known_to_scheduler(self, pod: Pod) -> bool:
        """Return whether the worker has registered with a running scheduler."""
        return pod.ready and pod.uid not in self.retired and self.has_scheduler(pod.cluster)

    def whose_scheduler(self, ip: str) -> str:
        """Return the name of the cluster whose scheduler has this address, or ""."""
        pods = (pod for pod in self.now.values() if (pod.ip, pod.component) == (ip, SCHEDULER))
        return next((pod.cluster for pod in pods if pod.ready and not pod.deleting), "")

    def has_scheduler(self, cluster: str) -> bool:
        return any(pod.ready and not pod.deleting for pod in self.of(cluster, SCHEDULER))

    async def watch(self) -> None:
        """Follow the Pods until cancelled."""
        version = await self._list()
        while True:
            try:
                async for event in self._api.watch(POD, self._namespace, version, _SECONDS, _SECONDS):
                    if event["type"] == "ERROR":
                        raise ApiError(410, "Expired", str(event["object"]))
                    version = event["object"]["metadata"]["resourceVersion"]
                    self._take(event["type"], event["object"])
            except ApiError:
                version = await self._list()

    async def _list(self) -> str:
        page = await self._api.request("GET", f"/api/v1/namespaces/{self._namespace}/pods")
        listed = [_parsed(raw) for raw in page.body["items"]]
        for gone in set(self.now) - {pod.name for pod in listed}:
            self._gone(self.now.pop(gone))
        for pod in listed:
            self._seen(pod)
        return str(page.body["metadata"]["resourceVersion"])

    def _take(self, type_: str, raw: Json) -> None:
        if type_ == "BOOKMARK":
            return
        pod = _parsed(raw)
        if type_ == "DELETED":
            self._gone(self.now.pop(pod.name, pod))
        else:
            self._seen(pod)

    def _seen(self, pod: Pod) -> None:
        known = self.now.get(pod.name)
        if known and pod.deleting and not known.deleting:
            self._gone(known)
        self.now[pod.name] = pod
        if pod.component != WORKER or pod.uid in self._uids[pod.name]:
            return
        self._uids[pod.name].add(pod.uid)
        self._owners[pod.uid] = pod.owners
        if len(self._uids[pod.name]) > 1:
            self.broken.append(f"worker {pod.name} was created twice")

    def _gone(self, pod: Pod) -> None:
        wanted = not self.given_up.isdisjoint((pod.uid, pod.cluster, *self._owners.get(pod.uid, ())))
        if pod.component != WORKER or pod.deleting or wanted or not self.known_to_scheduler(pod):
            return
        self.broken.append(f"worker {pod.name} was deleted, and its scheduler had not retired it")


def _parsed(raw: Json) -> Pod:
    pod = PARSERS[POD.kind](raw)
    assert isinstance(pod, Pod)
    return pod
