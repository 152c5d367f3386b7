"""The cluster's chart renders from its values alone, for tools that render it unattended."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
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
