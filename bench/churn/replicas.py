"""The two controllers and their troubles. `second` never restarts, so that its leaks show."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import yaml
from tests.support.controller import LEADS, Controller
from tests.support.kube import Kube
from tests.support.loopback_schedulers import SITE
from tests.support.network import Network

PAUSE = 12.0
"""Mean seconds between two troubles of one controller."""
LONGEST = 10.0
"""Longest pause or network outage in seconds: longer than the lease."""
LEASE = "churn"
_BUG = "Traceback (most recent call last)"

Tell = Callable[[str, str], None]


class Replica:
    """A controller behind a network of its own. `mortal`: whether its process is stopped and restarted.

    `tell` is called as each trouble begins.
    """

    def __init__(self, name: str, kube: Kube, folder: Path, tell: Tell, *, mortal: bool) -> None:
        kubeconfig = yaml.safe_load(kube.kubeconfig.read_text())
        (cluster,) = kubeconfig["clusters"]
        host, port = cluster["cluster"]["server"].removeprefix("https://").split(":")
        self.network = Network(host, int(port))
        cluster["cluster"]["server"] = f"https://127.0.0.1:{self.network.port}"
        own = folder / f"{name}.kubeconfig"
        own.write_text(yaml.safe_dump(kubeconfig))
        self.name = name
        self.mortal = mortal
        self._folder = folder
        self._tell = tell
        self._starts = 0
        self._starting: asyncio.Task[None] | None = None
        within, lease = f"--namespace={kube.namespace}", f"{kube.namespace}/{LEASE}"
        self.controller = Controller(own, folder / f"{name}.log", within, lease=lease, site=SITE)
        self._troubles: Mapping[str, tuple[int, Callable[[float], Awaitable[None]]]] = {
            "paused": (2, self._paused),
            "cut off": (2, self._cut_off),
            "without an answer": (2, self._unanswered),
            **({"killed": (2, self._killed), "told to go": (2, self._told_to_go)} if mortal else {}),
        }

    async def start(self) -> None:
        self._starts += 1
        self.controller.log = self._folder / f"{self.name}-{self._starts}.log"
        self._starting = asyncio.create_task(asyncio.to_thread(self.controller.start))
        await self._starting

    async def end(self) -> None:
        """Kill the controller in any state, and close its network."""
        if self._starting:
            await asyncio.gather(self._starting, return_exceptions=True)
        self.controller.kill()
        self.network.close()

    async def suffer(self, chance: random.Random, until: float) -> None:
        """Cause troubles until shortly after `until` (monotonic); undo the last before returning."""
        while True:
            await asyncio.sleep(min(chance.expovariate(1 / PAUSE), max(until - time.monotonic(), 0.0)))
            if time.monotonic() >= until:
                return
            weights = [weight for weight, _ in self._troubles.values()]
            (title,) = chance.choices(list(self._troubles), weights)
            leads = await asyncio.to_thread(self.controller.does, LEADS)
            self._tell(f"{title}{', leading' if leads else ''}", self.name)
            await self._troubles[title][1](chance.uniform(0.5, LONGEST))

    def bugs(self) -> list[str]:
        """Return unexpected errors in the controller's logs."""
        logs = self._folder.glob(f"{self.name}-*.log")
        return [f"{_BUG} in {log}" for log in sorted(logs) if _BUG in log.read_text()]

    async def _paused(self, seconds: float) -> None:
        self.controller.pause()
        try:
            await asyncio.sleep(seconds)
        finally:
            self.controller.resume()

    async def _cut_off(self, seconds: float) -> None:
        self.network.cut()
        await self._until_back(seconds)

    async def _unanswered(self, seconds: float) -> None:
        self.network.silent()
        await self._until_back(seconds)

    async def _until_back(self, seconds: float) -> None:
        try:
            await asyncio.sleep(seconds)
        finally:
            self.network.back()

    async def _killed(self, seconds: float) -> None:
        self.controller.kill()
        await self._come_back(seconds)

    async def _told_to_go(self, seconds: float) -> None:
        code = await asyncio.to_thread(self.controller.stop)
        assert code == 0, f"{self.name} ended with {code}: {self.controller.log}"
        await self._come_back(seconds)

    async def _come_back(self, seconds: float) -> None:
        await asyncio.sleep(seconds / 2)
        await self.start()
