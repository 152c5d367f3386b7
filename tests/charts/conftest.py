"""The charts rendered with the Helm of ci/tools."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.charts.templates import Templates, a_renderer
from tests.support.tools import tool

ROOT = Path(__file__).parents[2]

Render = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="session")
def helm() -> Path:
    return tool("helm")


@pytest.fixture(scope="session")
def templates() -> Iterator[Templates]:
    with a_renderer() as made:
        yield made


@pytest.fixture(scope="session")
def render(templates: Templates) -> Render:
    """A function that renders a chart with these values, in the order of its templates. A value's key may have dots."""

    @cache
    def _rendered(chart: str, settings: tuple[str, ...], namespace: str) -> str:
        made = templates.render(chart, settings=settings, namespace=namespace, include_crds=True)
        assert not made.error, made.error
        return made.output

    def _render(chart: str, values: dict[str, Any] | None = None, namespace: str = "dask") -> list[dict[str, Any]]:
        settings = tuple(f"{key}={json.dumps(value)}" for key, value in (values or {}).items())
        manifests = yaml.load_all(_rendered(chart, settings, namespace), yaml.CSafeLoader)
        return [manifest for manifest in manifests if manifest]

    return _render
