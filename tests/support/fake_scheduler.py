"""A scheduler whose workers are registered at once and retired at once, with distributed's HTTP routes.

    python -m tests.support.fake_scheduler PORT

Reads names of workers from its standard input, in one line as JSON. After each retirement, writes a line with the
number of workers and the monotonic time.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web


class FakeScheduler:
    """A scheduler's state. `workers`: names by address."""

    def __init__(self) -> None:
        self.workers: dict[str, str] = {}

    def register(self, names: Sequence[str]) -> None:
        self.workers |= {
            f"tcp://10.{n // 65536}.{n // 256 % 256}.{n % 256}:40000": name for n, name in enumerate(names)
        }

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/json/identity.json", self._identity),
            web.get("/api/v1", self._version),
            web.post("/api/v1/retire_workers", self._retire),
        ]

    async def _identity(self, _: web.Request) -> web.Response:
        return web.json_response({"type": "Scheduler", "workers": self._infos(self.workers)})

    async def _version(self, _: web.Request) -> web.Response:
        return web.Response(text="API V1")

    async def _retire(self, request: web.Request) -> web.Response:
        asked = json.loads(await request.text())
        addresses = list(self.workers)[: asked["n"]] if asked.get("n") else asked["workers"]
        retired = {address: self.workers.pop(address) for address in addresses if address in self.workers}
        self.answered(len(retired))
        return web.json_response(self._infos(retired))

    def answered(self, number: int) -> None:
        sys.stdout.write(f"{number} {time.monotonic()}\n")
        sys.stdout.flush()

    def _infos(self, workers: Mapping[str, str]) -> dict[str, Any]:
        metrics = {"managed_bytes": 0, "spilled_bytes": {"memory": 0, "disk": 0}, "task_counts": {}}
        return {
            address: {"type": "Worker", "name": name, "nthreads": 1, "status": "running", "metrics": metrics}
            for address, name in workers.items()
        }


@asynccontextmanager
async def serving_scheduler(scheduler: FakeScheduler, host: str, port: int) -> AsyncIterator[str]:
    """Serve the scheduler, and yield its URL."""
    app = web.Application()
    app.add_routes(scheduler.routes())
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    try:
        yield "http://{}:{}".format(*runner.addresses[0][:2])
    finally:
        await runner.cleanup()


async def main(port: int) -> None:
    scheduler = FakeScheduler()
    async with serving_scheduler(scheduler, "0.0.0.0", port):
        scheduler.answered(0)
        while line := await asyncio.to_thread(sys.stdin.readline):
            scheduler.register(json.loads(line))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
