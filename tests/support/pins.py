"""The versions of `ci/versions.env`."""

from __future__ import annotations

import re
from pathlib import Path

PINS: dict[str, str] = dict(
    re.findall(r"^([A-Z_0-9]+)=(\S+)", (Path(__file__).parents[2] / "ci/versions.env").read_text(), re.MULTILINE)
)
