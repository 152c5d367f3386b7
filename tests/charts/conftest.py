"""The charts rendered with the Helm of ci/tools."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.tools import tool

ROOT = Path(__file__).parents[2]

Render = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="session")
def helm() -> Path:
    return tool("helm")


@pytest.fixture(scope="session")
def render(helm: Path) -> Render:
    """A function that renders a chart with these values, in the order of its templates. A value's key may have dots."""

    @cache
    def _rendered(chart: str, settings: tuple[str, ...], namespace: str) -> str:
        command = [
            str(helm),
            "template",
            "release",
            str(ROOT / "charts" / chart),
            "--namespace",
            namespace,
            "--include-crds",
        ]
        words = [word for setting in settings for word in ("--set-json", setting)]
        made = subprocess.run(
            [*command, "--kube-version", "1.33.0", *words],
            check=False,
            capture_output=True,
            text=True,
        )
        assert made.returncode == 0, made.stderr
        return made.stdout

    def _render(chart: str, values: dict[str, Any] | None = None, namespace: str = "dask") -> list[dict[str, Any]]:
        settings = tuple(f"{key}={json.dumps(value)}" for key, value in (values or {}).items())
        manifests = yaml.load_all(_rendered(chart, settings, namespace), yaml.CSafeLoader)
        return [manifest for manifest in manifests if manifest]

    return _render
