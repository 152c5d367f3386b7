"""The controllers' resources and metrics, every few seconds, as rows of a CSV file."""

from __future__ import annotations

import asyncio
import csv
import re
from collections.abc import Sequence
from dataclasses import astuple, dataclass, field, fields
from pathlib import Path
from typing import Any

from bench.churn.replicas import Replica
from bench.churn.result import Result, Sample

EVERY = 3.0
"""Seconds between two samples."""
_WRITES = re.compile(r'dask_operator_api_requests_total\{.*verb="(create|patch|delete)"')


@dataclass
class Samples:
    """Samples of all replicas. `broken`: violations, in sentences."""

    replicas: Sequence[Replica]
    file: Path
    result: Result
    broken: list[str] = field(default_factory=list)

    async def take(self) -> None:
        """Write samples until cancelled."""
        with self.file.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(each.name for each in fields(Sample))
            while True:
                rows = await asyncio.gather(*(self.sample(replica) for replica in self.replicas))
                found = [row for row in rows if row]
                writer.writerows(map(astuple, found))
                file.flush()
                self.result.samples += found
                self.broken += [f"{row.errors} reconcile errors of {row.replica}" for row in found if row.errors]
                if sum(bool(row.leads) for row in found) > 1:
                    await self._look_again()
                await asyncio.sleep(EVERY)

    async def _look_again(self) -> None:
        """Check again: a paused leader takes a moment to see that its Lease is lost, and writes nothing meanwhile."""
        await asyncio.sleep(1.0)
        again = await asyncio.gather(*(self.sample(replica) for replica in self.replicas))
        if sum(bool(row and row.leads) for row in again) > 1:
            self.broken.append("two controllers lead")

    async def sample(self, replica: Replica) -> Sample | None:
        """Return a sample, or None if no process runs."""
        said = metrics(await asyncio.to_thread(replica.controller.get, "/metrics"))
        if not (pid := replica.controller.pid):
            return None
        try:
            takes = _takes(Path(f"/proc/{pid}"))
        except (OSError, KeyError):
            return None  # the process has just ended
        return Sample(self.result.now(), replica.name, pid, *takes, **(_said(said) if said else {}))


def _takes(process: Path) -> tuple[float, int, int]:
    """Return resident MiB, open files and threads."""
    status = (process / "status").read_text()
    numbers = {name: int(value) for name, value in re.findall(r"^(VmRSS|Threads):\s+(\d+)", status, re.MULTILINE)}
    return numbers["VmRSS"] / 1024, len(list((process / "fd").iterdir())), numbers["Threads"]


def metrics(text: str) -> dict[str, float]:
    """Return the controller's metrics by name with labels."""
    lines = (line.rpartition(" ") for line in text.splitlines() if line.startswith("dask_operator_"))
    return {name: float(value) for name, _, value in lines}


def _said(values: dict[str, float]) -> dict[str, Any]:
    def of(name: str) -> list[float]:
        return [value for key, value in values.items() if key.partition("{")[0] == f"dask_operator_{name}"]

    return {
        "leads": bool(sum(of("leader"))),
        "queue_depth": int(sum(of("queue_depth"))),
        "queue_age": sum(of("queue_oldest_seconds")),
        "watch_lag": max(of("watch_lag_seconds"), default=0.0),
        "watch_restarts": int(sum(of("watch_restarts_total"))),
        "errors": int(sum(of("reconcile_errors_total"))),
        "writes": int(sum(value for key, value in values.items() if _WRITES.match(key))),
    }
