"""A null removes a value, or is refused with a sentence, whichever value it replaces."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml
from tests.charts.renderings import CLUSTER, OPERATOR, RENDERINGS, Rendering, schema
from tests.charts.templates import Templates
from tests.charts.texts import Values, leaves

Place = tuple[str, ...]
# A refusal in words: by the schema, which names the value, or by a template, which says what to set.
REFUSED = re.compile(r"- at '|execution error at \(\S+\): [a-z]")
# What Helm says where a template did not expect a null, and what it prints in place of one.
BROKEN = re.compile(r"nil pointer|error calling|error converting|<nil>|%!\w?\(")


def places(node: Mapping[str, Any], above: Place = ()) -> Iterator[Place]:
    """Yield each value that a schema knows, and an entry of each map."""
    node = node.get("else", node)
    parts = dict(node.get("properties", {}))
    if isinstance(more := node.get("additionalProperties"), Mapping):
        parts["x"] = more
    for name, part in parts.items():
        yield (*above, name)
        yield from places(part, (*above, name))


def tried(rendering: Rendering) -> list[Place]:
    """Return the places to try over a rendering's values: all over the first one of a chart, then those that differ."""
    # A group's values are those of `worker`, merged by key.
    every = [place for place in places(schema(rendering.chart)) if place[0] != "workerGroups" or len(place) < 4]
    if rendering == next(other for other in RENDERINGS if other.chart == rendering.chart):
        return every
    return [place for place in every if place[0] in ("job", "networkPolicy", "metrics", "rbac") or len(place) == 1]


def without(values: Values, place: Place) -> Values:
    """Return values with a null at a place."""
    found = copy.deepcopy(values)
    at = found
    for step in place[:-1]:
        if not isinstance(at.get(step), dict):
            at[step] = {}
        at = at[step]
    at[place[-1]] = None
    return found


def faults(templates: Templates, chart: str, values: Values) -> str:
    """Return what is wrong with a rendering or with its refusal."""
    made = templates.render(chart, values)
    if made.error:
        return "" if REFUSED.search(made.error) and not BROKEN.search(made.error) else made.error
    if broken := BROKEN.search(made.output.replace("%!s", "")):
        return broken[0]
    manifests = [m for m in yaml.load_all(made.output, yaml.CSafeLoader) if m and "Custom" not in m["kind"]]
    return ", ".join(f"{m['kind']} {path}" for m in manifests for path, leaf in leaves(m) if leaf is None)


@pytest.mark.parametrize("rendering", RENDERINGS, ids=lambda rendering: rendering.name)
def test_a_null_is_removed_or_refused(templates: Templates, rendering: Rendering) -> None:
    values = rendering.values(rendering.places())
    every = tried(rendering)
    found = {".".join(place): faults(templates, rendering.chart, without(values, place)) for place in every}
    assert len(found) > 20
    assert {place: fault for place, fault in found.items() if fault} == {}


@pytest.mark.parametrize("chart", [CLUSTER, OPERATOR])
def test_a_null_in_place_of_a_default_is_removed_or_refused(templates: Templates, chart: str) -> None:
    every = [place for place in places(schema(chart)) if len(place) < 3]
    # The definitions are most of what is rendered, and depend on few values.
    values = {"crds": {"install": False}} if chart == OPERATOR else {}
    found = {".".join(place): faults(templates, chart, without(values, place)) for place in every}
    assert {place: fault for place, fault in found.items() if fault} == {}


def test_a_null_where_nothing_is_known_of_the_keys_is_removed_too(templates: Templates) -> None:
    """Try parts of Pods, which are what people write there. Kubernetes itself takes nulls, and the CRDs do not."""
    pod = {"spec": {"dnsConfig": {"options": None}, "containers": [{"name": "sidecar", "resources": None}]}}
    parts = {"podTemplate": pod, "affinity": {"nodeAffinity": None}, "resources": {"limits": {"cpu": None}}}
    values = dict.fromkeys(("scheduler", "worker"), parts) | {"workerGroups": {"a": parts}}
    values |= {"podSecurityContext": {"seLinuxOptions": None}, "securityContext": {"procMount": None}}
    values["volumes"] = {"a": {"mountPath": "/a", "configMap": None, "emptyDir": {"sizeLimit": None}}}
    assert {fault.split()[0] for fault in faults(templates, CLUSTER, values).split(", ")} == {"Pod"}
