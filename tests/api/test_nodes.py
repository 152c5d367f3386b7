"""Workers leave a node that is cordoned, on fake nodes, and with a stand-in for their scheduler."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bench.churn.pods import Pods
from bench.churn.schedulers import Schedulers
from bench.churn.wishes import Manifests
from tests.support.controller import Controller
from tests.support.kube import Kube
from tests.support.kubeconfig import credentials
from tests.support.loopback_schedulers import SITE
from tests.support.server import serving
from tests.support.wait import meanwhile, until

from dask_operator.kubernetes.api import Api
from dask_operator.model import Pod
from dask_operator.names import WORKER
from dask_operator.process.settings import WATCH_NODES
from dask_operator.resources import CLUSTER

WORKERS = 8
PATIENCE = 120.0
FAKE = {"nodeSelector": {"type": "kwok"}, "tolerations": [{"key": "kwok.x-k8s.io/node", "operator": "Exists"}]}


def test_workers_leave_a_cordoned_node_a_quarter_at_a_time_and_none_before_its_data_has_moved(
    kube: Kube, tmp_path: Path
) -> None:
    asyncio.run(_left(kube, tmp_path))


async def _left(kube: Kube, folder: Path) -> None:
    async with Api(credentials) as api:
        pods = Pods(api, kube.namespace)
        async with serving(Schedulers(pods).answer) as url, meanwhile(pods.watch()), _operated(kube, folder):
            manifest = Manifests(kube.namespace, int(url.rpartition(":")[2])).cluster("moving", WORKERS)
            for role in ("worker", "scheduler"):
                manifest["spec"][role]["spec"] |= FAKE
            await api.create(CLUSTER, manifest)
            await until(lambda: len(_ready(pods)) == WORKERS, "all workers are ready", PATIENCE)
            nodes = Counter(pod.node for pod in _ready(pods))
            node = nodes.most_common(1)[0][0]
            async with _cordoned(kube, node):
                await until(lambda: _has_left(pods, node), f"all workers have left {node}", PATIENCE)
                await until(lambda: _reason(kube) == "Settled", "the cluster is settled", PATIENCE)
            assert pods.created == WORKERS + nodes[node], "each that left had one successor"
            assert pods.broken == []


@asynccontextmanager
async def _operated(kube: Kube, folder: Path) -> AsyncIterator[None]:
    within, environment = f"--namespace={kube.namespace}", {WATCH_NODES: "true"}
    controller = Controller(kube.kubeconfig, folder / "controller.log", within, environment=environment, site=SITE)
    await asyncio.to_thread(controller.start)
    try:
        yield
    finally:
        controller.kill()


@asynccontextmanager
async def _cordoned(kube: Kube, node: str) -> AsyncIterator[None]:
    await asyncio.to_thread(kube.run, "cordon", node)
    try:
        yield
    finally:
        await asyncio.to_thread(kube.run, "uncordon", node)


def _ready(pods: Pods) -> list[Pod]:
    return [pod for pod in pods.of("moving", WORKER) if pod.ready and not pod.deleting]


def _has_left(pods: Pods, node: str) -> bool:
    living = [pod for pod in pods.of("moving", WORKER) if not pod.deleting]
    assert len(living) <= WORKERS + WORKERS // 4
    ready = _ready(pods)
    return len(ready) == WORKERS and all(pod.node != node for pod in ready)


def _reason(kube: Kube) -> str:
    conditions: list[dict[str, Any]] = (kube.get("daskcluster", "moving") or {})["status"]["conditions"]
    return next(str(each["reason"]) for each in conditions if each["type"] == "Progressing")
