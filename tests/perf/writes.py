"""What the controller writes, and the memory that it takes, as its own requests and the kernel say.

    python -m tests.perf.writes [--clusters 100] [--idle 600] [--pods 10000]

Needs kubectl in the PATH and KUBECONFIG of a cluster with fake nodes, with our CRDs and without a controller. It starts
one of its own, which speaks to the API server through a proxy that counts. Prints a line per promise, with its budget.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import kopf
from aiohttp import web
from tests.perf.create import NAMESPACE, Process, cluster, count, emptied, pod_spec
from tests.support.server import serving

from dask_operator import names
from dask_operator.actions import CLUSTER, GROUP, JOB, POD
from dask_operator.api import Api, ApiError
from dask_operator.plan.status import INTERVAL

PATIENCE = 300.0
READING = ("GET", "HEAD")


class Proxy:
    """Passes requests on to the API server. `writes`: how many of each verb and kind of object."""

    def __init__(self, server: str, session: aiohttp.ClientSession) -> None:
        self._server = server
        self._session = session
        self.writes: Counter[str] = Counter()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.method not in READING:
            # The path ends with the kind where something is created, else with the kind, a name and a subresource.
            parts = [part for part in request.path.split("/") if part][2 if request.path.startswith("/api/") else 3 :]
            self.writes[f"{request.method} {parts[2]}"] += 1
        passed = {k: v for k, v in request.headers.items() if k in {"Accept", "Content-Type", "User-Agent"}}
        url, body = f"{self._server}{request.path_qs}", await request.read()
        async with self._session.request(request.method, url, headers=passed, data=body or None) as reply:
            kept = {k: v for k, v in reply.headers.items() if k in {"Content-Type", "Warning", "Retry-After"}}
            response = web.StreamResponse(status=reply.status, headers=kept)
            await response.prepare(request)
            async for chunk in reply.content.iter_any():
                await response.write(chunk)
        return response


@contextmanager
def kubectl_proxy(log: Path) -> Iterator[str]:
    """The API server's URL without TLS."""
    with log.open("w") as output:
        process = subprocess.Popen(["kubectl", "proxy", "--port=0"], stdout=output)
    try:
        deadline = time.monotonic() + PATIENCE
        while not (found := re.search(r"127\.0\.0\.1:\d+", log.read_text())):
            if time.monotonic() > deadline:
                raise TimeoutError("kubectl proxy does not start")
            time.sleep(0.05)
        yield f"http://{found[0]}"
    finally:
        process.terminate()
        process.wait()


@contextmanager
def controlling(server: str, folder: Path) -> Iterator[tuple[Process, Path]]:
    """A controller of one namespace, and its log."""
    kubeconfig, log = folder / "kubeconfig", folder / "controller.log"
    parts = {
        "current-context": "proxy",
        "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
        "clusters": [{"name": "proxy", "cluster": {"server": server}}],
        "users": [{"name": "proxy", "user": {}}],
    }
    kubeconfig.write_text(json.dumps(parts))
    environment = {"KUBECONFIG": str(kubeconfig), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-m", "dask_operator", "--namespace", NAMESPACE]
    with log.open("w") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        yield Process(process.pid), log
    finally:
        process.terminate()
        process.wait()


@asynccontextmanager
async def counted(folder: Path) -> AsyncIterator[tuple[Proxy, Process]]:
    """A controller that has seen everything, and the proxy through which it speaks."""
    timeout, connector = aiohttp.ClientTimeout(total=None), aiohttp.TCPConnector(limit=0)
    with kubectl_proxy(folder / "proxy.log") as server:
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as session:
            proxy = Proxy(server, session)
            async with serving(proxy.answer) as url:
                with controlling(url, folder) as (controller, log):

                    async def synced() -> bool:
                        return "synced" in log.read_text()

                    await eventually(synced, f"the controller has synced, says {log}")
                    yield proxy, controller


async def eventually(condition: Callable[[], Awaitable[bool]], what: str, seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not await condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:.0f} s: {what}")
        await asyncio.sleep(0.2)


async def _settled(api: Api, number: int) -> None:
    """Returns once so many clusters have settled, and a status that nobody waits for would have been written."""

    async def look() -> bool:
        items = (await api.list_page(CLUSTER, NAMESPACE, ""))["items"]
        conditions = [c for item in items for c in item.get("status", {}).get("conditions", [])]
        settled = [c for c in conditions if c["type"] == "Progressing" and c["status"] == "False"]
        return len(settled) == number

    await eventually(look, f"{number} clusters have settled")
    await asyncio.sleep(2 * INTERVAL)


async def for_a_cluster(api: Api, proxy: Proxy) -> Counter[str]:
    """The writes for a cluster of five workers until it has settled."""
    async with emptied(api):
        before = proxy.writes.copy()
        await api.create(CLUSTER, cluster("five", 5))
        await _settled(api, 1)
        return proxy.writes - before


def job(name: str, workers: int) -> dict[str, Any]:
    return {
        "apiVersion": JOB.api_version,
        "kind": JOB.kind,
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"job": {"spec": pod_spec("job")}, "cluster": {"spec": cluster(name, workers)["spec"]}},
    }


async def for_a_job(api: Api, proxy: Proxy) -> Counter[str]:
    """The writes for a job with three workers, from its creation to its end with all that goes then."""
    async with emptied(api):
        before = proxy.writes.copy()
        await api.create(JOB, job("three", 3))

        async def runs() -> bool:
            status = (await api.get(JOB, NAMESPACE, "three")).body.get("status", {})
            return bool(status.get("jobStatus") == "Running")

        await eventually(runs, "the job runs")
        await _settled(api, 1)
        _succeed(names.runner("three"))

        async def over() -> bool:
            return await count(api, CLUSTER) == 0 and await count(api, POD) == 1

        await eventually(over, "the job's cluster is gone")
        await asyncio.sleep(2 * INTERVAL)
        status = (await api.get(JOB, NAMESPACE, "three")).body["status"]
        assert status["jobStatus"] == "Successful", status
        made = proxy.writes - before
        await api.request("DELETE", f"/apis/{JOB.api_version}/namespaces/{NAMESPACE}/{JOB.plural}")
        return made


def _succeed(pod: str) -> None:
    """A runner on a fake node ends as if its program had."""
    ended = {"exitCode": 0, "reason": "Completed", "finishedAt": "2026-01-01T00:00:00Z"}
    container = {"name": "job", "image": "", "imageID": "", "ready": False, "restartCount": 0}
    status = {"phase": "Succeeded", "containerStatuses": [{**container, "state": {"terminated": ended}}]}
    command = ["kubectl", "patch", "pod", pod, "--namespace", NAMESPACE, "--subresource=status", "--type=merge"]
    subprocess.run([*command, "--patch", json.dumps({"status": status})], check=True, capture_output=True)


async def idle(
    api: Api, proxy: Proxy, controller: Process, clusters: int, seconds: float
) -> tuple[Counter[str], float]:
    """The writes of so many seconds in which nothing happens, and the CPU seconds that they took."""
    async with emptied(api):
        await asyncio.gather(*(api.create(CLUSTER, cluster(f"idle-{n}", 2)) for n in range(clusters)))
        await _settled(api, clusters)
        await asyncio.sleep(10 * INTERVAL)
        before, cpu = proxy.writes.copy(), controller.cpu()
        await asyncio.sleep(seconds)
        return proxy.writes - before, controller.cpu() - cpu


async def memory(api: Api, controller: Process, pods: int) -> float:
    """Resident MiB with so many workers of one cluster, which is deleted without a wait for its end."""
    with suppress(ApiError):
        await api.request("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    await api.create(CLUSTER, cluster("large", pods))

    async def ready() -> bool:
        with suppress(ApiError):
            status = (await api.get(GROUP, NAMESPACE, "large-default")).body.get("status", {})
            return bool(status.get("readyReplicas") == pods)
        return False

    await eventually(ready, f"{pods} workers are ready", 3 * PATIENCE)
    await _settled(api, 1)
    taken = controller.memory()
    await api.request("DELETE", f"/apis/{CLUSTER.api_version}/namespaces/{NAMESPACE}/{CLUSTER.plural}/large")
    return taken


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clusters", type=int, default=100)
    parser.add_argument("--idle", type=float, default=600.0, metavar="SECONDS")
    parser.add_argument("--pods", type=int, default=10_000)
    options = parser.parse_args()
    info = kopf.login_with_kubeconfig(settings=kopf.OperatorSettings())
    if info is None:
        raise SystemExit("set KUBECONFIG to that of a cluster with fake nodes")
    with tempfile.TemporaryDirectory() as folder:
        async with Api(lambda: info) as api, counted(Path(folder)) as (proxy, controller):
            print(f"memory at the start: {controller.memory():.1f} MiB", flush=True)
            made = await for_a_cluster(api, proxy)
            print(f"writes for a cluster of 5: {made.total()} (at most 10): {dict(made)}", flush=True)
            made = await for_a_job(api, proxy)
            print(f"writes for a job of 3: {made.total()} (at most 12): {dict(made)}", flush=True)
            made, cpu = await idle(api, proxy, controller, options.clusters, options.idle)
            share = 100 * cpu / options.idle
            print(
                f"writes in {options.idle:.0f} idle seconds of {options.clusters} clusters: {made.total()} (none): "
                f"{dict(made)}; {share:.2f} % of a core",
                flush=True,
            )
            print(f"memory with {options.pods} workers: {await memory(api, controller, options.pods):.1f} MiB")


if __name__ == "__main__":
    asyncio.run(main())
