"""Users' acts while a controller is killed: each from a settled state to an end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.support.manifests import ON_FAKE_NODES, dask_autoscaler, dask_cluster, dask_job, worker_group

from dask_operator import names
from dask_operator.kubernetes.api import Api, path
from dask_operator.resources import AUTOSCALER, CLUSTER, GROUP, RESOURCES

Raw = dict[str, Any]
NAME = "kept"


@dataclass(frozen=True)
class Place:
    """A namespace, and the ports of the scheduler that answers there for every cluster."""

    api: Api
    namespace: str
    port: int
    http_port: int

    async def create(self, *manifests: Raw) -> None:
        for manifest in manifests:
            meta = {**manifest["metadata"], "namespace": self.namespace}
            await self.api.create(RESOURCES[manifest["kind"]], {**manifest, "metadata": meta})

    async def scale(self, replicas: int) -> None:
        body = {"spec": {"worker": {"replicas": replicas}}}
        await self.api.patch(GROUP, self.namespace, names.default_group(NAME), body)

    def cluster(self, workers: int) -> Raw:
        """Return a cluster with a headless Service. The Pod's address is used instead, which leads to this machine."""
        cluster = dask_cluster(NAME, workers, pods=ON_FAKE_NODES)
        cluster["spec"]["scheduler"]["service"] = self._service()
        return cluster

    def job(self, **policy: Any) -> Raw:
        job = dask_job(NAME, 1, pods=ON_FAKE_NODES, **policy)
        job["spec"]["cluster"]["spec"]["scheduler"]["service"] = self._service()
        # The story ends its runner. kwok deletes by name alone, and so would delete a later attempt's Pod.
        job["spec"]["job"]["spec"]["schedulerName"] = "nobody"
        return job

    def _service(self) -> Raw:
        ports = [{"name": "tcp-comm", "port": self.port}, {"name": "http-dashboard", "port": self.http_port}]
        selector = {names.CLUSTER_LABEL: NAME, names.COMPONENT_LABEL: names.SCHEDULER}
        return {"clusterIP": "None", "selector": selector, "ports": ports}


Act = Callable[[Place], Awaitable[None]]


@dataclass(frozen=True)
class Scenario:
    """A scenario. `declared`: the objects of the settled state; `act`: the users' act.

    `workers`: number of real Dask workers that hold results before the act; None if no worker Pod has a real one, in
    scenarios that end without worker Pods.
    `at_work`: whether each of them runs a task then. `busy`: whether the scheduler has more work than they can do.
    `runner`: the final phase of a job's Pod.
    """

    name: str
    act: Act
    declared: Callable[[Place], Sequence[Raw]] = field(default=lambda _: ())
    workers: int | None = None
    at_work: bool = False
    busy: bool = False
    runner: str = ""

    def __str__(self) -> str:
        return self.name


async def _create(place: Place) -> None:
    await place.create(place.cluster(3), worker_group(f"{NAME}-extra", NAME, 2, ON_FAKE_NODES))


async def _delete(place: Place) -> None:
    where = path(CLUSTER, place.namespace, NAME)
    await place.api.request("DELETE", where, {"propagationPolicy": "Foreground"})


async def _suspend(place: Place) -> None:
    await place.api.patch(CLUSTER, place.namespace, NAME, {"spec": {"suspend": True}})


async def _resume(place: Place) -> None:
    await place.api.patch(CLUSTER, place.namespace, NAME, {"spec": {"suspend": None}})


def _suspended(place: Place) -> Raw:
    cluster = place.cluster(2)
    cluster["spec"]["suspend"] = True
    return cluster


async def _edit(place: Place) -> None:
    spec = {"containers": [{**_worker(place)["containers"][0], "image": "ghcr.io/dask/dask:2026.7.0-py3.13"}]}
    await place.api.patch(GROUP, place.namespace, names.default_group(NAME), {"spec": {"worker": {"spec": spec}}})


def _worker(place: Place) -> Raw:
    spec: Raw = place.cluster(1)["spec"]["worker"]["spec"]
    return spec


def _autoscaler(place: Place, **more: Any) -> Raw:
    return dask_autoscaler(NAME, NAME, 1, 3, **more)


async def _let_go(place: Place) -> None:
    """Allow scaling down at once from now on."""
    await place.api.patch(AUTOSCALER, place.namespace, NAME, {"spec": {"behavior": _goes_down_after(0)}})


def _goes_down_after(seconds: int) -> Raw:
    return {"scaleDown": {"stabilizationWindowSeconds": seconds}}


def _succeed() -> Scenario:
    return Scenario("job to success", lambda place: place.create(place.job()), runner="Succeeded")


def _fail() -> Scenario:
    return Scenario("job to failure", lambda place: place.create(place.job(backoffLimit=1)), runner="Failed")


SCENARIOS: Sequence[Scenario] = (
    Scenario("create", _create, workers=0),
    Scenario("scale up", lambda place: place.scale(5), lambda place: [place.cluster(2)], workers=0),
    Scenario("scale down", lambda place: place.scale(1), lambda place: [place.cluster(3)], workers=3),
    Scenario(
        "scale down at work", lambda place: place.scale(1), lambda place: [place.cluster(3)], workers=3, at_work=True
    ),
    Scenario("rollout", _edit, lambda place: [place.cluster(2)], workers=2),
    _succeed(),
    _fail(),
    Scenario(
        "autoscale up",
        lambda place: place.create(_autoscaler(place)),
        lambda place: [place.cluster(1)],
        workers=1,
        busy=True,
    ),
    Scenario(
        "autoscale down",
        _let_go,
        lambda place: [place.cluster(3), _autoscaler(place, behavior=_goes_down_after(3600))],
        workers=3,
    ),
    Scenario("suspend", _suspend, lambda place: [place.cluster(3)]),
    Scenario("resume", _resume, lambda place: [_suspended(place)], workers=0),
    Scenario("delete", _delete, lambda place: [place.cluster(3)]),
)
