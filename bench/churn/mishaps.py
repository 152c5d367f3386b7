"""Faults and unintended deletions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from bench.churn.scene import Deed, Scene
from bench.churn.wishes import Wish

from dask_operator import names
from dask_operator.model import Pod
from dask_operator.resources import CLUSTER, DEPLOYMENT, GROUP, POD, SERVICE, Resource

_QUOTA_LASTS = (5.0, 15.0)
_EVICTED = {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}


class Mishaps:
    """Random mishaps. `deeds`: each with its relative frequency."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._quota: asyncio.Task[None] | None = None
        self.deeds: Mapping[Deed, int] = {
            self._delete_worker: 12,
            self._evict_worker: 6,
            self._delete_scheduler: 2,
            self._delete_deployment: 1,
            self._delete_service: 2,
            self._delete_default_group: 1,
            self._limit_pods: 1,
        }

    async def over(self) -> None:
        """Wait until the quota is lifted."""
        if self._quota:
            await self._quota

    async def _delete_worker(self) -> None:
        pod = self._scene.one(self._scene.there(names.WORKER))
        if pod and pod.ordinal <= await self._last_ordinal(pod):
            self._scene.pods.given_up.add(pod.uid)
            await self._scene.delete(POD, pod.name)
            self._scene.tell("delete a worker", pod.name)

    async def _last_ordinal(self, pod: Pod) -> int:
        """Return the last ordinal that the group's or the cluster's status records.

        If a worker with a later ordinal is deleted while the controller restarts, within seconds of its creation, it
        looks like a failed creation, and its name is used again.
        """
        group, cluster = await self._scene.get(GROUP, pod.group), await self._scene.get(CLUSTER, pod.cluster)
        notes = (
            group.get("status", {}).get("lastOrdinal"),
            cluster.get("status", {}).get("lastOrdinals", {}).get(pod.group),
        )
        return max(note for note in (*notes, -1) if note is not None)

    async def _evict_worker(self) -> None:
        if pod := self._scene.one([pod for pod in self._scene.there(names.WORKER) if pod.ready]):
            self._scene.pods.given_up.add(pod.uid)
            await self._scene.patch(POD, pod.name, {"status": _EVICTED}, "status")
            self._scene.tell("evict a worker", pod.name)

    async def _delete_scheduler(self) -> None:
        if pod := self._scene.one(self._scene.there(names.SCHEDULER)):
            await self._scene.delete(POD, pod.name)
            self._scene.tell("delete a scheduler's Pod", pod.name)

    async def _delete_deployment(self) -> None:
        await self._delete_child(DEPLOYMENT, names.scheduler)

    async def _delete_service(self) -> None:
        await self._delete_child(SERVICE, names.scheduler)

    async def _delete_default_group(self) -> None:
        wish = await self._delete_child(GROUP, names.default_group)
        if wish and not wish.bounds:
            wish.workers[wish.default] = wish.replicas

    async def _delete_child(self, resource: Resource, name: Callable[[str], str]) -> Wish | None:
        if wish := self._scene.one(self._scene.plain()):
            await self._scene.delete(resource, name(wish.name))
            self._scene.tell(f"delete a {resource.kind}", wish.name)
        return wish

    async def _limit_pods(self) -> None:
        """Allow no more Pods than exist now, for some seconds."""
        if self._quota and not self._quota.done():
            return
        api, where = self._scene.api, f"/api/v1/namespaces/{self._scene.namespace}/resourcequotas"
        spec = {"hard": {"pods": str(len(self._scene.pods.now))}}
        await api.request("POST", where, {"kind": "ResourceQuota", "metadata": {"name": "few"}, "spec": spec})
        self._scene.tell("limit the number of Pods", self._scene.namespace)

        async def lift() -> None:
            await asyncio.sleep(self._scene.chance.uniform(*_QUOTA_LASTS))
            await api.request("DELETE", where)

        self._quota = asyncio.create_task(lift())
