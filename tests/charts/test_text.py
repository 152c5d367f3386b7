"""
Text arrives unchanged: whatever text a value has, the rendering has the same.

For every place of a chart's schema that accepts any text, one rendering has a mark, which shows where the text goes,
and another a difficult text. The second must equal the first with the text in place of the marks.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.charts.conftest import Render
from tests.charts.renderings import CLUSTER, OPERATOR, RENDERINGS, Rendering, schema
from tests.charts.templates import Templates
from tests.charts.texts import Places, Values, leaves, marks, replaced

# Valid names that YAML reads as other types unless quoted.
NAMES = ("123", "on", "null", "true", "1e3", "0x10", "2024-01-01")
TEXTS = (
    *NAMES,
    *("<", ">", "&a", '"', "\\", "'", "$(A) ${B}", "~"),
    '"<>&\\\'$%s{{ .Values.c }}"',
    "# a: b",
    "- a",
    "first\n\tsecond\n\n",
    "\n\n  first\n",
    "\tled",
    "last\n\n\n",
    "\r\n\r",
    "---",
    "- |+\n  a\n\n",
    "@`%!*|>?,[]{}=: ",
    "a " * 99,
    *("08", ".5", "12:30:45", "1_000", "y", "NULL", "{}", "[]"),
    "  blanks at both ends  ",
    "\u00e9 \u2603 \U0001f600 \u2028 \u00a0 \x07",
)
# The names of the release and of its namespace, as marks.
RELEASE, NAMESPACE = "zz9998zz", "zz9999zz"
# Limits of templates that are narrower than the schema.
SHAPES = {
    CLUSTER: {"fullnameOverride": r"[a-z0-9]+"},
    OPERATOR: {
        "scope.namespaces.0": r"[a-z0-9]+",
        # A tag may follow here.
        "image.name": r"[^:]+",
        "test.image.name": r"[^:]+",
    },
}
# Places that this test cannot try.
UNTRIED: dict[str, set[str]] = {
    CLUSTER: set(),
    OPERATOR: {
        # A keyword that selects namespaces; any other word is refused.
        "scope",
        # Manifests: another test has texts in one.
        *("extraObjects.0", "extraObjects.0.apiVersion", "extraObjects.0.kind", "extraObjects.0.metadata"),
        # The other spelling of `podMonitor`, which is tried. The alerts need the default labels.
        "metrics.worker.serviceMonitor.podTargetLabels.0",
    },
}


Template = Callable[[str, Values, str, str], list[Any]]


@pytest.fixture(scope="module")
def template(templates: Templates) -> Template:
    """A function that renders a chart with a file of values for a release and its namespace."""

    def _template(chart: str, values: Values, release: str, namespace: str) -> list[Any]:
        made = templates.render(chart, values, release=release, namespace=namespace)
        assert not made.error, made.error
        return [_opened(manifest) for manifest in yaml.load_all(made.output, yaml.CSafeLoader)]

    return _template


@pytest.fixture(scope="module")
def marked(template: Template) -> Callable[[Rendering], list[Any]]:
    @cache
    def _marked(rendering: Rendering) -> list[Any]:
        return template(rendering.chart, rendering.values(rendering.places()), RELEASE, NAMESPACE)

    return _marked


@pytest.mark.parametrize("text", TEXTS, ids=repr)
@pytest.mark.parametrize("rendering", RENDERINGS, ids=lambda rendering: rendering.name)
def test_text_arrives_as_it_was_written(
    template: Template, marked: Callable[[Rendering], list[Any]], rendering: Rendering, text: str
) -> None:
    places = rendering.places()
    shapes = SHAPES[rendering.chart]
    texts = {
        mark: text
        for path, mark in places.marks.items()
        if places.takes(path, text) and re.fullmatch(shapes.get(path, r"(?s).*"), text)
    }
    assert len(texts) > 50
    values = replaced(rendering.values(places), texts)
    if text in NAMES:
        texts |= {RELEASE: text, NAMESPACE: text}
    found = template(rendering.chart, values, texts.get(RELEASE, RELEASE), texts.get(NAMESPACE, NAMESPACE))
    wanted = dict(leaves(replaced(marked(rendering), texts)))
    assert differences(wanted, dict(leaves(found))) == {}


@pytest.mark.parametrize("chart", [CLUSTER, OPERATOR])
def test_every_text_is_tried(marked: Callable[[Rendering], list[Any]], chart: str) -> None:
    every = Places(schema(chart))
    every.values()
    tried: set[str] = set()
    for rendering in (rendering for rendering in RENDERINGS if rendering.chart == chart):
        places = rendering.places()
        places.values()
        shown = marks(marked(rendering))
        tried |= {path for path, mark in places.marks.items() if mark in shown}
    assert {*every.marks, *every.hidden} - tried == UNTRIED[chart]


def test_environment_is_as_it_was_written(render: Render) -> None:
    """Try texts of any kind, numbers and booleans as people write them, and any names."""
    texts = {"EMPTY": "", "ON": "1", "123": "2", **{f"T{number}": text for number, text in enumerate(TEXTS)}}
    others = {"INTEGER": 5, "LARGE": 4294967296, "FRACTION": 0.25, "TRUE": True, "FALSE": False}
    manifests = render(CLUSTER, {"env": {**texts, **others}})
    (cluster,) = (manifest for manifest in manifests if manifest["kind"] == "DaskCluster")
    (test,) = (manifest for manifest in manifests if manifest["kind"] == "Pod")
    plain = {"INTEGER": "5", "LARGE": "4294967296", "FRACTION": "0.25", "TRUE": "true", "FALSE": "false"}
    for pod in (cluster["spec"]["scheduler"]["spec"], cluster["spec"]["worker"]["spec"], test["spec"]):
        found = {entry["name"]: entry["value"] for entry in pod["containers"][0]["env"]}
        assert {**texts, **plain}.items() <= found.items()


def test_texts_of_extra_objects_are_as_they_were_written(render: Render) -> None:
    data = {f"t{number}": text for number, text in enumerate(TEXTS) if "{{" not in text}
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "extra"}, "data": data}
    assert manifest in render(OPERATOR, {"extraObjects": [manifest]})


def differences(wanted: dict[str, Any], found: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    paths = [path for path in {**wanted, **found} if wanted.get(path) != found.get(path)]
    return {path: (wanted.get(path), found.get(path)) for path in paths if "checksum/" not in path}


def _opened(manifest: Any) -> Any:
    """Return a manifest with YAML and JSON texts in it parsed."""
    if not isinstance(manifest, dict) or manifest["kind"] != "ConfigMap":
        return manifest
    return manifest | {"data": {name: _read(name, text) for name, text in manifest["data"].items()}}


def _read(name: str, text: str) -> Any:
    return yaml.load(text, yaml.CSafeLoader) if Path(name).suffix in (".yaml", ".json") else text
