"""Random acts of users: they make, change and delete clusters of all kinds."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from bench.churn.mishaps import Mishaps
from bench.churn.scene import Deed, Scene
from bench.churn.schedulers import Schedulers
from bench.churn.wishes import BACKOFF_LIMIT, Manifests, Wish

from dask_operator import names
from dask_operator.kubernetes.errors import ApiError
from dask_operator.model import Pod
from dask_operator.resources import AUTOSCALER, CLUSTER, GROUP, JOB, POD, Resource

MOST_WORKERS = 10
PAUSE = 0.4
"""Mean seconds between two acts."""
_STATE = {"name": "job", "image": "", "imageID": "", "ready": False, "restartCount": 0}


class Users:
    """Users of the namespace. `clusters`: the number to keep at a time, including those of jobs."""

    def __init__(self, scene: Scene, schedulers: Schedulers, manifests: Manifests, clusters: int) -> None:
        self._scene = scene
        self._schedulers = schedulers
        self._manifests = manifests
        self._clusters = clusters
        self._mishaps = Mishaps(scene)
        self._number = 0
        # Relative frequencies.
        self._deeds: dict[Deed, int] = {
            self._scale_cluster: 16,
            self._scale_group: 10,
            self._ask_for_workers: 8,
            self._edit_workers: 3,
            self._edit_scheduler: 1,
            self._add_group: 4,
            self._remove_group: 3,
            self._add_autoscaler: 3,
            self._end_program: 8,
            self._make_anew: 2,
            **self._mishaps.deeds,
        }

    async def populate(self) -> None:
        await asyncio.gather(*(self._make() for _ in range(self._clusters)))

    async def act(self, until: float) -> None:
        """Act until a time of the monotonic clock."""
        while time.monotonic() < until:
            await asyncio.sleep(self._scene.chance.expovariate(1 / PAUSE))
            await self._once()
        await self._mishaps.over()

    async def _once(self) -> None:
        # Keeps the number of clusters around the wanted one.
        surplus = len(self._scene.wishes) - self._clusters
        deeds = {**self._deeds, self._make: max(10 - surplus, 0), self._delete: max(10 + surplus, 0)}
        (deed,) = self._scene.chance.choices(list(deeds), list(deeds.values()))
        try:
            await deed()
        except ApiError as error:
            if error.code not in (404, 409):
                raise
            # The object has just been deleted or changed, as may happen.

    async def _make(self) -> None:
        self._number += 1
        if self._scene.chance.random() < 0.25:
            await self._make_job(f"job-{self._number}", self._some())
        else:
            await self._make_cluster(f"cluster-{self._number}")

    async def _make_cluster(self, name: str) -> None:
        workers = self._some()
        made = await self._scene.api.create(CLUSTER, self._manifests.cluster(name, workers))
        self._scene.wishes[name] = Wish(name, made.body["metadata"]["uid"], workers)
        self._scene.tell("make a cluster", name)

    async def _make_job(self, name: str, workers: int) -> None:
        made = await self._scene.api.create(JOB, self._manifests.job(name, workers))
        self._scene.wishes[name] = Wish(name, made.body["metadata"]["uid"], workers, job=True)
        self._scene.tell("make a job", name)

    async def _delete(self) -> None:
        if wish := self._scene.one(list(self._scene.wishes.values())):
            await self._remove(wish)
            self._scene.tell(f"delete a {'job' if wish.job else 'cluster'}", wish.name)

    async def _make_anew(self) -> None:
        if wish := self._scene.one(self._scene.plain()):
            await self._remove(wish)
            await self._make_cluster(wish.name)
            self._scene.tell("make a cluster anew", wish.name)

    async def _remove(self, wish: Wish) -> None:
        del self._scene.wishes[wish.name]
        self._scene.pods.given_up.add(wish.name if wish.job else wish.uid)
        await self._scene.delete(JOB if wish.job else CLUSTER, wish.name)
        # Groups that the controller has not seen yet have no owner, so Kubernetes does not delete them.
        for group in wish.extra:
            await self._scene.delete(GROUP, group)
        if wish.bounds:
            await self._scene.delete(AUTOSCALER, wish.name)

    async def _scale_cluster(self) -> None:
        wish, workers = self._scene.one(self._scalable()), self._some()
        if wish and wish.replicas != workers:
            await self._scene.patch(CLUSTER, wish.name, {"spec": {"worker": {"replicas": workers}}})
            wish.replicas = wish.workers[wish.default] = workers
            self._scene.tell("scale a cluster", wish.name)

    async def _scale_group(self) -> None:
        wish, workers = self._scene.one(self._scalable()), self._some()
        if not wish:
            return
        group = self._scene.chance.choice(list(wish.workers))
        if group == wish.default:
            # The cluster's own count, not copied to the group yet, would override this one.
            meta = (await self._scene.get(GROUP, group))["metadata"]
            copied = meta.get("annotations", {}).get(names.REPLICAS_ANNOTATION)
            owned = wish.uid in (owner["uid"] for owner in meta.get("ownerReferences", ()))
            if not owned or copied != str(wish.replicas):
                return
        await self._scene.patch(GROUP, group, {"spec": {"worker": {"replicas": workers}}})
        wish.workers[group] = workers
        self._scene.tell("scale a group", group)

    async def _ask_for_workers(self) -> None:
        if wish := self._scene.one([wish for wish in self._scene.plain() if wish.bounds]):
            self._want(wish)
            self._scene.tell("change what a scheduler asks for", wish.name)

    async def _add_autoscaler(self) -> None:
        wish = self._scene.one([wish for wish in self._scalable() if not wish.extra])
        if wish and len([wish for wish in self._scene.wishes.values() if wish.bounds]) < self._clusters // 5:
            least = self._scene.chance.randint(0, 3)
            bounds = least, least + self._scene.chance.randint(0, MOST_WORKERS - 3)
            await self._scene.api.create(AUTOSCALER, self._manifests.autoscaler(wish.name, bounds))
            wish.bounds = bounds
            self._want(wish)
            self._scene.tell("add an autoscaler", wish.name)

    def _want(self, wish: Wish) -> None:
        assert wish.bounds
        least, most = wish.bounds
        wanted = self._schedulers.wanted[wish.name] = self._some()
        wish.workers[wish.default] = min(max(wanted, least), most)

    async def _edit_workers(self) -> None:
        if wish := self._scene.one(self._scene.plain()):
            group = self._scene.chance.choice(list(wish.workers))
            resource, name = (CLUSTER, wish.name) if group == wish.default else (GROUP, group)
            await self._revise(wish, resource, name, "worker", group)

    async def _edit_scheduler(self) -> None:
        if wish := self._scene.one(self._scene.plain()):
            await self._revise(wish, CLUSTER, wish.name, "scheduler", names.scheduler(wish.name))

    async def _revise(self, wish: Wish, resource: Resource, name: str, role: str, what: str) -> None:
        revision = wish.revisions[what] + 1
        await self._scene.patch(resource, name, self._manifests.revised(role, revision))
        wish.revisions[what] = revision
        self._scene.tell(f"edit a {role}'s template", what)

    async def _add_group(self) -> None:
        if wish := self._scene.one([wish for wish in self._scalable() if len(wish.extra) < 2]):
            self._number += 1
            group, workers = f"{wish.name}-extra-{self._number}", self._some() // 2
            await self._scene.api.create(GROUP, self._manifests.group(group, wish.name, workers))
            wish.workers[group], wish.revisions[group] = workers, 0
            self._scene.tell("add a group", group)

    async def _remove_group(self) -> None:
        if wish := self._scene.one([wish for wish in self._scene.plain() if wish.extra]):
            group = self._scene.chance.choice(wish.extra)
            await self._scene.delete(GROUP, group)
            del wish.workers[group], wish.revisions[group]
            self._scene.tell("remove a group", group)

    async def _end_program(self) -> None:
        jobs = [wish for wish in self._scene.wishes.values() if wish.job and not wish.ended]
        running = {wish.name: pod for wish in jobs for pod in self._runners(wish)}
        if not running:
            return
        wish = self._scene.wishes[self._scene.chance.choice(sorted(running))]
        pod, well = running[wish.name], self._scene.chance.random() < 0.6
        self._scene.pods.given_up.add(pod.uid)
        over = well or wish.failures == BACKOFF_LIMIT
        if over:
            self._scene.pods.given_up.add(wish.name)
        end = {"exitCode": int(not well), "reason": "Completed" if well else "Error", "finishedAt": _now()}
        state: dict[str, Any] = {"containerStatuses": [_STATE | {"state": {"terminated": end}}]}
        await self._scene.patch(
            POD, pod.name, {"status": {"phase": "Succeeded" if well else "Failed", **state}}, "status"
        )
        wish.failures += not well
        if over:
            wish.ended = "Successful" if well else "Failed"
        self._scene.tell("end a program", wish.name)

    def _runners(self, wish: Wish) -> list[Pod]:
        pods = self._scene.pods.of(wish.name, names.JOB_RUNNER)
        return [pod for pod in pods if pod.ready and not pod.deleting and pod.uid not in self._scene.pods.given_up]

    def _scalable(self) -> list[Wish]:
        return [wish for wish in self._scene.plain() if not wish.bounds]

    def _some(self) -> int:
        return self._scene.chance.randint(0, MOST_WORKERS)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
