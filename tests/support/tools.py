"""The programs of ci/tools."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]


@cache
def tool(name: str) -> Path:
    """Return a program, built if the cache lacks it."""
    built = subprocess.run([ROOT / "ci/tools/build.sh", name], check=True, capture_output=True, text=True)
    return Path(built.stdout.strip()) / name
