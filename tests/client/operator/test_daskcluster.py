"""Operations on a DaskCluster and its objects, and the errors if it does not exist."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.client.operator.conftest import Kubeconfig, connected
from tests.client.operator.served import SCHEDULER, WORKER, Operator, a_group, a_pod
from tests.support.fake_api import FakeApi

from dask_kubernetes.exceptions import (
    ClusterExistsError,
    ClusterNotFoundError,
    NotPermittedError,
    OperatorNotRespondingError,
    SpecRefusedError,
    ValidationError,
    WorkerGroupExistsError,
    WorkerGroupNotFoundError,
)
from dask_kubernetes.operator.daskcluster import DaskCluster
from dask_kubernetes.operator.manifests.spec import make_additional_group, make_cluster_spec
from dask_operator import resources

MANIFEST = make_cluster_spec("mine", n_workers=2)
PATIENCE = 60.0


@asynccontextmanager
async def running(kubeconfig: Kubeconfig) -> AsyncIterator[tuple[FakeApi, DaskCluster]]:
    async with connected(kubeconfig) as (fake, kubernetes):
        Operator(fake)
        cluster = DaskCluster(kubernetes, "mine", "default")
        await cluster.create(MANIFEST)
        yield fake, cluster


def autoscaler(fake: FakeApi, name: str, cluster: str = "mine", finalizers: Sequence[str] = (), **spec: Any) -> None:
    metadata = {"name": name, "namespace": "default", "finalizers": list(finalizers)}
    fake.put({"kind": "DaskAutoscaler", "metadata": metadata, "spec": {"cluster": cluster, **spec}})


def autoscalers(fake: FakeApi) -> dict[str, Any]:
    return {each["metadata"]["name"]: each["spec"] for each in fake.objects(resources.AUTOSCALER)}


def replicas(fake: FakeApi, group: str) -> Any:
    found = fake.find(resources.GROUP, group)
    return found and found["spec"]["worker"].get("replicas")


async def test_one_that_exists_is_not_made_again(kubeconfig: Kubeconfig) -> None:
    async with running(kubeconfig) as (_, cluster):
        with pytest.raises(ClusterExistsError, match=r"KubeCluster.from_name\('mine', namespace='default'\)"):
            await DaskCluster(cluster.kubernetes, "mine", "default").create(MANIFEST)


async def test_one_that_has_taken_its_name_is_another(kubeconfig: Kubeconfig) -> None:
    async with running(kubeconfig) as (fake, cluster):
        fake.drop(resources.CLUSTER, "mine")
        for act in (cluster.read(), cluster.snapshot(), cluster.adapt(1, 2), cluster.add_group({})):
            with pytest.raises(ClusterNotFoundError, match="no DaskCluster mine in the namespace default"):
                await act
        await DaskCluster(cluster.kubernetes, "mine", "default").create(MANIFEST)
        assert await cluster.find() is None
        assert not await cluster.delete(10.0)
        assert fake.find(resources.CLUSTER, "mine")


async def test_a_snapshot_has_all_that_belongs_to_it(kubeconfig: Kubeconfig) -> None:
    async with running(kubeconfig) as (fake, cluster):
        fake.put(a_group("mine-more"))
        fake.put(a_group("other-default", cluster="other"))
        fake.put(a_pod("w", WORKER))
        fake.put(a_pod("x", {"dask.org/cluster-name": "other"}))
        autoscaler(fake, "a")
        snapshot = await cluster.snapshot()
        assert (snapshot.cluster or {})["metadata"]["uid"] == cluster.uid
        assert [group["metadata"]["name"] for group in snapshot.groups] == ["mine-default", "mine-more"]
        assert [pod["metadata"]["name"] for pod in snapshot.pods] == ["mine-scheduler-0", "w"]
        assert (snapshot.service or {})["metadata"]["name"] == "mine-scheduler"
        assert (snapshot.autoscaler or {})["metadata"]["name"] == "a"


async def test_scale_ends_the_autoscaler_of_the_group_and_no_other(kubeconfig: Kubeconfig) -> None:
    async with running(kubeconfig) as (fake, cluster):
        fake.put(a_group("mine-more"))
        autoscaler(fake, "default")
        autoscaler(fake, "more", workerGroup="mine-more")
        autoscaler(fake, "other", cluster="other")
        await cluster.scale(5)
        assert (replicas(fake, "mine-default"), replicas(fake, "mine-more")) == (5, 0)
        assert set(autoscalers(fake)) == {"more", "other"}
        await cluster.scale(3, "more")
        assert (replicas(fake, "mine-default"), replicas(fake, "mine-more")) == (5, 3)
        assert set(autoscalers(fake)) == {"other"}


def _say_suspended(fake: FakeApi) -> None:
    found = fake.find(resources.CLUSTER, "mine") or {}
    fake.put({**found, "status": {"conditions": [{"type": "Suspended", "status": "True"}]}})


async def test_it_is_suspended_and_resumed(kubeconfig: Kubeconfig) -> None:
    async with running(kubeconfig) as (fake, cluster):
        asyncio.get_running_loop().call_later(0.3, _say_suspended, fake)
        await cluster.suspend(PATIENCE)
        assert (fake.find(resources.CLUSTER, "mine") or {})["spec"]["suspend"] is True
        await cluster.resume()
        assert (fake.find(resources.CLUSTER, "mine") or {})["spec"]["suspend"] is False
        fake.drop(resources.CLUSTER, "mine")
        for act in (cluster.suspend(PATIENCE), cluster.resume()):
            with pytest.raises(ClusterNotFoundError, match="no DaskCluster mine"):
                await act


async def test_a_suspension_that_nobody_carries_out_is_said(
    kubeconfig: Kubeconfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(kubeconfig) as (_, cluster):
        with pytest.raises(
            OperatorNotRespondingError, match=r"no operator has suspended DaskCluster mine within 0.1 s"
        ):
            await cluster.suspend(0.1)

        async def drop_the_field(*_: object) -> Any:
            return {"spec": {}}

        monkeypatch.setattr(cluster.kubernetes, "patch", drop_the_field)
        with pytest.raises(SpecRefusedError, match=r"has no spec.suspend; upgrade the chart"):
            await cluster.suspend(PATIENCE)


async def test_a_group_that_is_not_there(kubeconfig: Kubeconfig) -> None:
    async with running(kubeconfig) as (fake, cluster):
        fake.put(a_group("mine-more"))
        for act in (cluster.scale(1, "none"), cluster.delete_group("none")):
            with pytest.raises(WorkerGroupNotFoundError, match="no worker group 'none': it has default, more"):
                await act
        fake.drop(resources.CLUSTER, "mine")
        with pytest.raises(ClusterNotFoundError):
            await cluster.scale(1, "none")


async def test_the_default_group_is_waited_for(kubeconfig: Kubeconfig) -> None:
    async with running(kubeconfig) as (fake, cluster):
        for act in (cluster.scale(5), cluster.delete_group("default")):
            fake.drop(resources.GROUP, "mine-default")
            waiting = asyncio.create_task(act)
            await asyncio.sleep(3.0)
            assert not waiting.done()
            fake.put(a_group())
            await waiting
        with pytest.raises(WorkerGroupNotFoundError, match=r"it has none\. The operator creates this group"):
            await cluster.scale(1)


async def test_the_default_group_of_a_cluster_that_is_deleted_meanwhile_is_not(kubeconfig: Kubeconfig) -> None:
    async with running(kubeconfig) as (fake, cluster):
        fake.drop(resources.GROUP, "mine-default")
        waiting = asyncio.create_task(cluster.scale(5))
        await asyncio.sleep(1.0)
        fake.drop(resources.CLUSTER, "mine")
        with pytest.raises(ClusterNotFoundError):
            await waiting


async def test_before_the_operator_acts_all_but_scale_is_done_at_once(kubeconfig: Kubeconfig) -> None:
    async with running(kubeconfig) as (fake, cluster):
        fake.drop(resources.GROUP, "mine-default")
        await cluster.adapt(1, 2)
        await cluster.add_group(make_additional_group(await cluster.read(), "more"))
        await cluster.scale(4, "more")
        assert replicas(fake, "mine-more") == 4
        assert await cluster.delete(1.0)


async def test_a_group_of_another_cluster_whose_name_fits_is_not_touched(kubeconfig: Kubeconfig) -> None:
    async with running(kubeconfig) as (fake, cluster):
        fake.put(a_group("mine-b-default", replicas=3, cluster="mine-b"))
        for act in (cluster.scale(1, "b-default"), cluster.delete_group("b-default")):
            with pytest.raises(WorkerGroupNotFoundError, match="it has default"):
                await act
        assert replicas(fake, "mine-b-default") == 3


@pytest.mark.parametrize("held_for", [3.0, math.inf], ids=["for a while", "for ever"])
async def test_scale_waits_for_an_autoscaler_that_an_operator_still_decides_by(
    kubeconfig: Kubeconfig, held_for: float
) -> None:
    async with running(kubeconfig) as (fake, cluster):
        autoscaler(fake, "default", finalizers=["kopf.zalando.org/KopfFinalizerMarker"])
        scaling = asyncio.create_task(cluster.scale(5))
        await asyncio.sleep(2.0)
        assert replicas(fake, "mine-default") == 2
        if held_for < math.inf:
            fake.drop(resources.AUTOSCALER, "default")
        await scaling
        assert replicas(fake, "mine-default") == 5


async def test_adapt_makes_one_autoscaler_and_changes_it(kubeconfig: Kubeconfig) -> None:
    async with running(kubeconfig) as (fake, cluster):
        await cluster.adapt(1, 10)
        assert autoscalers(fake) == {"mine": {"cluster": "mine", "minimum": 1, "maximum": 10}}
        await cluster.adapt(2, None)
        (spec,) = autoscalers(fake).values()
        assert (spec["minimum"], spec.get("maximum")) == (2, None)
        fake.drop(resources.AUTOSCALER, "mine")
        autoscaler(fake, "by-somebody", minimum=1, workerGroup="mine-default")
        await cluster.adapt(3, 4)
        assert set(autoscalers(fake)) == {"by-somebody"}
        assert autoscalers(fake)["by-somebody"]["maximum"] == 4


async def test_an_autoscaler_of_another_cluster_is_in_the_way(kubeconfig: Kubeconfig) -> None:
    async with running(kubeconfig) as (fake, cluster):
        autoscaler(fake, "mine", cluster="other")
        with pytest.raises(ValidationError, match="the DaskAutoscaler mine belongs to another cluster"):
            await cluster.adapt(1, 2)


async def test_groups_are_added_once_and_deleted(kubeconfig: Kubeconfig) -> None:
    async with running(kubeconfig) as (fake, cluster):
        group = make_additional_group(await cluster.read(), "more", n_workers=4)
        await cluster.add_group(group)
        assert replicas(fake, "mine-more") == 4
        with pytest.raises(WorkerGroupExistsError, match="mine-more"):
            await cluster.add_group(group)
        await cluster.delete_group("more")
        assert replicas(fake, "mine-more") is None


async def test_logs_are_those_of_the_present_run_or_else_of_the_one_before(kubeconfig: Kubeconfig) -> None:
    async with running(kubeconfig) as (fake, cluster):
        for name in ("a", "b", "c"):
            fake.put(a_pod(name, WORKER))
        fake.logs = {"a": "now", "a/": "before", "b/": "before", "mine-scheduler-0": "s"}
        assert await cluster.logs() == {"a": "now", "b": "before", "c": "", "mine-scheduler-0": "s"}
        fake.refuses = lambda seen: seen.subresource == "log"
        with pytest.raises(NotPermittedError):
            await cluster.logs()


async def test_the_last_lines_are_of_the_container_that_is_asked_for(kubeconfig: Kubeconfig) -> None:
    async with running(kubeconfig) as (fake, cluster):
        pod = a_pod("a", SCHEDULER)
        pod["spec"]["initContainers"] = [{"name": "init", "image": "i"}]
        fake.put(pod)
        fake.logs = {"a": "one\ntwo\nthree"}
        snapshot = await cluster.snapshot()
        assert await cluster.last_lines("a", None, snapshot, lines=2) == "two\nthree"
        await cluster.last_lines("a", "init", snapshot)
        assert {seen.query["container"] for seen in fake.asked("GET", "pods") if seen.name} == {"dask", "init"}
        assert await cluster.last_lines("absent", None, snapshot) == ""
        for status in (403, 500):
            fake.fail("GET", resources.POD, status, message="jane cannot get it")
            assert await cluster.last_lines("a", None, snapshot) == ""


async def test_delete_returns_when_it_is_gone(kubeconfig: Kubeconfig) -> None:
    async with running(kubeconfig) as (fake, cluster):
        held = json.dumps({"kind": "Status", "status": "Success"})
        fake.fail("DELETE", resources.CLUSTER, 200, text=held)
        deleted = asyncio.ensure_future(cluster.delete(5.0))
        await asyncio.wait([deleted], timeout=1.0)
        assert not deleted.done()
        fake.drop(resources.CLUSTER, "mine")
        assert await deleted
        assert not await cluster.delete(5.0)


async def test_delete_says_when_something_holds_it(kubeconfig: Kubeconfig) -> None:
    async with running(kubeconfig) as (fake, cluster):
        fake.fail("DELETE", resources.CLUSTER, 200, text="{}")
        with pytest.raises(TimeoutError, match=r"DaskCluster mine still exists 5 s after its deletion: .* finalizers"):
            await cluster.delete(5.0)
