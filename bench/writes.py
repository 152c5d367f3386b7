"""An operator's writes for a cluster and for a job, counted by a proxy between it and the API server."""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from bench.figures import Measured
from bench.proxy import Proxy, proxying
from bench.setting import NAMESPACE, Bench, cluster, count, emptied, eventually, pod_spec
from tests.support.kubeconfig import write_kubeconfig

from dask_operator import names
from dask_operator.kubernetes.api import Api, path
from dask_operator.kubernetes.errors import ApiError
from dask_operator.plan.report.status import INTERVAL
from dask_operator.resources import CLUSTER, JOB, POD


async def writes(bench: Bench) -> AsyncIterator[Measured]:
    async with proxying() as (proxy, url):
        kubeconfig = write_kubeconfig(bench.folder / "kubeconfig", url)
        async with bench.operator(kubeconfig):
            for budget, measure in (("writes", for_a_cluster), ("job", for_a_job)):
                async with emptied(bench.api):
                    made = await measure(bench, proxy)
                print(f"  {dict(made)}", flush=True)
                yield Measured(budget, bench.who, (made.total(),))


async def quiet(proxy: Proxy, seconds: float = 2 * INTERVAL) -> None:
    """Wait until nothing was written for `seconds`: long enough for a status update that nobody waits for."""
    written, since = proxy.writes().total(), time.monotonic()

    async def unchanged() -> bool:
        nonlocal written, since
        if proxy.writes().total() != written:
            written, since = proxy.writes().total(), time.monotonic()
        return time.monotonic() > since + seconds

    await eventually(unchanged, "nothing is written any more")


async def for_a_cluster(bench: Bench, proxy: Proxy) -> Counter[str]:
    """Return the writes for a cluster of five workers until it has settled."""
    before = proxy.writes()
    await bench.api.create(CLUSTER, cluster(bench.name("five"), 5))

    async def all_there() -> bool:
        return await count(bench.api, POD) == 6

    await eventually(all_there, "all Pods are there")
    await quiet(proxy)
    return proxy.writes() - before


async def for_a_job(bench: Bench, proxy: Proxy) -> Counter[str]:
    """Return the writes for a job with three workers, from its creation until its cluster is deleted."""
    api, name, before = bench.api, bench.name("three"), proxy.writes()
    await api.create(JOB, job(name, 3))
    try:
        await eventually(lambda: _status(api, name, "Running"), "the job runs")
        await quiet(proxy)
        _succeed(names.runner(name))

        async def over() -> bool:
            return await count(api, CLUSTER) == 0 and await count(api, POD) == 1

        await eventually(over, "the job's cluster is gone")
        await quiet(proxy)
        assert await _status(api, name, "Successful")
        return proxy.writes() - before
    finally:
        await api.request("DELETE", path(JOB, NAMESPACE))


def job(name: str, workers: int) -> dict[str, Any]:
    return {
        "apiVersion": JOB.api_version,
        "kind": JOB.kind,
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"job": {"spec": pod_spec("job")}, "cluster": {"spec": cluster(name, workers)["spec"]}},
    }


async def _status(api: Api, name: str, wanted: str) -> bool:
    with suppress(ApiError):
        return bool((await api.get(JOB, NAMESPACE, name)).body.get("status", {}).get("jobStatus") == wanted)
    return False


def _succeed(pod: str) -> None:
    """Make a runner on a fake node end as after a successful program."""
    ended = {"exitCode": 0, "reason": "Completed", "finishedAt": "2026-01-01T00:00:00Z"}
    container = {"name": "job", "image": "", "imageID": "", "ready": False, "restartCount": 0}
    status = {"phase": "Succeeded", "containerStatuses": [{**container, "state": {"terminated": ended}}]}
    command = ["kubectl", "patch", "pod", pod, "--namespace", NAMESPACE, "--subresource=status", "--type=merge"]
    subprocess.run([*command, "--patch", json.dumps({"status": status})], check=True, capture_output=True)
