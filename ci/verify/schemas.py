"""Write kubeconform's JSON schemas of manifests, a self-contained file for each kind.

    schemas.py FOLDER --openapi FILE    every kind of an API server, from its /openapi/v2 or its swagger.json
    schemas.py FOLDER --crds FILE...    the kinds of CustomResourceDefinitions

The files are <group, or version of the core group>/<kind>_<version>.json, for kubeconform's --schema-location
'FOLDER/{{.Group}}/{{.ResourceKind}}_{{.ResourceAPIVersion}}.json'. They are strict, and allow no other keys.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

Schema = dict[str, Any]

_OPEN = "x-kubernetes-preserve-unknown-fields"
# Types that the API server accepts besides the published one.
_LENIENT: Mapping[str, Schema] = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"type": ["string", "integer"]},
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": ["string", "number"]},
}
_KEPT = ("pattern", "enum", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "required")


class Kind(NamedTuple):
    """A kind of object and its schema."""

    group: str
    version: str
    kind: str
    schema: Schema

    def path(self, folder: Path) -> Path:
        return folder / (self.group or self.version) / f"{self.kind.lower()}_{self.version}.json"


def openapi_kinds(document: Mapping[str, Any]) -> Iterator[Kind]:
    """Yield the kinds of an OpenAPI v2 document."""
    definitions = document["definitions"]
    for name, definition in definitions.items():
        for names in definition.get("x-kubernetes-group-version-kind", ()):
            schema = {"$ref": f"#/definitions/{name}", "definitions": _reachable(name, definitions)}
            yield Kind(names["group"], names["version"], names["kind"], schema)


def crd_kinds(crd: Mapping[str, Any]) -> Iterator[Kind]:
    """Yield the kinds of a CustomResourceDefinition, one for each version."""
    spec = crd["spec"]
    for version in spec["versions"]:
        schema = crd_schema(version["schema"]["openAPIV3Schema"])
        schema["properties"]["metadata"] = {"type": "object"}
        schema["required"] = sorted({*schema.get("required", ()), "apiVersion", "kind", "metadata"})
        yield Kind(spec["group"], version["name"], spec["names"]["kind"], schema)


def crd_schema(schema: Mapping[str, Any]) -> Schema:
    """Return a structural schema as a JSON schema, without rules and list keys, which the API server checks."""
    made: Schema = {key: schema[key] for key in _KEPT if key in schema}
    kind = ["string", "integer"] if schema.get("x-kubernetes-int-or-string") else schema.get("type")
    if kind:
        made["type"] = _nullable(kind) if _takes_null(schema) else kind
    if "items" in schema:
        made["items"] = crd_schema(schema["items"])
    if "properties" in schema:
        made["properties"] = {name: crd_schema(value) for name, value in schema["properties"].items()}
        made["additionalProperties"] = bool(schema.get(_OPEN))
    if "additionalProperties" in schema:
        made["additionalProperties"] = crd_schema(schema["additionalProperties"])
    return made


def write(kinds: Iterator[Kind], folder: Path) -> int:
    count = 0
    for kind in kinds:
        path = kind.path(folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(kind.schema, separators=(",", ":")))
        count += 1
    return count


def _takes_null(schema: Mapping[str, Any]) -> bool:
    # The API server replaces a null by the default.
    return bool(schema.get("nullable") or "default" in schema)


def _nullable(kind: str | list[str]) -> list[str]:
    return [*([kind] if isinstance(kind, str) else kind), "null"]


def _reachable(name: str, definitions: Mapping[str, Schema]) -> dict[str, Schema]:
    """Return the definitions reachable from this one, itself included, made strict."""
    found: dict[str, Schema] = {}
    waiting = [name]
    while waiting:
        current = waiting.pop()
        if current not in found:
            found[current] = _strict(current, definitions[current])
            waiting.extend(_references(definitions[current]))
    return found


def _strict(name: str, definition: Schema) -> Schema:
    if name in _LENIENT:
        return dict(_LENIENT[name])
    if "properties" in definition and "additionalProperties" not in definition and not definition.get(_OPEN):
        return {**definition, "additionalProperties": False}
    return definition


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"].removeprefix("#/definitions/")
        for item in value.values():
            yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--openapi", type=Path)
    source.add_argument("--crds", type=Path, nargs="+")
    options = parser.parse_args(arguments)
    if options.openapi:
        kinds = openapi_kinds(json.loads(options.openapi.read_text()))
    else:
        kinds = (kind for path in options.crds for kind in crd_kinds(yaml.load(path.read_text(), yaml.CSafeLoader)))
    print(f"{write(kinds, options.folder)} kinds in {options.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
