"""The results of a run as a file, with a description of the machine."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.figures import Fact, Figures, Measured, Point, Share, Sizes


@dataclass(frozen=True)
class Results:
    """Results of one or more runs. `about`: machine, versions and date, by label."""

    sizes: Sizes
    about: Mapping[str, str]
    measured: tuple[Measured, ...] = ()
    growth: tuple[Point, ...] = ()
    profile: tuple[Share, ...] = ()

    def figures(self, budget: str) -> Figures:
        return {measured.who: measured.values for measured in self.measured if measured.budget == budget}

    def __add__(self, other: Results) -> Results:
        """Return these results with the figures of another run added."""
        return Results(
            self.sizes,
            {**other.about, **self.about},
            self.measured + other.measured,
            self.growth + other.growth,
            self.profile + other.profile,
        )


def of(sizes: Sizes, about: Mapping[str, str], facts: Sequence[Fact]) -> Results:
    return Results(
        sizes,
        about,
        tuple(fact for fact in facts if isinstance(fact, Measured)),
        tuple(fact for fact in facts if isinstance(fact, Point)),
        tuple(fact for fact in facts if isinstance(fact, Share)),
    )


def save(results: Results, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(asdict(results), indent=1, ensure_ascii=False))


def load(file: Path) -> Results:
    raw = json.loads(file.read_text())
    sizes: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in raw["sizes"].items()
    }
    return Results(
        Sizes(**sizes),
        raw["about"],
        tuple(Measured(each["budget"], each["who"], tuple(each["values"])) for each in raw["measured"]),
        tuple(Point(**each) for each in raw["growth"]),
        tuple(Share(**each) for each in raw["profile"]),
    )


def this_machine() -> dict[str, str]:
    memory = re.findall(r"MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text())[0]
    version_of_server = subprocess.run(["kubectl", "get", "--raw", "/version"], capture_output=True, check=True).stdout
    models = re.findall(r"model name\s+: (.*)", Path("/proc/cpuinfo").read_text())
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores",
        "memory": f"{int(memory) / 2**20:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "Kubernetes": json.loads(version_of_server)["gitVersion"].removeprefix("v"),
        "Python": platform.python_version(),
        "aiohttp": version("aiohttp"),
        "kopf": version("kopf"),
    }
