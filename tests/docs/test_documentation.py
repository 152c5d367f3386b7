"""The documents' commands and code are right: charts take the values, and schemas accept the manifests."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from ci.verify import crds
from ci.verify.schemas import crd_kinds
from docs.included import ROOT
from jsonschema import Draft202012Validator
from tests.support.documents import DOCUMENTS, PAGES, Block, blocks, prose

from dask_kubernetes import exceptions

OPERATOR = "dask-kubernetes-operator"
SCHEMAS = {kind.kind: kind.schema for crd in crds.load().values() for kind in crd_kinds(crd)}
CODE = "\n".join(path.read_text() for path in (ROOT / "controller/dask_operator").rglob("*.py"))
# The reader makes the files named by these flags of helm.
_READERS_FILE = "values.yaml"
_CLUSTER_PAGE = (ROOT / "docs/dask-cluster.md").read_text()
_LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)")


def _blocks(*languages: str) -> list[Block]:
    return [block for path in DOCUMENTS for block in blocks(path, *languages)]


def _commands() -> Iterator[tuple[Path, list[str]]]:
    """Yield every command, as words; those of a pipe one by one."""
    for block in _blocks("console"):
        for line in block.commands:
            for words in _split(shlex.split(line, comments=True)):
                yield block.document, words


def _split(words: list[str]) -> Iterator[list[str]]:
    command: list[str] = []
    for word in [*words, "|"]:
        if word in ("|", "&&", ">"):
            yield command
            command = []
        else:
            command.append(word)


HELM = [
    (document, words)
    for document, words in _commands()
    if words[:1] == ["helm"]
    and words[1] in ("install", "upgrade", "template")
    and any(word.startswith("charts/") for word in words)
]


def _schema_errors(manifest: dict[str, Any]) -> list[str]:
    return [error.message for error in Draft202012Validator(SCHEMAS[manifest["kind"]]).iter_errors(manifest)]


def _render(helm: Path, chart: str, *words: str) -> str:
    """Return helm's error, or "" if the chart takes the values."""
    command = [str(helm), "template", "my-release", str(ROOT / "charts" / chart), "--kube-version", "1.33.0", *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return done.stderr if done.returncode else ""


def _settings(words: list[str]) -> Iterator[str]:
    for flag, value in pairwise(words):
        if flag == "--set-file":
            # The reader makes it, and any text will do.
            yield from (flag, f"{value.partition('=')[0]}={__file__}")
        elif flag.startswith(("--set", "--show-only")):
            yield from (flag, value)


@pytest.mark.parametrize(("document", "words"), HELM, ids=[" ".join(words[1:]) for _, words in HELM])
def test_charts_take_the_values_of_every_command(helm: Path, document: Path, words: list[str]) -> None:
    (chart,) = (word.removeprefix("charts/") for word in words if word.startswith("charts/"))
    assert _render(helm, chart, *_settings(words)) == "", document
    for flag, value in pairwise(words):
        if flag in ("--values", "-f"):
            assert value == _READERS_FILE or (ROOT / value).exists(), document


@pytest.mark.parametrize("block", _blocks("yaml"), ids=str)
def test_every_yaml_block_is_taken(helm: Path, tmp_path: Path, block: Block) -> None:
    """Check a block as manifests, or as values in a chart's README.md or if its first line says so."""
    content = next(iter(yaml.safe_load_all(block.text)))
    named = re.match(r"# values\.yaml of (\S+)\n", block.text)
    chart = named[1] if named else block.document.parent.name if "charts" in block.document.parts else ""
    if chart:
        (tmp_path / "values.yaml").write_text(block.text)
        assert _render(helm, chart, "--values", str(tmp_path / "values.yaml")) == ""
    elif "kind" in content:
        for manifest in yaml.safe_load_all(block.text):
            assert manifest["kind"] not in SCHEMAS or _schema_errors(manifest) == []
    else:
        assert list(content) == ["dependencies"], "say whose values these are: `# values.yaml of CHART`"


def test_every_document_has_its_commands_checked() -> None:
    assert len(HELM) > 15
    assert {OPERATOR, "dask-cluster"} <= {word.removeprefix("charts/") for _, words in HELM for word in words}


def test_files_that_commands_name_are_there() -> None:
    named = [
        (document, word)
        for document, words in _commands()
        for word in words
        if re.match(r"(charts|ci|docs|tests)/", word) and words[0] != "docker"
    ]
    assert len(named) > 20
    assert [(document.name, word) for document, word in named if not (ROOT / word).exists()] == []


def test_verbs_of_make_are_in_the_makefile() -> None:
    makefile = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    typed = {word for _, words in _commands() if words[:1] == ["make"] for word in words[1:] if "=" not in word}
    typed |= {verb for path in DOCUMENTS for verb in re.findall(r"`make ([a-z0-9-]+)", prose(path))}
    assert typed
    assert typed <= makefile


def test_resources_that_kubectl_is_asked_for_exist() -> None:
    kinds = {name for crd in crds.load().values() for name in _names(crd)}
    asked = {
        resource
        for _, words in _commands()
        if words[:1] == ["kubectl"]
        for word in words[1:]
        for resource in word.split(",")
        if re.fullmatch(r"dask[a-z]*(\.kubernetes\.dask\.org)?", resource)
    }
    assert len(asked) > 5
    assert {resource.split(".")[0] for resource in asked} <= kinds


def _names(crd: dict[str, Any]) -> set[str]:
    names = crd["spec"]["names"]
    return {names["plural"], names["singular"], *names.get("shortNames", ()), *names.get("categories", ())}


def test_conditions_and_metrics_are_those_of_the_controller() -> None:
    text = "\n".join(path.read_text() for path in DOCUMENTS)
    conditions = set(re.findall(r'condition=(\w+)|@\.type=="(\w+)"', text))
    assert conditions
    assert [name for names in conditions for name in names if name and f'"{name}"' not in CODE] == []
    metrics = {name.removesuffix("_total") for name in re.findall(r"`dask_operator_([a-z_]+)`", text)} - {"plugin"}
    assert metrics
    assert [name for name in metrics if f'"{name}"' not in CODE and f"_{name}" not in CODE] == []


def test_every_example_of_the_cluster_s_chart_is_in_its_table() -> None:
    rows = re.findall(r"^\| \[(\S+)\]\(\.\./charts/dask-cluster/examples/\1\) \| .+ \|$", _CLUSTER_PAGE, re.MULTILINE)
    assert sorted(rows) == sorted(path.name for path in (ROOT / "charts/dask-cluster/examples").iterdir())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_linked_file_is_there(document: Path) -> None:
    missing = [link for link in _LINK.findall(prose(document)) if not (document.parent / link).exists()]
    assert missing == []


def test_every_file_that_contributing_names_is_there() -> None:
    named = re.findall(r"`((?:controller|client|charts|docs|tests|ci)/[^`$ ]*)`", prose(ROOT / "CONTRIBUTING.md"))
    assert len(named) > 10
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_block_of_python_is_executed_or_says_why_not() -> None:
    executed = {block for page in PAGES for block in page.blocks("python")}
    others = [block for block in _blocks("python") if block not in executed or block.reason]
    assert [(str(block.document.relative_to(ROOT)), block.reason) for block in others] == [
        ("README.md", "it runs in a Pod"),
        ("docs/dask-cluster.md", "it runs in a Pod"),
        ("docs/dask-cluster.md", "it runs in a Pod"),
    ]
    assert all(page.blocks("python") for page in PAGES)


def test_every_error_of_the_client_has_its_advice() -> None:
    page = (ROOT / "docs/python.md").read_text()
    advised = re.findall(r"^\| `(\w+Error)` \| \S.+ \|$", page, re.MULTILINE)
    errors = {
        name for name, value in vars(exceptions).items() if getattr(value, "__module__", "") == exceptions.__name__
    }
    assert sorted([*advised, "DaskKubernetesError"]) == sorted(errors)


def test_the_role_on_its_page_is_the_one_that_the_chart_makes(helm: Path) -> None:
    wanted = ("--set", "rbac.clientRole.create=true", "--show-only", "templates/users/client-role.yaml")
    command = [str(helm), "template", "my-release", str(ROOT / "charts" / OPERATOR), *wanted]
    made = yaml.safe_load(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    role = yaml.safe_load(blocks(ROOT / "docs/python-rbac.md", "yaml")[0].text)
    assert role["metadata"]["name"] == made["metadata"]["name"]
    assert role["rules"] == made["rules"]


def test_kubeflow_s_configuration_mounts_the_file_that_it_brings() -> None:
    text = (ROOT / "tests/examples/kubeflow/dask-dashboard.yaml").read_text()
    default, files = yaml.safe_load_all(text)
    (volume,), (mount,) = default["spec"]["volumes"], default["spec"]["volumeMounts"]
    assert volume["configMap"]["name"] == files["metadata"]["name"]
    assert mount["name"] == volume["name"]
    assert mount["subPath"] in files["data"]
