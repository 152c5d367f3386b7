"""Objects that the CRDs' schemas accept and refuse. Their rules need an API server: ci/verify/admission.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ci.verify import crds as copies
from ci.verify.schemas import crd_kinds
from jsonschema import Draft202012Validator
from tests.charts.renderings import CLUSTER, schema

from dask_operator import parse

HERE = Path(__file__).parent
EXAMPLES = sorted((HERE.parent / "examples").glob("*.yaml"))
CRDS = copies.load()
SCHEMAS = {kind.kind: kind.schema for crd in CRDS.values() for kind in crd_kinds(crd)}
REFUSED = yaml.safe_load((HERE / "refused.yaml").read_text())


def errors(manifest: dict[str, Any]) -> list[str]:
    return [error.message for error in Draft202012Validator(SCHEMAS[manifest["kind"]]).iter_errors(manifest)]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_accepted(path: Path) -> None:
    assert errors(yaml.safe_load(path.read_text())) == []


@pytest.mark.parametrize("case", [case for case in REFUSED if "by" not in case], ids=lambda case: case["case"])
def test_schemas_refuse(case: dict[str, Any]) -> None:
    assert errors(case["manifest"])


@pytest.mark.parametrize("case", [case for case in REFUSED if "by" in case], ids=lambda case: case["case"])
def test_only_rules_refuse(case: dict[str, Any]) -> None:
    assert errors(case["manifest"]) == []


@pytest.mark.parametrize("kind", ["DaskCluster", "DaskWorkerGroup", "DaskJob", "DaskAutoscaler"])
def test_names(kind: str) -> None:
    crd = CRDS[kind.lower()]
    assert crd["metadata"]["name"] == f"{kind.lower()}s.kubernetes.dask.org"
    assert crd["spec"]["group"] == "kubernetes.dask.org"
    assert crd["spec"]["scope"] == "Namespaced"
    assert crd["spec"]["names"]["kind"] == kind
    (version,) = crd["spec"]["versions"]
    assert (version["name"], version["served"], version["storage"]) == ("v1", True, True)
    assert "status" in version["subresources"]


@pytest.mark.parametrize("kind", ["daskcluster", "daskworkergroup"])
def test_workers_can_be_scaled(kind: str) -> None:
    scale = CRDS[kind]["spec"]["versions"][0]["subresources"]["scale"]
    replicas = copies.at(CRDS[kind], scale["specReplicasPath"].lstrip("."))
    assert (replicas["type"], replicas["minimum"]) == ("integer", 0)
    assert "default" not in replicas, "that nobody says it must be seen"
    assert copies.at(CRDS[kind], scale["statusReplicasPath"].lstrip("."))["type"] == "integer"
    assert copies.at(CRDS[kind], scale["labelSelectorPath"].lstrip("."))["type"] == "string"


@pytest.mark.parametrize(
    ("kind", "columns"),
    [
        ("daskcluster", ["Workers", "Status", "Age"]),
        ("daskworkergroup", ["Workers", "Age"]),
        ("daskjob", ["Status", "Number Of Workers", "Age", "Tasks Done", "Tasks"]),
        ("daskautoscaler", ["Cluster", "Minimum", "Maximum", "Current", "Desired", "Age", "Last Decision"]),
    ],
)
def test_columns(kind: str, columns: list[str]) -> None:
    shown = CRDS[kind]["spec"]["versions"][0]["additionalPrinterColumns"]
    assert [column["name"] for column in shown if not column.get("priority")] == columns


@pytest.mark.parametrize("kind", ["daskcluster", "daskworkergroup", "daskjob", "daskautoscaler"])
def test_plain_columns_show_fields_that_exist(kind: str) -> None:
    for column in CRDS[kind]["spec"]["versions"][0]["additionalPrinterColumns"]:
        path = column["jsonPath"].lstrip(".")
        if "[" not in path and not path.startswith("metadata."):
            assert copies.at(CRDS[kind], path)["type"] == ("string" if column["type"] == "date" else column["type"])


def test_fields_of_later_kubernetes_are_kept() -> None:
    for path in ("spec.worker.spec", "spec.scheduler.spec", "spec.scheduler.service", "spec.worker.spec.containers.[]"):
        assert copies.at(CRDS["daskcluster"], path)["x-kubernetes-preserve-unknown-fields"] is True


def test_old_objects_with_names_that_are_refused_now_can_be_changed() -> None:
    for kind in ("daskcluster", "daskworkergroup", "daskjob"):
        for rule in copies.schema(CRDS[kind])["x-kubernetes-validations"]:
            assert rule["optionalOldSelf"] is True
            assert rule["rule"].startswith("oldSelf.hasValue() || ")


def test_old_jobs_whose_pod_never_ends_can_be_changed() -> None:
    (rule,) = copies.at(CRDS["daskjob"], "spec.job")["x-kubernetes-validations"]
    assert rule["optionalOldSelf"] is True
    assert "oldSelf.?spec.?restartPolicy.orValue('') == 'Always'" in rule["rule"]


@pytest.mark.parametrize(("direction", "seconds"), [("scaleUp", 0), ("scaleDown", 15)])
def test_default_of_a_window_is_what_the_controller_takes(direction: str, seconds: int) -> None:
    autoscaler = parse.autoscaler({"spec": {"cluster": "c"}})
    assert {"scaleUp": autoscaler.up, "scaleDown": autoscaler.down}[direction].window == seconds
    path = f"spec.behavior.{direction}.stabilizationWindowSeconds"
    assert f"{seconds} for {direction}" in copies.at(CRDS["daskautoscaler"], path)["description"]


def test_a_drain_may_take_as_long_in_the_chart_as_in_the_definitions() -> None:
    defined = copies.at(CRDS["daskcluster"], "spec.worker.drainTimeoutSeconds")
    of_chart = schema(CLUSTER)["properties"]["worker"]["properties"]["drainTimeoutSeconds"]
    assert [of_chart[bound] for bound in ("minimum", "maximum")] == [defined["minimum"], defined["maximum"]]


def test_rules_have_messages() -> None:
    def rules(part: Any) -> list[dict[str, Any]]:
        if isinstance(part, list):
            return [rule for item in part for rule in rules(item)]
        if not isinstance(part, dict):
            return []
        below = [rule for value in part.values() for rule in rules(value)]
        return [*part.get("x-kubernetes-validations", []), *below]

    found = [rule for crd in CRDS.values() for rule in rules(crd)]
    assert found
    assert all(rule.get("message") for rule in found)


def test_each_file_is_short_enough_to_read() -> None:
    for path in copies.CRDS.glob("*.yaml"):
        assert path.stat().st_size < 40 * 1024
