"""JSON schemas for kubeconform, of OpenAPI documents and of CRDs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ci.verify import schemas
from jsonschema import Draft202012Validator

OPENAPI = {
    "definitions": {
        "io.k8s.Meta": {"properties": {"name": {"type": "string"}}},
        "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"type": "string", "format": "int-or-string"},
        "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": "string"},
        "io.k8s.Unused": {"properties": {}},
        "io.k8s.Thing": {
            "properties": {
                "apiVersion": {"type": "string"},
                "kind": {"type": "string"},
                "metadata": {"$ref": "#/definitions/io.k8s.Meta"},
                "port": {"$ref": "#/definitions/io.k8s.apimachinery.pkg.util.intstr.IntOrString"},
                "sizes": {
                    "type": "array",
                    "items": {"$ref": "#/definitions/io.k8s.apimachinery.pkg.api.resource.Quantity"},
                },
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            },
            "x-kubernetes-group-version-kind": [
                {"group": "", "version": "v1", "kind": "Thing"},
                {"group": "apps", "version": "v2", "kind": "Thing"},
            ],
        },
    }
}

THING = {"apiVersion": "v1", "kind": "Thing"}


def crd(spec: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"apiVersion": {}, "kind": {}, "spec": spec}, "required": ["spec"]}
    version = {"name": "v1", "schema": {"openAPIV3Schema": schema}}
    return {"spec": {"group": "example.com", "names": {"kind": "Example"}, "versions": [version]}}


def accepts(schema: schemas.Schema, instance: Any) -> bool:
    return Draft202012Validator(schema).is_valid(instance)


def test_files_are_where_kubeconform_looks(tmp_path: Path) -> None:
    assert schemas.write(schemas.openapi_kinds(OPENAPI), tmp_path) == 2
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.json")} == {
        "v1/thing_v1.json",
        "apps/thing_v2.json",
    }


def test_each_file_is_complete_and_has_nothing_else(tmp_path: Path) -> None:
    schemas.write(schemas.openapi_kinds(OPENAPI), tmp_path)
    schema = json.loads((tmp_path / "v1/thing_v1.json").read_text())
    assert "io.k8s.Unused" not in schema["definitions"]
    assert accepts(schema, {**THING, "metadata": {"name": "a"}})


@pytest.mark.parametrize(
    "extra",
    [{"port": 80}, {"port": "http"}, {"sizes": [1, 0.5, "1Gi"]}, {"labels": {"any": "thing"}}],
    ids=str,
)
def test_openapi_accepts(extra: dict[str, Any]) -> None:
    kind, _ = schemas.openapi_kinds(OPENAPI)
    assert accepts(kind.schema, {**THING, **extra})


@pytest.mark.parametrize(
    "extra",
    [{"prot": 80}, {"metadata": {"nmae": "a"}}, {"port": 0.5}, {"labels": {"any": 1}}, {"labels": None}],
    ids=str,
)
def test_openapi_refuses(extra: dict[str, Any]) -> None:
    kind, _ = schemas.openapi_kinds(OPENAPI)
    assert not accepts(kind.schema, {**THING, **extra})


@pytest.mark.parametrize(
    ("spec", "good", "bad"),
    [
        ({"type": "integer", "minimum": 0}, [0], [-1, None, "0"]),
        ({"type": "integer", "nullable": True}, [1, None], ["1"]),
        ({"type": "integer", "default": 1}, [1, None], ["1"]),
        ({"x-kubernetes-int-or-string": True, "pattern": "^[0-9]+$"}, [1, "1"], ["one", 1.5]),
        ({"type": "object", "properties": {"a": {"type": "string"}}}, [{"a": "b"}, {}], [{"b": "a"}, {"a": 1}]),
        (
            {"type": "object", "properties": {"a": {"type": "string"}}, "x-kubernetes-preserve-unknown-fields": True},
            [{"b": 1}],
            [{"a": 1}],
        ),
        ({"type": "object", "additionalProperties": {"type": "string"}}, [{"a": "b"}], [{"a": 1}]),
        ({"type": "array", "items": {"type": "string"}, "minItems": 1}, [["a"]], [[], [1]]),
        ({"type": "string", "enum": ["a", "b"]}, ["a"], ["c"]),
    ],
    ids=str,
)
def test_crds(spec: dict[str, Any], good: list[Any], bad: list[Any]) -> None:
    (kind,) = schemas.crd_kinds(crd(spec))
    manifest = {"apiVersion": "example.com/v1", "kind": "Example", "metadata": {"name": "a", "labels": {}}}
    for value in good:
        assert accepts(kind.schema, {**manifest, "spec": value}), value
    for value in bad:
        assert not accepts(kind.schema, {**manifest, "spec": value}), value
    assert not accepts(kind.schema, {**manifest, "spec": good[0], "sepc": good[0]})


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = tmp_path / "openapi.json"
    document.write_text(json.dumps(OPENAPI))
    assert schemas.main([str(tmp_path / "made"), "--openapi", str(document)]) == 0
    assert capsys.readouterr().out.startswith("2 kinds in ")
    assert (tmp_path / "made/v1/thing_v1.json").exists()
