from __future__ import annotations

import asyncio
from importlib.metadata import version
from typing import Any

import pytest
from ci.verify import crds
from prometheus_client import CollectorRegistry, generate_latest
from tests.support.builders import a_cluster, a_failed_pod, a_pending_pod, a_pod, a_scheduler_pod
from tests.support.clock import Run
from tests.support.fake_api import connected

from dask_operator.kubernetes.watch import Watch
from dask_operator.model import Departure, Key
from dask_operator.process.gauges import PHASES, Gauges
from dask_operator.reconcile.store import Store
from dask_operator.resources import CLUSTER, GROUP, POD


def _scraped(gauges: Gauges) -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(gauges)
    samples = (sample for metric in registry.collect() for sample in metric.samples)
    assert generate_latest(registry)
    return {
        sample.name.removeprefix("dask_operator_")
        + "".join(f"/{value}" for value in sample.labels.values()): sample.value
        for sample in samples
    }


def _gauges(store: Store, **others: Any) -> Gauges:
    defaults: dict[str, Any] = {"watches": (), "leading": lambda: True, "waiting": lambda: (0, 0.0)}
    return Gauges(store, **defaults | others)


async def test_what_there_is_is_counted() -> None:
    store = Store()
    written = {"simple": "Running", "b": "Running", "c": "Pending", "d": "a tenant's", "e": ["x"], "f": "other"}
    for name, phase in written.items():
        store.observe(CLUSTER.kind, a_cluster(name, status={"phase": phase}))
    store.observe(CLUSTER.kind, a_cluster("new"))
    pods = [a_pod(0), a_pod(1), a_pending_pod(2), a_failed_pod(3), a_pod(4, deleting=True), a_pod(5, ready=False)]
    for pod in (*pods, a_scheduler_pod()):
        store.observe(POD.kind, pod)
    store.facts(Key("default", "simple")).retirement_began({pods[1].uid: Departure()})
    found = _scraped(_gauges(store))
    assert {name: value for name, value in found.items() if name.startswith("clusters")} == {
        "clusters/Created": 1.0,
        "clusters/Pending": 1.0,
        "clusters/Running": 2.0,
        "clusters/Suspended": 0.0,
        "clusters/Error": 0.0,
        "clusters/other": 3.0,
    }
    assert {name: value for name, value in found.items() if name.startswith("workers")} == {
        "workers/pending": 1.0,
        "workers/starting": 1.0,
        "workers/ready": 1.0,
        "workers/draining": 1.0,
        "workers/ending": 1.0,
        "workers/ended": 1.0,
    }


def test_who_leads_what_waits_and_which_version_it_is(run: Run) -> None:
    async def scraped(*, leading: bool) -> dict[str, float]:
        return _scraped(_gauges(Store(), leading=lambda: leading, waiting=lambda: (3, 1.5)))

    found = run(scraped(leading=True))
    assert (found["leader"], found["queue_depth"], found["queue_oldest_seconds"]) == (1.0, 3.0, 1.5)
    assert found[f"build_info/{version('dask-operator')}"] == 1.0
    assert run(scraped(leading=False))["leader"] == 0.0


async def test_the_watch_that_lags_most_counts_for_its_kind() -> None:
    async with connected() as (_, api):
        watches = [Watch(api, Store(), POD, namespace) for namespace in ("a", "b")]
        await asyncio.sleep(20.0)
        watches.append(Watch(api, Store(), GROUP, "a"))
        watches[0].last_message += 15.0
        found = _scraped(_gauges(Store(), watches=watches))
    assert found["watch_lag_seconds/Pod"] == pytest.approx(20.0, abs=0.1)
    assert found["watch_lag_seconds/DaskWorkerGroup"] == pytest.approx(0.0, abs=0.1)


def test_the_phases_are_those_of_the_definition() -> None:
    described = crds.at(crds.load()["daskcluster"], "status.phase")["description"]
    assert all(phase in described for phase in PHASES)
