"""The cluster's chart renders from its values alone, for tools that render it unattended."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from tests.charts.templates import KUBERNETES, Templates
from tests.charts.texts import Values
from tests.support.helm import CHARTS

TEMPLATES = sorted(path for path in (CHARTS / "dask-cluster/templates").rglob("*") if path.is_file())
# Functions with a different result each time or elsewhere, and Helm's knowledge of the cluster.
_ELSEWHERE = re.compile(
    r"\b(lookup|getHostByName|now|ago|rand\w+|shuffle|uuidv4|gen[A-Z]\w+|bcrypt|htpasswd)\b|\.Capabilities\b"
)


def _found(text: str) -> list[str]:
    code = re.sub(r'/\*.*?\*/|"(\\.|[^"])*"|`[^`]*`', "", " ".join(re.findall(r"\{\{(.*?)\}\}", text, re.DOTALL)))
    return [match[0] for match in _ELSEWHERE.finditer(code)]


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: str(path.relative_to(CHARTS)))
def test_nothing_is_asked_for_and_nothing_is_random(template: Path) -> None:
    assert _found(template.read_text()) == []


def test_what_is_asked_for_would_be_found() -> None:
    text = '{{/* now */}} now {{ fail "now" }} {{ $s := lookup "v1" "Secret" "a" "b" }} {{ randAlphaNum 5 }}'
    assert _found(f"{text} {{{{ .Capabilities.KubeVersion }}}}") == ["lookup", "randAlphaNum", ".Capabilities"]


@pytest.mark.parametrize("chart", ["dask-cluster", "dask-kubernetes-operator"])
@pytest.mark.parametrize(
    "values", [{}, {"nameOverride": None, "podLabels": {"a": "\u00e9"}}, {"no": {"such": [1]}}], ids=str
)
def test_renderings_and_refusals_are_those_of_helm(
    helm: Path, templates: Templates, chart: str, values: Values
) -> None:
    """Compare those of one process for all with those of the program that people use."""
    command = [str(helm), "template", "a", str(CHARTS / chart), "--namespace", "b", "--kube-version", KUBERNETES]
    command += ["--include-crds", "--set-json", "nameOverride=null", "--values", "-"]
    said = subprocess.run(command, input=json.dumps(values), check=False, capture_output=True, text=True)
    made = templates.render(
        chart, values, settings=["nameOverride=null"], release="a", namespace="b", include_crds=True
    )
    assert (made.output, made.error) == (said.stdout, said.stderr.strip())
