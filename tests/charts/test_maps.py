"""Maps and lists of texts hold whatever is written into them, and no rendered map has a key twice."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml
from tests.charts.renderings import CLUSTER, OPERATOR, RENDERINGS, schema
from tests.charts.templates import Templates
from tests.charts.test_text import NAMES, TEXTS
from tests.charts.texts import Values

Place = tuple[str, ...]
EVERY = ("", *TEXTS)
MAP = {**{f"key{number}": text for number, text in enumerate(EVERY)}, **{name: name for name in NAMES}}
LIST = list(EVERY)
# Places that this test cannot try.
UNTRIED: dict[str, set[str]] = {
    CLUSTER: set(),
    OPERATOR: {
        # Names of namespaces only.
        "scope.namespaces",
        # Manifests.
        "extraObjects",
        # The other spelling of `podMonitor`, which is tried.
        "metrics.worker.serviceMonitor.podTargetLabels",
    },
}


class Strict(yaml.CSafeLoader):
    """A loader that refuses a key that a map has twice, as strict clients and kustomize do."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"{node.start_mark}: a key is there twice: {sorted(keys)}"
        return super().construct_mapping(node, deep)


def places(node: Mapping[str, Any], above: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Yield each map and each list of any texts, with the content to try there."""
    node = node.get("else", node)
    more = node.get("additionalProperties")
    if isinstance(more, Mapping) and any(_is_text(part) for part in more.get("anyOf", [more])):
        yield above, MAP
    if _is_text(node.get("items", {})):
        yield above, LIST
    parts = {**node.get("properties", {}), **({"0": node["items"]} if "items" in node else {})}
    if isinstance(more, Mapping):
        parts["x"] = more
    for name, part in parts.items():
        yield from places(part, (*above, name))


def with_content(values: Values, place: Place, content: Any) -> Values | None:
    """Return values with other content at a place, or nothing where they have none."""
    found = copy.deepcopy(values)
    at: Any = found
    for step in place[:-1]:
        # An entry of a map, whatever its name is.
        name = next(iter(at), step) if step == "x" else step
        at = at[int(name)] if isinstance(at, list) else at.get(name)
        if not isinstance(at, dict | list):
            return None
    at[place[-1]] = content
    return found


def rendered(templates: Templates, chart: str, values: Values) -> list[Any] | None:
    """Return what is rendered, or nothing where the chart refuses the values."""
    made = templates.render(chart, values)
    return None if made.error else list(yaml.load_all(made.output, Strict))


def holds(found: Any, content: Any) -> bool:
    """Return whether a map, a list or the variables of a container have this content, at any depth."""
    if isinstance(found, dict):
        return (isinstance(content, dict) and content.items() <= _texts(found).items()) or any(
            holds(item, content) for item in found.values()
        )
    if not isinstance(found, list):
        return False
    if isinstance(content, dict):
        named = {item["name"]: item.get("value") for item in found if isinstance(item, dict) and "name" in item}
        return content.items() <= named.items() or any(holds(item, content) for item in found)
    starts = range(len(found) - len(content) + 1)
    return any(found[start : start + len(content)] == content for start in starts) or any(
        holds(item, content) for item in found
    )


@pytest.mark.parametrize("chart", [CLUSTER, OPERATOR])
def test_a_map_or_a_list_has_any_texts_and_keys(templates: Templates, chart: str) -> None:
    every = {".".join(place): (place, content) for place, content in places(schema(chart))}
    missing = set(every)
    for rendering in (rendering for rendering in RENDERINGS if rendering.chart == chart):
        values = rendering.values(rendering.places())
        for path in sorted(missing):
            place, content = every[path]
            given = with_content(values, place, content)
            if given is not None and holds(rendered(templates, chart, given), content):
                missing.remove(path)
    assert len(every) > 30
    assert missing == UNTRIED[chart]


@pytest.mark.parametrize("chart", [CLUSTER, OPERATOR])
def test_no_key_is_there_twice(templates: Templates, chart: str) -> None:
    """Try the keys that the charts and Helm use themselves."""
    rendering = next(rendering for rendering in RENDERINGS if rendering.chart == chart)
    values = rendering.values(rendering.places())
    own = {key: "mine" for manifest in rendered(templates, chart, values) or () for key in _metadata(manifest)}
    assert len(own) > 5
    for place, content in places(schema(chart)):
        if content is MAP:
            rendered(templates, chart, with_content(values, place, own) or values)


def _is_text(node: Any) -> bool:
    """Return whether a schema accepts any text."""
    return isinstance(node, Mapping) and "string" in node.get("type", ()) and not node.keys() & {"pattern", "enum"}


def _texts(found: dict[Any, Any]) -> dict[Any, Any]:
    return {key: item for key, item in found.items() if isinstance(item, str)}


def _metadata(manifest: Any) -> set[str]:
    """Return the keys of labels and annotations, at any depth."""
    if isinstance(manifest, list):
        return {key for item in manifest for key in _metadata(item)}
    if not isinstance(manifest, dict):
        return set()
    keys = {key for name in ("labels", "annotations") for key in manifest.get(name) or () if isinstance(key, str)}
    return keys | {key for item in manifest.values() for key in _metadata(item)}
